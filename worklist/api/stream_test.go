package api_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/events"
)

// stream is what a caller hears: "TYPE DATA", but for greetings and probes.
type stream struct {
	*caller
	heard chan string
}

const probe = "probe"

// listen opens a caller's event stream and returns when events arrive on it.
func (c *caller) listen() *stream {
	c.Helper()
	s := &stream{caller: c, heard: make(chan string, 100)}
	ctx, stop := context.WithCancel(context.Background())
	c.Cleanup(stop)
	r, err := http.NewRequestWithContext(ctx, "GET", c.URL+"/api/events", nil)
	if err != nil {
		c.Fatal(err)
	}
	r.AddCookie(c.Cookie)
	response, err := c.Client.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	probed := make(chan struct{}, 1)
	go func() {
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		event := ""
		for lines.Scan() {
			if name, found := strings.CutPrefix(lines.Text(), "event: "); found {
				event = name
			}
			data, found := strings.CutPrefix(lines.Text(), "data: ")
			switch {
			case !found || event == "hello" || event == "resync":
			case event == probe:
				select {
				case probed <- struct{}{}:
				default:
				}
			default:
				s.heard <- event + " " + data
			}
		}
	}()
	for deadline := time.Now().Add(time.Minute); ; {
		if err := events.Notify(c.Context(), c.h.Index.Pool(), events.Event{Type: probe, Data: map[string]string{}}); err != nil {
			c.Fatal(err)
		}
		select {
		case <-probed:
			for len(s.heard) > 0 {
				<-s.heard // of before
			}
			return s
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			c.Fatal("no event arrives")
		}
	}
}

// next fails the test unless the next thing heard is a type of event that has
// a word in its data.
func (s *stream) next(event, word string) {
	s.Helper()
	select {
	case got := <-s.heard:
		if !strings.HasPrefix(got, event+" ") || !strings.Contains(got, word) {
			s.Errorf("%s hears %s, want %s with %s", s.User.Login, got, event, word)
		}
	case <-time.After(time.Minute):
		s.Errorf("%s does not hear %s with %s", s.User.Login, event, word)
	}
}

// A claim is heard by those who may see the task, and by nobody else: what they
// hear next is something of later.
func TestEventsKeepToTheScope(t *testing.T) {
	h := open(t)
	me := h.signIn(h.Radiologist("me"))
	inA, inB := h.Task("A"), h.Task("B")
	all, onlyB := h.person("all", pacs.Radiologist).listen(), h.person("only-b", pacs.Radiologist, "B").listen()
	clinician, technician := h.person("clinician", pacs.Clinician, "A").listen(), h.person("technician", pacs.Technician, "A").listen()

	me.Do("POST", "/api/tasks/"+inA.ID+"/claim", nil).Want(200)
	me.Do("POST", "/api/tasks/"+inB.ID+"/claim", nil).Want(200)
	all.next("task", inA.ID)
	all.next("task", inB.ID)
	onlyB.next("task", inB.ID)

	me.draft(inA, findings, 0).Want(200)
	id := me.Do("POST", "/api/tasks/"+inA.ID+"/report/sign", map[string]int{"revision": 1}).Want(200).Field("id")
	all.next("report", id) // the draft
	all.next("task", inA.ID)
	all.next("report", id)
	clinician.next("report", id)
	if err := h.reports.Requeue(t.Context(), pacs.System("test"), "", id, 1); err != nil {
		t.Fatal(err)
	}
	all.next("delivery", id)

	me.Do("POST", "/api/tasks/"+inB.ID+"/release", nil).Want(200)
	onlyB.next("task", inB.ID)
	for _, facility := range []pacs.Facility{h.A, h.B} {
		if err := events.Notify(t.Context(), h.Index.Pool(), events.Event{Type: events.Study, Data: map[string]string{"study_uid": facility.Code}, Facility: facility.ID}); err != nil {
			t.Fatal(err)
		}
	}
	onlyB.next("study", `"B"`)
	technician.next("study", `"A"`)
	clinician.next("report", id) // the signature
	clinician.next("study", `"A"`)
}
