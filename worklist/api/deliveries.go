package api

import (
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist/report"
)

type deliveryRowJSON struct {
	ReportID string        `json:"report_id"`
	TaskID   string        `json:"task_id"`
	Version  int           `json:"version"`
	Kind     report.Kind   `json:"kind"`
	SignedAt time.Time     `json:"signed_at"`
	SignedBy string        `json:"signed_by"`
	Delivery *deliveryJSON `json:"delivery"`
	Study    studyJSON     `json:"study"`
}

func (a *API) listDeliveries(c *gin.Context) {
	signed, next, err := a.Reports.Deliveries(c.Request.Context(), scope(c), report.DeliveryFilter{
		State: report.DeliveryState(c.Query("state")), Text: c.Query("q"), Limit: limit(c, 100), After: c.Query("after"),
	})
	if err != nil {
		web.Problem(c, err)
		return
	}
	rows, err := a.deliveryRows(c, signed)
	if err != nil {
		web.Problem(c, err)
		return
	}
	counts, err := a.Reports.DeliveryCounts(c.Request.Context(), scope(c))
	answer(c, ok, struct {
		Deliveries []deliveryRowJSON            `json:"deliveries"`
		Counts     map[report.DeliveryState]int `json:"counts"`
		Platform   string                       `json:"platform"`
		Next       string                       `json:"next,omitempty"`
	}{rows, counts, a.Platform, next}, err)
}

func (a *API) deliveryRows(c *gin.Context, signed []report.Signed) ([]deliveryRowJSON, error) {
	ids := make([]int64, len(signed))
	for i, s := range signed {
		ids[i] = s.StudyID
	}
	studies, err := a.Index.StudiesByID(c.Request.Context(), scope(c), ids)
	if err != nil {
		return nil, err
	}
	rows := make([]deliveryRowJSON, len(signed))
	for i, s := range signed {
		study := studyOf(studies[s.StudyID])
		study.TaskID = s.TaskID
		rows[i] = deliveryRowJSON{
			ReportID: s.ReportID, TaskID: s.TaskID, Version: s.Version.Version, Kind: s.Kind, SignedAt: s.SignedAt, SignedBy: s.SignedBy,
			Delivery: deliveryOf(s.Delivery), Study: study,
		}
	}
	return rows, nil
}

func (a *API) retryDelivery(c *gin.Context) {
	version, err := strconv.Atoi(c.Param("version"))
	if err != nil {
		web.Problem(c, pacs.Errorf(pacs.NotFound, "There is no such report"))
		return
	}
	done(c, accepted, a.Reports.Requeue(c.Request.Context(), scope(c), web.Identity(c).Remote, c.Param("report"), version))
}
