package index

import (
	"fmt"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// TestStudyTakesName: the name beside a study is its patient's, whoever changes
// either.
func TestStudyTakesName(t *testing.T) {
	ix := open(t)
	agree := func(when string) {
		t.Helper()
		count(t, ix, 0, `SELECT count(*) /* `+when+` */ FROM study s JOIN patient p ON p.id = s.patient_row
			WHERE (s.patient_name, s.patient_fold) IS DISTINCT FROM (lower(p.name), p.name_fold)`)
	}
	nameless := func(a *Addition) { a.Patient.Name = "" }
	fill(t, ix, addition("1.2", "1.2.1", 1, nameless), addition("1.3", "1.3.1", 1, patient("TMA", "P2", "Рахимов^Вали")))
	count(t, ix, 1, `SELECT count(*) FROM study WHERE patient_name = 'рахимов^вали'`)
	agree("added")
	fill(t, ix, addition("1.2", "1.2.2", 1)) // names the patient
	count(t, ix, 1, `SELECT count(*) FROM study WHERE patient_name = 'karimov^ali'`)
	for _, sql := range []string{
		`UPDATE patient SET name = 'Aliyev^Karim', name_fold = 'aliev karim' WHERE patient_id = 'P1'`,
		`UPDATE study SET patient_row = (SELECT id FROM patient WHERE patient_id = 'P2')`,
	} {
		if _, err := ix.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		agree(sql)
	}
}

// TestNewStudyWritesIndexesOnce: what an addition does to a new study after
// inserting it touches no index (a heap-only update).
func TestNewStudyWritesIndexesOnce(t *testing.T) {
	ix := open(t)
	for n := range 20 {
		study := fmt.Sprint("1.2.", n)
		fill(t, ix, addition(study, study+".1", 1))
	}
	if _, err := ix.pool.Exec(t.Context(), `CREATE EXTENSION pageinspect`); err != nil {
		t.Skipf("no pageinspect: %v", err)
	}
	count(t, ix, 20, `SELECT count(*) FROM bt_page_items('study_order', 1)`)
}

// TestPagesWhileRowsCome: a walk by keyset shows everything that was there when
// it began, once, whatever is added meanwhile.
func TestPagesWhileRowsCome(t *testing.T) {
	ix := populated(t)
	glancing(t, 200)
	var facility string
	if err := ix.pool.QueryRow(t.Context(), `SELECT code FROM facility ORDER BY id DESC LIMIT 1`).Scan(&facility); err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]pacs.StudyFilter{
		"by date": {}, "by arrival": {Sort: pacs.ByReceived}, "by name": {Sort: pacs.ByName},
		"a name": {PatientName: "karimov*"}, "a rarer name": {PatientName: "*ahimov*"},
	} {
		want := map[string]bool{}
		all := f
		all.Page.Limit = MaxLimit
		for more := true; more; more = all.After != "" {
			studies, next, err := ix.Studies(t.Context(), system, all)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range studies {
				want[s.StudyInstanceUID] = true
			}
			all.After = next
		}
		n := 0
		got := walk(t, func(p pacs.Page) (uids []string, next string, err error) {
			f.Page = p
			studies, next, err := ix.Studies(t.Context(), system, f)
			for _, s := range studies {
				uids = append(uids, s.StudyInstanceUID)
			}
			for _, date := range []string{"20200101", "20260401", "20301231"} {
				n++
				uid := fmt.Sprint("1.9.", len(what), ".", n)
				fill(t, ix, addition(uid, uid+".1", 1, patient(facility, fmt.Sprint("N", n), fmt.Sprintf("%cahimov^New%d", 'A'+n%26, n)), func(a *Addition) { a.Study.Date = date }))
			}
			return uids, next, err
		}, max(len(want)/8, 10), nil)
		seen := map[string]bool{}
		for _, uid := range got {
			if seen[uid] {
				t.Errorf("%s: %s comes twice", what, uid)
			}
			seen[uid] = true
		}
		for uid := range want {
			if !seen[uid] {
				t.Errorf("%s: %s is passed by", what, uid)
			}
		}
	}
}
