package archive

import (
	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// API answers requests about what the archive keeps.
type API struct {
	Index *index.Index
}

// Register adds the routes to /api.
func (a *API) Register(gin.IRouter) {}
