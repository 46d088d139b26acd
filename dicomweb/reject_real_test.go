package dicomweb

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

const (
	rejectStudy  = "2.25.80"
	rejectSeries = rejectStudy + ".1"
)

func rejectImage(n int) *dicom.Dataset {
	return image(rejectStudy, fmt.Sprintf("%s.%d", rejectStudy, (n+1)/2), fmt.Sprintf("%s.9.%d", rejectStudy, n), n, 1)
}

// note is a rejection note as another system sends it.
func note(t *testing.T, code string, images ...int) []byte {
	t.Helper()
	var named []namedInstance
	for _, n := range images {
		named = append(named, namedInstance{fmt.Sprintf("%s.%d", rejectStudy, (n+1)/2), ctClass, fmt.Sprintf("%s.9.%d", rejectStudy, n)})
	}
	ds := rejectionNote(pacs.Study{
		StudyInstanceUID: rejectStudy, Date: "20261120", Facility: pacs.Facility{Code: pacs.Unassigned},
		Patient: pacs.Patient{Issuer: pacs.Unassigned, PatientID: "12345", Name: "Каримов^Алишер", BirthDate: "19700102", Sex: "M"},
	}, named, pacs.RejectionReason(code), "motion", time.Now())
	return encoded(t, ds)
}

// send makes a request without a body.
func send(t *testing.T, method, address string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// rejectable is an archive with four images in two series of a study.
func rejectable(t *testing.T, edit ...func(*Options)) (*httptest.Server, *index.Index, string) {
	t.Helper()
	server, ix, _ := openReal(t, heldBack(t), append(edit, func(o *Options) { o.Rejections = o.Index.(*index.Index) })...)
	var parts []partOf
	for n := 1; n <= 4; n++ {
		parts = append(parts, dicomPart(encoded(t, rejectImage(n))))
	}
	if w := post(t, server, body(parts...)); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	base := server.URL + "/dicom-web"
	eventually(t, base+"/studies/"+rejectStudy+"/instances", 4)
	return server, ix, base
}

// A rejection note that arrives like any instance hides what it names, and
// itself, by every route; what is stored stays.
func TestRejectionNoteHidesWhatItNames(t *testing.T) {
	server, ix, base := rejectable(t)
	study := base + "/studies/" + rejectStudy
	if w := post(t, server, body(dicomPart(note(t, "113001", 1, 3, 4)))); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	left := eventually(t, study+"/instances", 1)
	if uid := left[0]["00080018"].(map[string]any)["Value"].([]any)[0]; uid != rejectStudy+".9.2" {
		t.Errorf("left is %v", uid)
	}
	// The second series has nothing left, nor has that of the note.
	for target, n := range map[string]int{
		"/studies": 1, "/series": 1, "/instances": 1, "/studies/" + rejectStudy + "/series": 1, "/studies/" + rejectStudy + "/metadata": 1,
		"/studies/" + rejectStudy + "/series/" + rejectSeries + "/metadata": 1, "/series?Modality=KO": 0, "/studies?ModalitiesInStudy=KO": 0,
	} {
		if resp, list := fetchJSON(t, base+target); resp.StatusCode != 200 || len(list) != n {
			t.Errorf("%s: %d with %d, want %d", target, resp.StatusCode, len(list), n)
		}
	}
	_, list := fetchJSON(t, study+"/series")
	if v := fmt.Sprint(list[0]["00201209"]); !strings.Contains(v, "[1]") {
		t.Errorf("Number of Series Related Instances %s", v)
	}
	_, list = fetchJSON(t, base+"/studies")
	if v := fmt.Sprint(list[0]["00201206"], list[0]["00201208"], list[0]["00080061"]); !strings.Contains(v, "[1]") || strings.Contains(v, "KO") {
		t.Errorf("counts and modalities %s", v)
	}
	for _, target := range []string{
		"/series/" + rejectSeries + "/instances/" + rejectStudy + ".9.1", "/series/" + rejectSeries + "/instances/" + rejectStudy + ".9.1/metadata",
		"/series/" + rejectSeries + "/instances/" + rejectStudy + ".9.1/frames/1", "/series/" + rejectStudy + ".2", "/series/" + rejectStudy + ".2/metadata",
	} {
		if code, b := send(t, "GET", study+target); code != 404 {
			t.Errorf("%s: %d %.100s", target, code, b)
		}
	}
	// Who may reject can tell what was, why and by whose note.
	_, hidden, err := ix.Rejected(t.Context(), pacs.System("test"), rejectStudy)
	if err != nil || len(hidden) != 3 || hidden[0].Reason != pacs.RejectedForQuality || hidden[0].NoteUID == "" || hidden[0].Sender != "test" {
		t.Errorf("%v %+v", err, hidden)
	}
	changes, _, err := ix.Changes(t.Context(), pacs.System("test"), "", 100)
	if err != nil || !slices.ContainsFunc(changes, func(c index.Change) bool { return c.Kind == index.InstancesRejected && c.Instances == 3 }) {
		t.Errorf("%v: the feed has %+v", err, changes)
	}

	// Sent again they stay hidden, also with other bytes.
	again := rejectImage(3).SetString(dicom.TagStudyDescription, dicom.LO, "other bytes")
	if w := post(t, server, body(dicomPart(encoded(t, rejectImage(1))), dicomPart(encoded(t, again)), dicomPart(encoded(t, image(rejectStudy, rejectSeries, rejectStudy+".9.5", 5, 1))))); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	eventually(t, study+"/instances", 2) // number 2, and the new number 5
	if resp, list := fetchJSON(t, study+"/instances?InstanceNumber=3"); resp.StatusCode != 200 || len(list) != 0 {
		t.Errorf("%d: %v", resp.StatusCode, list)
	}
}

// What was rejected because its retention had expired is shown when it is sent
// again, the same bytes or others; after reindexing, too.
func TestExpiredInstancesMayComeAgain(t *testing.T) {
	server, ix, base := rejectable(t)
	study := base + "/studies/" + rejectStudy
	if w := post(t, server, body(dicomPart(note(t, "113039", 1, 2, 3, 4)))); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	eventually(t, base+"/studies", 0)
	if code, _ := send(t, "GET", study); code != 404 {
		t.Errorf("a study of which nothing is shown: %d", code)
	}
	other := rejectImage(2).SetString(dicom.TagStudyDescription, dicom.LO, "other bytes")
	if w := post(t, server, body(dicomPart(encoded(t, rejectImage(1))), dicomPart(encoded(t, other)))); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	eventually(t, study+"/instances", 2)
	eventually(t, study+"/metadata", 2)
	eventually(t, base+"/studies", 1)
	if _, hidden, err := ix.Rejected(t.Context(), pacs.System("test"), rejectStudy); err != nil || len(hidden) != 2 {
		t.Errorf("%v: hidden %+v", err, hidden)
	}
}

// Callers reject through the archive, which writes the note itself, and take it
// back; an index that is rebuilt from the packs hides the same.
func TestRejectAndRestore(t *testing.T) {
	type deed struct {
		object, why string
		reason      pacs.RejectionReason
	}
	var deeds []deed
	allowed := true
	server, ix, objects := openReal(t, heldBack(t), func(o *Options) {
		o.Rejections = o.Index.(*index.Index)
		o.Rejecting = func(_ *gin.Context, study pacs.Study, object string, reason pacs.RejectionReason, why string) error {
			if !allowed {
				return pacs.Errorf(pacs.Forbidden, "no")
			}
			deeds = append(deeds, deed{object, why, reason})
			return nil
		}
	})
	var parts []partOf
	for n := 1; n <= 4; n++ {
		parts = append(parts, dicomPart(encoded(t, rejectImage(n))))
	}
	if w := post(t, server, body(parts...)); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	base := server.URL + "/dicom-web"
	study := base + "/studies/" + rejectStudy
	eventually(t, study+"/instances", 4)

	for _, step := range []struct {
		method, target string
		status, left   int
	}{
		{"POST", "/series/" + rejectSeries + "/instances/" + rejectStudy + ".9.1/reject/113037^DCM?why=wrong+patient", 204, 3},
		{"POST", "/series/" + rejectSeries + "/reject/113001", 204, 2},
		{"POST", "/series/" + rejectSeries + "/reject/113001", 404, 2}, // nothing of it is shown
		{"DELETE", "", 204, 0},
		{"DELETE", "", 404, 0},
		{"POST", "/reject/REJECTION_REVOKED", 204, 4},
		{"DELETE", "/series/" + rejectStudy + ".2?reason=113039", 204, 2},
		{"POST", "/reject/113000", 400, 2},
		{"POST", "/reject/113001^99X", 400, 2},
		{"POST", "/reject/REJECTION_REVOKED^99TASVIR", 204, 4},
		{"POST", "/reject/REJECTION_REVOKED", 404, 4},
		{"DELETE", "/series/" + rejectStudy + ".2", 204, 2},
	} {
		if code, b := send(t, step.method, study+step.target); code != step.status {
			t.Errorf("%s %s: %d, want %d: %s", step.method, step.target, code, step.status, b)
		}
		if step.left > 0 {
			eventually(t, study+"/instances", step.left)
			eventually(t, study+"/metadata", step.left)
		} else {
			eventually(t, base+"/studies", 0)
		}
	}
	if want := (deed{"studies/" + rejectStudy + "/series/" + rejectSeries + "/instances/" + rejectStudy + ".9.1", "wrong patient", pacs.RejectedForPatientSafety}); len(deeds) != 7 || deeds[0] != want {
		t.Errorf("authorised and audited: %+v", deeds)
	}
	allowed = false
	if code, _ := send(t, "DELETE", study); code != 403 {
		t.Errorf("who may not reject: %d", code)
	}
	eventually(t, study+"/instances", 2)

	// From the packs alone.
	rebuilt, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rebuilt.Close)
	if _, err := (&publish.Reindex{Store: objects, Index: rebuilt}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	shown := func(ix *index.Index) string {
		rows, _, err := ix.Instances(t.Context(), pacs.System("test"), pacs.InstanceFilter{Page: pacs.Page{Limit: 100}})
		if err != nil {
			t.Fatal(err)
		}
		st, err := ix.Study(t.Context(), pacs.System("test"), rejectStudy)
		if err != nil {
			t.Fatal(err)
		}
		_, hidden, err := ix.Rejected(t.Context(), pacs.System("test"), rejectStudy)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, i := range rows {
			fmt.Fprintln(&b, i.SOPInstanceUID)
		}
		for _, h := range hidden {
			fmt.Fprintln(&b, h.SOPInstanceUID, h.Reason, h.NoteUID)
		}
		fmt.Fprintln(&b, st.InstanceCount, st.SeriesCount, st.Modalities)
		return b.String()
	}
	if got, want := shown(rebuilt), shown(ix); got != want {
		t.Errorf("rebuilt:\n%s\nwas:\n%s", got, want)
	}
}
