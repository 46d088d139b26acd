package index

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestAttributeKeys(t *testing.T) {
	ix := open(t)
	procedure := func(code, scheme string) func(*Addition) {
		return func(a *Addition) {
			a.Study.Attributes = json.RawMessage(`{"00081032":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["OTHER"]}},
				{"00080100":{"vr":"SH","Value":["` + code + `"]},"00080102":{"vr":"SH","Value":["` + scheme + `"]}}]},
				"00080080":{"vr":"LO","Value":["Urgut \"1\" (markaz)"]},"00101020":{"vr":"DS","Value":[1.7]}}`)
		}
	}
	fill(t, ix, addition("1.1", "1.1.1", 1, procedure("CT100", "DCM"), func(a *Addition) {
		a.Series.Attributes = json.RawMessage(`{"00081050":{"vr":"PN","Value":[{"Alphabetic":"Aliyev^Vali"}]},"00400244":{"vr":"DA","Value":["20260302"]}}`)
	}))
	fill(t, ix, addition("1.2", "1.2.1", 1, procedure("MR200", "DCM")), addition("1.3", "1.3.1", 1))

	code := func(values ...string) pacs.AttributeKey {
		return pacs.AttributeKey{Tag: "00080100", VR: "SH", Values: values}
	}
	scheme := func(v string) pacs.AttributeKey {
		return pacs.AttributeKey{Tag: "00080102", VR: "SH", Values: []string{v}}
	}
	item := func(keys ...pacs.AttributeKey) pacs.AttributeKey {
		return pacs.AttributeKey{Tag: "00081032", VR: "SQ", Item: keys}
	}
	sequence := func(key pacs.AttributeKey) pacs.AttributeKey {
		key.Tag = "00081032"
		return key
	}
	deep := code("x")
	for range 10 {
		deep = item(deep)
	}
	tests := []struct {
		name string
		key  pacs.AttributeKey
		want []string
	}{
		{"code", item(code("CT100")), []string{"1.1"}},
		{"one of", item(code("CT100", "MR200", "XA")), []string{"1.1", "1.2"}},
		{"wildcards", item(code("?T1*")), []string{"1.1"}},
		{"not at the beginning", item(code("T100*")), nil},
		{"both of one item", item(code("MR200"), scheme("DCM")), []string{"1.2"}},
		{"of different items", item(code("OTHER"), scheme("DCM")), nil},
		{"any item", item(), []string{"1.1", "1.2"}},
		{"quotes and brackets", pacs.AttributeKey{Tag: "00080080", VR: "LO", Values: []string{`Urgut "1" (markaz)`}}, []string{"1.1", "1.2"}},
		{"quotes and wildcards", pacs.AttributeKey{Tag: "00080080", VR: "LO", Values: []string{`*"1" (mark?z)`}}, []string{"1.1", "1.2"}},
		{"a pattern is no expression", pacs.AttributeKey{Tag: "00080080", VR: "LO", Values: []string{`.*|?`}}, nil},
		{"number", pacs.AttributeKey{Tag: "00101020", VR: "DS", Values: []string{"1.70"}}, []string{"1.1", "1.2"}},
		{"each of two, of any item", pacs.AttributeKey{Tag: "00101020", VR: "DS", Values: []string{"1.7", "1.8"}, All: true}, nil},
		{"each of one", pacs.AttributeKey{Tag: "00101020", VR: "DS", Values: []string{"1.7"}, All: true}, []string{"1.1", "1.2"}},
		{"each of two that are one", pacs.AttributeKey{Tag: "00080080", VR: "LO", Values: []string{"Urgut*", "*markaz?"}, All: true}, []string{"1.1", "1.2"}},
		{"each, one impossible", pacs.AttributeKey{Tag: "00080080", VR: "LO", Values: []string{"Urgut*", "\x00"}, All: true}, nil},
		{"empty", pacs.AttributeKey{Tag: "00080080", VR: "LO", Empty: true}, []string{"1.3"}},
		{"empty, absent in all", pacs.AttributeKey{Tag: "00104000", VR: "LT", Empty: true}, []string{"1.1", "1.2", "1.3"}},
		{"no items", sequence(pacs.AttributeKey{VR: "SQ", Empty: true}), []string{"1.3"}},
		{"an item without scheme", item(pacs.AttributeKey{Tag: "00080102", VR: "SH", Empty: true}), []string{"1.1", "1.2"}},
		{"an item without scheme, of a code", item(code("CT100"), pacs.AttributeKey{Tag: "00080102", VR: "SH", Empty: true}), nil},
		{"no number", pacs.AttributeKey{Tag: "00101020", VR: "DS", Values: []string{"1.7 || 1 == 1"}}, nil},
		{"no tag", pacs.AttributeKey{Tag: `0" || "`, VR: "LO", Values: []string{"x"}}, nil},
		{"NUL", item(code("\x00")), nil},
		{"too deep", deep, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, _, err := ix.Studies(t.Context(), system, pacs.StudyFilter{Attributes: []pacs.AttributeKey{tt.key}})
			var got []string
			for _, r := range rows {
				got = append(got, r.StudyInstanceUID)
			}
			slices.Sort(got)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			}
		})
	}
	for name, key := range map[string]pacs.AttributeKey{
		"name in another case": {Tag: "00081050", VR: "PN", Values: []string{"ALIYEV^*"}},
		"date":                 {Tag: "00400244", VR: "DA", Range: pacs.DateRange{From: "20260301", To: "20260302"}},
	} {
		rows, _, err := ix.Series(t.Context(), system, pacs.SeriesFilter{Attributes: []pacs.AttributeKey{key}})
		if err != nil || len(rows) != 1 || rows[0].SeriesInstanceUID != "1.1.1" {
			t.Errorf("%s: %v, %v", name, rows, err)
		}
	}
}

func TestMoments(t *testing.T) {
	ix := open(t)
	at := func(uid, date, time string) Addition {
		return addition(uid, uid+".1", 1, func(a *Addition) { a.Study.Date, a.Study.Time = date, time })
	}
	fill(t, ix, at("1.1", "20260301", "235959.5"), at("1.2", "20260302", "101530"), at("1.3", "20260303", ""), at("1.4", "20260303", "08"), at("1.5", "", "120000"))
	tests := []struct {
		dates, times string
		want         string
	}{
		{"20260301-20260302", "220000-103000", "1.1 1.2"},
		{"20260302-20260303", "101530-080000", "1.2 1.3 1.4"},
		{"20260302-20260303", "101531-075959", "1.3"},
		{"20260302-", "1100-", "1.3 1.4"},
		{"-20260302", "-1000", "1.1"},
		{"20260303", "0800-0900", "1.4"},
	}
	for _, tt := range tests {
		moment, err := pacs.CombineRanges(tt.dates, tt.times)
		if err != nil {
			t.Fatal(err)
		}
		rows, _, err := ix.Studies(t.Context(), system, pacs.StudyFilter{Moment: moment})
		var got []string
		for _, r := range rows {
			got = append(got, r.StudyInstanceUID)
		}
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s %s: %v, %v, want %s", tt.dates, tt.times, got, err, tt.want)
		}
	}
	for _, wrong := range [][2]string{{"2026", "10"}, {"20260301", "25"}, {"20260301", "1200-1100"}, {"20260302-20260301", "10"}} {
		if r, err := pacs.CombineRanges(wrong[0], wrong[1]); err == nil {
			t.Errorf("%v is %v", wrong, r)
		}
	}
}

func TestPatientsWithStudies(t *testing.T) {
	ix := open(t)
	of := func(study, patient, name, facility string, instances int) Addition {
		return addition(study, study+".1", instances, func(a *Addition) {
			a.Facility = facility
			a.Patient = pacs.Patient{Issuer: facility, PatientID: patient, Name: name, Sex: "M"}
		})
	}
	fill(t, ix, of("1.1", "P1", "Karimov^Ali", "TMA", 2), of("1.2", "P1", "Karimov^Ali", "TMA", 3), of("1.3", "P2", "Каримова^Зулфия", "TMA", 1), of("1.4", "P1", "Karimov^Vali", "URGUT", 1))
	var one int64
	if err := ix.Pool().QueryRow(t.Context(), `SELECT id FROM facility WHERE code = 'URGUT'`).Scan(&one); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		scope pacs.Scope
		f     pacs.StudyFilter
		want  string
	}{
		{"all", system, pacs.StudyFilter{}, "P1/TMA 2/2/5 P2/TMA 1/1/1 P1/URGUT 1/1/1"},
		{"a facility's", pacs.Scope{FacilityIDs: []int64{one}}, pacs.StudyFilter{}, "P1/URGUT 1/1/1"},
		{"nobody's", pacs.Scope{}, pacs.StudyFilter{}, ""},
		{"ID", system, pacs.StudyFilter{PatientID: "P1"}, "P1/TMA 2/2/5 P1/URGUT 1/1/1"},
		{"name", system, pacs.StudyFilter{PatientName: "KARIMOV^*"}, "P1/TMA 2/2/5 P1/URGUT 1/1/1"},
		{"name, fuzzy", system, pacs.StudyFilter{PatientName: "KARIMOV*", Fuzzy: true}, "P1/TMA 2/2/5 P2/TMA 1/1/1 P1/URGUT 1/1/1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for tt.f.Limit = 1; ; {
				rows, next, err := ix.PatientsWithStudies(t.Context(), tt.scope, tt.f)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range rows {
					got = append(got, fmt.Sprintf("%s/%s %d/%d/%d", m.PatientID, m.Issuer, m.Studies, m.Series, m.Instances))
				}
				if tt.f.After = next; next == "" {
					break
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%v, want %s", got, tt.want)
			}
		})
	}
}
