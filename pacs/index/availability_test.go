package index

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// How soon studies, series, instances and patients can be had is the worst of
// what is shown of them; nothing is said unasked.
func TestAvailability(t *testing.T) {
	ix := open(t)
	of := func(study, series, patient string, instances int) Addition {
		return addition(study, series, instances, func(a *Addition) {
			a.Patient = pacs.Patient{Issuer: "TMA", PatientID: patient, Name: patient}
		})
	}
	fill(t, ix, of("1.1", "1.1.1", "P1", 2), of("1.1", "1.1.2", "P1", 2), of("1.2", "1.2.1", "P1", 1), of("1.3", "1.3.1", "P2", 1))
	show := func(asked bool) string {
		t.Helper()
		var out []string
		say := func(name string, is pacs.Availability) {
			if is != pacs.Online {
				out = append(out, name+" "+is.String())
			}
		}
		studies, _, err := ix.Studies(t.Context(), system, pacs.StudyFilter{Availability: asked})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range studies {
			say(s.StudyInstanceUID, s.Availability)
		}
		series, _, err := ix.Series(t.Context(), system, pacs.SeriesFilter{Availability: asked})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range series {
			say(s.SeriesInstanceUID, s.Availability)
		}
		patients, _, err := ix.PatientsWithStudies(t.Context(), system, pacs.StudyFilter{Availability: asked})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range patients {
			say(p.PatientID, p.Availability)
		}
		if asked {
			instances, _, err := ix.Instances(t.Context(), system, pacs.InstanceFilter{})
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range instances {
				say(i.SOPInstanceUID, i.Availability())
			}
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	want := func(what, want string) {
		t.Helper()
		if got := show(true); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	exec := func(sql string) {
		t.Helper()
		if tag, err := ix.pool.Exec(t.Context(), sql); err != nil || tag.RowsAffected() == 0 {
			t.Fatal(fmt.Sprint(tag, err))
		}
	}
	want("all here", "")
	exec(`UPDATE pack SET key = 'cold/' || key WHERE series_row = (SELECT id FROM series WHERE series_uid = '1.1.2')`)
	want("a series in the cold store", "1.1 NEARLINE, 1.1.2 NEARLINE, 1.1.2.1 NEARLINE, 1.1.2.2 NEARLINE, P1 NEARLINE")
	exec(`UPDATE instance SET pixels_deleted = '{}' WHERE sop_uid = '1.1.2.1'`)
	want("and one without its pixels", "1.1 UNAVAILABLE, 1.1.2 UNAVAILABLE, 1.1.2.1 UNAVAILABLE, 1.1.2.2 NEARLINE, P1 UNAVAILABLE")
	exec(`UPDATE instance SET rejected = '113001' WHERE sop_uid = '1.1.2.1'`)
	want("which is shown no more", "1.1 NEARLINE, 1.1.2 NEARLINE, 1.1.2.2 NEARLINE, P1 NEARLINE")
	if got := show(false); got != "" {
		t.Errorf("unasked: %q", got)
	}
	if patients, _, err := ix.PatientsWithStudies(t.Context(), pacs.Scope{}, pacs.StudyFilter{Availability: true}); err != nil || len(patients) > 0 {
		t.Errorf("out of scope: %v, %v", patients, err)
	}
}
