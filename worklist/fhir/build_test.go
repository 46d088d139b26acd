package fhir

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const statement = `{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0","rest":[{"mode":"client"},{"mode":"server","resource":[
 {"type":"DiagnosticReport","interaction":[{"code":"read"},{"code":"create"}],"conditionalCreate":true},
 {"type":"ImagingStudy","interaction":[{"code":"read"}]},
 {"type":"Patient","interaction":[{"code":"create"}]}]}]}`

func capabilities(t *testing.T, text string) Capabilities {
	t.Helper()
	caps, err := ParseCapabilities([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return caps
}

func small() *Report {
	return &Report{
		ID: "5f0c1f9e-8a3b-4c62-9d0e-7a1b2c3d4e5f", Version: 1, Kind: Final, Language: "en",
		Sections: Sections{Impression: "Normal."},
		SignedAt: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC),
		Patient:  Patient{DICOMName: "DOE^JANE=x=y", IDs: []PatientID{{Issuer: "URGUT DH", Value: "7"}}, Sex: "F"},
		Study:    Study{UID: "1.2.3", Modalities: []string{"PT", "CT"}},
	}
}

func TestBuildFollowsTheCapabilities(t *testing.T) {
	b := Builder{Namespace: "https://a.example/sid", WADORoot: "https://a.example/dicom-web"}
	got, err := b.Build(capabilities(t, statement), small(), References{PractitionerRoleID: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Build(capabilities(t, statement), small(), References{PractitionerRoleID: "r1"})
	if err != nil || !bytes.Equal(got, again) {
		t.Fatalf("two builds differ: %v", err)
	}
	// ImagingStudy can only be read here: the study is named by its UID. Endpoint
	// is not offered. Patient can't be created conditionally, the report can.
	const want = `{
	 "resourceType": "Bundle", "type": "transaction",
	 "entry": [
	  {
	   "fullUrl": "urn:uuid:0ca58bbc-5bd5-5a5b-9b79-e4de1c9bb3a8",
	   "resource": {
	    "resourceType": "Patient",
	    "meta": {"profile": ["https://dhp.uz/fhir/core/StructureDefinition/uz-core-patient"]},
	    "identifier": [{"use": "usual", "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
	      "system": "https://a.example/sid/patient/URGUT%20DH", "value": "7"}],
	    "active": true, "name": [{"use": "official", "text": "DOE JANE"}], "gender": "female"
	   },
	   "request": {"method": "POST", "url": "Patient"}
	  },
	  {
	   "fullUrl": "urn:uuid:d5ae7b11-8d26-5a1e-b1c2-2cf92c1e4b1f",
	   "resource": {
	    "resourceType": "DiagnosticReport",
	    "meta": {"profile": ["https://dhp.uz/fhir/core/StructureDefinition/uz-core-diagnostic-report"]},
	    "language": "en",
	    "text": {"status": "additional", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\" xml:lang=\"en\"><h2>Diagnostic imaging report</h2><h3>Impression</h3><p>Normal.</p><p> 21.11.2026 14:00 (+05:00)</p></div>"},
	    "identifier": [
	     {"use": "official", "system": "https://a.example/sid/report", "value": "5f0c1f9e-8a3b-4c62-9d0e-7a1b2c3d4e5f"},
	     {"use": "secondary", "system": "https://a.example/sid/report-version", "value": "5f0c1f9e-8a3b-4c62-9d0e-7a1b2c3d4e5f/1"}],
	    "status": "final",
	    "category": [
	     {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "IMG"}]},
	     {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "NMS"}]},
	     {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "CT"}]}],
	    "code": {"coding": [{"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}], "text": "Diagnostic imaging report"},
	    "subject": {"reference": "urn:uuid:0ca58bbc-5bd5-5a5b-9b79-e4de1c9bb3a8"},
	    "issued": "2026-11-21T09:00:00.000Z",
	    "performer": [{"reference": "PractitionerRole/r1"}],
	    "resultsInterpreter": [{"reference": "PractitionerRole/r1"}],
	    "study": [{"type": "ImagingStudy", "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}}],
	    "conclusion": "Normal."
	   },
	   "request": {"method": "POST", "url": "DiagnosticReport",
	    "ifNoneExist": "identifier=https%3A%2F%2Fa.example%2Fsid%2Freport%7C5f0c1f9e-8a3b-4c62-9d0e-7a1b2c3d4e5f"}
	  }
	 ]}`
	wanted := strings.NewReplacer(
		"urn:uuid:0ca58bbc-5bd5-5a5b-9b79-e4de1c9bb3a8", fullURL(small().ID, "Patient"),
		"urn:uuid:d5ae7b11-8d26-5a1e-b1c2-2cf92c1e4b1f", fullURL(small().ID, "DiagnosticReport"),
	).Replace(want)
	var a, w any
	if err := errors.Join(json.Unmarshal(got, &a), json.Unmarshal([]byte(wanted), &w)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, a); diff != "" {
		t.Error(diff)
	}
}

func TestInstancesAreListedUpToABound(t *testing.T) {
	r := small()
	for range 2 {
		s := Series{UID: "1.2.3.4", Modality: "CT", Number: -1}
		for range maxListed/2 + 1 {
			s.Instances = append(s.Instances, Instance{UID: "1.2", SOPClass: "1.3", Number: -1})
		}
		r.Study.Series = append(r.Study.Series, s)
	}
	made := Builder{}.imagingStudy(r, References{}, reference{}, nil)
	if made.NumberOfInstances != maxListed+2 || made.Series[0].NumberOfInstances != maxListed/2+1 || made.Series[0].Instance != nil {
		t.Errorf("%d instances, %d listed", made.NumberOfInstances, len(made.Series[0].Instance))
	}
	if made.Series[0].Number != nil {
		t.Error("a series without a number got one")
	}
}

func TestRefusals(t *testing.T) {
	for status, want := range map[int]bool{
		400: true, 404: true, 405: true, 410: true, 413: true, 422: true,
		302: false, 401: false, 403: false, 408: false, 409: false, 412: false, 425: false, 429: false, 500: false, 502: false, 503: false, 504: false,
	} {
		got := refusal(status, http.Header{}, []byte("<html>"))
		if got.Permanent != want || got.Status != status || got.Message == "" {
			t.Errorf("%d: %+v", status, got)
		}
	}
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "x": 0, "-5": 0, "120": 2 * time.Minute, "9999999": maxRetryAfter,
		"Sat, 21 Nov 2026 09:01:00 GMT": time.Minute, "Sat, 21 Nov 2026 08:00:00 GMT": 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", value, got, want)
		}
	}
	outcome := `{"resourceType":"OperationOutcome","issue":[{"severity":"information","details":{"text":"hello"}},
	 {"severity":"error","code":"invalid","details":{"text":"code missing"},"expression":["DiagnosticReport.code"]},
	 {"severity":"error","code":"invalid","diagnostics":"HAPI-0541"},{"severity":"fatal","code":"timeout"}]}`
	if got, want := outcomeText([]byte(outcome)), "code missing (DiagnosticReport.code); HAPI-0541; timeout"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The narrative of any text is well-formed and holds nothing but our elements.
func FuzzNarrate(f *testing.F) {
	f.Add("a < b & c", "Ғ\x00</div><script>\xff")
	f.Add("]]>\n\n\n<!--", "\U0001F600\uFFFE")
	f.Fuzz(func(t *testing.T, text, name string) {
		r := small()
		r.Sections.Findings, r.Sections.Impression = text, name
		r.Study.Description, r.Radiologist.Name.Family = name, text
		div := narrate(r)
		if !utf8.ValidString(div) {
			t.Fatalf("not UTF-8: %q", div)
		}
		decoder := xml.NewDecoder(strings.NewReader(div))
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in %q", err, div)
			}
			if start, ok := token.(xml.StartElement); ok && !strings.Contains(" div h2 h3 p b br ", " "+start.Name.Local+" ") {
				t.Fatalf("<%s> in %q", start.Name.Local, div)
			}
		}
	})
}

// A report of what somebody ordered by a number of theirs says which order it
// answers; of any other it says nothing.
func TestReportIsBasedOnItsOrder(t *testing.T) {
	b := Builder{Namespace: "https://a.example/sid"}
	r := small()
	if made := b.report(r, References{}, reference{}, reference{}); made.BasedOn != nil {
		t.Errorf("%+v", made.BasedOn)
	}
	r.Study.Order, r.Facility = " HIS-77 ", Facility{Code: "URGUT", TaxID: "300000002"}
	got, err := json.Marshal(b.report(r, References{}, reference{}, reference{}).BasedOn)
	const want = `[{"type":"ServiceRequest","identifier":{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"PLAC"}]},"system":"https://a.example/sid/order/300000002","value":"HIS-77"}}]`
	if err != nil || string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
