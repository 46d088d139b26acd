package api

import (
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist"
)

type (
	claimantJSON struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Me   bool   `json:"me"`
	}
	taskJSON struct {
		ID           string            `json:"id"`
		State        worklist.State    `json:"state"`
		Priority     worklist.Priority `json:"priority"`
		Deadline     time.Time         `json:"deadline"`
		CreatedAt    time.Time         `json:"created_at"`
		Rule         *web.Named        `json:"rule,omitempty"`
		Group        *web.Named        `json:"group,omitempty"`
		ClaimedBy    *claimantJSON     `json:"claimed_by,omitempty"`
		ClaimedAt    *time.Time        `json:"claimed_at,omitempty"`
		DraftSavedAt *time.Time        `json:"draft_saved_at,omitempty"`
		PriorCount   int               `json:"prior_count"`
		Study        studyJSON         `json:"study"`
	}
)

func taskOf(t worklist.Task, study studyJSON, me int64) taskJSON {
	out := taskJSON{
		ID: t.ID, State: t.State, Priority: t.Priority, Deadline: t.Deadline, CreatedAt: t.CreatedAt,
		ClaimedAt: instant(t.ClaimedAt), DraftSavedAt: instant(t.DraftSavedAt), PriorCount: t.PriorCount, Study: study,
	}
	if t.RuleName != "" {
		out.Rule = &web.Named{ID: text(t.RuleID), Name: t.RuleName}
	}
	if t.GroupID != 0 {
		out.Group = &web.Named{ID: text(t.GroupID), Name: t.GroupName}
	}
	if t.ClaimedBy != 0 {
		out.ClaimedBy = &claimantJSON{ID: text(t.ClaimedBy), Name: t.ClaimedByName, Me: t.ClaimedBy == me}
	} else if t.Performer != "" {
		out.ClaimedBy = &claimantJSON{ID: t.Performer, Name: t.ClaimedByName}
	}
	return out
}

// instant is a time for JSON, absent when zero.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// withStudies presents tasks with their studies.
func (a *API) withStudies(c *gin.Context, tasks []worklist.Task) ([]taskJSON, error) {
	ids := make([]int64, len(tasks))
	for i, t := range tasks {
		ids[i] = t.StudyID
	}
	studies, err := a.Index.StudiesByID(c.Request.Context(), scope(c), ids)
	if err != nil {
		return nil, err
	}
	found := make([]pacs.Study, 0, len(tasks))
	kept := make([]worklist.Task, 0, len(tasks))
	for _, t := range tasks {
		if study, ok := studies[t.StudyID]; ok {
			found, kept = append(found, study), append(kept, t)
		}
	}
	shown, _, err := a.present(c, found)
	if err != nil {
		return nil, err
	}
	out := make([]taskJSON, len(kept))
	for i, t := range kept {
		out[i] = taskOf(t, shown[i], user(c))
	}
	return out, nil
}

func (a *API) listTasks(c *gin.Context) {
	view := worklist.View(c.DefaultQuery("view", string(worklist.ViewGroups)))
	tasks, next, err := a.Worklist.Tasks(c.Request.Context(), scope(c), worklist.Filter{
		View: view, UserID: user(c), Modality: c.Query("modality"), Priority: worklist.Priority(c.Query("priority")),
		Facility: c.Query("facility"), Text: c.Query("q"), Limit: limit(c, 100), After: c.Query("after"),
	})
	if err != nil {
		web.Problem(c, err)
		return
	}
	counts, err := a.Worklist.Counts(c.Request.Context(), scope(c), user(c))
	if err != nil {
		web.Problem(c, err)
		return
	}
	out, err := a.withStudies(c, tasks)
	answer(c, ok, struct {
		Tasks  []taskJSON            `json:"tasks"`
		Counts map[worklist.View]int `json:"counts"`
		Next   string                `json:"next,omitempty"`
	}{out, counts, next}, err)
}

// one answers with a single task.
func (a *API) one(c *gin.Context, task worklist.Task, err error) {
	if err != nil {
		web.Problem(c, err)
		return
	}
	shown, err := a.withStudies(c, []worklist.Task{task})
	if err == nil && len(shown) == 0 {
		err = pacs.Errorf(pacs.NotFound, "There is no such task")
	}
	if err != nil {
		web.Problem(c, err)
		return
	}
	c.JSON(ok, shown[0])
}

// moved answers with a task that has been claimed or released.
func (a *API) moved(c *gin.Context, action string, task worklist.Task, err error) {
	if err == nil {
		err = a.record(c, action, taskObject(task.ID), task.FacilityID)
	}
	a.one(c, task, err)
}

func (a *API) getTask(c *gin.Context) {
	task, err := a.Worklist.Task(c.Request.Context(), scope(c), c.Param("task"))
	a.one(c, task, err)
}

func (a *API) claim(c *gin.Context) {
	task, err := a.Worklist.Claim(c.Request.Context(), scope(c), c.Param("task"), user(c))
	a.moved(c, claimed, task, err)
}

func (a *API) claimNext(c *gin.Context) {
	task, err := a.Worklist.ClaimNext(c.Request.Context(), scope(c), user(c))
	a.moved(c, claimed, task, err)
}

func (a *API) release(c *gin.Context) {
	task, err := a.Worklist.Release(c.Request.Context(), scope(c), c.Param("task"), user(c))
	a.moved(c, released, task, err)
}
