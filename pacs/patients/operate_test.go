package patients

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// TestImagesFollow: what comes later goes where an operation put its patient,
// changes nothing there and is nobody else's.
func TestImagesFollow(t *testing.T) {
	a := open(t)
	wrong, right := person("1", "Karimof^Ali"), person("1", "Sobirov^Ali")
	k := a.receive("1.1", wrong)
	a.correct(k, Demographics{Name: text("Sobirov^Botir"), BirthDate: text("19700102")})
	for study, p := range map[string]pacs.Patient{"1.1": wrong, "1.2": wrong} {
		if got := a.receive(study, p); got != k {
			t.Errorf("%s under the demographics before the correction is %d's, want %d", study, got, k)
		}
	}
	right.BirthDate = "19700102"
	if got := a.receive("1.3", right); got != k {
		t.Errorf("under the corrected demographics: %d's", got)
	}
	if d := a.get(k); d.Name != "Sobirov^Botir" || d.Studies != 3 || d.Received == nil || d.Received.Name != "Karimof^Ali" {
		t.Errorf("%+v", d)
	}
	if other := a.receive("1.4", pacs.Patient{Issuer: "A", PatientID: "1", Name: "Umarova^Lola", Sex: "F", BirthDate: "19990909"}); other == k {
		t.Error("somebody else under the same ID was taken for the corrected patient")
	}

	// The ID itself, twice.
	a.correct(k, Demographics{PatientID: text("22")})
	a.correct(k, Demographics{PatientID: text("333")})
	for i, id := range []string{"1", "22", "333"} {
		p := right
		p.PatientID = id
		if got := a.receive(fmt.Sprint("2.", i), p); got != k {
			t.Errorf("under ID %s: %d's, want %d", id, got, k)
		}
		if got := a.receive("1.1", p); got != k { // a further image of a study from before
			t.Errorf("a known study under ID %s: %d's", id, got)
		}
	}

	// Merged: under the old ID, and further images of the study.
	m := a.receive("3.1", person("M", "Merganov^Anvar"))
	a.merge(m, k)
	for _, study := range []string{"3.1", "3.2"} {
		if got := a.receive(study, person("M", "Merganov^Anvar")); got != k {
			t.Errorf("%s of the merged record is %d's, want %d", study, got, k)
		}
	}
	if _, err := a.Get(t.Context(), pacs.System("test"), m); pacs.CodeOf(err) != pacs.NotFound {
		t.Errorf("the merged record is still there: %v", err)
	}

	// Moved: further images go with the study, new studies don't.
	v := a.receive("4.1", person("V", "Valiyev^Sardor"))
	must(a)(a.Move(t.Context(), admin, "4.1", k, "wrong worklist entry"))
	if got := a.receive("4.1", person("V", "Valiyev^Sardor")); got != k {
		t.Errorf("a further image of a moved study is %d's", got)
	}
	if got := a.receive("4.2", person("V", "Valiyev^Sardor")); got != v {
		t.Errorf("a new study of whom the study was moved from is %d's", got)
	}

	// Split: further images go with the study.
	d := must(a)(a.Split(t.Context(), admin, k, a.get(k).Revision, []string{"4.1", "1.3"}, Demographics{Name: text("Toshev^Olim"), BirthDate: text("19550505")}, "two people"))
	if d.PatientID != "333" || d.Variant == 0 || !d.Shared || d.Studies != 2 {
		t.Errorf("the record split off: %+v", d.PatientRecord)
	}
	if got := a.receive("4.1", person("V", "Valiyev^Sardor")); got != d.ID {
		t.Errorf("a further image of a study split off is %d's, want %d", got, d.ID)
	}
	toshev := pacs.Patient{Issuer: "A", PatientID: "333", Name: "Toshev^Olim", BirthDate: "19550505"}
	if got := a.receive("5.1", toshev); got != d.ID {
		t.Errorf("a new study of the record split off is %d's, want %d", got, d.ID)
	}
	// Somebody else's image under a known study is still refused.
	if err := a.index.Add(t.Context(), add("1.1", "9.9", person("X", "Nobody^Else")), nil); pacs.CodeOf(err) != pacs.Conflict {
		t.Errorf("another patient's image of a known study: %v", err)
	}
}

// TestUndoRestores: whatever was done is as before when it is undone, and what
// came in between is not lost.
func TestUndoRestores(t *testing.T) {
	a := open(t)
	k, m := a.receive("1.1", person("1", "Karimov^Ali")), a.receive("2.1", person("2", "Merganov^Anvar"))
	for name, do := range map[string]func(){
		"correct": func() {
			a.correct(k, Demographics{Name: text("Sobirov^Botir"), PatientID: text("11"), PINFL: text("30101700000001")})
		},
		"merge": func() { a.merge(k, m) },
		"move":  func() { must(a)(a.Move(t.Context(), admin, "1.1", m, "test")) },
	} {
		before := a.picture()
		do()
		if diff := cmp.Diff(before, a.picture()); diff == "" {
			t.Errorf("%s has changed nothing", name)
		}
		var latest int64
		if err := a.pool.QueryRow(t.Context(), `SELECT max(id) FROM patient_operation`).Scan(&latest); err != nil {
			t.Fatal(err)
		}
		if d := a.undo(latest); d.ID != k {
			t.Errorf("undoing %s shows patient %d, want %d", name, d.ID, k)
		}
		if diff := cmp.Diff(before, a.picture()); diff != "" {
			t.Errorf("%s, undone:\n%s", name, diff)
		}
		_, err := a.Undo(t.Context(), admin, latest, "again")
		a.refused(err, pacs.Conflict)
	}
	h := a.get(k).History
	if len(h) != 6 || h[0].Kind != Undo || h[0].Undoes != h[1].ID || h[1].UndoneBy != h[0].ID || h[0].Undoable || h[1].Undoable {
		t.Errorf("%+v", h)
	}
	// What arrived while the records were one goes where it would have gone.
	a.merge(k, m)
	a.receive("1.2", person("1", "Karimov^Ali"))
	a.receive("2.2", person("2", "Merganov^Anvar"))
	a.undo(a.get(m).History[0].ID)
	for study, want := range map[string]int64{"1.1": k, "1.2": k, "2.1": m, "2.2": m} {
		if got := a.ownerOf(study); got != want {
			t.Errorf("%s is %d's, want %d", study, got, want)
		}
	}
	// A record that was split off and got studies of its own goes back as a whole.
	made := must(a)(a.Split(t.Context(), admin, k, a.get(k).Revision, []string{"1.2"}, Demographics{Name: text("Toshev^Olim"), PatientID: text("T")}, "test"))
	a.receive("3.1", person("T", "Toshev^Olim"))
	a.undo(made.History[0].ID)
	for _, study := range []string{"1.1", "1.2", "3.1"} {
		if got := a.ownerOf(study); got != k {
			t.Errorf("%s is %d's, want %d", study, got, k)
		}
	}
	if got := a.receive("3.2", person("T", "Toshev^Olim")); got != k {
		t.Errorf("what comes for the record that is gone is %d's, want %d", got, k)
	}
}

// TestLaterOperationsStand: what others stand on can't be pulled away.
func TestLaterOperationsStand(t *testing.T) {
	a := open(t)
	k, m, v := a.receive("1.1", person("1", "Karimov^Ali")), a.receive("2.1", person("2", "Merganov^Anvar")), a.receive("3.1", person("3", "Valiyev^Sardor"))
	first := a.correct(k, Demographics{Sex: text("F")}).History[0].ID
	second := a.correct(k, Demographics{Name: text("Karimova^Aliya")}).History[0].ID
	merged := a.merge(k, m).History[0].ID
	chain := a.merge(m, v).History[0].ID
	apart := a.correct(v, Demographics{Sex: text("O")}).History[0].ID
	for _, blocked := range []int64{first, second, merged} {
		_, err := a.Undo(t.Context(), admin, blocked, "test")
		a.refused(err, pacs.Conflict)
	}
	undoable := map[int64]bool{}
	for _, o := range a.get(v).History {
		undoable[o.ID] = o.Undoable
	}
	if !undoable[chain] || !undoable[apart] {
		t.Errorf("%v", undoable)
	}
	for _, id := range []int64{chain, merged, second, apart, first} {
		a.undo(id)
	}
	for study, want := range map[string]int64{"1.1": k, "2.1": m, "3.1": v} {
		if got := a.ownerOf(study); got != want {
			t.Errorf("%s is %d's, want %d", study, got, want)
		}
	}
	var amended int
	if err := a.pool.QueryRow(t.Context(), `SELECT count(*) FROM study WHERE amended`).Scan(&amended); err != nil || amended != 0 {
		t.Errorf("%d studies are still amended: %v", amended, err)
	}
}

func TestRefusals(t *testing.T) {
	a := open(t)
	k, m := a.receive("1.1", person("1", "Karimov^Ali")), a.receive("2.1", person("2", "Merganov^Anvar"))
	if err := a.index.Add(t.Context(), func() index.Addition {
		x := add("9.1", "9.1.1", person("1", "Karimov^Ali"))
		x.Facility = "B"
		return x
	}(), nil); err != nil {
		t.Fatal(err)
	}
	elsewhere := a.ownerOf("9.1")
	ctx, revision := t.Context(), a.get(k).Revision
	outsider := *admin
	outsider.Scope = pacs.Scope{Who: "B", FacilityIDs: []int64{a.get(elsewhere).Facility.ID}}
	must := func(_ *Detail, err error) error { return err }
	for what, c := range map[string]struct {
		err  error
		code pacs.Code
	}{
		"no reason":           {must(a.Merge(ctx, admin, k, m, revision, " ")), pacs.Invalid},
		"with itself":         {must(a.Merge(ctx, admin, k, k, revision, "x")), pacs.Invalid},
		"other facility":      {must(a.Merge(ctx, admin, k, elsewhere, revision, "x")), pacs.Invalid},
		"stale":               {must(a.Correct(ctx, admin, k, revision+1, Demographics{Sex: text("F")}, "x")), pacs.Conflict},
		"nothing new":         {must(a.Correct(ctx, admin, k, revision, Demographics{Sex: text("M")}, "x")), pacs.Invalid},
		"ID of another":       {must(a.Correct(ctx, admin, k, revision, Demographics{PatientID: text("2")}, "x")), pacs.Conflict},
		"no day":              {must(a.Correct(ctx, admin, k, revision, Demographics{BirthDate: text("19990230")}, "x")), pacs.Invalid},
		"no sex":              {must(a.Correct(ctx, admin, k, revision, Demographics{Sex: text("X")}, "x")), pacs.Invalid},
		"no PINFL":            {must(a.Correct(ctx, admin, k, revision, Demographics{PINFL: text("123")}, "x")), pacs.Invalid},
		"no name":             {must(a.Correct(ctx, admin, k, revision, Demographics{Name: text("^")}, "x")), pacs.Invalid},
		"control characters":  {must(a.Correct(ctx, admin, k, revision, Demographics{Name: text("A\x00B")}, "x")), pacs.Invalid},
		"out of scope":        {must(a.Correct(ctx, &outsider, k, revision, Demographics{Sex: text("F")}, "x")), pacs.NotFound},
		"merge out of scope":  {must(a.Merge(ctx, &outsider, k, m, revision, "x")), pacs.NotFound},
		"move out of scope":   {must(a.Move(ctx, &outsider, "1.1", elsewhere, "x")), pacs.NotFound},
		"into out of scope":   {must(a.Merge(ctx, &outsider, elsewhere, k, 1, "x")), pacs.NotFound},
		"to whom it belongs":  {must(a.Move(ctx, admin, "1.1", k, "x")), pacs.Invalid},
		"no study":            {must(a.Move(ctx, admin, "7.7", k, "x")), pacs.NotFound},
		"a study not theirs":  {must(a.Split(ctx, admin, k, revision, []string{"2.1"}, Demographics{Name: text("N")}, "x")), pacs.Invalid},
		"no studies":          {must(a.Split(ctx, admin, k, revision, nil, Demographics{Name: text("N")}, "x")), pacs.Invalid},
		"split to a known ID": {must(a.Split(ctx, admin, k, revision, []string{"1.1"}, Demographics{Name: text("N"), PatientID: text("2")}, "x")), pacs.Conflict},
		"no operation":        {must(a.Undo(ctx, admin, 77, "x")), pacs.NotFound},
	} {
		if pacs.CodeOf(c.err) != c.code {
			t.Errorf("%s: %v, want %s", what, c.err, c.code)
		}
	}
	var left int
	if err := a.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM patient_operation) + (SELECT count(*) FROM amendment) + (SELECT count(*) FROM audit_event WHERE action LIKE 'patient.%')`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d traces of what was refused: %v", left, err)
	}
	a.merge(k, m)
	for what, err := range map[string]error{
		"correct what is merged": must(a.Correct(ctx, admin, k, revision+1, Demographics{Sex: text("F")}, "x")),
		"merge into it":          must(a.Merge(ctx, admin, m, k, a.get(m).Revision, "x")),
		"move to it":             must(a.Move(ctx, admin, "2.1", k, "x")),
		"its ID":                 must(a.Split(ctx, admin, m, a.get(m).Revision, []string{"2.1"}, Demographics{Name: text("N"), PatientID: text("1")}, "x")),
	} {
		if pacs.CodeOf(err) != pacs.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	var audited, told int
	if err := a.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM audit_event WHERE action = 'patient.merge'), (SELECT count(*) FROM change WHERE kind = 'patient.merged')`).Scan(&audited, &told); err != nil || audited != 1 || told != 1 {
		t.Errorf("audited %d times, told %d times: %v", audited, told, err)
	}
}

// TestReceiveWhileMerging: images that come while records are merged and taken
// apart all end at one living patient.
func TestReceiveWhileMerging(t *testing.T) {
	a := open(t)
	k, m := a.receive("1.0", person("1", "Karimov^Ali")), a.receive("2.0", person("2", "Merganov^Anvar"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var receivers sync.WaitGroup
	received := make([]int, 3)
	for worker := range received {
		receivers.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				study := fmt.Sprint("1.", worker+1, ".", n)
				if err := a.index.Add(t.Context(), add(study, study+".1", person("1", "Karimov^Ali")), nil); err != nil {
					t.Error(err)
					return
				}
				received[worker] = n
			}
		})
	}
	for range 5 {
		d := a.merge(k, m)
		a.undo(d.History[0].ID)
	}
	a.merge(k, m)
	cancel()
	receivers.Wait()
	var astray, all int
	if err := a.pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE patient_row <> $1), count(*) FROM study`, m).Scan(&astray, &all); err != nil {
		t.Fatal(err)
	}
	if want := received[0] + received[1] + received[2] + 2; astray != 0 || all != want {
		t.Errorf("%d of %d studies are not the surviving patient's; %d were received", astray, all, want)
	}
}
