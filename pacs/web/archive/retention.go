package archive

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/retention"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// keeping answers about policies, what they have done, and legal holds.
type keeping struct{ retention *retention.Retention }

func (k *keeping) register(r gin.IRouter) {
	may := web.Require(access.AdminStorage)
	r.GET("/admin/retention/policies", may, web.Handle(k.policies))
	r.POST("/admin/retention/policies", may, web.Handle(k.addPolicy))
	r.PUT("/admin/retention/policies/:id", may, web.Handle(k.changePolicy))
	r.DELETE("/admin/retention/policies/:id", may, web.Handle(k.removePolicy))
	r.POST("/admin/retention/policies/:id/preview", may, web.Handle(k.preview))
	r.GET("/admin/retention/runs", may, web.Handle(k.runs))
	r.GET("/admin/holds", may, web.Handle(k.holds))
	r.PUT("/admin/studies/:study/hold", may, web.Handle(k.hold))
	r.DELETE("/admin/studies/:study/hold", may, web.Handle(k.lift))
}

type policyJSON struct {
	ID        string           `json:"id"`
	Position  *int             `json:"position"`
	Name      string           `json:"name"`
	Facility  string           `json:"facility"`
	Modality  string           `json:"modality"`
	Days      int              `json:"days"`
	Action    retention.Action `json:"action"`
	Enabled   bool             `json:"enabled"`
	Previewed bool             `json:"previewed"`
}

func policyOf(p retention.Policy) policyJSON {
	return policyJSON{
		ID: strconv.FormatInt(p.ID, 10), Position: &p.Position, Name: p.Name, Facility: p.Facility, Modality: p.Modality,
		Days: p.Days, Action: p.Action, Enabled: p.Enabled, Previewed: p.Previewed,
	}
}

func (p policyJSON) policy(id int64) retention.Policy {
	position := retention.Unplaced
	if p.Position != nil {
		position = *p.Position
	}
	return retention.Policy{
		ID: id, Position: position, Name: p.Name, Facility: p.Facility, Modality: p.Modality, Days: p.Days, Action: p.Action, Enabled: p.Enabled,
	}
}

func policyID(c *gin.Context) (int64, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil {
		return 0, pacs.Errorf(pacs.NotFound, "There is no such policy")
	}
	return id, nil
}

func (k *keeping) policies(c *gin.Context) error {
	list, err := k.retention.Policies(c.Request.Context())
	if err != nil {
		return err
	}
	out := make([]policyJSON, len(list))
	for i, p := range list {
		out[i] = policyOf(p)
	}
	c.JSON(http.StatusOK, gin.H{"policies": out})
	return nil
}

func (k *keeping) addPolicy(c *gin.Context) error {
	var in policyJSON
	if err := web.Body(c, &in); err != nil {
		return err
	}
	added, err := k.retention.AddPolicy(c.Request.Context(), web.Identity(c), in.policy(0))
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, policyOf(added))
	return nil
}

func (k *keeping) changePolicy(c *gin.Context) error {
	id, err := policyID(c)
	if err != nil {
		return err
	}
	var in policyJSON
	if err := web.Body(c, &in); err != nil {
		return err
	}
	changed, err := k.retention.ChangePolicy(c.Request.Context(), web.Identity(c), in.policy(id))
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, policyOf(changed))
	return nil
}

func (k *keeping) removePolicy(c *gin.Context) error {
	id, err := policyID(c)
	if err == nil {
		err = k.retention.RemovePolicy(c.Request.Context(), web.Identity(c), id)
	}
	if err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

type sampleJSON struct {
	StudyUID   string   `json:"study_uid"`
	Facility   string   `json:"facility"`
	Date       string   `json:"date"`
	Modalities []string `json:"modalities"`
	Patient    string   `json:"patient"`
	Bytes      int64    `json:"bytes"`
}

func (k *keeping) preview(c *gin.Context) error {
	id, err := policyID(c)
	if err != nil {
		return err
	}
	p, err := k.retention.Preview(c.Request.Context(), web.Identity(c), id)
	if err != nil {
		return err
	}
	list := make([]sampleJSON, len(p.Samples))
	for i, s := range p.Samples {
		list[i] = sampleJSON{s.StudyUID, s.Facility, s.Date, s.Modalities, pacs.DisplayName(s.Patient), s.Bytes}
	}
	c.JSON(http.StatusOK, gin.H{"at": p.At, "studies": p.Studies, "instances": p.Instances, "bytes": p.Bytes, "held": p.Held, "samples": list})
	return nil
}

type runJSON struct {
	ID         string           `json:"id"`
	Policy     string           `json:"policy"`
	Action     retention.Action `json:"action"`
	StartedAt  time.Time        `json:"started_at"`
	FinishedAt *time.Time       `json:"finished_at,omitempty"`
	Studies    int              `json:"studies"`
	Bytes      int64            `json:"bytes"`
	Failed     int              `json:"failed"`
}

func (k *keeping) runs(c *gin.Context) error {
	list, err := k.retention.Runs(c.Request.Context())
	if err != nil {
		return err
	}
	out := make([]runJSON, len(list))
	for i, run := range list {
		out[i] = runJSON{
			ID: strconv.FormatInt(run.ID, 10), Policy: run.Policy, Action: run.Action, StartedAt: run.StartedAt,
			Studies: run.Studies, Bytes: run.Bytes, Failed: run.Failed,
		}
		if !run.FinishedAt.IsZero() {
			out[i].FinishedAt = &run.FinishedAt
		}
	}
	c.JSON(http.StatusOK, gin.H{"runs": out})
	return nil
}

type holdJSON struct {
	StudyUID    string    `json:"study_uid"`
	Why         string    `json:"why"`
	Who         string    `json:"who"`
	At          time.Time `json:"at"`
	Facility    string    `json:"facility,omitempty"`
	Patient     string    `json:"patient,omitempty"`
	Date        string    `json:"date,omitempty"`
	Description string    `json:"description,omitempty"`
}

func holdOf(h retention.Hold) holdJSON {
	return holdJSON{h.StudyUID, h.Why, h.Who, h.At, h.Facility, pacs.DisplayName(h.Patient), h.Date, h.Description}
}

func (k *keeping) holds(c *gin.Context) error {
	list, err := k.retention.Holds(c.Request.Context(), web.Identity(c).Scope)
	if err != nil {
		return err
	}
	out := make([]holdJSON, len(list))
	for i, h := range list {
		out[i] = holdOf(h)
	}
	c.JSON(http.StatusOK, gin.H{"holds": out})
	return nil
}

func (k *keeping) hold(c *gin.Context) error {
	var in struct {
		Why string `json:"why"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	h, err := k.retention.Hold(c.Request.Context(), web.Identity(c), c.Param("study"), in.Why)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, holdOf(h))
	return nil
}

func (k *keeping) lift(c *gin.Context) error {
	if err := k.retention.Lift(c.Request.Context(), web.Identity(c), c.Param("study")); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
