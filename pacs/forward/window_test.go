package forward

import (
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

func TestWindow(t *testing.T) {
	h := func(hours float64) time.Duration { return time.Duration(hours * float64(time.Hour)) }
	tashkent, err := time.LoadLocation(DefaultZone)
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		when, err := time.ParseInLocation("2006-01-02 15:04", text, tashkent)
		if err != nil {
			t.Fatal(err)
		}
		return when.UTC() // whatever zone a clock is in
	}
	night := Window{From: h(20), Until: h(6), Zone: DefaultZone}
	office := Window{From: h(9), Until: h(17.5), Zone: DefaultZone, Days: []time.Weekday{time.Monday, time.Tuesday}}
	friday := Window{From: h(22), Until: h(4), Zone: DefaultZone, Days: []time.Weekday{time.Friday}}
	sunday := Window{Zone: DefaultZone, Days: []time.Weekday{time.Sunday}}
	for _, c := range []struct {
		window Window
		now    string // 2 March 2026 is a Monday
		open   bool
		until  string
	}{
		{night, "2026-03-02 12:00", false, "2026-03-02 20:00"},
		{night, "2026-03-02 20:00", true, "2026-03-03 06:00"},
		{night, "2026-03-02 23:59", true, "2026-03-03 06:00"},
		{night, "2026-03-03 00:00", true, "2026-03-03 06:00"},
		{night, "2026-03-03 05:59", true, "2026-03-03 06:00"},
		{night, "2026-03-03 06:00", false, "2026-03-03 20:00"},
		{night, "2026-12-31 21:00", true, "2027-01-01 06:00"},
		{office, "2026-03-02 08:59", false, "2026-03-02 09:00"},
		{office, "2026-03-02 17:29", true, "2026-03-02 17:30"},
		{office, "2026-03-02 17:30", false, "2026-03-03 09:00"},
		{office, "2026-03-03 18:00", false, "2026-03-09 09:00"},
		{friday, "2026-03-07 03:00", true, "2026-03-07 04:00"}, // Saturday, of Friday's window
		{friday, "2026-03-06 03:00", false, "2026-03-06 22:00"},
		{friday, "2026-03-07 04:00", false, "2026-03-13 22:00"},
		{sunday, "2026-03-01 00:00", true, "2026-03-02 00:00"},
		{sunday, "2026-03-02 00:00", false, "2026-03-08 00:00"},
	} {
		open, until := c.window.At(at(c.now))
		if open != c.open || !until.Equal(at(c.until)) {
			t.Errorf("%+v at %s: open %v until %s", c.window, c.now, open, until.In(tashkent))
		}
	}
	if open, until := (*Window)(nil).At(time.Now()); !open || !until.IsZero() {
		t.Error("no window is not always open")
	}
	// Clocks that are put forward at two in the morning: the window is an hour shorter.
	berlin := Window{From: h(22), Until: h(6), Zone: "Europe/Berlin"}
	if open, until := berlin.At(time.Date(2026, 3, 28, 21, 30, 0, 0, time.UTC)); !open || !until.Equal(time.Date(2026, 3, 29, 4, 0, 0, 0, time.UTC)) {
		t.Error(open, until)
	}
	for what, w := range map[string]Window{
		"a day of 24 hours": {From: h(24)}, "before midnight": {Until: -h(1)}, "seconds": {From: time.Second}, "an eighth day": {Days: []time.Weekday{7}}, "no such zone": {Zone: "Asia/Nowhere"},
	} {
		if w.check() == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// What is queued by day goes by night, and what the night does not suffice for
// waits for the next.
func TestForwardByNight(t *testing.T) {
	a := newArchive(t)
	ws := newStation(t, nil)
	a.device("WS", ws.address)
	a.rule("WS", func(r *Rule) { r.Window = &Window{From: 20 * time.Hour, Until: 6 * time.Hour} })
	a.receive(images("1.2.3", 3)...)
	a.completed("1.2.3") // at noon
	i := a.comes("1.2.3", Scheduled)
	if want := time.Date(2026, 3, 2, 15, 0, 0, 0, time.UTC); !i.NextAt.Equal(want) || len(ws.images()) != 0 {
		t.Errorf("%+v", i)
	}
	a.pass(7*time.Hour + 59*time.Minute)
	if n := a.number(`SELECT count(*) FROM forward_item WHERE state = 'scheduled'`); n != 1 {
		t.Error("sent before its time")
	}
	a.pass(time.Minute)
	a.comes("1.2.3", Sent)

	// The window closes while the second of four is sent.
	closing := make(chan struct{})
	ws.mu.Lock()
	ws.got = nil
	ws.mu.Unlock()
	a.receive(images("1.2.4", 4)...)
	a.clock.mu.Lock()
	a.clock.now = time.Date(2026, 3, 3, 0, 59, 0, 0, time.UTC)
	a.clock.mu.Unlock()
	ws.mu.Lock()
	taken := 0
	ws.answer = func(string) dimse.Status {
		if taken++; taken == 2 {
			a.clock.mu.Lock()
			a.clock.now = a.clock.now.Add(time.Minute)
			a.clock.mu.Unlock()
			close(closing)
		}
		return dimse.Status{}
	}
	ws.mu.Unlock()
	a.completed("1.2.4")
	<-closing
	i = a.comes("1.2.4", Scheduled)
	if i.Sent == 0 || i.Sent == 4 || !i.NextAt.Equal(time.Date(2026, 3, 3, 15, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", i)
	}
	a.pass(15 * time.Hour)
	a.comes("1.2.4", Sent)
	if got := ws.images(); len(got) != 4 {
		t.Errorf("%v", got)
	}
}
