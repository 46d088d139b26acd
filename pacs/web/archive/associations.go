package archive

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/associations"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// talk answers about the association log.
type talk struct{ log *associations.Log }

func (t *talk) register(r gin.IRouter) {
	group := r.Group("/admin/associations", web.Require(access.AdminDevices))
	group.GET("", web.Handle(t.list))
	group.GET("/:id", web.Handle(t.entry))
}

type associationJSON struct {
	ID        string                 `json:"id"`
	Began     time.Time              `json:"began"`
	Seconds   float64                `json:"seconds"`
	Direction associations.Direction `json:"direction"`
	Calling   string                 `json:"calling"`
	Called    string                 `json:"called"`
	Address   string                 `json:"address"`
	Facility  string                 `json:"facility,omitempty"`
	Outcome   associations.Outcome   `json:"outcome"`
	Code      string                 `json:"code,omitempty"`
	Reason    string                 `json:"reason,omitempty"`
	Times     int                    `json:"times"`
	Instances int                    `json:"instances"`
	Failed    int                    `json:"failed"`
	Bytes     int64                  `json:"bytes"`
}

type associationDetailJSON struct {
	associationJSON
	TLSVersion string         `json:"tls_version,omitempty"`
	TLSSubject string         `json:"tls_subject,omitempty"`
	User       string         `json:"user,omitempty"`
	Software   string         `json:"software,omitempty"`
	MaxPDU     uint32         `json:"max_pdu"`
	Contexts   []contextJSON  `json:"contexts"`
	Messages   map[string]int `json:"messages"`
}

type contextJSON struct {
	AbstractSyntax string   `json:"abstract_syntax"`
	Name           string   `json:"name,omitempty"`
	Proposed       []string `json:"proposed"`
	Accepted       string   `json:"accepted,omitempty"`
	Result         string   `json:"result,omitempty"`
	SCP            bool     `json:"scp"`
}

func associationOf(e *associations.Entry) associationJSON {
	return associationJSON{
		ID: e.ID, Began: e.Began.UTC(), Seconds: e.Duration.Seconds(), Direction: e.Direction, Calling: e.Calling, Called: e.Called,
		Address: e.Address, Facility: e.Facility, Outcome: e.Outcome, Code: e.Code, Reason: e.Reason, Times: e.Times,
		Instances: e.Instances, Failed: e.Failed, Bytes: e.Bytes,
	}
}

func (t *talk) list(c *gin.Context) error {
	filter := associations.Filter{
		AETitle: c.Query("ae"), Facility: c.Query("facility"), Direction: associations.Direction(c.Query("direction")),
		Outcome: associations.Outcome(c.Query("outcome")), Limit: queryNumber(c, "limit", 50, 1, 200), After: c.Query("after"),
	}
	for name, to := range map[string]*time.Time{"from": &filter.From, "to": &filter.To} {
		if text := c.Query(name); text != "" {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return pacs.Errorf(pacs.Invalid, "%s is a time such as 2026-11-22T08:00:00Z", name)
			}
			*to = at
		}
	}
	list, next, err := t.log.List(c.Request.Context(), web.Identity(c), filter)
	if err != nil {
		return err
	}
	records := make([]associationJSON, len(list))
	for i := range list {
		records[i] = associationOf(&list[i])
	}
	answer := gin.H{"associations": records}
	if next != "" {
		answer["next"] = next
	}
	c.JSON(http.StatusOK, answer)
	return nil
}

func (t *talk) entry(c *gin.Context) error {
	e, err := t.log.Entry(c.Request.Context(), web.Identity(c), c.Param("id"))
	if err != nil {
		return err
	}
	record := associationDetailJSON{
		associationJSON: associationOf(&e), TLSVersion: e.Detail.TLSVersion, TLSSubject: e.Detail.TLSSubject, User: e.Detail.User,
		Software: e.Detail.Software, MaxPDU: e.Detail.MaxPDU, Contexts: make([]contextJSON, len(e.Detail.Contexts)), Messages: e.Detail.Messages,
	}
	for i, pc := range e.Detail.Contexts {
		record.Contexts[i] = contextJSON(pc)
		if pc.Proposed == nil {
			record.Contexts[i].Proposed = []string{}
		}
	}
	if record.Messages == nil {
		record.Messages = map[string]int{}
	}
	c.JSON(http.StatusOK, record)
	return nil
}
