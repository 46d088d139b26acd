package archive

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// ward answers about the quarantine.
type ward struct{ quarantine *quarantine.Quarantine }

func (w *ward) register(r gin.IRouter) {
	group := r.Group("/admin/quarantine", web.Require(access.AdminQuarantine))
	group.GET("", web.Handle(w.list))
	group.GET("/:id/file", web.Handle(w.file))
	group.POST("/release", web.Handle(w.release))
	group.POST("/discard", web.Handle(w.discard))
}

type quarantinedJSON struct {
	ID          string                   `json:"id"`
	Reason      pacs.QuarantineReason    `json:"reason"`
	Message     string                   `json:"message"`
	Facility    facilityNameJSON         `json:"facility"`
	Sender      string                   `json:"sender"`
	Channel     pacs.Channel             `json:"channel"`
	Bytes       int64                    `json:"bytes"`
	ReceivedAt  time.Time                `json:"received_at"`
	StudyUID    string                   `json:"study_uid,omitempty"`
	SeriesUID   string                   `json:"series_uid,omitempty"`
	SOPUID      string                   `json:"sop_uid,omitempty"`
	SOPClass    string                   `json:"sop_class,omitempty"`
	NeedsClass  bool                     `json:"needs_sop_class,omitempty"`
	Stays       string                   `json:"unreleasable,omitempty"`
	Modality    string                   `json:"modality,omitempty"`
	StudyDate   string                   `json:"study_date,omitempty"`
	Description string                   `json:"description,omitempty"`
	Patient     quarantine.Demographics  `json:"patient"`
	BelongsTo   *quarantine.Demographics `json:"belongs_to,omitempty"`
}

func (w *ward) list(c *gin.Context) error {
	items, next, total, err := w.quarantine.List(c.Request.Context(), web.Identity(c).Scope, quarantine.Filter{
		Facility: c.Query("facility"), Reason: pacs.QuarantineReason(c.Query("reason")),
		Limit: queryNumber(c, "limit", 100, 1, 200), After: c.Query("after"),
	})
	if err != nil {
		return err
	}
	records := make([]quarantinedJSON, len(items))
	for i, item := range items {
		records[i] = quarantinedJSON{
			ID: item.ID, Reason: item.Reason, Message: item.Message, Facility: facilityNameJSON{item.Facility, item.FacilityName},
			Sender: item.Sender, Channel: item.Channel, Bytes: item.Bytes, ReceivedAt: item.ReceivedAt.UTC(),
			StudyUID: item.StudyInstanceUID, SeriesUID: item.SeriesInstanceUID, SOPUID: item.SOPInstanceUID,
			SOPClass: item.SOPClassUID, NeedsClass: item.NeedsSOPClass(), Stays: item.Unreleasable(),
			Modality: item.Modality, StudyDate: item.StudyDate, Description: item.Description,
			Patient: item.Patient, BelongsTo: item.BelongsTo,
		}
	}
	bytes, _, quota := w.quarantine.Usage()
	answer := gin.H{"items": records, "total": total, "bytes": bytes, "quota": quota}
	if next != "" {
		answer["next"] = next
	}
	c.JSON(http.StatusOK, answer)
	return nil
}

func (w *ward) file(c *gin.Context) error {
	id := c.Param("id")
	body, size, err := w.quarantine.Bytes(c.Request.Context(), web.Identity(c), id)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return attach(c, id+".dcm", size, body)
}

// maxChosen is how many items one request may be about.
const maxChosen = 500

func checkIDs(ids []string) error {
	if len(ids) == 0 || len(ids) > maxChosen {
		return pacs.Errorf(pacs.Invalid, "Choose 1 to %d data sets", maxChosen).WithReason("ids", "")
	}
	return nil
}

func (w *ward) release(c *gin.Context) error {
	var in struct {
		IDs      []string         `json:"ids"`
		Facility string           `json:"facility"`
		Patient  demographicsJSON `json:"patient"`
		NewStudy bool             `json:"new_study"`
		SOPClass string           `json:"sop_class"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	if err := checkIDs(in.IDs); err != nil {
		return err
	}
	released, refused, err := w.quarantine.Release(c.Request.Context(), web.Identity(c), in.IDs, quarantine.Correction{
		Facility: in.Facility,
		Patient:  quarantine.Given(in.Patient),
		NewStudy: in.NewStudy,
		SOPClass: in.SOPClass,
	})
	if err != nil {
		return err
	}
	stay := make([]gin.H, len(refused))
	for i, r := range refused {
		stay[i] = gin.H{"id": r.ID, "message": r.Message}
	}
	if released == nil {
		released = []string{}
	}
	c.JSON(http.StatusOK, gin.H{"released": released, "refused": stay})
	return nil
}

func (w *ward) discard(c *gin.Context) error {
	var in struct {
		IDs []string `json:"ids"`
		Why string   `json:"why"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	if err := checkIDs(in.IDs); err != nil {
		return err
	}
	discarded, err := w.quarantine.Discard(c.Request.Context(), web.Identity(c), in.IDs, in.Why)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"discarded": discarded})
	return nil
}
