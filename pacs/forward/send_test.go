package forward

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

func images(study string, n int) (list []image) {
	for i := range n {
		list = append(list, image{study: study, number: i + 1})
	}
	return list
}

// A study that is complete goes to the device, and what comes later goes alone.
func TestForwardStudy(t *testing.T) {
	a := newArchive(t)
	ws := newStation(t, nil)
	a.device("WS", ws.address)
	a.rule("WS")
	a.receive(images("1.2.3", 5)...)
	a.completed("1.2.3")
	i := a.comes("1.2.3", Sent)
	if i.Sent != 5 || i.Failed != 0 || i.Total != 5 || i.EndedAt.IsZero() {
		t.Errorf("%+v", i)
	}
	if got := ws.images(); len(got) != 5 {
		t.Fatalf("the station has %v", got)
	}

	a.completed("1.2.3") // again, and nothing is new
	a.comes("1.2.3", Sent)
	a.receive(image{study: "1.2.3", number: 6}, image{study: "1.2.3", number: 2, marker: "B"})
	a.completed("1.2.3")
	a.until("what is new is sent", func() bool { return len(ws.images()) == 7 })
	i = a.comes("1.2.3", Sent)
	if got := ws.images()[5:]; !slices.Contains(got, "1.2.3.1.6") || !slices.Contains(got, "1.2.3.1.2") || i.Sent != 6 {
		t.Errorf("%v was sent later: %+v", got, i)
	}

	// Replayed, all of it goes again; cancelled items don't.
	if n, err := a.Do(t.Context(), a.admin, Replay, []int64{i.ID}, ItemFilter{}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.until("everything is sent again", func() bool { return len(ws.images()) == 13 })
	a.comes("1.2.3", Sent)
}

// What was refused for good is given up, what may pass is tried again.
func TestForwardRefused(t *testing.T) {
	a := newArchive(t)
	full := true
	ws := newStation(t, func(sop string) dimse.Status {
		switch {
		case strings.HasSuffix(sop, ".2"):
			return dimse.Statusf(dimse.CannotUnderstand, "no pixels")
		case strings.HasSuffix(sop, ".3") && full:
			full = false
			return dimse.Statusf(dimse.OutOfResources, "disk full")
		}
		return dimse.Status{}
	})
	a.device("WS", ws.address)
	a.rule("WS")
	a.receive(images("1.2.3", 4)...)
	a.completed("1.2.3")
	a.until("it is to be tried again", func() bool { i := a.item("1.2.3"); return i.State == Waiting && i.Attempts == 1 })
	i := a.item("1.2.3")
	if i.Sent != 2 || i.Failed != 2 || !strings.Contains(i.LastError, "2 instances") || !i.NextAt.After(a.clock.Now()) {
		t.Errorf("%+v", i)
	}
	_, bad, err := a.Item(t.Context(), a.admin, i.ID)
	if err != nil || len(bad) != 2 || !strings.Contains(bad[0].Why, "no pixels") {
		t.Errorf("%v %v", bad, err)
	}
	a.pass(time.Minute)
	i = a.comes("1.2.3", Failed)
	if i.Sent != 3 || i.Failed != 1 || !strings.Contains(i.LastError, "no pixels") {
		t.Errorf("%+v", i)
	}
	if got := ws.images(); len(got) != 3 {
		t.Errorf("sent more than once: %v", got)
	}
}

// A station that is off for an hour gets everything when it is back, and holds up
// nobody else.
func TestForwardToWhoIsOff(t *testing.T) {
	a := newArchive(t)
	off, on := newStation(t, nil), newStation(t, nil)
	off.stop()
	a.device("OFF", off.address)
	a.device("ON", on.address)
	a.rule("OFF")
	a.rule("ON")
	for n := range 5 {
		a.receive(images(fmt.Sprintf("1.2.%d", n+1), 2)...)
		a.completed(fmt.Sprintf("1.2.%d", n+1))
	}
	a.until("the others are served", func() bool { return len(on.images()) == 10 })
	var target Target
	a.until("the target rests", func() bool {
		list, err := a.Targets(t.Context(), a.admin)
		if err != nil {
			t.Fatal(err)
		}
		target = list[slices.IndexFunc(list, func(t Target) bool { return t.AETitle == "OFF" })]
		return target.Failures > 0
	})
	if !target.RestingUntil.After(a.clock.Now()) || !strings.Contains(target.LastError, "can't be reached") {
		t.Errorf("%+v", target)
	}
	for range 12 {
		failures := target.Failures
		a.pass(10 * time.Minute)
		a.until("it is tried again", func() bool {
			list, _ := a.Targets(t.Context(), a.admin)
			target = list[slices.IndexFunc(list, func(t Target) bool { return t.AETitle == "OFF" })]
			return target.Failures > failures || target.RestingUntil.After(a.clock.Now())
		})
	}
	off.again(t)
	a.pass(15 * time.Minute)
	a.until("it has everything", func() bool { return len(off.images()) == 10 })
	a.until("everything is sent", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == 10 })
}

// Nobody is tried for longer than the rule says.
func TestForwardGivesUp(t *testing.T) {
	a := newArchive(t)
	off := newStation(t, nil)
	off.stop()
	a.device("OFF", off.address)
	a.rule("OFF", func(r *Rule) { r.Retries = 2 * time.Hour })
	a.receive(images("1.2.3", 1)...)
	a.completed("1.2.3")
	a.until("it was tried", func() bool { return a.item("1.2.3").Attempts > 0 })
	a.pass(3 * time.Hour)
	i := a.comes("1.2.3", Failed)
	if i.Attempts != 2 || !strings.Contains(i.LastError, "OFF") {
		t.Errorf("%+v", i)
	}
	off.again(t)
	if n, err := a.Do(t.Context(), a.admin, Retry, nil, ItemFilter{States: []State{Failed}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.comes("1.2.3", Sent)
}

// The time that a window is closed does not put off giving up.
func TestForwardGivesUpByNight(t *testing.T) {
	a := newArchive(t)
	off := newStation(t, nil)
	off.stop()
	a.device("OFF", off.address)
	a.rule("OFF", func(r *Rule) {
		r.Retries, r.Window = 30*time.Hour, &Window{From: 20 * time.Hour, Until: 22 * time.Hour}
	})
	a.receive(images("1.2.3", 1)...)
	a.completed("1.2.3")
	a.comes("1.2.3", Scheduled)
	a.pass(8 * time.Hour) // eight in the evening
	a.until("it was tried", func() bool { return a.item("1.2.3").Attempts == 1 })
	a.pass(3 * time.Hour)
	a.comes("1.2.3", Scheduled)
	a.pass(21 * time.Hour) // the next evening
	a.until("it was tried again", func() bool { return a.item("1.2.3").Attempts == 2 })
	a.pass(3 * time.Hour)
	a.comes("1.2.3", Scheduled)
	a.pass(21 * time.Hour)
	if i := a.comes("1.2.3", Failed); i.Attempts != 3 {
		t.Errorf("%+v", i)
	}
}
