package patients

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// everythingDone is a history of every kind, and what came in between.
func everythingDone(a *archive) {
	karimov, valiyev := person("1", "Karimov^Ali"), person("3", "Valiyev^Sardor")
	k, m, v := a.receive("1.1", karimov), a.receive("2.1", person("2", "Merganov^Anvar")), a.receive("3.1", valiyev)
	a.receive("1.9", pacs.Patient{Issuer: "A", PatientID: "1", Name: "Other^Person", BirthDate: "20010101"}) // shares the ID
	a.correct(k, Demographics{Name: text("Sobirov^Botir"), PINFL: text("30101700000001")})
	a.receive("1.2", person("1", "Sobirov^Botir")) // another person to an index that knows nothing of it
	a.receive("1.3", karimov)
	a.correct(k, Demographics{PatientID: text("11")})
	a.receive("1.4", person("11", "Sobirov^Botir"))
	a.merge(m, k)
	a.receive("2.2", person("2", "Merganov^Anvar"))
	must(a)(a.Move(a.Context(), admin, "3.1", k, "test"))
	a.receive("3.1", valiyev)
	a.receive("3.2", valiyev)
	made := must(a)(a.Split(a.Context(), admin, k, a.get(k).Revision, []string{"2.2"}, Demographics{Name: text("Toshev^Olim"), PatientID: text("T")}, "test"))
	a.receive("4.1", person("T", "Toshev^Olim"))
	a.undo(a.merge(v, k).History[0].ID)
	_ = made
}

// TestRestore: a database rebuilt from packs and amendments is as the one that
// was lost, in whatever order the packs come, and takes images as that did.
func TestRestore(t *testing.T) {
	lost := open(t)
	everythingDone(lost)
	if err := lost.Record(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := lost.picture()
	var packs []index.Addition
	rows, err := lost.pool.Query(t.Context(), `SELECT count(*) FROM amendment WHERE stored_at IS NULL`)
	if err != nil {
		t.Fatal(err)
	}
	rows.Close()
	for study, said := range map[string]pacs.Patient{
		"1.1": person("1", "Karimov^Ali"), "2.1": person("2", "Merganov^Anvar"), "3.1": person("3", "Valiyev^Sardor"),
		"1.9": {Issuer: "A", PatientID: "1", Name: "Other^Person", BirthDate: "20010101"},
		"1.2": person("1", "Sobirov^Botir"), "1.3": person("1", "Karimov^Ali"), "1.4": person("11", "Sobirov^Botir"),
		"2.2": person("2", "Merganov^Anvar"), "3.2": person("3", "Valiyev^Sardor"), "4.1": person("T", "Toshev^Olim"),
	} {
		packs = append(packs, add(study, study+".1", said))
	}
	for seed := range uint64(4) {
		slices.SortFunc(packs, func(x, y index.Addition) int {
			return strings.Compare(x.Study.StudyInstanceUID, y.Study.StudyInstanceUID)
		})
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(packs), func(i, j int) { packs[i], packs[j] = packs[j], packs[i] })
		a := openOver(t, lost.store)
		for _, pack := range packs {
			if err := a.index.Add(t.Context(), pack, nil); err != nil {
				t.Fatal(err)
			}
		}
		n, err := a.Restore(t.Context())
		if err != nil || n == 0 {
			t.Fatalf("%d restored: %v", n, err)
		}
		if diff := cmp.Diff(withoutVariants(want), withoutVariants(a.picture())); diff != "" {
			t.Errorf("order %d:\n%s", seed, diff)
		}
		if n, err := a.Restore(t.Context()); n != 0 || err != nil {
			t.Errorf("restored again: %d, %v", n, err)
		}
		// The history is there, and what can be undone can be.
		owner := a.ownerOf("1.1")
		if got, want := len(a.get(owner).History), len(lost.get(lost.ownerOf("1.1")).History); got != want {
			t.Errorf("%d lines of history, want %d", got, want)
		}
		for study, said := range map[string]pacs.Patient{"9.1": person("1", "Karimov^Ali"), "9.2": person("2", "Merganov^Anvar"), "9.3": person("11", "Sobirov^Botir")} {
			if got := a.receive(study, said); got != owner {
				t.Errorf("%s is %d's, want %d", study, got, owner)
			}
		}
		// It goes on being recorded, under keys of its own.
		a.correct(owner, Demographics{Sex: text("F")})
		if err := a.Record(t.Context()); err != nil {
			t.Error(err)
		}
		for object, err := range a.store.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			var ours, known bool
			if err := a.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM amendment WHERE key = $1)`, object.Key).Scan(&known); err != nil {
				t.Fatal(err)
			}
			if err := lost.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM amendment WHERE key = $1)`, object.Key).Scan(&ours); err != nil {
				t.Fatal(err)
			}
			if known && !ours {
				if err := a.store.Delete(t.Context(), object.Key); err != nil { // not for the next order
					t.Fatal(err)
				}
			}
		}
	}
}

// withoutVariants leaves out the numbers of people who share an ID, which a
// rebuilt index may give otherwise to those to whom nothing was done.
func withoutVariants(picture []string) []string {
	var out []string
	for _, line := range picture {
		fields := strings.Fields(line)
		for i, f := range fields {
			if parts := strings.Split(f, "/"); len(parts) == 3 {
				fields[i] = parts[0] + "/" + parts[1]
			}
		}
		out = append(out, strings.Join(fields, " "))
	}
	slices.Sort(out)
	return out
}

// TestRecordsNameNoRows: what is in object storage is by names that last, in
// the order in which it was done.
func TestRecordsNameNoRows(t *testing.T) {
	a := open(t)
	k := a.receive("1.1", person("1", "Karimov^Ali"))
	for i := range 3 {
		a.correct(k, Demographics{Name: text(fmt.Sprint("Name^", i))})
	}
	if err := a.Record(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for object, err := range a.store.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		body, err := a.store.Get(t.Context(), object.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(body)
		_ = body.Close()
		if err != nil || !strings.Contains(string(content), fmt.Sprint("Name^", n)) || !strings.Contains(string(content), `"facility": "A"`) || strings.Contains(string(content), "row") {
			t.Errorf("record %d: %s, %v", n, content, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d records", n)
	}
}
