package archive

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/commitment"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// promises answers about requests for storage commitment.
type promises struct{ commitments *commitment.Commitments }

func (p *promises) register(r gin.IRouter) {
	group := r.Group("/admin/commitments", web.Require(access.AdminDevices))
	group.GET("", web.Handle(p.list))
	group.POST("/:id/retry", web.Handle(p.retry))
}

type commitmentJSON struct {
	ID             string           `json:"id"`
	AETitle        string           `json:"ae_title"`
	Facility       string           `json:"facility,omitempty"`
	TransactionUID string           `json:"transaction_uid"`
	State          commitment.State `json:"state"`
	RequestedAt    time.Time        `json:"requested_at"`
	EndedAt        *time.Time       `json:"ended_at,omitempty"`
	Instances      int              `json:"instances"`
	Safe           int              `json:"safe"`
	Unsafe         int              `json:"unsafe"`
	LastError      string           `json:"last_error,omitempty"`
}

func (p *promises) list(c *gin.Context) error {
	list, next, err := p.commitments.List(c.Request.Context(), web.Identity(c), commitment.Filter{
		AETitle: c.Query("ae"), State: commitment.State(c.Query("state")), Limit: queryNumber(c, "limit", 50, 1, commitment.MaxPage), After: c.Query("after"),
	})
	if err != nil {
		return err
	}
	records := make([]commitmentJSON, len(list))
	for i, e := range list {
		records[i] = commitmentJSON{
			ID: e.ID, AETitle: e.AETitle, Facility: e.Facility, TransactionUID: e.TransactionUID, State: e.State, RequestedAt: e.RequestedAt.UTC(),
			Instances: e.Instances, Safe: e.Safe, Unsafe: e.Unsafe, LastError: e.LastError,
		}
		if !e.EndedAt.IsZero() {
			ended := e.EndedAt.UTC()
			records[i].EndedAt = &ended
		}
	}
	answer := gin.H{"commitments": records}
	if next != "" {
		answer["next"] = next
	}
	c.JSON(http.StatusOK, answer)
	return nil
}

func (p *promises) retry(c *gin.Context) error {
	if err := p.commitments.Retry(c.Request.Context(), web.Identity(c), c.Param("id")); err != nil {
		return err
	}
	c.Status(http.StatusAccepted)
	return nil
}
