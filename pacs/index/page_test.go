package index

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// paged is a database with more rows than a page, many of which sort alike:
// studies of three dates (and none), series without a number.
func paged(t *testing.T, studies int) *Index {
	ix := open(t)
	for n := range studies {
		uid := fmt.Sprintf("1.%d", n+1)
		fill(t, ix, addition(uid, uid+".1", 1, func(a *Addition) {
			a.Study.Date = []string{"20260101", "20260102", "20260103", ""}[n%4]
		}))
	}
	return ix
}

// walk reads all pages. more is called between two pages.
func walk(t *testing.T, read func(pacs.Page) (uids []string, next string, err error), limit int, more func(page int)) (all []string) {
	t.Helper()
	page := pacs.Page{Limit: limit}
	for n := 0; ; n++ {
		uids, next, err := read(page)
		if err != nil {
			t.Fatal(err)
		}
		if len(uids) > limit {
			t.Fatalf("a page of %d rows, want at most %d", len(uids), limit)
		}
		all = append(all, uids...)
		if next == "" {
			return all
		}
		if len(uids) != limit {
			t.Fatalf("a page of %d rows that is not the last, want %d", len(uids), limit)
		}
		page.After, page.Offset = next, 1000 // Offset is ignored from here on
		if more != nil {
			more(n)
		}
	}
}

func studyPages(t *testing.T, ix *Index) func(pacs.Page) ([]string, string, error) {
	return func(p pacs.Page) (uids []string, next string, err error) {
		studies, next, err := ix.Studies(t.Context(), system, pacs.StudyFilter{Page: p})
		for _, s := range studies {
			uids = append(uids, s.StudyInstanceUID)
		}
		return uids, next, err
	}
}

func unique(t *testing.T, uids []string) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	for _, uid := range uids {
		if seen[uid] {
			t.Errorf("%s comes twice", uid)
		}
		seen[uid] = true
	}
	return seen
}

func TestPagesOfStudies(t *testing.T) {
	const studies = 23
	ix := paged(t, studies)
	whole, next, err := studyPages(t, ix)(pacs.Page{})
	if err != nil || next != "" || len(whole) != studies {
		t.Fatalf("%d studies, %v", len(whole), err)
	}
	for _, limit := range []int{1, 2, 5, 22, 23, 24} {
		if diff := cmp.Diff(whole, walk(t, studyPages(t, ix), limit, nil)); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
	}
	for offset := range studies + 2 {
		got, _, err := studyPages(t, ix)(pacs.Page{Limit: 4, Offset: offset})
		want := whole[min(offset, studies):min(offset+4, studies)]
		if diff := cmp.Diff(strings.Join(want, " "), strings.Join(got, " ")); diff != "" || err != nil {
			t.Errorf("from %d: %s %v", offset, diff, err)
		}
	}
}

// TestPagesWhileStudiesArrive: what was there at the beginning comes exactly
// once, whatever arrives meanwhile.
func TestPagesWhileStudiesArrive(t *testing.T) {
	const studies = 20
	ix := paged(t, studies)
	seen := unique(t, walk(t, studyPages(t, ix), 3, func(page int) {
		uid := fmt.Sprintf("2.%d", page+1)
		fill(t, ix, addition(uid, uid+".1", 1, func(a *Addition) {
			a.Study.Date = []string{"20260104", "20260102", ""}[page%3] // before, beside and behind the cursor
		}))
	}))
	for n := range studies {
		if uid := fmt.Sprintf("1.%d", n+1); !seen[uid] {
			t.Errorf("%s is missing", uid)
		}
	}
}

func TestPagesOfSeriesAndInstances(t *testing.T) {
	ix := open(t)
	const series, instances = 7, 9
	for n := range series {
		uid := fmt.Sprintf("1.1.%d", n+1)
		fill(t, ix, addition("1.1", uid, instances, func(a *Addition) {
			if n%3 > 0 {
				a.Series.Number = ptr(n % 3) // ties, and some without
			}
			for i := range a.Instances {
				a.Instances[i].Number = nil
				if i%3 > 0 {
					a.Instances[i].Number = ptr(i % 3)
				}
			}
		}))
	}
	fill(t, ix, addition("1.2", "1.2.1", 3))
	bySeries := func(p pacs.Page) (uids []string, next string, err error) {
		all, next, err := ix.Series(t.Context(), system, pacs.SeriesFilter{Page: p})
		for _, s := range all {
			uids = append(uids, s.SeriesInstanceUID)
		}
		return uids, next, err
	}
	byInstance := func(p pacs.Page) (uids []string, next string, err error) {
		all, next, err := ix.Instances(t.Context(), system, pacs.InstanceFilter{Page: p})
		for _, i := range all {
			uids = append(uids, i.SOPInstanceUID)
		}
		return uids, next, err
	}
	for _, c := range []struct {
		name string
		read func(pacs.Page) ([]string, string, error)
		rows int
	}{{"series", bySeries, series + 1}, {"instances", byInstance, series*instances + 3}} {
		whole, _, err := c.read(pacs.Page{})
		if err != nil || len(unique(t, whole)) != c.rows {
			t.Fatalf("%s: %d, want %d: %v", c.name, len(whole), c.rows, err)
		}
		for _, limit := range []int{1, 3, c.rows} {
			if diff := cmp.Diff(whole, walk(t, c.read, limit, nil)); diff != "" {
				t.Errorf("%s, pages of %d: %s", c.name, limit, diff)
			}
		}
		got, _, err := c.read(pacs.Page{Offset: 2, Limit: 2})
		if diff := cmp.Diff(whole[2:4], got); diff != "" || err != nil {
			t.Errorf("%s from 2: %s %v", c.name, diff, err)
		}
	}
}

func TestLimit(t *testing.T) {
	for _, c := range []struct{ asked, want int }{{0, DefaultLimit}, {-5, DefaultLimit}, {1, 1}, {MaxLimit, MaxLimit}, {MaxLimit + 1, MaxLimit}, {1 << 62, MaxLimit}} {
		if got := limit(pacs.Page{Limit: c.asked}) - 1; got != c.want {
			t.Errorf("a limit of %d gives %d, want %d", c.asked, got, c.want)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{Text: "20260101", ID: 5}.String())
	f.Add("!")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor(s)
		if err != nil {
			if pacs.CodeOf(err) != pacs.Invalid {
				t.Error(err)
			}
			return
		}
		if again, err := parseCursor(c.String()); err != nil || again != c {
			t.Errorf("%+v became %+v, %v", c, again, err)
		}
	})
}

// TestOrders: lists by name follow the Uzbek alphabet, page by page; those by
// arrival the order of arrival.
func TestOrders(t *testing.T) {
	ix := open(t)
	// In order; oʻ, gʻ, sh and ch come behind z, Cyrillic behind Latin.
	names := []string{
		"Gafurov^Ali", "Hamidov^Ali", "Karimov^Ali", "KARIMOV^ALI", "Karimova^Aziza", "Olimov^A", "Salimov^A", "Tohirov^A", "Zohidov^A",
		"Oʻrinov^A", "Gʻaniyev^A", "Shodiyev^A", "Choriyev^A", "Ёқубов^A", "Каримов^А",
	}
	places := []int{7, 0, 12, 3, 9, 14, 1, 5, 10, 2, 13, 4, 8, 11, 6}
	for n, place := range places {
		uid := fmt.Sprint("1.", n+1)
		fill(t, ix, addition(uid, uid+".1", 1, patient("TMA", uid, names[place]), func(a *Addition) {
			if n%3 == 0 {
				a.Facility = "SAM"
			}
		}))
	}
	read := func(sort pacs.StudyOrder, scope pacs.Scope) func(pacs.Page) ([]string, string, error) {
		return func(p pacs.Page) (all []string, next string, err error) {
			studies, next, err := ix.Studies(t.Context(), scope, pacs.StudyFilter{Sort: sort, Page: p})
			for _, s := range studies {
				all = append(all, s.Patient.Name)
			}
			return all, next, err
		}
	}
	if diff := cmp.Diff(names, walk(t, read(pacs.ByName, system), 4, nil)); diff != "" {
		t.Error(diff)
	}
	var arrived, here []string
	for n := len(places) - 1; n >= 0; n-- {
		arrived = append(arrived, names[places[n]])
	}
	if diff := cmp.Diff(arrived, walk(t, read(pacs.ByReceived, system), 4, nil)); diff != "" {
		t.Error(diff)
	}
	for _, name := range names {
		if n := slices.Index(arrived, name); (len(places)-1-n)%3 == 0 {
			here = append(here, name)
		}
	}
	if diff := cmp.Diff(here, walk(t, read(pacs.ByName, facilityOf(t, ix, "SAM")), 2, nil)); diff != "" {
		t.Error(diff)
	}
	if _, _, err := ix.Studies(t.Context(), system, pacs.StudyFilter{Sort: "size"}); pacs.CodeOf(err) != pacs.Invalid {
		t.Error(err)
	}
}
