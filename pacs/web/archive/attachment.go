package archive

import (
	"io"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
)

// attach answers with a DICOM file of size bytes to be saved under a name. No
// cache keeps it: who may have it, and that they had it, is looked at each time.
func attach(c *gin.Context, name string, size int64, body io.Reader) error {
	header := c.Writer.Header()
	header.Set("Content-Type", "application/dicom")
	header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	header.Set("Cache-Control", "no-store")
	c.Writer.WriteHeader(http.StatusOK)
	_, err := io.Copy(c.Writer, body)
	return err
}
