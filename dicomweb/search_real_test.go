package dicomweb

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// fetchJSON gets an answer in DICOM JSON.
func fetchJSON(t *testing.T, address string) (*http.Response, []map[string]any) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if resp.StatusCode == 200 {
		if err := json.Unmarshal(b, &list); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	}
	return resp, list
}

// eventually waits until a search has so many matches.
func eventually(t *testing.T, address string, n int) []map[string]any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		resp, list := fetchJSON(t, address)
		if resp.StatusCode == 200 && len(list) == n {
			return list
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d with %d matches, want %d", address, resp.StatusCode, len(list), n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// How soon what is found can be had is said at each level: the worst of what the
// match stands for.
func TestSearchAvailability(t *testing.T) {
	server, ix, _ := openReal(t, heldBack(t))
	var parts []partOf
	for _, uid := range []string{"2.25.8.1.1", "2.25.8.1.2", "2.25.8.2.1"} {
		parts = append(parts, dicomPart(encoded(t, image("2.25.8", uid[:len(uid)-2], uid, 1, 1))))
	}
	parts = append(parts, dicomPart(encoded(t, image("2.25.9", "2.25.9.1", "2.25.9.1.1", 1, 1))))
	if w := post(t, server, body(parts...)); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	base := server.URL + "/dicom-web"
	eventually(t, base+"/instances", 4)
	said := func(target, uid string) map[string]string {
		t.Helper()
		_, list := fetchJSON(t, base+target)
		is := map[string]string{}
		for _, m := range list {
			first := func(tag string) string {
				return fmt.Sprint(m[tag].(map[string]any)["Value"].([]any)[0])
			}
			is[first(uid)] = first("00080056")
		}
		return is
	}
	same := func(what string, got, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	const study, series, instance = "0020000D", "0020000E", "00080018"
	same("studies", said("/studies", study), map[string]string{"2.25.8": "ONLINE", "2.25.9": "ONLINE"})
	for _, sql := range []string{
		`UPDATE pack SET key = 'cold/' || key WHERE series_row = (SELECT id FROM series WHERE series_uid = '2.25.8.2')`,
		`UPDATE instance SET pixels_deleted = '{}' WHERE sop_uid = '2.25.8.1.2'`,
	} {
		if tag, err := ix.Pool().Exec(t.Context(), sql); err != nil || tag.RowsAffected() == 0 {
			t.Fatal(tag, err)
		}
	}
	same("studies", said("/studies", study), map[string]string{"2.25.8": "UNAVAILABLE", "2.25.9": "ONLINE"})
	for _, target := range []string{"/studies/2.25.8/series", "/series?StudyInstanceUID=2.25.8"} { // with the study's attributes, too
		same(target, said(target, series), map[string]string{"2.25.8.1": "UNAVAILABLE", "2.25.8.2": "NEARLINE"})
	}
	for _, target := range []string{"/studies/2.25.8/instances", "/instances?StudyInstanceUID=2.25.8", "/studies/2.25.8/instances?includefield=InstanceAvailability"} {
		same(target, said(target, instance), map[string]string{"2.25.8.1.1": "ONLINE", "2.25.8.1.2": "UNAVAILABLE", "2.25.8.2.1": "NEARLINE"})
	}
}

// Every kind of matching, by PostgreSQL: attributes with a column, attributes
// kept as DICOM JSON, and attributes within sequences.
func TestSearchKeysInTheRealArchive(t *testing.T) {
	server := realArchive(t, heldBack(t))
	var parts []partOf
	for n := 1; n <= 3; n++ {
		study := fmt.Sprintf("2.25.7%d", n)
		ds := image(study, study+".1", study+".1.1", n, 1).
			SetString(dicom.TagPatientID, dicom.LO, fmt.Sprint("P", n)).
			SetString(dicom.TagStudyDate, dicom.DA, fmt.Sprint("2026110", n)).
			SetString(dicom.TagStudyTime, dicom.TM, fmt.Sprintf("%02d0000", 8*n-7)). // 01, 09, 17
			SetString(dicom.TagInstitutionName, dicom.LO, []string{"Шифохона", "Clinic A", "Clinic B"}[n-1]).
			SetString(dicom.TagPatientWeight, dicom.DS, fmt.Sprint(60+n)).
			SetString(dicom.TagPerformedProcedureStepStartDate, dicom.DA, fmt.Sprint("2026110", n)).
			SetString(dicom.TagImageType, dicom.CS, "ORIGINAL", "PRIMARY", fmt.Sprint("KIND", n)).
			SetString(dicom.TagFrameOfReferenceUID, dicom.UI, study+".9").
			SetSequence(dicom.TagRequestAttributesSequence, new(dicom.Dataset).
				SetString(dicom.TagRequestedProcedureID, dicom.SH, fmt.Sprint("RP", n)).
				SetString(dicom.TagScheduledProcedureStepID, dicom.SH, "SPS"))
		parts = append(parts, dicomPart(encoded(t, ds)))
	}
	if w := post(t, server, body(parts...)); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	base := server.URL + "/dicom-web"
	eventually(t, base+"/studies", 3)
	for _, c := range []struct {
		target string
		n      int
	}{
		{"/studies?InstitutionName=" + url.QueryEscape("Шифохона"), 1},
		{"/studies?InstitutionName=Clinic*", 2},
		{"/studies?InstitutionName=Clinic*&PatientWeight=62", 1},
		{"/studies?PatientWeight=6?", 0}, // numbers take no wildcards
		{"/studies?StudyDate=20261101-20261102", 2},
		{"/studies?StudyDate=20261101-20261103&StudyTime=02-16", 1}, // combined: after 02 on the 1st, before 17 on the 3rd
		{"/studies?StudyTime=02-16", 1},
		{"/studies?StudyDate=20261101-20261103&StudyTime=00-23", 3},
		{"/studies?StudyDate=20261101-20261103&StudyTime=17-01", 1},
		{"/studies?StudyInstanceUID=2.25.71,2.25.73,9.9", 2},
		{"/studies?PatientID=P?", 3},
		{"/studies?PatientName=karim*&fuzzymatching=true", 3},
		{"/studies?PatientName=karim*", 0},
		{"/series?00400275.00401001=RP2", 1},
		{"/series?00400275.00401001=RP2&RequestAttributesSequence.00400009=SPS", 1},
		{"/series?00400275.00401001=RP2&00400275.00400009=other", 0},
		{"/series?00400275.00401001=RP*", 3},
		{"/series?PerformedProcedureStepStartDate=20261102-", 2},
		{"/series?Modality=MR,CT", 3},
		{"/series?FrameOfReferenceUID=2.25.71.9,2.25.72.9", 2},
		{"/instances?ImageType=KIND3", 1},
		{"/instances?ImageType=KIND*&InstitutionName=Clinic*", 2},
		{"/instances?ImageType=KIND3%5CPRIMARY", 3},
		{"/instances?ImageType=KIND3%5CPRIMARY&multiplevaluematching=true", 1},
		{"/studies?StudyID=%22%22&emptyvaluematching=true", 0},
		{"/studies?PatientSize=%22%22&StudyDate=20261102&emptyvaluematching=true", 1},
		{"/series?00400275.00400007=%22%22&emptyvaluematching=true", 3},
		{"/studies/2.25.71/instances?ImageType=KIND1", 1},
		{"/studies/2.25.71/instances?ImageType=KIND2", 0},
	} {
		if resp, list := fetchJSON(t, base+c.target); resp.StatusCode != 200 || len(list) != c.n {
			t.Errorf("%s: %d with %d matches, want %d; %q", c.target, resp.StatusCode, len(list), c.n, resp.Header["Warning"])
		}
	}
	// What is matched by is returned, the sequence with its items.
	_, list := fetchJSON(t, base+"/series?includefield=00400275.00401001&PatientID=P2")
	if len(list) != 1 || list[0]["00400275"] == nil {
		t.Fatalf("%v", list)
	}

	// What the index doesn't keep comes from the metadata.
	_, list = fetchJSON(t, base+"/instances?includefield=SamplesPerPixel,PhotometricInterpretation&PatientID=P2")
	if len(list) != 1 || fmt.Sprint(list[0]["00280002"], list[0]["00280004"]) != "map[Value:[1] vr:US] map[Value:[MONOCHROME2] vr:CS]" {
		t.Fatalf("%v", list)
	}

	// Pages by the next link give each study once, in the order of one answer.
	_, all := fetchJSON(t, base+"/studies")
	next, paged := base+"/studies?limit=1", []map[string]any(nil)
	for next != "" && len(paged) < 10 {
		resp, page := fetchJSON(t, next)
		paged = append(paged, page...)
		next = ""
		if link := resp.Header.Get("Link"); link != "" {
			if _, err := fmt.Sscanf(link, "<%s rel=\"next\"", &next); err != nil {
				t.Fatalf("Link %q: %v", link, err)
			}
			next = next[:len(next)-len(">;")]
			if resp.Header.Get("Warning") == "" {
				t.Error("a truncated answer has no Warning")
			}
		}
	}
	if fmt.Sprint(paged) != fmt.Sprint(all) {
		t.Errorf("pages:\n%v\nat once:\n%v", paged, all)
	}
}
