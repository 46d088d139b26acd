package dicomweb

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// The whole answer to a search for studies, attribute by attribute: PS3.18
// table 10.6.3-3.
const goldenStudy = `[{
	"00080005":{"vr":"CS","Value":["ISO_IR 192"]},
	"00080020":{"vr":"DA","Value":["20261120"]},
	"00080030":{"vr":"TM","Value":["101500"]},
	"00080050":{"vr":"SH","Value":["A1"]},
	"00080056":{"vr":"CS","Value":["ONLINE"]},
	"00080061":{"vr":"CS","Value":["CT"]},
	"00080090":{"vr":"PN","Value":[{"Alphabetic":"Усмонов^Дилшод"}]},
	"00081030":{"vr":"LO","Value":["Бош мия КТ"]},
	"00081190":{"vr":"UR","Value":["http://pacs.test/dicom-web/studies/1.2.3"]},
	"00100010":{"vr":"PN","Value":[{"Alphabetic":"Каримов^Алишер"}]},
	"00100020":{"vr":"LO","Value":["12345"]},
	"00100030":{"vr":"DA","Value":["19700102"]},
	"00100040":{"vr":"CS","Value":["M"]},
	"0020000D":{"vr":"UI","Value":["1.2.3"]},
	"00200010":{"vr":"SH","Value":["S1"]},
	"00201206":{"vr":"IS","Value":[1]},
	"00201208":{"vr":"IS","Value":[2]}
}]`

// Table 10.6.3-4, of a search within a study.
const goldenSeries = `[{
	"00080005":{"vr":"CS","Value":["ISO_IR 192"]},
	"00080056":{"vr":"CS","Value":["ONLINE"]},
	"00080060":{"vr":"CS","Value":["CT"]},
	"0008103E":{"vr":"LO","Value":["Axial 5mm"]},
	"00081190":{"vr":"UR","Value":["http://pacs.test/dicom-web/studies/1.2.3/series/1.2.3.1"]},
	"00180015":{"vr":"CS","Value":["HEAD"]},
	"0020000D":{"vr":"UI","Value":["1.2.3"]},
	"0020000E":{"vr":"UI","Value":["1.2.3.1"]},
	"00200011":{"vr":"IS","Value":[2]},
	"00201209":{"vr":"IS","Value":[2]}
}]`

// Table 10.6.3-5, of a search within a series, first instance.
const goldenInstance = `{
	"00080005":{"vr":"CS","Value":["ISO_IR 192"]},
	"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},
	"00080018":{"vr":"UI","Value":["1.2.3.1.1"]},
	"00080056":{"vr":"CS","Value":["ONLINE"]},
	"00081190":{"vr":"UR","Value":["http://pacs.test/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"]},
	"00083002":{"vr":"UI","Value":["1.2.840.10008.1.2"]},
	"0020000D":{"vr":"UI","Value":["1.2.3"]},
	"0020000E":{"vr":"UI","Value":["1.2.3.1"]},
	"00200013":{"vr":"IS","Value":[1]},
	"00280008":{"vr":"IS","Value":[1]},
	"00280010":{"vr":"US","Value":[2]},
	"00280011":{"vr":"US","Value":[2]},
	"00280100":{"vr":"US","Value":[16]}
}`

func sameJSON(t *testing.T, want string, got []byte) {
	t.Helper()
	var w, g any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("wrong answer (-want +got):\n%s", diff)
	}
}

func TestSearchAnswersWhatTheTablesRequire(t *testing.T) {
	h := serve(twoImages(t))
	w := get(t, h, "/studies", "Accept", "application/dicom+json")
	want(t, w, 200)
	sameJSON(t, goldenStudy, w.Body.Bytes())
	if got := w.Header().Get("Content-Type"); got != "application/dicom+json" {
		t.Errorf("Content-Type %q", got)
	}
	w = get(t, h, "/studies/1.2.3/series")
	want(t, w, 200)
	sameJSON(t, goldenSeries, w.Body.Bytes())
	w = get(t, h, "/studies/1.2.3/series/1.2.3.1/instances?limit=1")
	want(t, w, 200)
	sameJSON(t, "["+goldenInstance+"]", w.Body.Bytes())
}

// matches returns the matches of a search, by tag.
func matches(t *testing.T, h http.Handler, target string) []map[string]attribute {
	t.Helper()
	w := get(t, h, target)
	want(t, w, 200)
	var out []map[string]attribute
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSearchWithoutStudyInTheAddressAddsItsAttributes(t *testing.T) {
	h := serve(twoImages(t))
	const name, modality, rows = "00100010", "00080060", "00280010"
	for _, c := range []struct {
		target string
		has    []string
		not    []string
	}{
		{"/series", []string{name, modality}, nil},
		{"/instances", []string{name, modality, rows}, nil},
		{"/studies/1.2.3/series", []string{modality}, []string{name}},
		{"/studies/1.2.3/instances", []string{modality, rows}, []string{name}},
		{"/studies/1.2.3/series/1.2.3.1/instances", []string{rows}, []string{name, modality}},
		// includefield reaches upwards, too.
		{"/studies/1.2.3/series?includefield=PatientName", []string{name, modality}, nil},
		{"/studies/1.2.3/series/1.2.3.1/instances?includefield=00100010,Modality", []string{name, modality, rows}, nil},
	} {
		rowsFound := matches(t, h, c.target)
		if len(rowsFound) == 0 {
			t.Errorf("%s: no match", c.target)
			continue
		}
		for _, tag := range c.has {
			if _, ok := rowsFound[0][tag]; !ok {
				t.Errorf("%s: no %s", c.target, tag)
			}
		}
		for _, tag := range c.not {
			if _, ok := rowsFound[0][tag]; ok {
				t.Errorf("%s: %s is too much", c.target, tag)
			}
		}
	}
}

func TestIncludeField(t *testing.T) {
	h := serve(twoImages(t))
	const institution, issuer = "00080080", "00100021"
	if m := matches(t, h, "/studies")[0]; m[institution].VR != "" || m[issuer].VR != "" {
		t.Error("attributes nobody asked for")
	}
	for _, target := range []string{
		"/studies?includefield=InstitutionName,00100021",
		"/studies?includefield=InstitutionName&includefield=IssuerOfPatientID",
		"/studies?includefield=all",
		"/studies?InstitutionName=&IssuerOfPatientID=", // keys without a value
	} {
		m := matches(t, h, target)[0]
		if got := m[institution].Value; len(got) != 1 || got[0] != "Shifo" {
			t.Errorf("%s: institution %v", target, got)
		}
		if got := m[issuer].Value; len(got) != 1 || got[0] != "HOSPITAL" {
			t.Errorf("%s: issuer %v", target, got)
		}
	}
	if got := matches(t, h, "/studies/1.2.3/series?includefield=00181030")[0]["00181030"].Value; len(got) != 1 || got[0] != "Head routine" {
		t.Errorf("protocol %v", got)
	}
}

// Attributes that the index doesn't keep come from the metadata, for instances;
// of studies and series it is said that they don't.
func TestIncludeFieldOfAnyAttribute(t *testing.T) {
	a := twoImages(t)
	ds := image(ctStudy, ctSeries, "1.2.3.1.3", 3, 1)
	ds.SetString(dicom.NewTag(0x0009, 0x0010), dicom.LO, "OURS").SetString(dicom.NewTag(0x0009, 0x1001), dicom.LO, "private")
	ds.SetString(dicom.TagPatientComments, dicom.LT, strings.Repeat("x", 5000))
	ds.SetSequence(dicom.TagReferencedImageSequence, new(dicom.Dataset).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, "1.2.9"))
	a.put(t, partFile(t, ds, dicom.ExplicitVRLittleEndian))
	h := serve(a)
	for _, target := range []string{ctPath + "/instances", "/studies/1.2.3/instances", "/instances"} {
		w := get(t, h, target+"?includefield=SamplesPerPixel,00091001,ReferencedImageSequence.ReferencedSOPInstanceUID&PatientComments=&EthnicGroup=")
		want(t, w, 200)
		if warned := w.Header().Values("Warning"); len(warned) > 0 {
			t.Errorf("%s: %q", target, warned)
		}
		var found []map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &found); err != nil || len(found) != 3 {
			t.Fatalf("%s: %v, %d matches", target, err, len(found))
		}
		for i, m := range found {
			sameJSON(t, `{"vr":"US","Value":[1]}`, mustJSON(t, m["00280002"]))
			if last := i == 2; (m["00091001"] != nil) != last || (m["00104000"] != nil) != last || m["00102160"] != nil {
				t.Errorf("%s: match %d is %v", target, i, m)
			}
		}
		sameJSON(t, `{"vr":"LO","Value":["private"]}`, mustJSON(t, found[2]["00091001"]))
		sameJSON(t, `{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.9"]}}]}`, mustJSON(t, found[2]["00081140"]))
	}
	// Attributes of study and series that the index keeps reach down, too.
	m := matches(t, h, ctPath+"/instances?includefield=InstitutionName,ProtocolName")[0]
	if m["00080080"].Value == nil || m["00181030"].Value == nil {
		t.Errorf("%v", m)
	}
	for target, says := range map[string]string{
		"/studies?includefield=KVP,SeriesDescription,00091001":   "studies: SeriesDescription, 00091001, KVP.",
		"/series?includefield=SOPClassUID":                       "series: SOPClassUID.",
		"/studies?includefield=Modality,PatientName,RetrieveURL": "",
		"/studies?includefield=all":                              "",
		"/series?includefield=Modality,PatientSize":              "",
	} {
		warned := get(t, h, target).Header().Get("Warning")
		if says == "" && warned != "" || !strings.Contains(warned, says) {
			t.Errorf("%s: %q", target, warned)
		}
	}

	// Bounds: the metadata of so many series, and no long values.
	for n := range 25 {
		ds := image(ctStudy, fmt.Sprintf("1.2.3.7%02d", n), fmt.Sprintf("1.2.3.7%02d.1", n), 1, 1)
		ds.SetSequence(dicom.TagReferencedImageSequence, slices.Repeat([]*dicom.Dataset{new(dicom.Dataset).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, "1.2.3.4.5.6.7.8.9")}, 2000)...)
		a.put(t, partFile(t, ds, dicom.ExplicitVRLittleEndian))
	}
	w := get(t, h, "/studies/1.2.3/instances?includefield=SamplesPerPixel")
	var found []map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &found); err != nil || len(found) != 28 {
		t.Fatalf("%v, %d matches", err, len(found))
	}
	have := 0
	for _, m := range found {
		if m["00280002"] != nil {
			have++
		}
	}
	if warned := w.Header().Values("Warning"); have != 22 || len(warned) != 1 || !strings.Contains(warned[0], "SamplesPerPixel") || !strings.Contains(warned[0], "20 series") {
		t.Errorf("%d with the attribute, warned %q", have, warned)
	}
	w = get(t, h, "/studies/1.2.3/series/1.2.3.700/instances?includefield=ReferencedImageSequence")
	if warned := w.Header().Get("Warning"); !strings.Contains(warned, "too long") || w.Body.Len() > 5000 {
		t.Errorf("%d bytes, warned %q", w.Body.Len(), warned)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What reaches the index for a query.
func TestMatchKeysReachTheFilter(t *testing.T) {
	two := 2
	study := func(f pacs.StudyFilter) pacs.InstanceFilter {
		return pacs.InstanceFilter{Series: pacs.SeriesFilter{Study: f}}
	}
	for _, c := range []struct {
		query string
		at    level
		want  pacs.InstanceFilter
	}{
		{"PatientName=Karim*&fuzzymatching=true", studyLevel, study(pacs.StudyFilter{PatientName: "Karim*", Fuzzy: true})},
		{"00100010=*" + url.QueryEscape("Каримов") + "*", studyLevel, study(pacs.StudyFilter{PatientName: "*Каримов*"})},
		{"00100020=12345&fuzzymatching=false", studyLevel, study(pacs.StudyFilter{PatientID: "12345"})},
		{"IssuerOfPatientID=HOSPITAL", studyLevel, study(pacs.StudyFilter{Issuer: "HOSPITAL"})},
		{"StudyDate=20260101-20261231", studyLevel, study(pacs.StudyFilter{Date: pacs.DateRange{From: "20260101", To: "20261231"}})},
		{"StudyDate=20260101-", studyLevel, study(pacs.StudyFilter{Date: pacs.DateRange{From: "20260101"}})},
		{"StudyDate=-20260101", studyLevel, study(pacs.StudyFilter{Date: pacs.DateRange{To: "20260101"}})},
		{"00080020=20260101", studyLevel, study(pacs.StudyFilter{Date: pacs.DateRange{From: "20260101", To: "20260101"}})},
		{"StudyTime=10-1130", studyLevel, study(pacs.StudyFilter{Time: pacs.DateRange{From: "100000", To: "113059.999999"}})},
		{"StudyTime=101500.25", studyLevel, study(pacs.StudyFilter{Time: pacs.DateRange{From: "101500.25", To: "101500.259999"}})},
		{"PatientBirthDate=19700102&PatientSex=M", studyLevel, study(pacs.StudyFilter{BirthDate: pacs.DateRange{From: "19700102", To: "19700102"}, Sex: "M"})},
		{"ModalitiesInStudy=CT,MR", studyLevel, study(pacs.StudyFilter{Modalities: []string{"CT", "MR"}})},
		{"ModalitiesInStudy=CT&ModalitiesInStudy=MR", studyLevel, study(pacs.StudyFilter{Modalities: []string{"CT", "MR"}})},
		{"Modality=CT", studyLevel, study(pacs.StudyFilter{Modalities: []string{"CT"}})},
		{`StudyInstanceUID=1.2.3,1.2.4`, studyLevel, study(pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2.3", "1.2.4"}})},
		{`0020000D=1.2.3%5C1.2.4`, studyLevel, study(pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2.3", "1.2.4"}})},
		{"0020000d=1.2.3", studyLevel, study(pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2.3"}})},
		{
			"StudyDescription=*head*&ReferringPhysicianName=U*&AccessionNumber=A?&StudyID=S1", studyLevel,
			study(pacs.StudyFilter{Description: "*head*", Referring: "U*", AccessionNumber: "A?", StudyID: "S1"}),
		},
		{"PatientName=*&AccessionNumber=&StudyInstanceUID=*&ModalitiesInStudy=*&PatientSex=*", studyLevel, pacs.InstanceFilter{}},
		{
			"PatientID=1&Modality=CT&SeriesNumber=2&SeriesDescription=Ax*&BodyPartExamined=HEAD&SeriesInstanceUID=1.2", seriesLevel,
			pacs.InstanceFilter{Series: pacs.SeriesFilter{
				Study: pacs.StudyFilter{PatientID: "1"}, Modality: "CT", Number: &two, Description: "Ax*", BodyPart: "HEAD", SeriesInstanceUIDs: []string{"1.2"},
			}},
		},
		{
			// Keys that the index has no column for, as C-FIND gives them.
			"PatientWeight=80.50&InstitutionName=Shifo*&AccessionNumber=1", studyLevel,
			study(pacs.StudyFilter{AccessionNumber: "1", Attributes: []pacs.AttributeKey{
				{Tag: "00080080", VR: "LO", Values: []string{"Shifo*"}}, {Tag: "00101030", VR: "DS", Values: []string{"80.50"}},
			}}),
		},
		{
			"00400275.00400009=" + url.QueryEscape("Ш1") + "&RequestAttributesSequence.RequestedProcedureID=R*&PerformedProcedureStepStartDate=20260101-&00400245=10", seriesLevel,
			pacs.InstanceFilter{Series: pacs.SeriesFilter{Attributes: []pacs.AttributeKey{
				{Tag: "00400244", VR: "DA", Range: pacs.DateRange{From: "20260101"}},
				{Tag: "00400245", VR: "TM", Range: pacs.DateRange{From: "100000", To: "105959.999999"}},
				{Tag: "00400275", VR: "SQ", Item: []pacs.AttributeKey{
					{Tag: "00400009", VR: "SH", Values: []string{"Ш1"}}, {Tag: "00401001", VR: "SH", Values: []string{"R*"}},
				}},
			}}},
		},
		{
			"FrameOfReferenceUID=1.2,1.3&ImageType=ORIGINAL&Modality=CT,MR", imageLevel,
			pacs.InstanceFilter{
				Series:     pacs.SeriesFilter{Modalities: []string{"CT", "MR"}, Attributes: []pacs.AttributeKey{{Tag: "00200052", VR: "UI", Values: []string{"1.2", "1.3"}}}},
				Attributes: []pacs.AttributeKey{{Tag: "00080008", VR: "CS", Values: []string{"ORIGINAL"}}},
			},
		},
		{
			"emptyvaluematching=true&AccessionNumber=%22%22&PatientName=%22%22&InstitutionName=%22%22&Modality=%22%22", studyLevel,
			study(pacs.StudyFilter{Without: []string{"00080050", "00080061", "00100010"}, Attributes: []pacs.AttributeKey{{Tag: "00080080", VR: "LO", Empty: true}}}),
		},
		{
			"emptyvaluematching=true&SeriesNumber=%22%22&PerformedProcedureStepStartDate=%22%22&00400275.00400009=%22%22&InstanceNumber=%22%22", imageLevel,
			pacs.InstanceFilter{Without: []string{"00200013"}, Series: pacs.SeriesFilter{Without: []string{"00200011"}, Attributes: []pacs.AttributeKey{
				{Tag: "00400244", VR: "DA", Empty: true}, {Tag: "00400275", VR: "SQ", Item: []pacs.AttributeKey{{Tag: "00400009", VR: "SH", Empty: true}}},
			}}},
		},
		{"multiplevaluematching=true&ModalitiesInStudy=CT,SR", studyLevel, study(pacs.StudyFilter{Modalities: []string{"CT", "SR"}, AllModalities: true})},
		{"multiplevaluematching=true&ModalitiesInStudy=CT&emptyvaluematching=false", studyLevel, study(pacs.StudyFilter{Modalities: []string{"CT"}})},
		{
			// InstitutionName has one value: several are alternatives.
			"multiplevaluematching=true&ImageType=ORIGINAL%5CAXIAL&InstitutionName=A%5CB", imageLevel,
			pacs.InstanceFilter{
				Series:     pacs.SeriesFilter{Study: pacs.StudyFilter{Attributes: []pacs.AttributeKey{{Tag: "00080080", VR: "LO", Values: []string{"A", "B"}}}}},
				Attributes: []pacs.AttributeKey{{Tag: "00080008", VR: "CS", Values: []string{"ORIGINAL", "AXIAL"}, All: true}},
			},
		},
		{
			// From the first moment to the last, though the hours end before they begin.
			"StudyDate=20260101-20260102&00080030=22-06", studyLevel,
			study(pacs.StudyFilter{Moment: pacs.DateRange{From: "20260101220000", To: "20260102065959.999999"}}),
		},
		{"StudyDate=20260101&StudyTime=10-11", studyLevel, study(pacs.StudyFilter{
			Date: pacs.DateRange{From: "20260101", To: "20260101"}, Time: pacs.DateRange{From: "100000", To: "115959.999999"},
		})},
		{
			"Modality=MR&SOPClassUID=1.2&SOPInstanceUID=1.3&InstanceNumber=2", imageLevel,
			pacs.InstanceFilter{Series: pacs.SeriesFilter{Modality: "MR"}, SOPClassUIDs: []string{"1.2"}, SOPInstanceUIDs: []string{"1.3"}, Number: &two},
		},
	} {
		a := newArchive()
		target := map[level]string{studyLevel: "/studies?", seriesLevel: "/series?", imageLevel: "/instances?"}[c.at] + c.query
		w := get(t, serve(a), target)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
			continue
		}
		if warned := w.Header().Values("Warning"); len(warned) > 0 {
			t.Errorf("%s: warned %q", target, warned)
		}
		got := a.lastImage
		switch c.at {
		case studyLevel:
			got = study(a.lastStudy)
			got.Series.Study.Page, got.Series.Study.Availability = pacs.Page{}, false // asked of all
		case seriesLevel:
			got = pacs.InstanceFilter{Series: a.lastSeries}
			got.Series.Page, got.Series.Availability = pacs.Page{}, false
		}
		got.Page = pacs.Page{}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
}

func TestWhatIsNotMatchedIsSaid(t *testing.T) {
	h := serve(twoImages(t))
	for _, c := range []struct{ target, names string }{
		{"/studies?EthnicGroup=1", "EthnicGroup"},
		{"/studies?SeriesDate=20260101", "SeriesDate"}, // of a level below
		{"/studies?TimezoneOffsetFromUTC=%2B0500", "TimezoneOffsetFromUTC"},
		{"/studies?AccessionNumber=%22%22", "emptyvaluematching"},
		{"/studies?AccessionNumber=%22%22&emptyvaluematching=false", "AccessionNumber"},
		{"/studies?SeriesDate=%22%22&emptyvaluematching=true", "SeriesDate"},
		{"/studies?SeriesDescription=Axial", "SeriesDescription"},
		{"/studies?SOPClassUID=1.2", "SOPClassUID"},
		{"/series?SOPInstanceUID=1.2", "SOPInstanceUID"},
		{"/studies?RequestAttributesSequence.ScheduledProcedureStepID=1", "RequestAttributesSequence.ScheduledProcedureStepID"},
		{"/studies?00091001=x", "00091001"},
		{"/studies?timezoneadjustment=true", "timezoneadjustment"},
		{"/studies?orderby=-StudyDate&_=1700000000", "orderby"},
		{"/studies?limit=5000", "limit"},
	} {
		w := get(t, h, c.target)
		want(t, w, 200)
		warning := w.Header().Get("Warning")
		if !strings.HasPrefix(warning, `299 http://pacs.test/dicom-web "`) || !strings.Contains(warning, c.names) {
			t.Errorf("%s: Warning is %q", c.target, warning)
		}
	}
}

func TestBadQueriesNameTheParameter(t *testing.T) {
	h := serve(twoImages(t))
	for _, c := range []struct{ target, names string }{
		{"/studies?StudyDate=2026-01-01", "StudyDate"},
		{"/studies?StudyDate=20260230", "StudyDate"},
		{"/studies?StudyDate=20260301-20260201", "StudyDate"},
		{"/studies?StudyDate=-", "StudyDate"},
		{"/studies?StudyTime=2500", "StudyTime"},
		{"/studies?StudyTime=10:15", "StudyTime"},
		{"/studies?StudyTime=1", "StudyTime"},
		{"/studies?patientname=x", "patientname"},
		{"/studies?PatientsName=x", "PatientsName"},
		{"/studies?0010001=x", "0010001"},
		{"/studies?PatientID=1&00100020=2", "PatientID"},
		{"/studies?PatientID=1&PatientID=2", "PatientID"},
		{"/studies?limit=-1", "limit"},
		{"/studies?limit=many", "limit"},
		{"/studies?limit=1&limit=2", "limit"},
		{"/studies?offset=1e3", "offset"},
		{"/studies?fuzzymatching=yes", "fuzzymatching"},
		{"/studies?emptyvaluematching=1", "emptyvaluematching"},
		{"/studies?multiplevaluematching=true&multiplevaluematching=true", "multiplevaluematching"},
		{"/studies?includefield=Nonsense", "includefield"},
		{"/studies?StudyInstanceUID=../../etc", "StudyInstanceUID"},
		{"/studies?ModalitiesInStudy=C*", "ModalitiesInStudy"},
		{"/studies?PatientSex=M*", "PatientSex"},
		{"/studies?Modality=CT&ModalitiesInStudy=MR", "Modalit"},
		{"/series?SeriesNumber=two", "SeriesNumber"},
		{"/studies?PatientName=%zz", "%"},
		{"/studies?PatientName=" + strings.Repeat("x", 2000), "PatientName"},
		{"/studies?StudyInstanceUID=" + strings.Repeat("1,", 1001), "StudyInstanceUID"},
		{"/studies?after=nonsense", "marker"},
		{"/studies/1.2.x/series", "Study Instance UID"},
		{"/studies/" + strings.Repeat("1", 70) + "/series", "Study Instance UID"},
	} {
		w := get(t, h, c.target)
		if w.Code != 400 {
			t.Errorf("%s: status %d", clip(c.target), w.Code)
			continue
		}
		if d := detail(t, w); !strings.Contains(d, c.names) {
			t.Errorf("%s: %q does not name %q", clip(c.target), d, c.names)
		}
	}
}

func TestPagesFollowTheLink(t *testing.T) {
	a := newArchive()
	for n := 1; n <= 5; n++ {
		study := "1.2." + string(rune('0'+n))
		a.put(t, partFile(t, image(study, study+".1", study+".1.1", 1, 1), dicom.ExplicitVRLittleEndian))
	}
	h := serve(a)
	var got []string
	next := "/studies?PatientID=12345&offset=1&limit=2&includefield=all"
	for pages := 0; next != ""; pages++ {
		if pages > 5 {
			t.Fatal("the pages have no end")
		}
		w := get(t, h, next)
		want(t, w, 200)
		var rows []map[string]attribute
		if err := json.Unmarshal(w.Body.Bytes(), &rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			got = append(got, r["0020000D"].Value[0].(string))
		}
		link := w.Header().Get("Link")
		if link == "" {
			if w.Header().Get("Warning") != "" {
				t.Errorf("last page: Warning %q", w.Header().Get("Warning"))
			}
			break
		}
		if !strings.Contains(w.Header().Get("Warning"), "additional results") {
			t.Errorf("no Warning 299 beside %s", link)
		}
		target, ok := strings.CutPrefix(link, "<http://pacs.test/dicom-web")
		target, end := strings.CutSuffix(target, `>; rel="next"`)
		if !ok || !end {
			t.Fatalf("Link %q", link)
		}
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if q := u.Query(); q.Get("PatientID") != "12345" || q.Get("limit") != "2" || q.Get("includefield") != "all" || q.Has("offset") {
			t.Errorf("the link changes the query: %s", target)
		}
		next = target
	}
	if diff := cmp.Diff([]string{"1.2.2", "1.2.3", "1.2.4", "1.2.5"}, got); diff != "" {
		t.Error(diff)
	}
	if m := matches(t, h, "/studies?limit=0"); len(m) != 0 {
		t.Errorf("limit=0 gives %d matches", len(m))
	}
}

func TestNoMatchIsAnEmptyList(t *testing.T) {
	h := serve(twoImages(t))
	for _, target := range []string{
		"/studies?PatientID=nobody",
		"/studies/1.2.3.999/series",
		"/studies/1.2.3/series/1.2.3.1/instances?SOPInstanceUID=1.1",
		"/studies/1.2.3/series?StudyInstanceUID=1.2.4",   // contradicts the address
		"/studies/" + otherUID + "/series",               // not in scope
		"/studies?StudyInstanceUID=" + otherUID,          // not in scope
		"/instances?SOPInstanceUID=" + otherUID + ".1.1", // not in scope
	} {
		w := get(t, h, target)
		want(t, w, 200)
		if w.Body.String() != "[]" {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
}

func TestSignInIsNeeded(t *testing.T) {
	h := serve(twoImages(t))
	for _, target := range []string{"/studies", "/studies/1.2.3", "/studies/1.2.3/series/1.2.3.1/metadata"} {
		want(t, get(t, h, target, "Authorization", "none"), 401)
	}
	want(t, call(t, h, "POST", "/studies", strings.NewReader(""), "Authorization", "none"), 401)
}

func TestOriginOfURLs(t *testing.T) {
	forwarded := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "pacs.example.uz, inner"}
	for _, c := range []struct {
		edit func(*Options)
		want string
	}{
		{func(o *Options) {}, "http://pacs.test/dicom-web/studies/1.2.3"},
		{func(o *Options) { o.TrustForwarded = true }, "https://pacs.example.uz/dicom-web/studies/1.2.3"},
		{func(o *Options) { o.Origin = "https://images.uz/" }, "https://images.uz/dicom-web/studies/1.2.3"},
	} {
		w := get(t, serve(twoImages(t), c.edit), "/studies", forwarded...)
		want(t, w, 200)
		var rows []map[string]attribute
		if err := json.Unmarshal(w.Body.Bytes(), &rows); err != nil {
			t.Fatal(err)
		}
		if got := rows[0]["00081190"].Value[0]; got != c.want {
			t.Errorf("RetrieveURL %s, want %s", got, c.want)
		}
	}
}

func TestPersonNameGroups(t *testing.T) {
	for in, want := range map[string]string{
		"":                `{"vr":"PN"}`,
		"Karimov^Alisher": `{"vr":"PN","Value":[{"Alphabetic":"Karimov^Alisher"}]}`,
		"Yamada^Tarou=山田^太郎=やまだ^たろう": `{"vr":"PN","Value":[{"Alphabetic":"Yamada^Tarou","Ideographic":"山田^太郎","Phonetic":"やまだ^たろう"}]}`,
		"=山田^太郎": `{"vr":"PN","Value":[{"Ideographic":"山田^太郎"}]}`,
		"==":     `{"vr":"PN"}`,
	} {
		got, err := json.Marshal(personName(in))
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, want, got)
	}
}

// Any query is understood, or refused by an error that blames the query.
func FuzzQuery(f *testing.F) {
	f.Add("PatientName=Karim*&fuzzymatching=true&StudyDate=20260101-&limit=10")
	f.Add("00080030=10-1130&includefield=all,00100010&offset=3&after=x")
	f.Add("ModalitiesInStudy=CT%5CMR&RequestAttributesSequence.Modality=CT&%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		if len(raw) > 4096 {
			return
		}
		for _, at := range []level{studyLevel, seriesLevel, imageLevel} {
			r := &request{Context: &gin.Context{Request: &http.Request{URL: &url.URL{RawQuery: raw}}}}
			q, _, err := parseQuery(r, at)
			if err != nil && pacs.CodeOf(err) != pacs.Invalid {
				t.Fatalf("%q: %v", raw, err)
			}
			for _, w := range q.warnings {
				if strings.ContainsAny(headerText(w), "\r\n\"") {
					t.Fatalf("%q: warning %q", raw, w)
				}
			}
		}
	})
}
