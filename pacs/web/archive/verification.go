package archive

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/patrol"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// verification shows what the patrol has read and found.
type verification struct {
	index  *index.Index
	patrol *patrol.Patrol
}

func (v *verification) register(r gin.IRouter) {
	r.GET("/admin/verification", web.Require(access.AdminStorage), web.Handle(v.state))
	r.POST("/admin/verification/run", web.Require(access.AdminStorage), web.Handle(v.run))
	r.POST("/admin/verification/problems/:id/repair", web.Require(access.AdminStorage), web.Handle(v.repair))
}

// What the audit trail has of verification.
const (
	startedVerification = "verification.run"
	repairedStorage     = "verification.repair"
)

type passJSON struct {
	StartedAt time.Time `json:"started_at"`
	Done      int       `json:"done"`
	Total     int       `json:"total"`
}

type verificationJSON struct {
	Packs           int                  `json:"packs"`
	Bytes           int64                `json:"bytes"`
	Verified        int                  `json:"verified"`
	Oldest          *time.Time           `json:"oldest,omitempty"`
	Pass            *passJSON            `json:"pass,omitempty"`
	BytesPerSecond  int64                `json:"bytes_per_second"`
	IntervalSeconds int64                `json:"interval_seconds"`
	Copy            bool                 `json:"copy"`
	Problems        []storageProblemJSON `json:"problems"`
}

type storageProblemJSON struct {
	ID           string     `json:"id"`
	Key          string     `json:"key"`
	Kind         string     `json:"kind"`
	State        string     `json:"state"`
	Message      string     `json:"message"`
	Facility     string     `json:"facility,omitempty"`
	StudyUID     string     `json:"study_uid,omitempty"`
	SeriesUID    string     `json:"series_uid,omitempty"`
	SOPUIDs      []string   `json:"sop_uids"`
	FoundAt      time.Time  `json:"found_at"`
	RepairedAt   *time.Time `json:"repaired_at,omitempty"`
	RepairedFrom string     `json:"repaired_from,omitempty"`
}

func storageProblem(q patrol.Problem) storageProblemJSON {
	return storageProblemJSON{
		ID: strconv.FormatInt(q.ID, 10), Key: q.Key, Kind: string(q.Kind), State: string(q.State), Message: q.Message,
		Facility: q.Facility, StudyUID: q.Study, SeriesUID: q.Series, SOPUIDs: append([]string{}, q.SOPs...),
		FoundAt: q.FoundAt, RepairedAt: timeOrNil(q.RepairedAt), RepairedFrom: q.RepairedFrom,
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (v *verification) state(c *gin.Context) error {
	report, err := v.patrol.Report(c.Request.Context())
	if err != nil {
		return err
	}
	answer := verificationJSON{
		Packs: report.Packs, Bytes: report.Bytes, Verified: report.Verified, Oldest: timeOrNil(report.Oldest),
		BytesPerSecond: report.BytesPerSecond, IntervalSeconds: int64(report.Interval / time.Second), Copy: report.Copy,
		Problems: make([]storageProblemJSON, len(report.Problems)),
	}
	if report.Pass != nil {
		answer.Pass = &passJSON{report.Pass.StartedAt, report.Pass.Done, report.Pass.Total}
	}
	for i, q := range report.Problems {
		answer.Problems[i] = storageProblem(q)
	}
	c.JSON(http.StatusOK, answer)
	return nil
}

func (v *verification) run(c *gin.Context) error {
	event := web.Identity(c).Event(startedVerification, "storage:packs", 0)
	err := v.patrol.Begin(c.Request.Context(), func(tx pgx.Tx) error { return access.Audit(c.Request.Context(), tx, event) })
	if err != nil {
		return err
	}
	c.Status(http.StatusAccepted)
	return nil
}

// repair is in the audit trail before it is done: it changes storage, which no
// transaction takes back.
func (v *verification) repair(c *gin.Context) error {
	ctx := c.Request.Context()
	before, err := v.patrol.Problem(ctx, c.Param("id"))
	if err != nil {
		return err
	}
	if err := access.Audit(ctx, v.index.Pool(), web.Identity(c).Event(repairedStorage, "object:"+before.Key, 0)); err != nil {
		return err
	}
	after, err := v.patrol.Repair(ctx, c.Param("id"))
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, storageProblem(after))
	return nil
}
