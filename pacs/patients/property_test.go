package patients

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// record is a patient record of the model.
type record struct {
	row  int64
	into *record
}

// identity is an ID under which images come, with a name for it alone.
type identity struct {
	said pacs.Patient
	of   *record
}

// owned is a study of the model: whose it is, under which record it came.
type owned struct {
	uid        string
	owner, via *record
	said       pacs.Patient
}

// deed is an operation of the model.
type deed struct {
	id          int64
	kind        string
	from, to    *record
	studies     map[string]*record // whose they were
	known       map[string]bool    // studies of both at that time
	undone      bool
	previousIDs []identity
}

type world struct {
	*archive
	records    []*record
	identities []identity
	studies    []*owned
	deeds      []*deed
}

func (r *record) root() *record {
	for r.into != nil {
		r = r.into
	}
	return r
}

func (w *world) living() []*record {
	return slices.DeleteFunc(slices.Clone(w.records), func(r *record) bool { return r.into != nil })
}

func (w *world) snapshot(of ...*record) (studies map[string]*record, known map[string]bool) {
	studies, known = map[string]*record{}, map[string]bool{}
	for _, s := range w.studies {
		if slices.Contains(of, s.owner) {
			known[s.uid] = true
			studies[s.uid] = s.owner
		}
	}
	return studies, known
}

func (w *world) did(d *deed) {
	if err := w.pool.QueryRow(w.Context(), `SELECT max(id) FROM patient_operation`).Scan(&d.id); err != nil {
		w.Fatal(err)
	}
	w.deeds = append(w.deeds, d)
}

// TestEveryStudyHasOneLivingPatient compares random histories with the model:
// a dozen of them, unless the flag -rapid.checks asks for more.
func TestEveryStudyHasOneLivingPatient(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if asked := checks.Value.String(); asked == checks.DefValue {
		if err := checks.Value.Set("12"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = checks.Value.Set(asked) }()
	}
	a := open(t)
	example := 0
	rapid.Check(t, func(t *rapid.T) {
		example++
		w := &world{archive: a}
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		t.Repeat(map[string]func(*rapid.T){
			"": w.check,
			"receive": func(t *rapid.T) {
				if len(w.identities) > 0 && len(w.studies) > 0 && pick(3) == 0 {
					// a further image of a known study, as it came
					s := w.studies[pick(len(w.studies))]
					if got := a.receive(s.uid, s.said); got != s.owner.row {
						t.Fatalf("a further image of %s is %d's, want %d", s.uid, got, s.owner.row)
					}
					return
				}
				if len(w.identities) < 2 || pick(3) == 0 {
					n := len(w.records)
					said := person(fmt.Sprint("e", example, ".", n), fmt.Sprintf("Familyx%dx%d^Givenx%dx%d", example, n, example, n))
					w.records = append(w.records, &record{})
					w.identities = append(w.identities, identity{said, w.records[n]})
				}
				i := w.identities[pick(len(w.identities))]
				s := &owned{uid: fmt.Sprint(example, ".", len(w.studies)), via: i.of, owner: i.of.root(), said: i.said}
				got := a.receive(s.uid, s.said)
				if s.owner.row == 0 {
					s.owner.row = got
				}
				w.studies = append(w.studies, s)
			},
			"correct": func(t *rapid.T) {
				list := slices.DeleteFunc(w.living(), func(r *record) bool { return r.row == 0 })
				if len(list) == 0 {
					return
				}
				r := list[pick(len(list))]
				n := len(w.deeds)
				said := person(fmt.Sprint("e", example, ".c", n), fmt.Sprintf("Correctedx%dx%d", example, n))
				d := &deed{kind: Correct, from: r, previousIDs: slices.Clone(w.identities)}
				a.correct(r.row, Demographics{Name: text(said.Name), PatientID: text(said.PatientID)})
				w.identities = append(w.identities, identity{said, r})
				w.did(d)
			},
			"merge": func(t *rapid.T) {
				list := slices.DeleteFunc(w.living(), func(r *record) bool { return r.row == 0 })
				if len(list) < 2 {
					return
				}
				i := pick(len(list))
				from, to := list[i], list[(i+1+pick(len(list)-1))%len(list)]
				d := &deed{kind: Merge, from: from, to: to}
				d.studies, d.known = w.snapshot(from, to)
				a.merge(from.row, to.row)
				from.into = to
				for _, s := range w.studies {
					if s.owner == from {
						s.owner = to
					}
				}
				w.did(d)
			},
			"move": func(t *rapid.T) {
				list := slices.DeleteFunc(w.living(), func(r *record) bool { return r.row == 0 })
				if len(w.studies) == 0 || len(list) < 2 {
					return
				}
				s, to := w.studies[pick(len(w.studies))], list[pick(len(list))]
				if s.owner == to {
					return
				}
				d := &deed{kind: Move, from: s.owner, to: to, studies: map[string]*record{s.uid: s.owner}}
				must(a)(a.Move(a.Context(), admin, s.uid, to.row, "test"))
				s.owner = to
				w.did(d)
			},
			"split": func(t *rapid.T) {
				if len(w.studies) == 0 {
					return
				}
				s := w.studies[pick(len(w.studies))]
				from, n := s.owner, len(w.deeds)
				said := person(fmt.Sprint("e", example, ".s", n), fmt.Sprintf("Splitx%dx%d", example, n))
				made := must(a)(a.Split(a.Context(), admin, from.row, a.get(from.row).Revision, []string{s.uid},
					Demographics{Name: text(said.Name), PatientID: text(said.PatientID), Sex: text("M"), BirthDate: text(said.BirthDate)}, "test"))
				to := &record{row: made.ID}
				w.records = append(w.records, to)
				w.identities = append(w.identities, identity{said, to})
				s.owner = to
				w.did(&deed{kind: Split, from: from, to: to, studies: map[string]*record{s.uid: from}})
			},
			"do and undo": func(t *rapid.T) {
				list := slices.DeleteFunc(w.living(), func(r *record) bool { return r.row == 0 })
				if len(list) < 2 {
					return
				}
				before := a.pictureOf(example)
				d := a.merge(list[0].row, list[1].row)
				a.undo(d.History[0].ID)
				if diff := cmp.Diff(before, a.pictureOf(example)); diff != "" {
					t.Fatalf("merged and undone:\n%s", diff)
				}
			},
			"undo": func(t *rapid.T) {
				if len(w.deeds) == 0 {
					return
				}
				d := w.deeds[pick(len(w.deeds))]
				_, err := a.Undo(a.Context(), admin, d.id, "test")
				if pacs.CodeOf(err) == pacs.Conflict {
					return // something stands on it, or it is undone
				}
				if err != nil || d.undone {
					t.Fatalf("undoing %s: %v", d.kind, err)
				}
				d.undone = true
				w.takeBack(d)
			},
		})
	})
}

// pictureOf is the part of the picture that one example has made.
func (a *archive) pictureOf(example int) []string {
	return slices.DeleteFunc(a.picture(), func(line string) bool {
		var kind, rest string
		_, _ = fmt.Sscan(line, &kind, &rest)
		mine := fmt.Sprintf("study %d.", example)
		return !(len(line) > len(mine) && line[:len(mine)] == mine) && !containsIdentity(line, example)
	})
}

func containsIdentity(line string, example int) bool {
	mine := fmt.Sprintf("patient A/e%d.", example)
	return len(line) > len(mine) && line[:len(mine)] == mine
}

// takeBack is what undoing means.
func (w *world) takeBack(d *deed) {
	switch d.kind {
	case Correct:
		w.identities = slices.DeleteFunc(w.identities, func(i identity) bool {
			return i.of == d.from && !slices.ContainsFunc(d.previousIDs, func(p identity) bool { return p.said == i.said }) &&
				i.said.Name == w.correctedName(d)
		})
	case Merge:
		d.from.into = nil
		for _, s := range w.studies {
			switch was := d.studies[s.uid]; {
			case was == d.from:
				s.owner = d.from
			case was == nil && s.owner == d.to && s.via.root() == d.from && !w.handledSince(d, s):
				s.owner = d.from
			}
		}
	case Move:
		for _, s := range w.studies {
			if was := d.studies[s.uid]; was != nil {
				s.owner = was
			}
		}
	case Split:
		d.to.into = d.from
		for _, s := range w.studies {
			if s.owner == d.to {
				s.owner = d.from
			}
		}
	}
}

// correctedName is the name that a correction gave.
func (w *world) correctedName(d *deed) string {
	var name string
	if err := w.pool.QueryRow(w.Context(), `SELECT a.document #>> '{after,patients,0,name}' FROM patient_operation o JOIN amendment a ON a.key = o.key WHERE o.id = $1`, d.id).Scan(&name); err != nil {
		w.Fatal(err)
	}
	return name
}

// handledSince says whether a study that came after the merge was moved since.
func (w *world) handledSince(d *deed, s *owned) bool {
	return slices.ContainsFunc(w.deeds, func(later *deed) bool {
		return later.id > d.id && !later.undone && later.studies[s.uid] != nil && (later.kind != Merge || later.studies[s.uid] == later.from)
	})
}

// check compares with the database.
func (w *world) check(t *rapid.T) {
	for _, s := range w.studies {
		if got := w.ownerOf(s.uid); got != s.owner.row {
			t.Fatalf("study %s is %d's, want %d", s.uid, got, s.owner.row)
		}
		if s.owner.into != nil {
			t.Fatalf("study %s belongs to a merged record in the model", s.uid)
		}
	}
	var dead int
	if err := w.pool.QueryRow(w.Context(), `SELECT count(*) FROM study s JOIN patient p ON p.id = s.patient_row WHERE p.merged_into IS NOT NULL`).Scan(&dead); err != nil || dead != 0 {
		t.Fatalf("%d studies of merged records: %v", dead, err)
	}
	for _, r := range w.living() {
		if r.row == 0 {
			continue
		}
		want := 0
		for _, s := range w.studies {
			if s.owner == r {
				want++
			}
		}
		if d := w.get(r.row); d.Studies != want {
			t.Fatalf("patient %d has %d studies, want %d", r.row, d.Studies, want)
		}
	}
}
