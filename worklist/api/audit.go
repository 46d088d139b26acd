package api

import (
	"fmt"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// What the audit trail has of this package. A hospital must be able to say who
// has seen a patient's study and report. Signing and sending again are recorded
// by package report, in the transactions that do it.
const (
	viewedStudy  = "study.view"
	viewedReport = "report.view" // the text, of signed versions or a draft
	printed      = "report.pdf"
	claimed      = "task.claim"
	released     = "task.release"
	amended      = "report.amend"
	discarded    = "draft.discard"
	addedGroup   = "group.add"
	changedGroup = "group.change"
	addedRule    = "rule.add"
	changedRule  = "rule.change"
	removedRule  = "rule.remove"
)

// record writes an event. What can't be recorded is not answered.
func (a *API) record(c *gin.Context, action, object string, facility int64) error {
	return access.Audit(c.Request.Context(), a.Index.Pool(), web.Identity(c).Event(action, object, facility))
}

// recordView writes that somebody has seen something, once in a while: a client
// fetches what it shows again whenever anything about it changes.
func (a *API) recordView(c *gin.Context, action, object string, facility int64) error {
	event := web.Identity(c).Event(action, object, facility)
	key := view{event.Who, event.Remote, action, object}
	now := time.Now()
	if a.views.recent(key, now) {
		return nil
	}
	if err := access.Audit(c.Request.Context(), a.Index.Pool(), event); err != nil {
		return err
	}
	a.views.add(key, now)
	return nil
}

const (
	viewPause = 10 * time.Minute
	maxViews  = 20_000
)

type view struct{ who, from, action, object string }

// views remembers what was recorded lately. The zero value is ready.
type views struct {
	mu sync.Mutex
	at map[view]time.Time
}

func (v *views) recent(key view, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, known := v.at[key]
	return known && now.Sub(at) < viewPause
}

func (v *views) add(key view, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.at == nil || len(v.at) >= maxViews {
		v.at = map[view]time.Time{} // at worst an event too many
	}
	v.at[key] = now
}

func studyObject(uid string) string { return "study:" + uid }
func taskObject(id string) string   { return "task:" + id }
func reportObject(id string, version int) string {
	return fmt.Sprintf("report:%s/%d", id, version)
}
