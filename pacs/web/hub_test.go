package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/events"
)

// stream is an open GET /api/events.
type stream struct {
	*testing.T
	body    io.ReadCloser
	scanner *bufio.Scanner
}

func (b *browser) stream() *stream {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), "GET", b.http.URL+"/api/events", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.AddCookie(b.cookie)
	r.Header.Set("Accept-Encoding", "gzip") // and yet it must come uncompressed
	response, err := b.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" || response.Header.Get("Content-Encoding") != "" ||
		response.Header.Get("Cache-Control") != "no-store" {
		b.Fatalf("%s %v", response.Status, response.Header)
	}
	s := &stream{T: b.T, body: response.Body, scanner: bufio.NewScanner(response.Body)}
	s.want(`hello {"version":"test"}`)
	return s
}

// next returns the next event as "type data".
func (s *stream) next() (event string, ok bool) {
	for s.scanner.Scan() {
		line := s.scanner.Text()
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			event = name
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return event + " " + data, true
		}
	}
	return "", false
}

func (s *stream) want(event string) {
	s.Helper()
	if got, ok := s.next(); !ok || got != event {
		s.Fatalf("heard %q (%v), want %q", got, ok, event)
	}
}

// run lets the server's hub hear the database, and waits until it does.
func (s *site) run() {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.server.Hub().Run(ctx, s.pool, s.server.log)
	}()
	s.Cleanup(func() { cancel(); <-done })
}

// listeners waits until n connections listen.
func (s *site) listeners(n int) {
	s.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var have int
		if err := s.pool.QueryRow(s.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND query = 'LISTEN `+events.Channel+`' AND state = 'idle'`).Scan(&have); err != nil {
			s.Fatal(err)
		}
		if have == n {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("%d connections listen, want %d", have, n)
		}
	}
}

// An event committed at one node is heard by clients of both, and only by
// those who may.
func TestEventsAcrossNodes(t *testing.T) {
	s := open(t, nil)
	s.run()
	clinicianA := s.browser("clinician-a", pacs.Clinician, "A")
	radiologist := s.browser("radiologist", pacs.Radiologist)
	first, second := *s, *s
	second.start(nil)
	second.run()
	s.listeners(2)
	radiologistThere := *radiologist
	radiologistThere.site = &second
	clinicianB := second.browser("clinician-b", pacs.Clinician, "B")

	a, r, r2, b := clinicianA.stream(), radiologist.stream(), radiologistThere.stream(), clinicianB.stream()

	notify := func(event events.Event) {
		t.Helper()
		if err := events.Notify(t.Context(), first.pool, event); err != nil {
			t.Fatal(err)
		}
	}
	// In a transaction that fails, it never happened.
	_ = pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
		if err := events.Notify(t.Context(), tx, events.Event{Type: events.Study, Data: map[string]string{"study_uid": "undone"}}); err != nil {
			t.Fatal(err)
		}
		return io.EOF
	})
	notify(events.Event{Type: events.Task, Data: map[string]string{"id": "1", "study_uid": "1.2"}, Facility: s.a.ID})
	notify(events.Event{Type: events.Study, Data: map[string]string{"study_uid": "1.2"}, Facility: s.a.ID})
	notify(events.Event{Type: events.Study, Data: map[string]string{"study_uid": "1.3"}, Facility: s.b.ID})
	notify(events.Event{Type: events.Study, Data: map[string]string{"study_uid": "end"}})

	task, studyA, studyB, end := `task {"id":"1","study_uid":"1.2"}`, `study {"study_uid":"1.2"}`, `study {"study_uid":"1.3"}`, `study {"study_uid":"end"}`
	for _, step := range []struct {
		who  *stream
		want []string
	}{
		{r, []string{task, studyA, studyB, end}},
		{r2, []string{task, studyA, studyB, end}},
		{a, []string{studyA, end}}, // no tasks, nothing of B
		{b, []string{studyB, end}},
	} {
		for _, want := range step.want {
			step.who.want(want)
		}
	}
}

func TestEventsCarryIdentifiersOnly(t *testing.T) {
	s := open(t, nil)
	err := events.Notify(t.Context(), s.pool, events.Event{Type: events.Study, Data: strings.Repeat("x", 8000)})
	if pacs.CodeOf(err) != pacs.Invalid {
		t.Errorf("%v", err)
	}
}

// After the connection to the database was lost, clients are told that they
// may have missed something.
func TestEventsAfterAGap(t *testing.T) {
	s := open(t, nil)
	s.run()
	s.listeners(1)
	e := s.browser("radiologist", pacs.Radiologist).stream()
	if _, err := s.pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND query = 'LISTEN `+events.Channel+`'`); err != nil {
		t.Fatal(err)
	}
	e.want(`hello {"version":"test"}`)
	if err := events.Notify(t.Context(), s.pool, events.Event{Type: events.Study, Data: map[string]string{"study_uid": "1"}}); err != nil {
		t.Fatal(err)
	}
	e.want(`study {"study_uid":"1"}`)
}

// A client that does not read gets another hello instead of holding up others or
// filling memory.
func TestSlowClient(t *testing.T) {
	hub := NewHub(nil)
	slow, err := hub.subscribe(access.System("test"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 * subscriberQueue {
		if err := hub.Publish(events.Event{Type: "x", Data: i}); err != nil {
			t.Fatal(err)
		}
	}
	if len(slow.queue) != subscriberQueue || !slow.missed.Load() {
		t.Errorf("%d events wait, missed: %v", len(slow.queue), slow.missed.Load())
	}

	// Over HTTP: the stream's reader pauses, and hears hello when it goes on.
	s := open(t, nil)
	b := s.browser("radiologist", pacs.Radiologist)
	raw, err := net.Dial("tcp", strings.TrimPrefix(s.http.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(raw, "GET /api/events HTTP/1.1\r\nHost: x\r\nCookie: %s=%s\r\n\r\n", sessionCookie, b.cookie.Value)
	reader := bufio.NewReader(raw)
	for line := ""; !strings.HasPrefix(line, "event: hello"); {
		if line, err = reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	big := strings.Repeat("x", 7000)
	var only *subscriber
	s.server.hub.mu.Lock()
	for only = range s.server.hub.subscribers {
	}
	s.server.hub.mu.Unlock()
	for !only.missed.Load() { // until all buffers between are full
		if err := s.server.Hub().Publish(events.Event{Type: "x", Data: big}); err != nil {
			t.Fatal(err)
		}
	}
	// Through a window of 4 KB what waits would take minutes, and the server
	// drops a client that slow.
	_ = raw.(*net.TCPConn).SetReadBuffer(4 << 20)
	for line := ""; !strings.HasPrefix(line, "event: hello"); {
		if line, err = reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	hub := NewHub(nil)
	var last *subscriber
	for range maxPerCaller {
		s, err := hub.subscribe(access.System("one"))
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	if _, err := hub.subscribe(access.System("one")); pacs.CodeOf(err) != pacs.Unavailable {
		t.Errorf("%v", err)
	}
	if _, err := hub.subscribe(access.System("another")); err != nil {
		t.Errorf("one caller used up another's streams: %v", err)
	}
	hub.unsubscribe(last)
	if _, err := hub.subscribe(access.System("one")); err != nil {
		t.Error(err)
	}
	_ = hub.Close()
	_ = hub.Close()
	if _, err := hub.subscribe(access.System("another")); pacs.CodeOf(err) != pacs.Unavailable {
		t.Errorf("%v", err)
	}
	select {
	case <-last.end:
		t.Error("a stream that has left was ended again")
	default:
	}
}
