package quarantine_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
)

// TestKilledWhileKeeping ends the process at every call to the object store on
// the way into quarantine: what was acknowledged is there once afterwards.
func TestKilledWhileKeeping(t *testing.T) {
	for calls := range 3 {
		t.Run(fmt.Sprint(calls), func(t *testing.T) {
			a := newArchive(t)
			a.store.dieAfter(calls)
			if _, err := a.journal.Receive(t.Context(), image{study: "-"}.incoming(t)); err != nil {
				t.Fatal(err)
			}
			if calls < 2 { // one for the bytes, one for what is known of them
				a.eventually("the store died", func() bool { a.store.mu.Lock(); defer a.store.mu.Unlock(); return a.store.left < 0 })
			}
			a.reopen()
			a.idle()
			item := a.only()
			if !bytes.HasSuffix(a.file(item.ID), image{study: "-"}.encoded(t)) {
				t.Error("the file does not hold what was sent")
			}
			if n := len(a.objects("")); n != 2 {
				t.Errorf("%d objects", n)
			}
		})
	}
}

// TestKilledWhileReleasing does the same on the way out: afterwards the
// instance is archived once, and nothing of the item is left.
func TestKilledWhileReleasing(t *testing.T) {
	for calls := range 4 { // the pack, then the item's two objects
		t.Run(fmt.Sprint(calls), func(t *testing.T) {
			a := newArchive(t)
			a.send(image{}, image{patient: "P2", sop: "1.2.3.1.2"})
			id := a.only().ID
			a.store.dieAfter(calls)
			released, _, err := a.ward.Release(t.Context(), a.admin, []string{id}, quarantine.Correction{Patient: quarantine.Given{PatientID: given("P1")}})
			if err != nil || len(released) != 1 {
				t.Fatal(released, err)
			}
			if calls < 3 {
				a.eventually("the store died", func() bool { a.store.mu.Lock(); defer a.store.mu.Unlock(); return a.store.left < 0 })
				if len(a.list()) != 0 {
					t.Error("it shows while it is being released")
				}
			}
			a.reopen()
			a.idle()
			a.gone()
			if s := a.study("1.2.3"); s.InstanceCount != 2 {
				t.Errorf("%d instances", s.InstanceCount)
			}
			if n := a.count(`SELECT count(*) FROM instance WHERE sop_uid = '1.2.3.1.2'`); n != 1 {
				t.Errorf("%d versions", n)
			}
			if n := a.count(`SELECT count(*) FROM change WHERE kind = 'quarantine.released'`); n != 1 {
				t.Errorf("%d times in the feed", n)
			}
		})
	}
}

// TestAReleaseThatWasLost: with the journal of its node gone, the item shows
// again and can be released once more.
func TestAReleaseThatWasLost(t *testing.T) {
	a := newArchive(t)
	a.send(image{}, image{patient: "P2", sop: "1.2.3.1.2"})
	id := a.only().ID
	if _, err := a.index.Pool().Exec(t.Context(), `UPDATE quarantine_item SET state = 'releasing', releasing_at = clock_timestamp()`); err != nil {
		t.Fatal(err)
	}
	if len(a.list()) != 0 {
		t.Error("it shows while it is being released")
	}
	a.refused(quarantine.Correction{Patient: quarantine.Given{PatientID: given("P1")}}, id)
	if _, err := a.index.Pool().Exec(t.Context(), `UPDATE quarantine_item SET releasing_at = clock_timestamp() - interval '11 minutes'`); err != nil {
		t.Fatal(err)
	}
	a.release(quarantine.Correction{Patient: quarantine.Given{PatientID: given("P1")}}, a.only().ID)
	a.gone()
}

// TestAReleaseThatDoesNotFitInTheEnd: what was free when the release was
// granted is taken when it is published. The item is back, with the reason.
func TestAReleaseThatDoesNotFitInTheEnd(t *testing.T) {
	a := newArchive(t)
	a.send(image{}, image{patient: "P2", sop: "1.2.3.1.2"})
	id := a.only().ID
	a.store.dieAfter(0) // nothing is published meanwhile
	if released, refused, err := a.ward.Release(t.Context(), a.admin, []string{id}, quarantine.Correction{Patient: quarantine.Given{PatientID: given("P1")}}); len(released) != 1 {
		t.Fatal(refused, err)
	}
	a.eventually("the store died", func() bool { a.store.mu.Lock(); defer a.store.mu.Unlock(); return a.store.left < 0 })
	if _, err := a.index.Pool().Exec(t.Context(), `UPDATE patient SET patient_id = 'P3'`); err != nil {
		t.Fatal(err)
	}
	a.reopen()
	a.idle()
	if item := a.only(); item.ID != id || item.Patient.PatientID != "P2" {
		t.Errorf("%+v", item)
	}
	if n := len(a.objects("quarantine/")); n != 2 {
		t.Errorf("%d objects", n)
	}
	a.release(quarantine.Correction{Patient: quarantine.Given{PatientID: given("P3")}}, id)
	a.gone()
}

// TestKilledWhileDiscarding: what was decided is finished.
func TestKilledWhileDiscarding(t *testing.T) {
	for calls := range 2 {
		t.Run(fmt.Sprint(calls), func(t *testing.T) {
			a := newArchive(t)
			a.send(image{study: "-"})
			a.store.dieAfter(calls)
			if n, err := a.ward.Discard(t.Context(), a.admin, []string{a.only().ID}, "test"); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if len(a.list()) != 0 {
				t.Error("it shows although it is discarded")
			}
			a.reopen()
			stop := a.look()
			a.eventually("it is gone", func() bool { return a.count(`SELECT count(*) FROM quarantine_item WHERE state <> 'gone'`) == 0 })
			stop()
			a.gone()
		})
	}
}
