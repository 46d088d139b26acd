package orders_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

// What nobody gave is given at entry, and what was given is kept as it is.
func TestCreateGivesNumbers(t *testing.T) {
	s := open(t)
	first := s.enter()
	if first.Accession == "" || len(first.Accession) > 16 || first.Procedure.ID != first.Accession || first.Steps[0].ID != first.Accession+"-1" {
		t.Errorf("numbers %q %q %q", first.Accession, first.Procedure.ID, first.Steps[0].ID)
	}
	if err := dicom.ValidUID(first.StudyUID); err != nil {
		t.Error(err)
	}
	if first.State != orders.Scheduled || first.Patient.Issuer != "A" || first.Steps[0].Description != "Bosh KT" || !first.Steps[0].Start.Equal(at(9, 30)) || first.Revision != 1 {
		t.Errorf("entered %+v", first)
	}
	unknown := s.enter(func(o *orders.Order) { o.Patient.PatientID = "" })
	if unknown.Patient.PatientID == "" || unknown.Accession == first.Accession || unknown.StudyUID == first.StudyUID {
		t.Errorf("entered %+v", unknown)
	}
	whole := s.enter(func(o *orders.Order) {
		o.Accession, o.Placer, o.Filler, o.StudyUID, o.Patient.Issuer = "1234567890123456", "PL/1", "F1", "1.2.3", "MOH"
		o.Procedure = orders.Procedure{ID: "RP1", Description: "Ko‘krak", Code: orders.Code{Value: "CT01", Scheme: "99UZ", Meaning: "Chest"}}
		o.Steps = append(o.Steps, orders.Step{
			ID: "S2", Modality: "cr ", Start: at(8, 0), Description: "PA", Code: orders.Code{Value: "X", Scheme: "99UZ"}, Physician: "Ким^Виктория", Location: "2-qavat", Medication: "Yo‘q",
		})
	})
	if whole.Accession != "1234567890123456" || whole.Patient.Issuer != "MOH" || whole.StudyUID != "1.2.3" || whole.Steps[0].ID != "12345678901234-1" ||
		whole.Steps[1].Modality != "CR" || whole.Steps[1].Code.Value != "X" || whole.Procedure.Code.Meaning != "Chest" || whole.Steps[1].Medication != "Yo‘q" {
		t.Errorf("entered %+v", whole)
	}
	s.WantAudited("order.create", "system:test order:"+first.ID, "system:test order:"+unknown.ID, "system:test order:"+whole.ID)
	history, err := s.Orders.History(t.Context(), first.ID)
	if err != nil || len(history) != 1 || history[0].What != "created" || history[0].Who != "system:test" {
		t.Errorf("history %+v, %v", history, err)
	}
	// A generated number that somebody has given by hand before is passed by.
	var next int64
	if err := s.Index.Pool().QueryRow(t.Context(), `SELECT last_value + 2 FROM imaging_order_number`).Scan(&next); err != nil {
		t.Fatal(err)
	}
	s.enter(func(o *orders.Order) { o.Accession, o.Patient.PatientID = fmt.Sprintf("TV%08d", next), "P" })
	if one, two := s.enter(), s.enter(); one.Accession == two.Accession {
		t.Error("one accession number twice")
	}
}

// Whoever repeats a request gets one order, also at the same moment.
func TestCreateIsIdempotentByPlacer(t *testing.T) {
	s := open(t)
	order := headCT()
	order.Placer = "HIS-77"
	ids := make([]string, 8)
	made := make([]bool, len(ids))
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			entered, created, err := s.Orders.Create(context.Background(), s.by, order)
			if err != nil {
				t.Error(err)
			}
			ids[i], made[i] = entered.ID, created
		})
	}
	all.Wait()
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 1 || len(slices.DeleteFunc(made, func(b bool) bool { return !b })) != 1 {
		t.Errorf("orders %v, made %v", ids, made)
	}
	// Numbers are a facility's own; a Study Instance UID is the world's.
	elsewhere := s.enter(func(o *orders.Order) { o.Placer, o.Facility.Code = "HIS-77", "B" })
	order.Placer, order.Accession = "", s.get(ids[0]).Accession
	_, _, err := s.Orders.Create(t.Context(), s.by, order)
	worklisttest.WantCode(t, err, pacs.Conflict, "accession_taken")
	order.Accession, order.StudyUID = "", elsewhere.StudyUID
	_, _, err = s.Orders.Create(t.Context(), s.by, order)
	worklisttest.WantCode(t, err, pacs.Conflict, "study_uid_taken")
}

func TestWhatIsRefused(t *testing.T) {
	s := open(t)
	for name, change := range map[string]func(*orders.Order){
		"no name":        func(o *orders.Order) { o.Patient.Name = "^^" },
		"long accession": func(o *orders.Order) { o.Accession = "12345678901234567" },
		"backslash":      func(o *orders.Order) { o.Placer = `a\b` },
		"NUL":            func(o *orders.Order) { o.Patient.Name = "A\x00B" },
		"not UTF-8":      func(o *orders.Order) { o.Department = "\xff" },
		"long name":      func(o *orders.Order) { o.Patient.Name = strings.Repeat("ў", 65) },
		"no such day":    func(o *orders.Order) { o.Patient.BirthDate = "20260230" },
		"sex":            func(o *orders.Order) { o.Patient.Sex = "X" },
		"PINFL":          func(o *orders.Order) { o.Patient.PINFL = "123" },
		"no step":        func(o *orders.Order) { o.Steps = nil },
		"many steps":     func(o *orders.Order) { o.Steps = make([]orders.Step, 21) },
		"no modality":    func(o *orders.Order) { o.Steps[0].Modality = "" },
		"no time":        func(o *orders.Order) { o.Steps[0].Start = time.Time{} },
		"station":        func(o *orders.Order) { o.Steps[0].Stations = []string{"MORE THAN 16 CHARACTERS"} },
		"half a code":    func(o *orders.Order) { o.Procedure.Code.Value = "X" },
		"same step twice": func(o *orders.Order) {
			o.Steps = []orders.Step{{ID: "1", Modality: "CT", Start: at(9, 0)}, {ID: "1", Modality: "CT", Start: at(9, 0)}}
		},
		"UID":           func(o *orders.Order) { o.StudyUID = "1.02" },
		"priority":      func(o *orders.Order) { o.Priority = "now" },
		"long question": func(o *orders.Order) { o.Question = strings.Repeat("?", 2001) },
	} {
		o := headCT()
		change(&o)
		_, _, err := s.Orders.Create(t.Context(), s.by, o)
		if pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := headCT()
	o.Facility.Code = "NOWHERE"
	_, _, err := s.Orders.Create(t.Context(), s.by, o)
	worklisttest.WantCode(t, err, pacs.NotFound, "")
}

func TestUpdate(t *testing.T) {
	s := open(t)
	o := s.enter()
	edit := o
	edit.Accession, edit.StudyUID = "", "" // what is empty stays
	edit.Patient.Name, edit.Priority = "Karimov^Ali", worklist.Stat
	edit.Steps = append(slices.Clone(o.Steps), orders.Step{Modality: "CT", Start: at(8, 0)})
	changed, err := s.Orders.Update(t.Context(), s.by, edit)
	if err != nil {
		t.Fatal(err)
	}
	if changed.Revision != 2 || changed.Accession != o.Accession || changed.StudyUID != o.StudyUID || changed.Patient.Name != "Karimov^Ali" || len(changed.Steps) != 2 || changed.Steps[1].ID != o.Accession+"-2" {
		t.Errorf("changed to %+v", changed)
	}
	_, err = s.Orders.Update(t.Context(), s.by, edit)
	worklisttest.WantCode(t, err, pacs.Conflict, "stale_revision")
	other := s.enter(func(o *orders.Order) { o.Placer = "X" })
	edit = changed
	edit.Placer = "X"
	_, err = s.Orders.Update(t.Context(), s.by, edit)
	worklisttest.WantCode(t, err, pacs.Conflict, "placer_taken")
	edit.Placer, edit.Accession = "", other.Accession
	_, err = s.Orders.Update(t.Context(), s.by, edit)
	worklisttest.WantCode(t, err, pacs.Conflict, "accession_taken")

	// Once it is begun, only what readers are told can change.
	s.report(changed, 1, orders.InProgress)
	edit = s.wantState(o.ID, orders.InProgress)
	edit.Question = "Shishmi?"
	if edit, err = s.Orders.Update(t.Context(), s.by, edit); err != nil || edit.Question != "Shishmi?" || edit.Steps[0].State != orders.InProgress || !edit.Steps[0].Performed {
		t.Errorf("%+v, %v", edit, err)
	}
	edit.Patient.Name = "Somebody^Else"
	_, err = s.Orders.Update(t.Context(), s.by, edit)
	worklisttest.WantCode(t, err, pacs.Conflict, "order_started")
}

// report is what a modality says of a step.
func (s *site) report(o orders.Order, position int, state orders.State) {
	s.Helper()
	if err := pgx.BeginFunc(s.Context(), s.Index.Pool(), func(tx pgx.Tx) error {
		return orders.Report(s.Context(), tx, orders.Performed{Order: o.ID, Position: position}, state, "ae:CT1")
	}); err != nil {
		s.Fatal(err)
	}
}

func TestMoves(t *testing.T) {
	s := open(t)
	o := s.enter()
	move := func(to orders.State, why string) error {
		t.Helper()
		moved, err := s.Orders.Move(t.Context(), s.by, o.ID, o.Revision, to, why)
		if err == nil {
			o = moved
		}
		return err
	}
	if err := move(orders.Arrived, ""); err != nil || o.State != orders.Arrived || o.Steps[0].State != orders.Arrived {
		t.Errorf("%+v, %v", o, err)
	}
	worklisttest.WantCode(t, move(orders.Cancelled, " "), pacs.Invalid, "")
	worklisttest.WantCode(t, move(orders.Discontinued, "x"), pacs.Conflict, "order_state")
	worklisttest.WantCode(t, move("lost", "x"), pacs.Invalid, "")
	before := o
	if err := move(orders.Cancelled, "Bemor kelmadi"); err != nil || o.Steps[0].State != orders.Cancelled {
		t.Errorf("%+v, %v", o, err)
	}
	_, err := s.Orders.Update(t.Context(), s.by, o)
	worklisttest.WantCode(t, err, pacs.Conflict, "order_started")
	_, err = s.Orders.Move(t.Context(), s.by, o.ID, before.Revision, orders.Scheduled, "")
	worklisttest.WantCode(t, err, pacs.Conflict, "stale_revision")
	if err := move(orders.Scheduled, ""); err != nil || o.Steps[0].State != orders.Scheduled {
		t.Errorf("%+v, %v", o, err)
	}
	if err := move(orders.Completed, ""); err != nil {
		t.Error(err)
	}
	s.WantAudited("order.cancelled", "system:test order:"+o.ID)
	history, _ := s.Orders.History(t.Context(), o.ID)
	var lines []string
	for _, e := range history {
		lines = append(lines, strings.TrimSpace(e.What+" "+e.Why))
	}
	if diff := cmp.Diff([]string{"created", "arrived", "cancelled Bemor kelmadi", "scheduled", "completed"}, lines); diff != "" {
		t.Error(diff)
	}
}

// Who may what, and where.
func TestScope(t *testing.T) {
	s := open(t)
	inA, inB := s.enter(), s.enter(func(o *orders.Order) { o.Facility.Code = "B" })
	clerk := s.person("clerk", pacs.Registrar, "A")
	if _, err := s.Orders.Get(t.Context(), clerk.Scope, inA.ID); err != nil {
		t.Error(err)
	}
	_, err := s.Orders.Get(t.Context(), clerk.Scope, inB.ID)
	worklisttest.WantCode(t, err, pacs.NotFound, "")
	_, err = s.Orders.Move(t.Context(), clerk, inB.ID, 1, orders.Arrived, "")
	worklisttest.WantCode(t, err, pacs.NotFound, "")
	edit := inB
	_, err = s.Orders.Update(t.Context(), clerk, edit)
	worklisttest.WantCode(t, err, pacs.NotFound, "")
	o := headCT()
	o.Facility.Code = "B"
	_, _, err = s.Orders.Create(t.Context(), clerk, o)
	worklisttest.WantCode(t, err, pacs.NotFound, "")
	reader := s.person("reader", pacs.Radiologist)
	_, _, err = s.Orders.Create(t.Context(), reader, headCT())
	worklisttest.WantCode(t, err, pacs.Forbidden, "")
	list, _, err := s.Orders.List(t.Context(), clerk.Scope, orders.Filter{})
	if err != nil || len(list) != 1 || list[0].ID != inA.ID {
		t.Errorf("%d orders, %v", len(list), err)
	}
	known, err := s.Orders.Patients(t.Context(), clerk.Scope, "karimov", "")
	if err != nil || len(known) != 1 || known[0].Facility.Code != "A" {
		t.Errorf("%+v, %v", known, err)
	}
	_, err = s.Orders.Patients(t.Context(), clerk.Scope, " *", "")
	worklisttest.WantCode(t, err, pacs.Invalid, "")
	if list, _, err := s.Orders.List(t.Context(), pacs.Scope{}, orders.Filter{}); err != nil || len(list) != 0 {
		t.Errorf("%d orders in no scope, %v", len(list), err)
	}
	if _, err := s.Access.AddDevice(t.Context(), access.System("test"), access.Device{AETitle: "CT1", FacilityCode: "A", Description: "CT"}); err != nil {
		t.Fatal(err)
	}
	for facility, want := range map[string]int{"": 1, "A": 1, "B": 0} {
		if stations, err := s.Orders.Stations(t.Context(), clerk.Scope, facility); err != nil || len(stations) != want {
			t.Errorf("%d stations of %q, %v", len(stations), facility, err)
		}
	}
}

func TestList(t *testing.T) {
	s := open(t)
	for _, e := range []struct {
		name, patient, modality, station string
		start                            time.Time
	}{
		{"Каримов^Али", "P1", "CT", "CT1", at(9, 0)},
		{"Qodirova^Hilola", "P2", "MR", "", at(10, 0)},
		{"Ўринбоев^Ғани", "P3", "CT", "CT2", at(8, 0)},
		{"Kim^Viktoriya", "P4", "CT", "CT1", at(0, 0).AddDate(0, 0, 1)},
	} {
		s.enter(func(o *orders.Order) {
			o.Patient.Name, o.Patient.PatientID, o.Accession, o.Patient.PINFL = e.name, e.patient, "A-"+e.patient, "3123456789000"+e.patient[1:]
			o.Placer = "HIS" + e.patient
			o.Steps[0] = orders.Step{Modality: e.modality, Start: e.start}
			if e.station != "" {
				o.Steps[0].Stations = []string{e.station}
			}
		})
	}
	all := pacs.System("test")
	for name, row := range map[string]struct {
		f    orders.Filter
		want string
	}{
		"all, latest first": {orders.Filter{}, "P4 P2 P1 P3"},
		"day":               {orders.Filter{From: "20261122", To: "20261122"}, "P3 P1 P2"},
		"from":              {orders.Filter{From: "20261123"}, "P4"},
		"modality":          {orders.Filter{Modality: "MR"}, "P2"},
		"station":           {orders.Filter{Station: "CT2"}, "P2 P3"},
		"state":             {orders.Filter{State: orders.Arrived}, ""},
		"facility":          {orders.Filter{Facility: "B"}, ""},
		"Cyrillic by Latin": {orders.Filter{Text: "karimov"}, "P1"},
		"Latin by Cyrillic": {orders.Filter{Text: "кодир хилол"}, "P2"},
		"Uzbek letters":     {orders.Filter{Text: "o'rinboyev g'ani"}, "P3"},
		"accession":         {orders.Filter{Text: "A-P"}, "P4 P2 P1 P3"},
		"patient ID":        {orders.Filter{Text: "P4"}, "P4"},
		"PINFL":             {orders.Filter{Text: "31234567890002"}, "P2"},
		"placer":            {orders.Filter{Text: "HISP3"}, "P3"},
		"nobody":            {orders.Filter{Text: "100%"}, ""},
	} {
		list, next, err := s.Orders.List(t.Context(), all, row.f)
		var got []string
		for _, o := range list {
			got = append(got, o.Patient.PatientID)
		}
		if text := strings.Join(got, " "); err != nil || text != row.want || next != "" {
			t.Errorf("%s: %q, want %q; next %q, %v", name, text, row.want, next, err)
		}
	}
	for _, f := range []orders.Filter{{}, {From: "20261101"}} {
		var got []string
		whole, _, _ := s.Orders.List(t.Context(), all, f)
		for pages := 0; pages == 0 || f.After != ""; pages++ {
			f.Limit = 1
			list, next, err := s.Orders.List(t.Context(), all, f)
			if err != nil || len(list) != 1 {
				t.Fatalf("%d, %v", len(list), err)
			}
			got, f.After = append(got, list[0].ID), next
		}
		for i := range whole {
			if len(got) != len(whole) || got[i] != whole[i].ID {
				t.Fatalf("by pages %v", got)
			}
		}
	}
	for _, f := range []orders.Filter{{From: "today"}, {State: "gone"}, {After: "x"}} {
		_, _, err := s.Orders.List(t.Context(), all, f)
		worklisttest.WantCode(t, err, pacs.Invalid, "")
	}
}

// Images find their order by the study UID that was given at entry, or by the
// accession number if the patient is the same; they bring it forward where no
// modality reports.
func TestImagesArrive(t *testing.T) {
	s := open(t)
	byUID := s.enter()
	byNumber := s.enter(func(o *orders.Order) { o.Accession = "N1" })
	otherPerson := s.enter(func(o *orders.Order) { o.Accession = "N2" })
	elsewhere := s.enter(func(o *orders.Order) { o.Facility.Code, o.Accession = "B", "N3" })
	late := s.enter(func(o *orders.Order) { o.Accession = "N4" })
	cancelled := s.enter()
	if _, err := s.Orders.Move(t.Context(), s.by, cancelled.ID, 1, orders.Cancelled, "no"); err != nil {
		t.Fatal(err)
	}

	study := s.Study("A", func(a *index.Addition) { a.Study.StudyInstanceUID, a.Patient.PatientID = byUID.StudyUID, "typed wrong" })
	if got := s.wantState(byUID.ID, orders.InProgress); len(got.Studies) != 1 || got.Studies[0].StudyUID != study.StudyInstanceUID || got.Studies[0].Complete || got.Studies[0].Instances != 4 {
		t.Errorf("studies %+v", got.Studies)
	}
	task := s.Complete(study)
	s.wantState(byUID.ID, orders.Completed)
	if task.Priority != worklist.Urgent || time.Until(task.Deadline) > 4*time.Hour {
		t.Errorf("the task is %s until %s", task.Priority, task.Deadline)
	}
	history, _ := s.Orders.History(t.Context(), byUID.ID)
	if n := len(history); n != 4 || history[1].What != "images" || history[3].Who != "system:images" {
		t.Errorf("history %+v", history)
	}

	// The same person by name and birth date, under another ID.
	s.Study("A", func(a *index.Addition) {
		a.Study.StudyInstanceUID, a.Study.AccessionNumber, a.Patient.Name = "1.2.3.1", "N1", "KARIMOV^ALI^BAXTIYOROVICH"
	})
	s.wantState(byNumber.ID, orders.InProgress)
	s.Study("A", func(a *index.Addition) {
		a.Study.StudyInstanceUID, a.Study.AccessionNumber, a.Patient.Name = "1.2.3.2", "N2", "Yusupova^Malika"
	})
	s.wantState(otherPerson.ID, orders.Scheduled)
	s.Study("A", func(a *index.Addition) { a.Study.StudyInstanceUID, a.Study.AccessionNumber = "1.2.3.3", "N3" })
	s.wantState(elsewhere.ID, orders.Scheduled)
	s.Study("A", func(a *index.Addition) { a.Study.StudyInstanceUID = cancelled.StudyUID })
	s.wantState(cancelled.ID, orders.InProgress) // it was performed after all

	// An order that is entered after its images have come.
	done := s.Study("A", func(a *index.Addition) { a.Study.StudyInstanceUID, a.Study.AccessionNumber = "1.2.3.4", "N5" })
	s.Complete(done)
	after := s.enter(func(o *orders.Order) { o.Accession = "N5" })
	s.wantState(after.ID, orders.Completed)
	if asked, err := s.Worklist.RequestsOf(t.Context(), []int64{done.ID, study.ID, 0}); err != nil || len(asked) != 2 || asked[done.ID].Order != after.ID || asked[study.ID].Text() != "Insult\nQon quyilishi bormi?" {
		t.Errorf("requests %+v, %v", asked, err)
	}
	s.wantState(late.ID, orders.Scheduled)
}

// A modality's word on a step goes before what images tell.
func TestModalityReports(t *testing.T) {
	s := open(t)
	o := s.enter(func(o *orders.Order) {
		o.Steps = []orders.Step{{Modality: "CT", Start: at(9, 0)}, {Modality: "MR", Start: at(10, 0)}}
	})
	s.report(o, 1, orders.InProgress)
	s.wantState(o.ID, orders.InProgress)
	study := s.Study("A", func(a *index.Addition) { a.Study.StudyInstanceUID = o.StudyUID })
	s.Complete(study)
	if got := s.wantState(o.ID, orders.InProgress); got.Steps[0].State != orders.InProgress || got.Steps[1].State != orders.Scheduled {
		t.Errorf("steps %+v", got.Steps)
	}
	s.report(o, 1, orders.Discontinued)
	s.wantState(o.ID, orders.InProgress)
	s.report(o, 2, orders.Completed)
	s.wantState(o.ID, orders.Completed)

	find := func(ref orders.StepRef, modality string) (found orders.Performed, ok bool) {
		t.Helper()
		if err := pgx.BeginFunc(t.Context(), s.Index.Pool(), func(tx pgx.Tx) (err error) {
			found, ok, err = orders.FindStep(t.Context(), tx, s.A.ID, ref, modality)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return found, ok
	}
	for name, row := range map[string]struct {
		ref      orders.StepRef
		modality string
		want     int
	}{
		"study and step":     {orders.StepRef{StudyUID: o.StudyUID, Step: o.Steps[1].ID}, "CT", 2},
		"accession and step": {orders.StepRef{Accession: o.Accession, Step: o.Steps[0].ID}, "", 1},
		"modality":           {orders.StepRef{Accession: o.Accession}, "MR", 2},
		"unclear":            {orders.StepRef{Accession: o.Accession}, "US", 0},
		"unscheduled":        {orders.StepRef{StudyUID: "1.2"}, "CT", 0},
	} {
		found, ok := find(row.ref, row.modality)
		if ok != (row.want > 0) || ok && (found.Order != o.ID || found.Position != row.want) {
			t.Errorf("%s: %+v %v", name, found, ok)
		}
	}
}

func TestWaiting(t *testing.T) {
	s := open(t)
	var all []string
	for i := range 5 {
		o := s.enter(func(o *orders.Order) { o.Steps[0].Start = at(9, i) })
		all = append(all, o.ID)
	}
	s.enter(func(o *orders.Order) { o.Facility.Code = "B" })
	ended := s.enter()
	s.report(ended, 1, orders.Completed)
	scope := pacs.Scope{FacilityIDs: []int64{s.A.ID}}
	var got []string
	var after orders.WaitingAfter
	for more := true; more; {
		var page []orders.Waiting
		var err error
		if page, after, more, err = s.Orders.Waiting(t.Context(), scope, orders.WaitingFilter{}, after, 2); err != nil {
			t.Fatal(err)
		}
		for _, w := range page {
			got = append(got, w.ID)
			if w.Step.Modality != "CT" || w.Order.Accession == "" || w.Position != 1 {
				t.Errorf("waiting %+v", w)
			}
		}
	}
	if !slices.Equal(got, all) {
		t.Errorf("waiting %v, want %v", got, all)
	}
	page, _, _, err := s.Orders.Waiting(t.Context(), scope, orders.WaitingFilter{From: at(9, 1), To: at(9, 2), Modalities: []string{"CT", "MR"}}, orders.WaitingAfter{}, 10)
	if err != nil || len(page) != 2 {
		t.Errorf("%d waiting, %v", len(page), err)
	}
}
