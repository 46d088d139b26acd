package api

import (
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist"
)

type (
	groupJSON struct {
		ID      string   `json:"id"`
		Name    string   `json:"name"`
		Members []string `json:"members"`
	}
	ruleJSON struct {
		ID              string            `json:"id"`
		Position        int               `json:"position"`
		Name            string            `json:"name"`
		Condition       string            `json:"condition"`
		Group           string            `json:"group"`
		Priority        worklist.Priority `json:"priority"`
		DeadlineMinutes int               `json:"deadline_minutes"`
		Active          *bool             `json:"active"`
	}
)

const maxMinutes = 1_000_000

func groupObject(id int64) string { return "group:" + text(id) }
func ruleObject(id int64) string  { return "rule:" + text(id) }

func groupOf(g worklist.Group) groupJSON {
	out := groupJSON{ID: text(g.ID), Name: g.Name, Members: make([]string, len(g.Members))}
	for i, id := range g.Members {
		out.Members[i] = text(id)
	}
	return out
}

func (g groupJSON) group(id int64) (worklist.Group, error) {
	out := worklist.Group{ID: id, Name: g.Name, Members: make([]int64, len(g.Members))}
	for i, member := range g.Members {
		n, err := strconv.ParseInt(member, 10, 64)
		if err != nil {
			return out, pacs.Errorf(pacs.Invalid, "%q is not the id of a person", member)
		}
		out.Members[i] = n
	}
	return out, nil
}

func (a *API) listGroups(c *gin.Context) {
	groups, err := a.Worklist.Groups(c.Request.Context())
	out := make([]groupJSON, len(groups))
	for i, g := range groups {
		out[i] = groupOf(g)
	}
	answer(c, ok, gin.H{"groups": out}, err)
}

func (a *API) addGroup(c *gin.Context) {
	var in groupJSON
	if err := web.Body(c, &in); err != nil {
		web.Problem(c, err)
		return
	}
	g, err := in.group(0)
	if err == nil {
		g, err = a.Worklist.AddGroup(c.Request.Context(), g)
	}
	if err == nil {
		err = a.record(c, addedGroup, groupObject(g.ID), 0)
	}
	answer(c, created, groupOf(g), err)
}

func (a *API) updateGroup(c *gin.Context) {
	var in groupJSON
	id, err := number(c, "id")
	if err == nil {
		err = web.Body(c, &in)
	}
	var g worklist.Group
	if err == nil {
		g, err = in.group(id)
	}
	if err == nil {
		err = a.Worklist.UpdateGroup(c.Request.Context(), g)
	}
	if err == nil {
		err = a.record(c, changedGroup, groupObject(id), 0)
	}
	answer(c, ok, groupOf(g), err)
}

func ruleOf(r worklist.Rule) ruleJSON {
	return ruleJSON{
		ID: text(r.ID), Position: r.Position, Name: r.Name, Condition: r.Condition, Group: text(r.GroupID),
		Priority: r.Priority, DeadlineMinutes: int(r.Deadline / time.Minute), Active: &r.Active,
	}
}

func (r ruleJSON) rule(id int64) (worklist.Rule, error) {
	group, err := strconv.ParseInt(r.Group, 10, 64)
	if err != nil {
		return worklist.Rule{}, pacs.Errorf(pacs.Invalid, "Choose the reading group the rule sends to")
	}
	if r.DeadlineMinutes < 0 || r.DeadlineMinutes > maxMinutes {
		r.DeadlineMinutes = 0 // refused by the worklist, in its words; as a duration it would overflow
	}
	return worklist.Rule{
		ID: id, Position: r.Position, Name: r.Name, Condition: r.Condition, GroupID: group,
		Priority: r.Priority, Deadline: time.Duration(r.DeadlineMinutes) * time.Minute, Active: r.Active == nil || *r.Active,
	}, nil
}

func (a *API) listRules(c *gin.Context) {
	rules, err := a.Worklist.Rules(c.Request.Context())
	out := make([]ruleJSON, len(rules))
	for i, r := range rules {
		out[i] = ruleOf(r)
	}
	answer(c, ok, gin.H{"rules": out}, err)
}

func (a *API) addRule(c *gin.Context) {
	var in ruleJSON
	if err := web.Body(c, &in); err != nil {
		web.Problem(c, err)
		return
	}
	r, err := in.rule(0)
	if err == nil {
		r, err = a.Worklist.AddRule(c.Request.Context(), r)
	}
	if err == nil {
		err = a.record(c, addedRule, ruleObject(r.ID), 0)
	}
	answer(c, created, ruleOf(r), err)
}

func (a *API) updateRule(c *gin.Context) {
	var in ruleJSON
	id, err := number(c, "id")
	if err == nil {
		err = web.Body(c, &in)
	}
	var r worklist.Rule
	if err == nil {
		r, err = in.rule(id)
	}
	if err == nil {
		r, err = a.Worklist.UpdateRule(c.Request.Context(), r)
	}
	if err == nil {
		err = a.record(c, changedRule, ruleObject(id), 0)
	}
	answer(c, ok, ruleOf(r), err)
}

func (a *API) removeRule(c *gin.Context) {
	id, err := number(c, "id")
	if err == nil {
		err = a.Worklist.RemoveRule(c.Request.Context(), id)
	}
	if err == nil {
		err = a.record(c, removedRule, ruleObject(id), 0)
	}
	done(c, noContent, err)
}
