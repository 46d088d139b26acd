package archive

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// Files opens instances as they are kept.
type Files interface {
	// Open streams length bytes of an instance's PS3.10 file from offset; -1
	// means to its end.
	Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error)
}

// versions answers what came under one UID with different bytes.
type versions struct {
	index *index.Index
	files Files
}

func (v *versions) register(r gin.IRouter) {
	may := web.Require(access.AdminQuarantine)
	r.GET("/admin/studies/:study/versions", may, web.Handle(v.list))
	r.GET("/admin/studies/:study/instances/:sop/versions/:version", may, web.Handle(v.file))
}

// downloadedVersion is what the audit trail has of somebody who took a file.
const downloadedVersion = "version.download"

type versionedJSON struct {
	SOPUID    string        `json:"sop_uid"`
	SeriesUID string        `json:"series_uid"` // of the current version
	Versions  []versionJSON `json:"versions"`
}

type versionJSON struct {
	Version int  `json:"version"`
	Current bool `json:"current"`
	// How it is kept, which is how it was received unless ReceivedAs is there.
	Bytes          int64        `json:"bytes"`
	SHA256         string       `json:"sha256"`
	TransferSyntax string       `json:"transfer_syntax"`
	ReceivedAs     *receivedAs  `json:"received_as,omitempty"`
	Sender         string       `json:"sender"`
	Channel        pacs.Channel `json:"channel"`
	ReceivedAt     time.Time    `json:"received_at"`
}

// receivedAs is how an instance came that is kept compressed.
type receivedAs struct {
	Bytes          int64  `json:"bytes"`
	SHA256         string `json:"sha256"`
	TransferSyntax string `json:"transfer_syntax"`
}

func (v *versions) list(c *gin.Context) error {
	found, err := v.index.Versions(c.Request.Context(), web.Identity(c).Scope, c.Param("study"))
	if err != nil {
		return err
	}
	instances := []versionedJSON{}
	for _, one := range found { // in order
		if n := len(instances); n == 0 || instances[n-1].SOPUID != one.SOPInstanceUID {
			instances = append(instances, versionedJSON{SOPUID: one.SOPInstanceUID})
		}
		last := &instances[len(instances)-1]
		if last.SeriesUID == "" || one.Current {
			last.SeriesUID = one.SeriesUID
		}
		v := versionJSON{
			Version: one.Version, Current: one.Current, Bytes: one.Location.Length, SHA256: hex.EncodeToString(one.SHA256),
			TransferSyntax: one.TransferSyntaxUID, Sender: one.Sender, Channel: one.Channel, ReceivedAt: one.ReceivedAt,
		}
		if c := one.Compressed; c != nil {
			v.ReceivedAs = &receivedAs{Bytes: c.Length, SHA256: c.SHA256, TransferSyntax: c.TransferSyntaxUID}
		}
		last.Versions = append(last.Versions, v)
	}
	c.JSON(http.StatusOK, gin.H{"instances": instances})
	return nil
}

func (v *versions) file(c *gin.Context) error {
	ctx, who := c.Request.Context(), web.Identity(c)
	number, err := strconv.Atoi(c.Param("version"))
	if err != nil {
		return pacs.Errorf(pacs.NotFound, "There is no such version")
	}
	one, err := v.index.Version(ctx, who.Scope, c.Param("study"), c.Param("sop"), number)
	if err != nil {
		return err
	}
	// What can't be recorded is not given.
	object := fmt.Sprintf("instance:%s:%d", one.SOPInstanceUID, one.Version)
	if err := access.Audit(ctx, v.index.Pool(), who.Event(downloadedVersion, object, one.FacilityID)); err != nil {
		return err
	}
	body, err := v.files.Open(ctx, one.Location, 0, -1)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return attach(c, fmt.Sprintf("%s.v%d.dcm", one.SOPInstanceUID, one.Version), one.Location.Length, body)
}
