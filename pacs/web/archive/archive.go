package archive

import (
	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// API answers requests about what the archive keeps.
type API struct {
	Index *index.Index
	// Closing, when set, is closed when the server is about to end: who waits
	// for a change is answered.
	Closing <-chan struct{}
}

// Register adds the routes to /api.
func (a *API) Register(r gin.IRouter) {
	(&feed{index: a.Index, closing: a.Closing}).register(r)
}
