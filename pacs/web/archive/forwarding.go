package archive

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// sending answers about rules of forwarding, where they send to, and the queue.
type sending struct{ forwarding *forward.Forwarding }

func (s *sending) register(r gin.IRouter) {
	g := r.Group("/admin/forwarding", web.Require(access.AdminForwarding))
	g.GET("/rules", web.Handle(s.rules))
	g.POST("/rules", web.Handle(s.addRule))
	g.POST("/rules/try", web.Handle(s.try))
	g.PUT("/rules/:id", web.Handle(s.changeRule))
	g.DELETE("/rules/:id", web.Handle(s.removeRule))
	g.POST("/rules/:id/pause", web.Handle(s.pauseRule(true)))
	g.POST("/rules/:id/resume", web.Handle(s.pauseRule(false)))
	g.GET("/targets", web.Handle(s.targets))
	g.POST("/targets/:id/pause", web.Handle(s.pauseTarget(true)))
	g.POST("/targets/:id/resume", web.Handle(s.pauseTarget(false)))
	g.POST("/nodes", web.Handle(s.addNode))
	g.PUT("/nodes/:id", web.Handle(s.changeNode))
	g.DELETE("/nodes/:id", web.Handle(s.removeNode))
	g.GET("/queue", web.Handle(s.queue))
	g.GET("/queue/:id", web.Handle(s.item))
	g.POST("/queue/act", web.Handle(s.act))
}

const (
	deviceKind = "device"
	nodeKind   = "node"
)

func kindOf(t forward.Target) string {
	if t.AETitle != "" {
		return deviceKind
	}
	return nodeKind
}

type ruleTargetJSON struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

type windowJSON struct {
	From  string `json:"from"`
	Until string `json:"until"`
	Days  []int  `json:"days"`
	Zone  string `json:"zone"`
}

type priorsJSON struct {
	Count        int  `json:"count"`
	Years        int  `json:"years"`
	SameModality bool `json:"same_modality"`
	SameBodyPart bool `json:"same_body_part"`
}

type forwardRuleJSON struct {
	ID               string           `json:"id"`
	Name             string           `json:"name"`
	Enabled          bool             `json:"enabled"`
	Paused           bool             `json:"paused"`
	Occasion         forward.Occasion `json:"occasion"`
	Level            forward.Level    `json:"level"`
	Facilities       []string         `json:"facilities"`
	Condition        string           `json:"condition"`
	Target           ruleTargetJSON   `json:"target"`
	Priority         forward.Priority `json:"priority"`
	RetryHours       int              `json:"retry_hours"`
	TransferSyntaxes []string         `json:"transfer_syntaxes"`
	Window           *windowJSON      `json:"window,omitempty"`
	Priors           *priorsJSON      `json:"priors,omitempty"`
}

func forwardRuleOf(r forward.Rule) forwardRuleJSON {
	out := forwardRuleJSON{
		ID: strconv.FormatInt(r.ID, 10), Name: r.Name, Enabled: r.Enabled, Paused: r.Paused, Occasion: r.Occasion, Level: r.Level,
		Facilities: append([]string{}, r.Facilities...), Condition: r.Condition, Target: ruleTargetJSON{kindOf(r.Target), r.Target.Title()},
		Priority: r.Priority, RetryHours: int(r.Retries / time.Hour), TransferSyntaxes: append([]string{}, r.TransferSyntaxes...),
	}
	if w := r.Window; w != nil {
		out.Window = &windowJSON{From: clockText(w.From), Until: clockText(w.Until), Days: []int{}, Zone: w.Zone}
		for _, d := range w.Days {
			out.Window.Days = append(out.Window.Days, int(d))
		}
	}
	if p := r.Priors; p != nil {
		out.Priors = &priorsJSON{p.Count, p.Years, p.SameModality, p.SameBodyPart}
	}
	return out
}

func clockText(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(d/time.Hour), int(d%time.Hour/time.Minute))
}

// clockOf reads a time of day, HH:MM.
func clockOf(text string) (time.Duration, error) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != 5 {
		return 0, pacs.Errorf(pacs.Invalid, "%q is not a time of day such as 20:00", text).WithReason("refused", "")
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

func (r forwardRuleJSON) rule(id int64) (forward.Rule, error) {
	if r.RetryHours < 0 || r.RetryHours > 1_000_000 {
		r.RetryHours = 1_000_000 // which is refused in the rule's own words
	}
	out := forward.Rule{
		ID: id, Name: r.Name, Enabled: r.Enabled, Paused: r.Paused, Occasion: r.Occasion, Level: r.Level, Facilities: r.Facilities, Condition: r.Condition,
		Priority: r.Priority, Retries: time.Duration(r.RetryHours) * time.Hour, TransferSyntaxes: r.TransferSyntaxes,
	}
	switch r.Target.Kind {
	case deviceKind:
		out.Target.AETitle = r.Target.Name
	case nodeKind:
		out.Target.Name = r.Target.Name
	default:
		return out, pacs.Errorf(pacs.Invalid, "The target is a device or a node").WithReason("refused", "")
	}
	if r.Window != nil {
		w := &forward.Window{Zone: r.Window.Zone}
		var err error
		if w.From, err = clockOf(r.Window.From); err != nil {
			return out, err
		}
		if w.Until, err = clockOf(r.Window.Until); err != nil {
			return out, err
		}
		for _, d := range r.Window.Days {
			w.Days = append(w.Days, time.Weekday(d))
		}
		out.Window = w
	}
	if p := r.Priors; p != nil {
		out.Priors = &forward.Priors{Count: p.Count, Years: p.Years, SameModality: p.SameModality, SameBodyPart: p.SameBodyPart}
	}
	return out, nil
}

// rowOf is the ID of a path, or of a query.
func rowOf(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, pacs.Errorf(pacs.NotFound, "There is none such")
	}
	return id, nil
}

func (s *sending) rules(c *gin.Context) error {
	list, err := s.forwarding.Rules(c.Request.Context(), web.Identity(c))
	if err != nil {
		return err
	}
	out := make([]forwardRuleJSON, len(list))
	for i, r := range list {
		out[i] = forwardRuleOf(r)
	}
	c.JSON(http.StatusOK, gin.H{"rules": out})
	return nil
}

func ruleIn(c *gin.Context, id int64) (forward.Rule, error) {
	var in forwardRuleJSON
	if err := web.Body(c, &in); err != nil {
		return forward.Rule{}, err
	}
	return in.rule(id)
}

func (s *sending) addRule(c *gin.Context) error {
	r, err := ruleIn(c, 0)
	if err == nil {
		r, err = s.forwarding.AddRule(c.Request.Context(), web.Identity(c), r)
	}
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, forwardRuleOf(r))
	return nil
}

func (s *sending) changeRule(c *gin.Context) error {
	id, err := rowOf(c.Param("id"))
	if err != nil {
		return err
	}
	r, err := ruleIn(c, id)
	if err == nil {
		r, err = s.forwarding.ChangeRule(c.Request.Context(), web.Identity(c), r)
	}
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, forwardRuleOf(r))
	return nil
}

func (s *sending) removeRule(c *gin.Context) error {
	return removed(c, s.forwarding.RemoveRule)
}

func removed(c *gin.Context, remove func(context.Context, *access.Identity, int64) error) error {
	id, err := rowOf(c.Param("id"))
	if err == nil {
		err = remove(c.Request.Context(), web.Identity(c), id)
	}
	if err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (s *sending) pauseRule(paused bool) func(*gin.Context) error {
	return func(c *gin.Context) error {
		id, err := rowOf(c.Param("id"))
		if err != nil {
			return err
		}
		r, err := s.forwarding.PauseRule(c.Request.Context(), web.Identity(c), id, paused)
		if err != nil {
			return err
		}
		c.JSON(http.StatusOK, forwardRuleOf(r))
		return nil
	}
}

type trialSampleJSON struct {
	StudyUID    string   `json:"study_uid"`
	Facility    string   `json:"facility"`
	Date        string   `json:"date"`
	Modalities  []string `json:"modalities"`
	Description string   `json:"description"`
	Patient     string   `json:"patient"`
}

func (s *sending) try(c *gin.Context) error {
	r, err := ruleIn(c, 0)
	if err != nil {
		return err
	}
	t, err := s.forwarding.Try(c.Request.Context(), web.Identity(c), r)
	if err != nil {
		return err
	}
	samples := make([]trialSampleJSON, len(t.Samples))
	for i, study := range t.Samples {
		samples[i] = trialSampleJSON{
			study.StudyInstanceUID, study.Facility.Code, study.Date, append([]string{}, study.Modalities...), study.Description, pacs.DisplayName(study.Patient.Name),
		}
	}
	c.JSON(http.StatusOK, gin.H{"looked": t.Looked, "more": t.More, "studies": t.Studies, "series": t.Series, "failed": t.Failed, "samples": samples})
	return nil
}

type targetJSON struct {
	ID            string                `json:"id"`
	Kind          string                `json:"kind"`
	Name          string                `json:"name"`
	URL           string                `json:"url,omitempty"`
	Authorization forward.Authorization `json:"authorization,omitempty"`
	Login         string                `json:"login,omitempty"`
	HasSecret     *bool                 `json:"has_secret,omitempty"`
	Parallel      int                   `json:"parallel,omitempty"`
	Paused        bool                  `json:"paused"`
	Failures      int                   `json:"failures"`
	RestingUntil  *time.Time            `json:"resting_until,omitempty"`
	LastError     string                `json:"last_error,omitempty"`
}

func targetOf(t forward.Target) targetJSON {
	out := targetJSON{ID: strconv.FormatInt(t.ID, 10), Kind: kindOf(t), Name: t.Title(), Paused: t.Paused, Failures: t.Failures, LastError: t.LastError}
	if out.Kind == nodeKind {
		out.URL, out.Authorization, out.Login, out.HasSecret, out.Parallel = t.URL, t.Authorization, t.Login, &t.HasSecret, t.Parallel
	}
	if t.RestingUntil.Year() > 1 {
		out.RestingUntil = &t.RestingUntil
	}
	return out
}

func (s *sending) targets(c *gin.Context) error {
	list, err := s.forwarding.Targets(c.Request.Context(), web.Identity(c))
	if err != nil {
		return err
	}
	out := make([]targetJSON, len(list))
	for i, t := range list {
		out[i] = targetOf(t)
	}
	c.JSON(http.StatusOK, gin.H{"targets": out})
	return nil
}

func (s *sending) pauseTarget(paused bool) func(*gin.Context) error {
	return func(c *gin.Context) error {
		id, err := rowOf(c.Param("id"))
		if err != nil {
			return err
		}
		t, err := s.forwarding.PauseTarget(c.Request.Context(), web.Identity(c), id, paused)
		if err != nil {
			return err
		}
		c.JSON(http.StatusOK, targetOf(t))
		return nil
	}
}

func nodeIn(c *gin.Context) (forward.Target, error) {
	var in struct {
		Name          string                `json:"name"`
		URL           string                `json:"url"`
		Authorization forward.Authorization `json:"authorization"`
		Login         string                `json:"login"`
		Secret        string                `json:"secret"`
		Parallel      int                   `json:"parallel"`
	}
	err := web.Body(c, &in)
	return forward.Target{Name: in.Name, URL: in.URL, Authorization: in.Authorization, Login: in.Login, Secret: in.Secret, Parallel: in.Parallel}, err
}

func (s *sending) addNode(c *gin.Context) error {
	t, err := nodeIn(c)
	if err == nil {
		t, err = s.forwarding.AddNode(c.Request.Context(), web.Identity(c), t)
	}
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, targetOf(t))
	return nil
}

func (s *sending) changeNode(c *gin.Context) error {
	id, err := rowOf(c.Param("id"))
	if err != nil {
		return err
	}
	t, err := nodeIn(c)
	if err == nil {
		t.ID = id
		t, err = s.forwarding.ChangeNode(c.Request.Context(), web.Identity(c), t)
	}
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, targetOf(t))
	return nil
}

func (s *sending) removeNode(c *gin.Context) error {
	return removed(c, s.forwarding.RemoveNode)
}

type forwardItemJSON struct {
	ID          string           `json:"id"`
	Rule        string           `json:"rule"`
	RuleName    string           `json:"rule_name"`
	Target      string           `json:"target"`
	Kind        string           `json:"kind"`
	To          string           `json:"to"`
	Facility    string           `json:"facility"`
	StudyUID    string           `json:"study_uid"`
	SeriesUID   string           `json:"series_uid,omitempty"`
	Patient     string           `json:"patient,omitempty"`
	Date        string           `json:"date,omitempty"`
	Modalities  []string         `json:"modalities"`
	Description string           `json:"description,omitempty"`
	Occasion    forward.Occasion `json:"occasion"`
	State       forward.State    `json:"state"`
	Held        bool             `json:"held"`
	Priority    forward.Priority `json:"priority"`
	Total       int              `json:"total"`
	Sent        int              `json:"sent"`
	Failed      int              `json:"failed"`
	Attempts    int              `json:"attempts"`
	QueuedAt    time.Time        `json:"queued_at"`
	NextAt      *time.Time       `json:"next_at,omitempty"`
	EndedAt     *time.Time       `json:"ended_at,omitempty"`
	Error       string           `json:"error,omitempty"`
}

func forwardItemOf(i forward.Item) forwardItemJSON {
	out := forwardItemJSON{
		ID: strconv.FormatInt(i.ID, 10), RuleName: i.Rule, Target: strconv.FormatInt(i.Target.ID, 10), Kind: kindOf(i.Target), To: i.Target.Title(),
		Facility: i.Facility.Code, StudyUID: i.StudyUID, SeriesUID: i.SeriesUID, Patient: pacs.DisplayName(i.Patient), Date: i.Date,
		Modalities: append([]string{}, i.Modalities...), Description: i.Study, Occasion: i.Occasion, State: i.State, Held: i.Held, Priority: i.Priority,
		Total: i.Total, Sent: i.Sent, Failed: i.Failed, Attempts: i.Attempts, QueuedAt: i.QueuedAt, Error: i.LastError,
	}
	if i.RuleID != 0 {
		out.Rule = strconv.FormatInt(i.RuleID, 10)
	}
	if i.State == forward.Waiting || i.State == forward.Scheduled {
		out.NextAt = &i.NextAt
	}
	if !i.EndedAt.IsZero() {
		out.EndedAt = &i.EndedAt
	}
	return out
}

// filterOf makes a filter of what was asked for; "" asks for everything.
func filterOf(states []string, rule, target, study string) (forward.ItemFilter, error) {
	q := forward.ItemFilter{StudyUID: study}
	bad := func(text string) error {
		return pacs.Errorf(pacs.Invalid, "%.100q is not something that the queue can be asked for", text).WithReason("refused", "")
	}
	for _, state := range states {
		if !slices.Contains(forward.States, forward.State(state)) {
			return q, bad(state)
		}
		q.States = append(q.States, forward.State(state))
	}
	for _, id := range []struct {
		text string
		to   *int64
	}{{rule, &q.RuleID}, {target, &q.TargetID}} {
		if id.text == "" {
			continue
		}
		row, err := rowOf(id.text)
		if err != nil {
			return q, bad(id.text)
		}
		*id.to = row
	}
	if !validText(study) {
		return q, bad(study)
	}
	return q, nil
}

// validText tells whether a text can be a UID.
func validText(uid string) bool {
	return len(uid) <= 64 && strings.Trim(uid, "0123456789.") == ""
}

func (s *sending) queue(c *gin.Context) error {
	var states []string
	if text := c.Query("state"); text != "" {
		states = strings.Split(text, ",")
	}
	q, err := filterOf(states, c.Query("rule"), c.Query("target"), c.Query("study"))
	if err != nil {
		return err
	}
	for name, to := range map[string]func(int64){"after": func(n int64) { q.After = n }, "limit": func(n int64) { q.Limit = int(min(n, 100)) }} {
		text := c.Query(name)
		if text == "" {
			continue
		}
		n, err := rowOf(text)
		if err != nil {
			return pacs.Errorf(pacs.Invalid, "%s is a number", name).WithReason("refused", "")
		}
		to(n)
	}
	list, next, err := s.forwarding.Items(c.Request.Context(), web.Identity(c), q)
	if err != nil {
		return err
	}
	out := make([]forwardItemJSON, len(list))
	for i, item := range list {
		out[i] = forwardItemOf(item)
	}
	answer := gin.H{"items": out}
	if next != 0 {
		answer["next"] = strconv.FormatInt(next, 10)
	}
	c.JSON(http.StatusOK, answer)
	return nil
}

func (s *sending) item(c *gin.Context) error {
	id, err := rowOf(c.Param("id"))
	if err != nil {
		return err
	}
	item, bad, err := s.forwarding.Item(c.Request.Context(), web.Identity(c), id)
	if err != nil {
		return err
	}
	instances := make([]gin.H, len(bad))
	for i, b := range bad {
		instances[i] = gin.H{"sop_uid": b.SOPInstanceUID, "why": b.Why}
	}
	c.JSON(http.StatusOK, gin.H{"item": forwardItemOf(item), "instances": instances})
	return nil
}

func (s *sending) act(c *gin.Context) error {
	var in struct {
		Act    forward.Act `json:"act"`
		Items  []string    `json:"items"`
		States []string    `json:"states"`
		Rule   string      `json:"rule"`
		Target string      `json:"target"`
		Study  string      `json:"study"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	q, err := filterOf(in.States, in.Rule, in.Target, in.Study)
	if err != nil {
		return err
	}
	if in.Items == nil && len(in.States) == 0 && in.Rule == "" && in.Target == "" && in.Study == "" {
		return pacs.Errorf(pacs.Invalid, "Say with which items: name them, or a rule, a target, a study or states").WithReason("refused", "")
	}
	var ids []int64
	if in.Items != nil {
		ids = []int64{}
	}
	for _, text := range in.Items {
		id, err := rowOf(text)
		if err != nil {
			return pacs.Errorf(pacs.Invalid, "%.50q is not an item", text).WithReason("refused", "")
		}
		ids = append(ids, id)
	}
	count, err := s.forwarding.Do(c.Request.Context(), web.Identity(c), in.Act, ids, q)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"count": count})
	return nil
}
