package archive

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// rejected answers which instances are kept and not shown, and why.
type rejected struct{ index *index.Index }

func (v *rejected) register(r gin.IRouter) {
	r.GET("/admin/studies/:study/rejected", web.Require(access.StudyReject), web.Handle(v.list))
}

type rejectedJSON struct {
	SeriesUID string    `json:"series_uid"`
	SOPUID    string    `json:"sop_uid"`
	SOPClass  string    `json:"sop_class"`
	Version   int       `json:"version"`
	Reason    string    `json:"reason"`  // code of the note's title
	Meaning   string    `json:"meaning"` // of the code
	NoteUID   string    `json:"note_uid"`
	NotedAt   time.Time `json:"noted_at"`
	Sender    string    `json:"sender"` // of the note
}

func (v *rejected) list(c *gin.Context) error {
	_, found, err := v.index.Rejected(c.Request.Context(), web.Identity(c).Scope, c.Param("study"))
	if err != nil {
		return err
	}
	list := []rejectedJSON{}
	for _, i := range found {
		list = append(list, rejectedJSON{
			SeriesUID: i.SeriesInstanceUID, SOPUID: i.SOPInstanceUID, SOPClass: i.SOPClassUID, Version: i.Version,
			Reason: string(i.Reason), Meaning: i.Reason.Meaning(), NoteUID: i.NoteUID, NotedAt: i.NotedAt, Sender: i.Sender,
		})
	}
	c.JSON(http.StatusOK, gin.H{"instances": list})
	return nil
}
