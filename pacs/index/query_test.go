package index

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// seeded is a database with the studies that the filter tests ask for.
func seeded(t *testing.T) *Index {
	ix := open(t)
	study := func(uid string, f func(a *Addition)) Addition { return addition(uid, uid+".1", 1, f) }
	fill(t, ix,
		study("1.1", func(a *Addition) {
			a.Patient = pacs.Patient{Issuer: "TMA", PatientID: "100%", Name: "Каримов^Алишер^Бахтиёрович", Sex: "M", BirthDate: "19700115", PINFL: "30101700000001"}
			a.Study.Date, a.Study.Time = "20260110", "101500"
			a.Study.AccessionNumber, a.Study.StudyID = "ACC_1", "S1"
			a.Study.Description, a.Study.ReferringPhysician = "CT бош мия", "Usmonov^Jasur"
			a.Series.Modality, a.Series.BodyPart, a.Series.Description = "CT", "HEAD", "Axial 5%"
			a.Series.Number = new(int)
		}),
		study("1.2", func(a *Addition) {
			a.Facility = "SAM"
			a.Patient = pacs.Patient{Issuer: "SAM", PatientID: "100", Name: "KARIMOV^ALISHER", Sex: "M", BirthDate: "19700115", PINFL: "30101700000001"}
			a.Study.Date, a.Study.Time = "20260111", "101530.250"
			a.Study.AccessionNumber, a.Study.StudyID = "ACCX1", "S2"
			a.Study.Description = "MR tizza"
			a.Series.Modality, a.Series.BodyPart = "MR", "KNEE"
		}),
		study("1.3", func(a *Addition) {
			a.Patient = pacs.Patient{Issuer: "TMA", PatientID: "100", Name: "O'Brien^\"Quote\"\\Back", Sex: "F", BirthDate: "19801231"}
			a.Study.Date, a.Study.Time = "20251231", "235959.999"
			a.Study.Description = `100% _under_ \slash`
			a.Series.Modality = "CR"
		}),
		study("1.4", func(a *Addition) {
			a.Patient = pacs.Patient{Issuer: "TMA", PatientID: "", Name: "G‘aniyeva^Oʻgʻiloy", Sex: "F"}
			a.Study.Date, a.Study.Time = "", ""
			a.Series.Modality = ""
		}),
		study("1.5", func(a *Addition) {
			a.Patient = pacs.Patient{Issuer: "TMA", PatientID: "200", Name: "Ғаниева^Ўғилой"}
			a.Study.Date, a.Study.Time = "20260112", "10"
			a.Series.Modality = "US"
		}),
		// A second series of the first study.
		addition("1.1", "1.1.2", 2, func(a *Addition) {
			a.Patient.Issuer, a.Patient.PatientID = "TMA", "100%"
			a.Series.Modality, a.Series.BodyPart, a.Series.Description = "SR", "", "Report"
			seven := 7
			a.Series.Number = &seven
			for i := range a.Instances {
				a.Instances[i].SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
			}
		}),
	)
	return ix
}

func TestStudyFilter(t *testing.T) {
	ix := seeded(t)
	var first int64
	if err := ix.pool.QueryRow(t.Context(), `SELECT patient_row FROM study WHERE study_uid = '1.1'`).Scan(&first); err != nil {
		t.Fatal(err)
	}
	all := "1.5 1.2 1.1 1.3 1.4"
	for _, c := range []struct {
		name   string
		filter pacs.StudyFilter
		want   string // newest first
	}{
		{"everything", pacs.StudyFilter{}, all},
		{"UID", pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2"}}, "1.2"},
		{"UIDs", pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2", "1.4", "9"}}, "1.2 1.4"},
		{"unknown UID", pacs.StudyFilter{StudyInstanceUIDs: []string{"9"}}, ""},
		{"a UID is no prefix", pacs.StudyFilter{StudyInstanceUIDs: []string{"1"}}, ""},
		{"a UID has no wild cards", pacs.StudyFilter{StudyInstanceUIDs: []string{"1.*"}}, ""},
		{"patient ID", pacs.StudyFilter{PatientID: "100"}, "1.2 1.3"},
		{"patient ID and issuer", pacs.StudyFilter{PatientID: "100", Issuer: "TMA"}, "1.3"},
		{"patient ID, star", pacs.StudyFilter{PatientID: "10*"}, "1.2 1.1 1.3"},
		{"patient ID, question mark", pacs.StudyFilter{PatientID: "?00"}, "1.5 1.2 1.3"},
		{"patient ID, a literal %", pacs.StudyFilter{PatientID: "*%"}, "1.1"},
		{"patient ID, % is no wild card", pacs.StudyFilter{PatientID: "1%"}, ""},
		{"universal", pacs.StudyFilter{PatientID: "*", PatientName: "*", AccessionNumber: "**", Description: "*"}, all},
		{"accession, a literal _", pacs.StudyFilter{AccessionNumber: "ACC_*"}, "1.1"},
		{"accession, question mark", pacs.StudyFilter{AccessionNumber: "ACC?1"}, "1.2 1.1"},
		{"accession, _ is no wild card", pacs.StudyFilter{AccessionNumber: "AC__1"}, ""},
		{"accession, case matters", pacs.StudyFilter{AccessionNumber: "acc_1"}, ""},
		{"study ID", pacs.StudyFilter{StudyID: "S?"}, "1.2 1.1"},
		{"description, literal signs", pacs.StudyFilter{Description: `100% _*\*`}, "1.3"},
		{"description, Cyrillic", pacs.StudyFilter{Description: "*бош*"}, "1.1"},
		{"a backslash at the end", pacs.StudyFilter{Description: `*\`}, ""},
		{"referring", pacs.StudyFilter{Referring: "Usm*"}, "1.1"},
		{"sex", pacs.StudyFilter{Sex: "F"}, "1.3 1.4"},
		{"PINFL", pacs.StudyFilter{PINFL: "30101700000001"}, "1.2 1.1"},
		{"facility", pacs.StudyFilter{Facility: "SAM"}, "1.2"},

		{"name", pacs.StudyFilter{PatientName: "KARIMOV^ALISHER"}, "1.2"},
		{"name, other case", pacs.StudyFilter{PatientName: "karimov*"}, "1.2"},
		{"name, Cyrillic in other case", pacs.StudyFilter{PatientName: "каримов*"}, "1.1"},
		{"name, only part", pacs.StudyFilter{PatientName: "Karimov"}, ""},
		{"name, fuzzy over scripts", pacs.StudyFilter{PatientName: "Karimov", Fuzzy: true}, "1.2 1.1"},
		{"name, fuzzy the other way", pacs.StudyFilter{PatientName: "Қаримов*", Fuzzy: true}, "1.2 1.1"},
		{"name, fuzzy with given name", pacs.StudyFilter{PatientName: "karimov^alisher", Fuzzy: true}, "1.2 1.1"},
		{"name, fuzzy with patronymic", pacs.StudyFilter{PatientName: "Karimov^Alisher^Baxtiyorovich", Fuzzy: true}, "1.1"},
		{"name, fuzzy apostrophes", pacs.StudyFilter{PatientName: "Ganiyeva^Ogiloy", Fuzzy: true}, "1.5 1.4"},
		{"name, fuzzy finds an exact spelling", pacs.StudyFilter{PatientName: `O'Brien^"Quote"\Back`, Fuzzy: true}, "1.3"},
		{"name with quotes", pacs.StudyFilter{PatientName: `O'Brien*`}, "1.3"},
		{"name of carets only", pacs.StudyFilter{PatientName: "^^*"}, all},
		{"fuzzy without a letter", pacs.StudyFilter{PatientName: "--", Fuzzy: true}, ""},

		{"birth date", pacs.StudyFilter{BirthDate: pacs.DateRange{From: "19700115", To: "19700115"}}, "1.2 1.1"},
		{"born until", pacs.StudyFilter{BirthDate: pacs.DateRange{To: "19800101"}}, "1.2 1.1"},
		{"date", pacs.StudyFilter{Date: pacs.DateRange{From: "20260111", To: "20260111"}}, "1.2"},
		{"dates", pacs.StudyFilter{Date: pacs.DateRange{From: "20251231", To: "20260110"}}, "1.1 1.3"},
		{"since", pacs.StudyFilter{Date: pacs.DateRange{From: "20260111"}}, "1.5 1.2"},
		{"until has none without a date", pacs.StudyFilter{Date: pacs.DateRange{To: "20260110"}}, "1.1 1.3"},
		{"an empty range", pacs.StudyFilter{Date: pacs.DateRange{From: "20260112", To: "20260110"}}, ""},

		{"time", pacs.StudyFilter{Time: pacs.DateRange{From: "101500", To: "101500"}}, "1.1"},
		{"the end of a range includes its fractions", pacs.StudyFilter{Time: pacs.DateRange{From: "101530", To: "101530"}}, "1.2"},
		{"a fraction", pacs.StudyFilter{Time: pacs.DateRange{From: "101530.25", To: "101530.25"}}, "1.2"},
		{"above the fraction", pacs.StudyFilter{Time: pacs.DateRange{From: "101530.251", To: "1016"}}, ""},
		{"the last second", pacs.StudyFilter{Time: pacs.DateRange{From: "2359"}}, "1.3"},
		{"an hour", pacs.StudyFilter{Time: pacs.DateRange{From: "10", To: "10"}}, "1.5 1.2 1.1"},
		{"10 is 10:00:00", pacs.StudyFilter{Time: pacs.DateRange{From: "100000", To: "1001"}}, "1.5"},
		{"from midnight", pacs.StudyFilter{Time: pacs.DateRange{From: "000000.000"}}, "1.5 1.2 1.1 1.3"},

		{"modality", pacs.StudyFilter{Modalities: []string{"MR"}}, "1.2"},
		{"any of the modalities, of any series", pacs.StudyFilter{Modalities: []string{"SR", "US"}}, "1.5 1.1"},
		{"no such modality", pacs.StudyFilter{Modalities: []string{"XA"}}, ""},

		{"text: name in the other script", pacs.StudyFilter{Text: "karim"}, "1.2 1.1"},
		{"text: two words", pacs.StudyFilter{Text: "алишер karimov"}, "1.2 1.1"},
		{"text: patient ID", pacs.StudyFilter{Text: "100"}, "1.2 1.1 1.3"},
		{"text: a literal %", pacs.StudyFilter{Text: "100%"}, "1.1"},
		{"text: accession", pacs.StudyFilter{Text: " ACC_1 "}, "1.1"},
		{"text: PINFL", pacs.StudyFilter{Text: "30101700000001"}, "1.2 1.1"},
		{"text: stars are nothing", pacs.StudyFilter{Text: "*"}, all},
		{"text: nothing like it", pacs.StudyFilter{Text: "zebra"}, ""},

		{"a patient and those linked by PINFL", pacs.StudyFilter{PatientRowID: first}, "1.2 1.1"},
		{"priors", pacs.StudyFilter{PatientRowID: first, ExcludeStudyInstanceUID: "1.1"}, "1.2"},
		{"all together", pacs.StudyFilter{
			PatientRowID: first, PatientName: "karimov", Fuzzy: true, Date: pacs.DateRange{From: "20260101"}, Modalities: []string{"CT"}, Facility: "TMA",
			Sex: "M", PatientID: "100*", Issuer: "TMA", AccessionNumber: "A*", BirthDate: pacs.DateRange{From: "19700115", To: "19700115"},
		}, "1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			studies, next, err := ix.Studies(t.Context(), system, c.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range studies {
				got = append(got, s.StudyInstanceUID)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" || next != "" {
				t.Error(diff, next)
			}
		})
	}
}

func TestSeriesFilter(t *testing.T) {
	ix := seeded(t)
	for _, c := range []struct {
		name   string
		filter pacs.SeriesFilter
		want   string
	}{
		{"everything", pacs.SeriesFilter{}, "1.1.1 1.1.2 1.2.1 1.3.1 1.4.1 1.5.1"},
		{"of a study", pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{"1.1"}}}, "1.1.1 1.1.2"},
		{"UID", pacs.SeriesFilter{SeriesInstanceUIDs: []string{"1.1.2"}}, "1.1.2"},
		{"UID in another study", pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2"}}, SeriesInstanceUIDs: []string{"1.1.2"}}, ""},
		{"modality", pacs.SeriesFilter{Modality: "CT"}, "1.1.1"},
		{"modality, wild card", pacs.SeriesFilter{Modality: "?R"}, "1.1.2 1.2.1 1.3.1"},
		{"number 0 is not no number", pacs.SeriesFilter{Number: new(int)}, "1.1.1"},
		{"number", pacs.SeriesFilter{Number: ptr(7)}, "1.1.2"},
		{"number out of range", pacs.SeriesFilter{Number: ptr(1 << 40)}, ""},
		{"description, a literal %", pacs.SeriesFilter{Description: "*%"}, "1.1.1"},
		{"body part", pacs.SeriesFilter{BodyPart: "K*"}, "1.2.1"},
		{"with a name", pacs.SeriesFilter{Study: pacs.StudyFilter{PatientName: "karimov", Fuzzy: true}, Modality: "SR"}, "1.1.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			series, _, err := ix.Series(t.Context(), system, c.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range series {
				got = append(got, s.SeriesInstanceUID)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestInstanceFilter(t *testing.T) {
	ix := seeded(t)
	// A new version of one instance: only the current one is seen.
	fill(t, ix, addition("1.1", "1.1.2", 0, func(a *Addition) {
		a.Patient.PatientID = "100%"
		i := instance("1.1.2", 2)
		i.Version, i.SHA256, i.SOPClassUID = 2, []byte("other"), "1.2.840.10008.5.1.4.1.1.88.11"
		a.Pack.Key += ".2"
		a.Instances = append(a.Instances, i)
	}))
	for _, c := range []struct {
		name   string
		filter pacs.InstanceFilter
		want   string
	}{
		{"everything", pacs.InstanceFilter{}, "1.1.1.1 1.2.1.1 1.3.1.1 1.4.1.1 1.5.1.1 1.1.2.1 1.1.2.2"},
		{"of a study", pacs.InstanceFilter{Series: pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{"1.1"}}}}, "1.1.1.1 1.1.2.1 1.1.2.2"},
		{"of a series", pacs.InstanceFilter{Series: pacs.SeriesFilter{SeriesInstanceUIDs: []string{"1.1.2"}}}, "1.1.2.1 1.1.2.2"},
		{"UID", pacs.InstanceFilter{SOPInstanceUIDs: []string{"1.1.2.2", "1.5.1.1"}}, "1.5.1.1 1.1.2.2"},
		{"class", pacs.InstanceFilter{SOPClassUIDs: []string{"1.2.840.10008.5.1.4.1.1.88.11"}}, "1.1.2.1 1.1.2.2"},
		{"number", pacs.InstanceFilter{Number: ptr(2)}, "1.1.2.2"},
		{"number out of range", pacs.InstanceFilter{Number: ptr(-1 << 40)}, ""},
		{"of a modality", pacs.InstanceFilter{Series: pacs.SeriesFilter{Modality: "U?"}}, "1.5.1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			instances, _, err := ix.Instances(t.Context(), system, c.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range instances {
				got = append(got, i.SOPInstanceUID)
				if i.SOPInstanceUID == "1.1.2.2" && i.Version != 2 {
					t.Errorf("version %d is seen", i.Version)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestHostileValues: whatever a caller sends is an error of theirs or matches
// nothing.
func TestHostileValues(t *testing.T) {
	ix := seeded(t)
	megabyte := strings.Repeat("a", 1<<20)
	for name, v := range map[string]string{
		"quotes":        `'; DROP TABLE study; --`,
		"dollar quotes": `$1 $$ ) OR (true`,
		"NUL":           "a\x00b",
		"no UTF-8":      "\xff\xfe\xc3",
		"a megabyte":    megabyte,
		"wild cards":    strings.Repeat("%a_", 1<<18),
		"stars":         strings.Repeat("a*", 1<<19),
		"many stars":    strings.Repeat("a*", 4000),
		"words":         strings.Repeat("a ", 4000),
		"backslashes":   strings.Repeat(`\`, 4001) + "*",
		"right to left": "\u202e\u0301\u200b",
	} {
		t.Run(name, func(t *testing.T) {
			check := func(where string, n int, err error) {
				t.Helper()
				if code := pacs.CodeOf(err); n != 0 || code != "" && code != pacs.Invalid && code != pacs.NotFound {
					t.Errorf("%s: %d matches, %.200v", where, n, err)
				}
			}
			ctx := t.Context()
			for _, f := range []pacs.StudyFilter{
				{StudyInstanceUIDs: []string{v}},
				{StudyInstanceUIDs: []string{v, v}},
				{PatientID: v},
				{Issuer: v},
				{PatientName: v + "^zebra"},
				{PatientName: v + "^zebra", Fuzzy: true},
				{Sex: v},
				{PINFL: v},
				{AccessionNumber: v},
				{StudyID: v},
				{Description: v},
				{Referring: v},
				{Facility: v},
				{Text: v + " zebra"},
				{Modalities: []string{v}},
				{BirthDate: pacs.DateRange{From: "3" + v, To: "3" + v}},
				{Date: pacs.DateRange{From: "3" + v, To: "3" + v}},
				{Time: pacs.DateRange{From: "3" + v, To: "3" + v}},
			} {
				studies, _, err := ix.Studies(ctx, system, f)
				check("studies", len(studies), err)
			}
			for _, f := range []pacs.SeriesFilter{{SeriesInstanceUIDs: []string{v}}, {Modality: v}, {Description: v}, {BodyPart: v}, {Study: pacs.StudyFilter{PatientID: v}}} {
				series, _, err := ix.Series(ctx, system, f)
				check("series", len(series), err)
			}
			for _, f := range []pacs.InstanceFilter{{SOPInstanceUIDs: []string{v}}, {SOPClassUIDs: []string{v}}, {Series: pacs.SeriesFilter{Modality: v}}} {
				instances, _, err := ix.Instances(ctx, system, f)
				check("instances", len(instances), err)
			}
			packs, err := ix.PacksOf(ctx, system, v, v)
			check("packs", len(packs), err)
			_, err = ix.Study(ctx, system, v)
			check("study", 0, err)
			known, err := ix.Known(ctx, "1.1", []string{v})
			if err == nil {
				check("known", len(known.Versions), err)
			} else {
				check("known", 0, err)
			}
			// Excluding what can't be excludes nothing.
			if studies, _, err := ix.Studies(ctx, system, pacs.StudyFilter{ExcludeStudyInstanceUID: v}); err != nil || len(studies) != 5 {
				t.Errorf("excluding: %d studies, %.200v", len(studies), err)
			}
			for _, page := range []pacs.Page{{After: v}, {After: cursor{Text: v}.String()}, {After: cursor{UID: v}.String()}} {
				_, _, err = ix.Studies(ctx, system, pacs.StudyFilter{Page: page})
				check("page of studies", 0, err)
				_, _, err = ix.Series(ctx, system, pacs.SeriesFilter{Page: page})
				check("page of series", 0, err)
				_, _, err = ix.Instances(ctx, system, pacs.InstanceFilter{Page: page})
				check("page of instances", 0, err)
			}
		})
	}
	count(t, ix, 5, `SELECT count(*) FROM study`)
}

func TestHostilePages(t *testing.T) {
	ix := seeded(t)
	for _, page := range []pacs.Page{
		{After: cursor{Number: 1 << 40}.String()},
		{After: cursor{Number: -1 << 40}.String()},
		{After: "!"},
		{After: "e30"},
		{After: "W10"},
		{Offset: -1},
		{Offset: 1 << 62},
		{Limit: -1},
		{Limit: 1 << 62},
		{Limit: 1, Offset: -1 << 62},
	} {
		_, _, err := ix.Studies(t.Context(), system, pacs.StudyFilter{Page: page})
		_, _, err2 := ix.Series(t.Context(), system, pacs.SeriesFilter{Page: page})
		_, _, err3 := ix.Instances(t.Context(), system, pacs.InstanceFilter{Page: page})
		for _, err := range []error{err, err2, err3} {
			if code := pacs.CodeOf(err); code != "" && code != pacs.Invalid {
				t.Errorf("%+v: %v", page, err)
			}
		}
	}
}

// TestScope: no read shows anything of a facility out of sight, and an empty
// scope sees nothing.
func TestScope(t *testing.T) {
	ix := seeded(t)
	samarkand := facilityOf(t, ix, "SAM")
	var hidden, visible, hiddenPatient int64
	if err := ix.pool.QueryRow(t.Context(), `SELECT (SELECT id FROM study WHERE study_uid = '1.1'), (SELECT id FROM study WHERE study_uid = '1.2'),
		(SELECT patient_row FROM study WHERE study_uid = '1.1')`).Scan(&hidden, &visible, &hiddenPatient); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		scope   pacs.Scope
		studies []string // in sight
	}{
		{"all", system, []string{"1.1", "1.2", "1.3", "1.4", "1.5"}},
		{"Samarkand", samarkand, []string{"1.2"}},
		{"Tashkent", facilityOf(t, ix, "TMA"), []string{"1.1", "1.3", "1.4", "1.5"}},
		{"both", pacs.Scope{FacilityIDs: append(facilityOf(t, ix, "TMA").FacilityIDs, samarkand.FacilityIDs...)}, []string{"1.1", "1.2", "1.3", "1.4", "1.5"}},
		{"none", pacs.Scope{Who: "nobody"}, nil},
		{"an empty list", pacs.Scope{FacilityIDs: []int64{}}, nil},
		{"one that does not exist", pacs.Scope{FacilityIDs: []int64{-1, 1 << 62}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			sees := func(uid string) bool { return slices.Contains(c.studies, uid) }
			uids := func(studies []pacs.Study) (out []string) {
				for _, s := range studies {
					out = append(out, s.StudyInstanceUID)
				}
				slices.Sort(out)
				return out
			}
			studies, _, err := ix.Studies(ctx, c.scope, pacs.StudyFilter{})
			if diff := cmp.Diff(c.studies, uids(studies)); diff != "" || err != nil {
				t.Error(diff, err)
			}
			// By the link of the national number as well.
			linked, _, err := ix.Studies(ctx, c.scope, pacs.StudyFilter{PatientRowID: hiddenPatient})
			for _, uid := range uids(linked) {
				if !sees(uid) {
					t.Errorf("%s by its patient", uid)
				}
			}
			if err != nil {
				t.Error(err)
			}
			for _, uid := range []string{"1.1", "1.2", "1.3", "1.4", "1.5"} {
				if _, err := ix.Study(ctx, c.scope, uid); (err == nil) != sees(uid) || err != nil && pacs.CodeOf(err) != pacs.NotFound {
					t.Errorf("study %s: %v", uid, err)
				}
				if _, err := ix.PacksOf(ctx, c.scope, uid, uid+".1"); (err == nil) != sees(uid) || err != nil && pacs.CodeOf(err) != pacs.NotFound {
					t.Errorf("packs of %s: %v", uid, err)
				}
				of := pacs.StudyFilter{StudyInstanceUIDs: []string{uid}}
				if series, _, err := ix.Series(ctx, c.scope, pacs.SeriesFilter{Study: of}); (len(series) > 0) != sees(uid) || err != nil {
					t.Errorf("series of %s: %d, %v", uid, len(series), err)
				}
				if instances, _, err := ix.Instances(ctx, c.scope, pacs.InstanceFilter{SOPInstanceUIDs: []string{uid + ".1.1"}}); (len(instances) > 0) != sees(uid) || err != nil {
					t.Errorf("instances of %s: %d, %v", uid, len(instances), err)
				}
			}
			byID, err := ix.StudiesByID(ctx, c.scope, []int64{hidden, visible, 1 << 40})
			if err != nil {
				t.Error(err)
			}
			if _, ok := byID[hidden]; ok != sees("1.1") {
				t.Errorf("1.1 by its row: %v", ok)
			}
			if _, ok := byID[visible]; ok != sees("1.2") {
				t.Errorf("1.2 by its row: %v", ok)
			}
			for id, uid := range map[int64]string{hidden: "1.1", visible: "1.2"} {
				if middle, err := ix.MiddleInstances(ctx, c.scope, id); (len(middle) > 0) != sees(uid) || err != nil {
					t.Errorf("middle of %s: %v, %v", uid, middle, err)
				}
			}
			totals, err := ix.Totals(ctx, c.scope)
			if err != nil || totals.Studies != int64(len(c.studies)) {
				t.Errorf("%+v, %v", totals, err)
			}
		})
	}
}
