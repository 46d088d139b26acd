package forward

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// Of a rule of series, only those go for which its condition holds; of other
// facilities nothing does.
func TestForwardSeries(t *testing.T) {
	a := newArchive(t)
	ws := newStation(t, nil)
	a.device("WS", ws.address)
	a.rule("WS", func(r *Rule) {
		r.Level, r.Facilities = SeriesLevel, []string{"URGUT"}
		r.Condition = `series.modality == "CT" && "CT1" in series.senders && series.description.startsWith("Series") && study.patient_age > 18 && series.instances < 3`
	})
	a.receive(
		image{study: "1.2.3", series: "1.2.3.1"}, image{study: "1.2.3", series: "1.2.3.2", modality: "SR"},
		image{study: "1.2.3", series: "1.2.3.3", sender: "CT2"}, image{study: "1.2.3", series: "1.2.3.4", number: 7},
		image{study: "1.2.4", facility: "NUKUS", patient: "P2"},
	)
	a.completed("1.2.3")
	a.completed("1.2.4")
	a.until("two series are sent", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == 2 })
	got := ws.images()
	slices.Sort(got)
	if !slices.Equal(got, []string{"1.2.3.1.1", "1.2.3.4.7"}) || len(a.items(ItemFilter{})) != 2 {
		t.Errorf("%v was sent", got)
	}
}

// Images go as they arrive where a rule says so.
func TestForwardOnArrival(t *testing.T) {
	a := newArchive(t)
	ws := newStation(t, nil)
	a.device("WS", ws.address)
	a.rule("WS", func(r *Rule) { r.Occasion = OnArrival })
	for n := range 3 {
		a.receive(image{number: n + 1})
		if err := a.Decide(t.Context(), Args{Occasion: OnArrival, StudyID: a.studyID("1.2.3")}); err != nil {
			t.Fatal(err)
		}
		a.until("it is there", func() bool { return len(ws.images()) == n+1 })
	}
	a.comes("1.2.3", Sent)
}

// Nothing is sent of what is paused, by itself, its rule or its target; it goes on
// where it was.
func TestForwardPaused(t *testing.T) {
	a := newArchive(t)
	ws := newStation(t, nil)
	a.device("WS", ws.address)
	r := a.rule("WS")
	a.receive(images("1.2.3", 2)...)
	do := func(act Act) {
		t.Helper()
		if n, err := a.Do(t.Context(), a.admin, act, nil, ItemFilter{RuleID: r.ID}); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	for what, steps := range map[string][2]func() error{
		"rule": {
			func() error { _, err := a.PauseRule(t.Context(), a.admin, r.ID, true); return err },
			func() error { _, err := a.PauseRule(t.Context(), a.admin, r.ID, false); return err },
		},
		"target": {
			func() error { _, err := a.PauseTarget(t.Context(), a.admin, r.Target.ID, true); return err },
			func() error { _, err := a.PauseTarget(t.Context(), a.admin, r.Target.ID, false); return err },
		},
	} {
		if err := steps[0](); err != nil {
			t.Fatal(err)
		}
		a.completed("1.2.3")
		if _, ok, err := a.claim(t.Context()); ok || err != nil {
			t.Errorf("the %s is paused, and its item is taken: %v", what, err)
		}
		if i := a.item("1.2.3"); i.State != Waiting || !i.Held {
			t.Errorf("%+v", i)
		}
		if what == "rule" {
			do(Pause)
			do(Resume)
		}
		if err := steps[1](); err != nil {
			t.Fatal(err)
		}
		a.comes("1.2.3", Sent)
	}
	if got := ws.images(); len(got) != 2 {
		t.Errorf("%v", got)
	}
	// What was cancelled stays so, whatever comes.
	do(Replay)
	a.comes("1.2.3", Sent)
	a.exec(`UPDATE forward_item SET state = 'failed'`)
	do(Cancel)
	a.receive(image{number: 3})
	a.completed("1.2.3")
	if i := a.item("1.2.3"); i.State != Cancelled {
		t.Errorf("%+v", i)
	}
}

// Earlier studies of the patient go where one is expected: also those of another
// hospital where the patient has the same national number, as far as the device may
// see them.
func TestPriors(t *testing.T) {
	expected := Expected{Modalities: []string{"CT"}, Description: "CT head"}
	a := newArchive(t, func(o *Options) {
		o.Order = func(_ context.Context, id string) (Expected, error) {
			if id != "order-1" {
				return Expected{}, pacs.Errorf(pacs.NotFound, "There is no such order")
			}
			return expected, nil
		}
	})
	local, national := newStation(t, nil), newStation(t, nil)
	a.device("LOCAL", local.address)
	a.device("NATIONAL", national.address, func(d *access.Device) { d.AllFacilities = true })
	const pinfl = "31234567890123"
	a.receive(
		image{study: "1.2.1", date: "20100101", pinfl: pinfl}, // too old
		image{study: "1.2.2", date: "20240101"},
		image{study: "1.2.3", date: "20250101", modality: "MR"},
		image{study: "1.2.4", date: "20250601"},
		image{study: "1.2.5", date: "20251201", facility: "NUKUS", patient: "N9", pinfl: pinfl},
		image{study: "1.2.6", date: "20251201", patient: "SOMEBODY"},
	)
	for _, ae := range []string{"LOCAL", "NATIONAL"} {
		a.rule(ae, func(r *Rule) {
			r.Occasion, r.Priors, r.Condition = OnOrder, &Priors{Count: 2, Years: 5, SameModality: true}, `"CT" in study.modalities`
		})
	}
	expected.Facility.ID, expected.Facility.Code = int64(a.number(`SELECT id FROM facility WHERE code = 'URGUT'`)), "URGUT"
	expected.Patient = pacs.Patient{Issuer: "URGUT", PatientID: "P1"}
	order := func() {
		t.Helper()
		if err := a.Decide(t.Context(), Args{Occasion: OnOrder, Order: "order-1"}); err != nil {
			t.Fatal(err)
		}
	}
	order()
	all := func(n int) {
		t.Helper()
		a.until("all is sent", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == n })
	}
	all(4)
	has := func(s *station, want ...string) {
		t.Helper()
		got := s.images()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("sent: %v, not %v", got, want)
		}
	}
	has(local, "1.2.2.1.1", "1.2.4.1.1")
	has(national, "1.2.4.1.1", "1.2.5.1.1")

	order() // a second order of the same morning
	all(4)
	has(local, "1.2.2.1.1", "1.2.4.1.1")
	a.pass(2 * freshFor)
	order() // the workstation may have cleared its disk since
	a.until("they are sent again", func() bool { return len(local.images()) == 4 && len(national.images()) == 4 })
	all(4)
	if err := a.Decide(t.Context(), Args{Occasion: OnOrder, Order: "gone"}); err != nil {
		t.Error(err)
	}

	// A study that arrives is an occasion, too; it is not its own prior.
	a.rule("LOCAL", func(r *Rule) {
		r.Name, r.Occasion, r.Priors = "on arrival", OnArrival, &Priors{Count: 10, SameBodyPart: true}
	})
	a.receive(image{study: "1.2.7", date: "20260302"})
	if err := a.Decide(t.Context(), Args{Occasion: OnArrival, StudyID: a.studyID("1.2.7")}); err != nil {
		t.Fatal(err)
	}
	all(8)
	has(local, "1.2.1.1.1", "1.2.2.1.1", "1.2.2.1.1", "1.2.2.1.1", "1.2.3.1.1", "1.2.4.1.1", "1.2.4.1.1", "1.2.4.1.1")
}

// A trial looks at the last seven days and sends nothing.
func TestTry(t *testing.T) {
	a := newArchive(t)
	a.pass(time.Since(a.clock.Now()))
	ws := newStation(t, nil)
	a.device("WS", ws.address)
	a.receive(image{study: "1.2.3"}, image{study: "1.2.3", series: "1.2.3.9"}, image{study: "1.2.4", modality: "MR"}, image{study: "1.2.5"})
	a.exec(`UPDATE study SET received_at = received_at - interval '8 days' WHERE study_uid = '1.2.5'`)
	r := Rule{Name: "T", Occasion: OnComplete, Level: SeriesLevel, Target: Target{AETitle: "WS"}, Priority: Low, Condition: `series.modality == "CT"`}
	found, err := a.Try(t.Context(), a.admin, r)
	if err != nil || found.Looked != 2 || found.Studies != 1 || found.Series != 2 || len(found.Samples) != 1 || found.More {
		t.Errorf("%+v %v", found, err)
	}
	if len(a.items(ItemFilter{})) != 0 {
		t.Error("a trial has queued something")
	}
}
