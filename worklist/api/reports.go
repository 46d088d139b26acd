package api

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/report"
)

type (
	draftJSON struct {
		Kind     report.Kind     `json:"kind"`
		Sections report.Sections `json:"sections"`
		Language string          `json:"language"`
		Revision int             `json:"revision"`
		SavedAt  time.Time       `json:"saved_at"`
	}
	deliveryJSON struct {
		State         report.DeliveryState `json:"state"`
		Attempts      int                  `json:"attempts"`
		LastError     string               `json:"last_error,omitempty"`
		NextAttemptAt *time.Time           `json:"next_attempt_at,omitempty"`
		DeliveredAt   *time.Time           `json:"delivered_at,omitempty"`
		FHIRID        string               `json:"fhir_id,omitempty"`
	}
	versionJSON struct {
		ReportID string          `json:"report_id"`
		Version  int             `json:"version"`
		Kind     report.Kind     `json:"kind"`
		Sections report.Sections `json:"sections"`
		Language string          `json:"language"`
		SignedBy string          `json:"signed_by"`
		SignedAt time.Time       `json:"signed_at"`
		Delivery *deliveryJSON   `json:"delivery,omitempty"`
	}
	reportJSON struct {
		ID       string        `json:"id,omitempty"`
		TaskID   string        `json:"task_id"`
		StudyUID string        `json:"study_uid"`
		Versions []versionJSON `json:"versions"`
		Draft    *draftJSON    `json:"draft,omitempty"`
		DraftBy  string        `json:"draft_by,omitempty"`
	}
)

func draftOf(d report.Draft) *draftJSON {
	return &draftJSON{d.Kind, d.Sections, d.Language, d.Revision, d.SavedAt}
}

func deliveryOf(d *report.Delivery) *deliveryJSON {
	if d == nil {
		return nil
	}
	out := &deliveryJSON{
		State: d.State, Attempts: d.Attempts, LastError: d.LastError,
		NextAttemptAt: instant(d.NextAttemptAt), DeliveredAt: instant(d.DeliveredAt),
	}
	var receipt fhir.Receipt
	if d.Receipt != nil && json.Unmarshal(d.Receipt, &receipt) == nil {
		out.FHIRID = receipt.DiagnosticReportID
	}
	return out
}

func versionOf(v report.Version, withDelivery bool) versionJSON {
	out := versionJSON{
		ReportID: v.ReportID, Version: v.Version, Kind: v.Kind, Sections: v.Sections, Language: v.Language,
		SignedBy: v.SignedBy, SignedAt: v.SignedAt,
	}
	if withDelivery {
		out.Delivery = deliveryOf(v.Delivery)
	}
	return out
}

// reportOf shows a report. The draft is shown to its author and to whoever
// holds the task, who may go on from it.
func (a *API) reportOf(c *gin.Context, r report.Report) (*reportJSON, error) {
	task, err := a.Worklist.Task(c.Request.Context(), scope(c), r.TaskID)
	if err != nil {
		return nil, err
	}
	studies, err := a.Index.StudiesByID(c.Request.Context(), scope(c), []int64{task.StudyID})
	if err != nil {
		return nil, err
	}
	out := &reportJSON{ID: r.ID, TaskID: r.TaskID, StudyUID: studies[task.StudyID].StudyInstanceUID, Versions: []versionJSON{}}
	for _, v := range r.Versions {
		out.Versions = append(out.Versions, versionOf(v, web.Identity(c).Can(access.DeliveryRead)))
	}
	if d := r.Draft; d != nil && web.Identity(c).Can(access.ReportReadDraft) {
		holds := task.State == worklist.Claimed && task.ClaimedBy == user(c)
		if d.AuthorID == user(c) || holds {
			out.Draft = draftOf(*d)
		}
		if d.AuthorID != user(c) {
			out.DraftBy = d.Author
		}
	}
	if len(out.Versions) > 0 || out.Draft != nil {
		if err := a.recordView(c, viewedReport, reportObject(r.ID, len(r.Versions)), task.FacilityID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *API) showReport(c *gin.Context, r report.Report, err error) {
	if err != nil {
		web.Problem(c, err)
		return
	}
	out, err := a.reportOf(c, r)
	if err != nil {
		web.Problem(c, err)
		return
	}
	c.JSON(ok, out)
}

func (a *API) getReport(c *gin.Context) {
	r, err := a.Reports.OfTask(c.Request.Context(), scope(c), c.Param("task"))
	a.showReport(c, r, err)
}

func (a *API) saveDraft(c *gin.Context) {
	var in struct {
		Sections report.Sections `json:"sections"`
		Language string          `json:"language"`
		Revision int             `json:"revision"`
	}
	if err := web.Body(c, &in); err != nil {
		web.Problem(c, err)
		return
	}
	d, err := a.Reports.SaveDraft(c.Request.Context(), scope(c), c.Param("task"), user(c), in.Sections, in.Language, in.Revision)
	answer(c, ok, draftOf(d), err)
}

func (a *API) discardDraft(c *gin.Context) {
	err := a.Reports.DiscardDraft(c.Request.Context(), scope(c), c.Param("task"), user(c))
	if err == nil {
		err = a.record(c, discarded, taskObject(c.Param("task")), 0)
	}
	done(c, noContent, err)
}

func (a *API) sign(c *gin.Context) {
	var in struct {
		Revision int `json:"revision"`
	}
	if err := web.Body(c, &in); err != nil {
		web.Problem(c, err)
		return
	}
	me := web.Identity(c).User
	if me == nil {
		web.Problem(c, pacs.Errorf(pacs.Forbidden, "Only a person can sign"))
		return
	}
	r, err := a.Reports.Sign(c.Request.Context(), scope(c), c.Param("task"), report.Signer{
		ID: me.ID, Name: me.Name, ARGOS: me.ARGOS, From: web.Identity(c).Remote,
	}, in.Revision)
	a.showReport(c, r, err)
}

func (a *API) amend(c *gin.Context) {
	var in struct {
		Kind report.Kind `json:"kind"`
	}
	if err := web.Body(c, &in); err != nil {
		web.Problem(c, err)
		return
	}
	r, err := a.Reports.Amend(c.Request.Context(), scope(c), c.Param("task"), user(c), in.Kind)
	if err == nil {
		err = a.record(c, amended, reportObject(r.ID, len(r.Versions)+1), 0)
	}
	a.showReport(c, r, err)
}

func (a *API) pdf(c *gin.Context) {
	version, err := strconv.Atoi(c.Param("version"))
	if err != nil {
		web.Problem(c, pacs.Errorf(pacs.NotFound, "There is no such report"))
		return
	}
	pdf, err := a.Reports.PDF(c.Request.Context(), scope(c), c.Param("report"), version)
	if err != nil {
		web.Problem(c, err)
		return
	}
	if err := a.recordView(c, printed, reportObject(c.Param("report"), version), 0); err != nil {
		web.Problem(c, err)
		return
	}
	// Not kept by the browser (web's no-store): the next at a shared machine may
	// be another person.
	c.Header("Content-Disposition", fmt.Sprintf(`inline; filename="report-%s-v%d.pdf"`, c.Param("report"), version))
	c.Data(ok, "application/pdf", pdf)
}
