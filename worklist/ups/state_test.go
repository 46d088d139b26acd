package ups

import (
	"fmt"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

const (
	right = "1.2.840.1.1"
	wrong = "1.2.840.1.2"
)

// Every cell of PS3.4 Table CC.1.1-2, typed from the standard, over the network.
// The columns are null, SCHEDULED, IN PROGRESS, COMPLETED, CANCELED; after is the
// state that the step has then where the request was carried out.
func TestEveryCellOfTheStateTable(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	n := 0
	// in makes a step that is in a state.
	in := func(state State) string {
		n++
		uid := fmt.Sprintf("1.2.3.9.%d", n)
		if state == none {
			return uid
		}
		wantCode(t, "create", p.create(uid, pushable()).Code, 0)
		if state == Scheduled {
			return uid
		}
		wantCode(t, "claim", p.state(uid, InProgress, right), 0)
		// So that a cancel request reaches somebody, and final states are met.
		wantCode(t, "subscribe", p.subscribe(uid, false), 0)
		wantCode(t, "set", p.set(uid, right, performedAll()).Code, 0)
		if state != InProgress {
			wantCode(t, "end", p.state(uid, state, right), 0)
		}
		return uid
	}
	changed := func(to State, transaction string) func(string) dimse.Code {
		return func(uid string) dimse.Code { return p.state(uid, to, transaction) }
	}
	for _, row := range []struct {
		name  string
		ask   func(uid string) dimse.Code
		want  [5]dimse.Code
		after [5]State
	}{
		{
			"N-CREATE", func(uid string) dimse.Code { return p.create(uid, pushable()).Code },
			[5]dimse.Code{0, 0x0111, 0x0111, 0x0111, 0x0111},
			[5]State{Scheduled},
		},
		{
			"to IN PROGRESS", changed(InProgress, right),
			[5]dimse.Code{0xC307, 0, 0xC302, 0xC300, 0xC300},
			[5]State{none, InProgress},
		},
		{
			"to IN PROGRESS, wrong UID", changed(InProgress, wrong),
			[5]dimse.Code{0xC307, 0, 0xC301, 0xC301, 0xC301},
			[5]State{none, InProgress},
		}, // there is no wrong one yet
		{
			"to IN PROGRESS, no UID", changed(InProgress, ""),
			[5]dimse.Code{0xC307, 0xC301, 0xC301, 0xC301, 0xC301},
			[5]State{},
		},
		{
			"to SCHEDULED", changed(Scheduled, right),
			[5]dimse.Code{0xC307, 0xC303, 0xC303, 0xC303, 0xC303},
			[5]State{},
		},
		{
			"to COMPLETED", changed(Completed, right),
			[5]dimse.Code{0xC307, 0xC310, 0, 0xB306, 0xC300},
			[5]State{none, none, Completed},
		},
		{
			"to COMPLETED, wrong UID", changed(Completed, wrong),
			[5]dimse.Code{0xC307, 0xC310, 0xC301, 0xC301, 0xC301},
			[5]State{},
		},
		{
			"to COMPLETED, no UID", changed(Completed, ""),
			[5]dimse.Code{0xC307, 0xC301, 0xC301, 0xC301, 0xC301},
			[5]State{},
		},
		{
			"request cancel", func(uid string) dimse.Code { return p.cancel(uid, nil) },
			[5]dimse.Code{0xC307, 0, 0, 0xC311, 0xB304},
			[5]State{none, Canceled, InProgress},
		},
		{
			"to CANCELED", changed(Canceled, right),
			[5]dimse.Code{0xC307, 0xC310, 0, 0xC300, 0xB304},
			[5]State{none, none, Canceled},
		},
		{
			"to CANCELED, wrong UID", changed(Canceled, wrong),
			[5]dimse.Code{0xC307, 0xC310, 0xC301, 0xC301, 0xC301},
			[5]State{},
		},
		{
			"to CANCELED, no UID", changed(Canceled, ""),
			[5]dimse.Code{0xC307, 0xC301, 0xC301, 0xC301, 0xC301},
			[5]State{},
		},
	} {
		for i, state := range []State{none, Scheduled, InProgress, Completed, Canceled} {
			uid := in(state)
			what := fmt.Sprintf("%s in state %q", row.name, state)
			wantCode(t, what, row.ask(uid), row.want[i])
			after := state
			if row.after[i] != none {
				after = row.after[i]
			}
			if after != none && s.stateOf(uid) != after {
				t.Errorf("%s: now %s, want %s", what, s.stateOf(uid), after)
			}
		}
	}
	for _, row := range transitions {
		for i, cell := range row {
			if (cell.status == dimse.Success) == (cell.do == nothing) {
				t.Errorf("column %d has neither or both: %+v", i, cell)
			}
		}
	}
	if len(transitions) != 9 {
		t.Errorf("%d rows", len(transitions))
	}
	wantCode(t, "no such state", p.state(in(Scheduled), "PAUSED", right), dimse.InvalidAttributeValue)
}

// Each operation and each type of action is carried out in contexts of the
// classes that have it, and refused in the others. PS3.4 Tables CC.2-1 to CC.2-5.
func TestOperationsByClass(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	wantCode(t, "create", p.create("1.2.3", pushable()).Code, 0)
	refused := map[string]dimse.Code{}
	for _, class := range classes {
		for name, ask := range map[string]func() dimse.Code{
			"N-CREATE": func() dimse.Code {
				return p.must(p.NCreate(t.Context(), dimse.NRequest{SOPClassUID: PushSOPClass, AbstractSyntax: class, SOPInstanceUID: dicom.NewUID(), DataSet: pushable()})).Code
			},
			"N-GET": func() dimse.Code {
				return p.must(p.NGet(t.Context(), dimse.NRequest{SOPClassUID: PushSOPClass, AbstractSyntax: class, SOPInstanceUID: "1.2.3"})).Code
			},
			"N-SET": func() dimse.Code {
				return p.must(p.NSet(t.Context(), dimse.NRequest{SOPClassUID: PushSOPClass, AbstractSyntax: class, SOPInstanceUID: "1.2.3", DataSet: keys(dicom.TagWorklistLabel, "W")})).Code
			},
			"action 1": func() dimse.Code {
				return p.action(class, "1.2.4", 1, keys(dicom.TagProcedureStepState, "IN PROGRESS", dicom.TagTransactionUID, right)).Code
			},
			"action 2": func() dimse.Code { return p.action(class, "1.2.4", 2, nil).Code },
			"action 3": func() dimse.Code {
				return p.action(class, "1.2.4", 3, receiving("PULLER").SetString(dicom.TagDeletionLock, dicom.LO, "FALSE")).Code
			},
			"action 4": func() dimse.Code { return p.action(class, "1.2.4", 4, receiving("PULLER")).Code },
			"action 5": func() dimse.Code { return p.action(class, GlobalSubscription, 5, receiving("PULLER")).Code },
			"action 6": func() dimse.Code { return p.action(class, "1.2.4", 6, receiving("PULLER")).Code },
			"C-FIND": func() dimse.Code {
				status, err := p.Find(t.Context(), class, keys(dicom.TagSOPInstanceUID, "1.2.3"), func(*dicom.Dataset, bool) error { return nil })
				if err != nil {
					t.Fatal(err)
				}
				return status.Code
			},
		} {
			switch code := ask(); code {
			case dimse.NoSuchAction, dimse.UnrecognizedOperation, dimse.SOPClassNotSupported:
				refused[class+" "+name] = code
			}
		}
	}
	carried := map[string][]string{
		PushSOPClass:  {"N-CREATE", "N-GET", "action 2"},
		WatchSOPClass: {"N-GET", "C-FIND", "action 2", "action 3", "action 4", "action 5"},
		PullSOPClass:  {"N-GET", "N-SET", "C-FIND", "action 1"},
		EventSOPClass: nil,
		QuerySOPClass: {"C-FIND"},
	}
	total := 0
	for class, list := range carried {
		total += 10 - len(list)
		for _, name := range list {
			if code, no := refused[class+" "+name]; no {
				t.Errorf("%s in a context of %s: %s", name, dicom.SOPClassName(class), code)
			}
		}
	}
	if len(refused) != total {
		t.Errorf("%d combinations are refused, want %d: %v", len(refused), total, refused)
	}
}
