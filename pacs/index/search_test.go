package index

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// populated is an index with 3000 patients and 7500 studies of 12 facilities.
// Names are common and rare; some facilities and modalities are small.
func populated(t *testing.T) *Index {
	ix := open(t)
	if _, err := ix.pool.Exec(t.Context(), `
		INSERT INTO facility (code, name) SELECT 'F' || n, 'F' FROM generate_series(1, 12) n;
		INSERT INTO patient (facility_row, issuer, patient_id, name, name_fold, sex, pinfl)
			SELECT f.id, f.code, 'P' || n, named.name, lower(replace(named.name, '^', ' ')), CASE WHEN n % 2 = 0 THEN 'F' ELSE 'M' END,
				CASE WHEN n % 10 < 2 THEN '3' || n / 10 ELSE '' END
			FROM generate_series(1, 3000) n
				JOIN facility f ON f.code = 'F' || 1 + least(n % 20, 11),
				LATERAL (SELECT CASE WHEN n % 3 = 0 THEN 'Karimov' WHEN n % 7 = 0 THEN 'KARIMOVA' WHEN n % 50 = 0 THEN 'Rahimov' ELSE 'X' || md5(n::text) END
					|| '^' || CASE WHEN n % 100 = 1 THEN 'Gulnora' ELSE 'Ali' END AS name) named;
		INSERT INTO study (study_uid, patient_row, facility_row, study_date, accession_number, modalities)
			SELECT '1.2.' || n, p.id, p.facility_row,
				CASE WHEN n % 500 = 0 THEN '' ELSE to_char(date '2026-01-01' + n * 7 % 180, 'YYYYMMDD') END,
				CASE WHEN n % 4 > 0 THEN to_char(n % 6 + 20, 'FM00') || n ELSE '' END,
				CASE WHEN n % 200 = 0 THEN ARRAY['PT', 'CT'] WHEN n % 3 = 0 THEN ARRAY['CT'] ELSE ARRAY['DX'] END
			FROM generate_series(1, 7500) n JOIN patient p ON p.patient_id = 'P' || 1 + n * n % 3000;
		ANALYZE study, patient`); err != nil {
		t.Fatal(err)
	}
	return ix
}

// TestSearches: however a search is run, its pages together are what one plain
// query over everything finds.
func TestSearches(t *testing.T) {
	used := map[string]int{}
	ix := populated(t)
	for _, entries := range []int{0, 400} {
		t.Run(fmt.Sprint("a glance of ", entries), func(t *testing.T) { testSearches(t, ix, entries, used) })
	}
	for _, way := range []string{"glance", "few", "some", "many", "all", "nobody"} {
		if used[way] == 0 {
			t.Errorf("nothing was looked for as %s: %v", way, used)
		}
	}
}

func testSearches(t *testing.T, ix *Index, entries int, used map[string]int) {
	glancing(t, entries)
	var all []int64
	for n := range 12 {
		all = append(all, facilityOf(t, ix, fmt.Sprint("F", n+1)).FacilityIDs...)
	}
	scopes := map[string]pacs.Scope{
		"all": system, "none": {Who: "test"},
		"one": {Who: "test", FacilityIDs: all[2:3]}, "the largest": {Who: "test", FacilityIDs: all[11:]},
		"five": {Who: "test", FacilityIDs: append(all[:5:5], all[0])}, "each": {Who: "test", FacilityIDs: all},
	}
	march := pacs.DateRange{From: "20260301", To: "20260331"}
	filters := map[string]pacs.StudyFilter{
		"nothing":                        {},
		"a day":                          {Date: pacs.DateRange{From: "20260214", To: "20260214"}},
		"a month of CT":                  {Date: march, Modalities: []string{"CT"}},
		"a rare modality":                {Modalities: []string{"PT"}},
		"a patient":                      {PatientID: "P77"},
		"patients by prefix":             {PatientID: "P77*"},
		"nobody":                         {PatientID: "nobody"},
		"a common name":                  {PatientName: "karimov*"},
		"a common name in March":         {PatientName: "karimov*", Date: march},
		"half of all":                    {Sex: "F"},
		"a rarer name":                   {PatientName: "rahimov*"},
		"a rare name":                    {PatientName: "x1f*"},
		"the end of a name":              {PatientName: "*gulnora"},
		"fuzzy":                          {PatientName: "Rahimov", Fuzzy: true},
		"fuzzy and common":               {PatientName: "a", Fuzzy: true},
		"typed: a common name":           {Text: "kari"},
		"typed: a name and a number":     {Text: "rahim"},
		"typed: two letters":             {Text: "ru"},
		"typed: many accession numbers":  {Text: "2"},
		"typed: some accession numbers":  {Text: "251"},
		"typed: a national number":       {Text: "3120"},
		"typed: for two":                 {Text: "karimov gul"},
		"an accession number":            {AccessionNumber: "237"},
		"accession numbers":              {AccessionNumber: "23*", PatientName: "karimov*"},
		"a facility":                     {Facility: "F3"},
		"a facility's common name":       {Facility: "F12", PatientName: "karimov*"},
		"no such facility":               {Facility: "F99"},
		"a patient's others":             {PatientRowID: 10, ExcludeStudyInstanceUID: "1.2.9"},
		"a patient with another's PINFL": {PatientRowID: 11},
		"some UIDs":                      {StudyInstanceUIDs: []string{"1.2.9", "1.2.10", "1.2.4000"}, PatientName: "karimov*"},
	}
	for what, f := range filters {
		for who, scope := range scopes {
			for sort, by := range orders {
				if sort != pacs.ByDate && who != "all" && who != "five" {
					continue
				}
				f.Sort = sort
				want := plainly(t, ix, scope, f, by.by)
				limit := []int{1 + len(want)/3, max(40, len(want)/5)}[len(what)%2]
				f.Page.Limit = limit
				used[wayOf(t, ix, scope, f)]++
				got := walk(t, func(p pacs.Page) (uids []string, next string, err error) {
					f.Page = p
					studies, next, err := ix.Studies(t.Context(), scope, f)
					for _, s := range studies {
						uids = append(uids, s.StudyInstanceUID)
					}
					return uids, next, err
				}, limit, nil)
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s, sight of %s, by %q: %s", what, who, sort, diff)
				}
				// A page by its offset.
				f.Page = pacs.Page{Limit: 7, Offset: len(want) / 2}
				studies, _, err := ix.Studies(t.Context(), scope, f)
				if err != nil {
					t.Fatal(err)
				}
				part := want[len(want)/2:]
				if part = part[:min(7, len(part))]; !slices.EqualFunc(part, studies, func(uid string, s pacs.Study) bool { return uid == s.StudyInstanceUID }) {
					t.Errorf("%s, sight of %s, by %q: %d studies from %d on aren't %v", what, who, sort, len(studies), len(want)/2, part)
				}
				f.Page = pacs.Page{}
			}
		}
	}
}

// wayOf says how the first page of a search is found.
func wayOf(t *testing.T, ix *Index, scope pacs.Scope, f pacs.StudyFilter) string {
	t.Helper()
	w, nobody, err := ix.begin(t.Context(), f)
	done := false
	if err == nil && !nobody && w.glances(f) {
		_, done, err = ix.glance(t.Context(), scope, f, &w)
	}
	if err == nil && !nobody && !done {
		nobody, err = ix.lookUp(t.Context(), f, &w)
	}
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case nobody:
		return "nobody"
	case done:
		return "glance"
	case w.all:
		return "all"
	case w.many:
		return "many"
	case w.isFew(f):
		return "few"
	}
	return "some"
}

// glancing has a glance take in so many entries while the test runs.
func glancing(t *testing.T, entries int) {
	before := glanced
	glanced = entries
	t.Cleanup(func() { glanced = before })
}

// plainly finds studies with one query that leaves everything to the planner.
func plainly(t *testing.T, ix *Index, scope pacs.Scope, f pacs.StudyFilter, by string) []string {
	t.Helper()
	var c conditions
	c.scope(scope, "s.facility_row")
	c.series(pacs.SeriesFilter{Study: f})
	rows, _ := ix.pool.Query(t.Context(), `SELECT s.study_uid FROM `+studyTables+` WHERE `+c.where()+` ORDER BY `+by, c.args...)
	uids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return uids
}
