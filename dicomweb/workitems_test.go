package dicomweb

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// numbered are work items 1.2.0 to 1.2.9, whatever is asked for; asked is that.
type numbered struct {
	Workitems
	asked *string
}

func (n numbered) Find(_ *gin.Context, keys *dicom.Dataset, each func(*dicom.Dataset) error) error {
	*n.asked = string(dicom.AppendJSON(nil, keys, dicom.JSONOptions{}))
	for i := range 10 {
		if err := each(new(dicom.Dataset).UTF8().SetString(dicom.TagSOPInstanceUID, dicom.UI, fmt.Sprint("1.2.", i))); err != nil {
			return err
		}
	}
	return nil
}

// What a search for work items asks for, which part of it is given, in what form,
// and what is said of the rest.
func TestWorkitemSearchParameters(t *testing.T) {
	asked := ""
	h := serve(newArchive(), func(o *Options) { o.Workitems = numbered{asked: &asked} })
	const more = "additional results"
	for _, c := range []struct {
		query, keys, found, warned string
	}{
		{"", `{}`, "0 1 2 3 4 5 6 7 8 9", ""},
		{"limit=3", `{}`, "0 1 2", more},
		{"limit=3&offset=8", `{}`, "8 9", ""},
		{"offset=20", `{}`, "", ""},
		{"limit=0", `{}`, "", more},
		{"fuzzymatching=true&00100010=Kar*", `{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Kar*"}]}}`, "0 1 2 3 4 5 6 7 8 9", ""},
		{"PatientID=P1&StudyInstanceUID=1.2,1.3", `{"00100020":{"vr":"LO","Value":["P1"]},"0020000D":{"vr":"UI","Value":["1.2","1.3"]}}`, "0 1 2 3 4 5 6 7 8 9", ""},
		{
			"ScheduledWorkitemCodeSequence.CodeValue=1&ScheduledWorkitemCodeSequence.00080102=DCM", `{"00404018":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["1"]},"00080102":{"vr":"SH","Value":["DCM"]}}]}}`,
			"0 1 2 3 4 5 6 7 8 9", "",
		},
		{"includefield=WorklistLabel,all", `{"00404021":{"vr":"SQ"},"00741202":{"vr":"LO"}}`, "0 1 2 3 4 5 6 7 8 9", ""},
		{"emptyvaluematching=true&limit=10", `{}`, "0 1 2 3 4 5 6 7 8 9", "emptyvaluematching"},
	} {
		w := get(t, h, "/workitems?"+c.query)
		want(t, w, 200)
		var list []struct {
			UID struct{ Value []string } `json:"00080018"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, i := range list {
			found = append(found, strings.TrimPrefix(i.UID.Value[0], "1.2."))
		}
		if diff := cmp.Diff(c.found, strings.Join(found, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.query, diff)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(asked), &got); err != nil {
			t.Fatal(err)
		}
		delete(got, "00080005") // Specific Character Set
		sameJSON(t, c.keys, mustJSON(t, got))
		if warned := strings.Join(w.Header().Values("Warning"), " "); !strings.Contains(warned, c.warned) || c.warned == "" && warned != "" {
			t.Errorf("%s: warned %q, want %q", c.query, warned, c.warned)
		}
	}
	w := get(t, h, "/workitems?limit=2", "Accept", `multipart/related; type="application/dicom+xml"`)
	want(t, w, 200)
	if parts := split(t, w); len(parts) != 2 || !strings.Contains(string(parts[1].body), "1.2.1") {
		t.Errorf("in XML: %s", w.Body)
	}
	want(t, get(t, h, "/workitems", "Accept", "image/png"), 406)
	for _, query := range []string{"limit=-1", "limit=x", "Nonsense=1", "PixelData=1", "PatientID.CodeValue=1", "ScheduledWorkitemCodeSequence=1", strings.Repeat("PatientID=1&", 101)} {
		want(t, get(t, h, "/workitems?"+query), 400)
	}
}
