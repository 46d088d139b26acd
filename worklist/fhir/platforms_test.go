package fhir_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/fhir/sandboxtest"
)

// platforms are the kinds of platform that the same promises must hold on.
var platforms = map[string][]string{
	"conditional create": nil,
	"search first":       {"--no-conditional-create", "--etag", "uuid"},
	"no ImagingStudy":    {"--no-imaging-study", "--no-endpoint"},
	"as read in 2025":    {"--no-conditional-create", "--no-imaging-study", "--no-endpoint", "--token", "s3cret"},
}

// another returns the sample as a new report on a new study of a new patient.
func another() *fhir.Report {
	r := sample()
	r.ID = uuid.NewString()
	digits := strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, r.ID+uuid.NewString()+uuid.NewString())
	r.Patient.PINFL = "3" + digits[:13]
	r.Patient.IDs[0].Value = "A-" + r.ID[:8]
	// UUID-derived UIDs (PS3.5, B.2) would be longer; uniqueness is what matters.
	r.Study.UID = "2.25." + digits[:20]
	r.Study.Series[0].UID = r.Study.UID + ".1"
	return r
}

// version returns the report's next version.
func version(r *fhir.Report, kind fhir.Kind, impression string) *fhir.Report {
	next := *r
	next.Version++
	next.Kind = kind
	next.Predecessor = &fhir.Predecessor{Version: r.Version, SignedAt: r.SignedAt}
	next.SignedAt = r.SignedAt.Add(time.Hour)
	next.Sections.Impression = impression
	next.PDF = []byte("%PDF-1.4 " + impression)
	return &next
}

// held returns the DiagnosticReports of a report that stand.
func held(t *testing.T, s *sandboxtest.Sandbox, r *fhir.Report) []map[string]any {
	t.Helper()
	all := s.Search("DiagnosticReport?identifier=" + url.QueryEscape(namespace+"/report|"+r.ID))
	return slices.DeleteFunc(all, func(dr map[string]any) bool { return dr["status"] == "entered-in-error" })
}

func heldOnce(t *testing.T, s *sandboxtest.Sandbox, r *fhir.Report, receipt fhir.Receipt) map[string]any {
	t.Helper()
	reports := held(t, s, r)
	if len(reports) != 1 {
		t.Fatalf("the platform holds the report %d times", len(reports))
	}
	if reports[0]["id"] != receipt.DiagnosticReportID {
		t.Errorf("the receipt says %s, the platform %v", receipt.DiagnosticReportID, reports[0]["id"])
	}
	return reports[0]
}

func writes(s *sandboxtest.Sandbox) int {
	n := 0
	for _, request := range s.Requests() {
		if strings.HasPrefix(request.URL, "/fhir") && request.Method != http.MethodGet {
			n++
		}
	}
	return n
}

func TestPromisesOnEveryPlatform(t *testing.T) {
	scenarios := map[string]func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client){
		"the same version twice is one report": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := another()
			first := deliver(t, c, r, nil)
			before := writes(s)
			for _, previous := range []*fhir.Receipt{nil, &first, {DiagnosticReportID: "gone"}} {
				if again := deliver(t, c, r, previous); again != first {
					t.Errorf("second receipt %+v, first %+v", again, first)
				}
			}
			if n := writes(s) - before; n != 0 {
				t.Errorf("%d writes for what was there", n)
			}
			heldOnce(t, s, r, first)
		},
		"an answer lost after the commit is no second report": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := another()
			s.Fault(sandboxtest.Fault{DropAfterCommit: 1, Method: "POST"})
			heldOnce(t, s, r, deliver(t, c, r, nil))
		},
		"an answer lost and the platform gone is no second report": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := another()
			s.Fault(sandboxtest.Fault{DropAfterCommit: 1, Method: "POST"})
			// Three searches happen before the POST at most; the fourth is the
			// question whether it arrived. All of that report's searches after the
			// POST fail here, so that Deliver can't know.
			_, err := failAfterPost(t, s, c, r)
			if refused := deliveryError(t, err); refused.Permanent || refused.RetryAfter == 0 {
				t.Errorf("a doubtful failure is %+v: not to be retried, or at once", refused)
			}
			s.ClearFaults()
			if n := len(held(t, s, r)); n != 1 {
				t.Fatalf("the premise fails: %d reports arrived, not one", n)
			}
			heldOnce(t, s, r, deliver(t, c, r, nil))
		},
		"busy, then well": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			for _, status := range []int{503, 500, 429, 408, 425} {
				r := another()
				s.Fault(sandboxtest.Fault{Status: status, Count: 1, Method: "POST", RetryAfter: 7})
				_, err := c.Deliver(context.Background(), r, nil)
				refused := deliveryError(t, err)
				if refused.Permanent || refused.Status != status || refused.RetryAfter != 7*time.Second || !strings.Contains(refused.Message, "as asked") {
					t.Errorf("%d: %+v", status, refused)
				}
				if n := len(held(t, s, r)); n != 0 {
					t.Fatalf("%d reports after a refusal", n)
				}
				heldOnce(t, s, r, deliver(t, c, r, nil))
			}
		},
		"a correction and an addendum go into the same report": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := another()
			first := deliver(t, c, r, nil)
			annotate(t, s, first.DiagnosticReportID, c.Token)
			corrected := version(r, fhir.Correction, "Tuzatilgan xulosa.")
			second := deliver(t, c, corrected, &first)
			dr := heldOnce(t, s, r, second)
			if second.DiagnosticReportID != first.DiagnosticReportID || second.VersionETag == first.VersionETag || second.Version != 2 {
				t.Errorf("first %+v, second %+v", first, second)
			}
			if second.PatientID != first.PatientID || second.ImagingStudyID != first.ImagingStudyID {
				t.Errorf("subject or study changed: %+v, %+v", first, second)
			}
			div, _ := at(t, dr, "text", "div").(string)
			if dr["status"] != "corrected" || dr["conclusion"] != "Tuzatilgan xulosa." || !strings.Contains(div, "21.11.2026 dagi 1-versiyaning tuzatilgani") {
				t.Errorf("the correction arrived as %v %v %v", dr["status"], dr["conclusion"], div)
			}
			if n := len(at(t, dr, "presentedForm").([]any)); n != 1 {
				t.Errorf("%d presented forms", n)
			}
			if at(t, dr, "note", 0, "text") != "seen by the ward" {
				t.Error("what others wrote into the report is gone")
			}
			if n := len(at(t, dr, "identifier").([]any)); n != 3 {
				t.Errorf("identifiers: %v", dr["identifier"])
			}
			appended := version(corrected, fhir.Addendum, "Qoʻshimcha.")
			third := deliver(t, c, appended, nil)
			if dr := heldOnce(t, s, r, third); dr["status"] != "appended" {
				t.Errorf("the addendum arrived as %v", dr["status"])
			}
			// A late retry of an old version must not turn the report back.
			if late := deliver(t, c, r, nil); late.Version != 3 || heldOnce(t, s, r, late)["status"] != "appended" {
				t.Errorf("version 1 overtook version 3: %+v", late)
			}
		},
		"a correction whose predecessor never arrived": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := version(another(), fhir.Correction, "Tuzatilgan.")
			receipt := deliver(t, c, r, nil)
			if dr := heldOnce(t, s, r, receipt); dr["status"] != "corrected" || receipt.Version != 2 {
				t.Errorf("%v, %+v", dr["status"], receipt)
			}
		},
		"someone changed the report in between": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			for _, fault := range []sandboxtest.Fault{
				{Status: 412, Count: 1, Method: "PUT"},
				{Status: 409, Count: 2, Method: "PUT"},
				{DropAfterCommit: 1, Method: "PUT"},
			} {
				r := another()
				first := deliver(t, c, r, nil)
				s.Fault(fault)
				next := version(r, fhir.Correction, "Tuzatildi.")
				second := deliver(t, c, next, &first)
				if dr := heldOnce(t, s, r, second); dr["conclusion"] != "Tuzatildi." {
					t.Errorf("%+v: %v", fault, dr["conclusion"])
				}
			}
			r := another()
			deliver(t, c, r, nil)
			s.Fault(sandboxtest.Fault{Status: 412, Count: 50, Method: "PUT"})
			_, err := c.Deliver(context.Background(), version(r, fhir.Correction, "x"), nil)
			s.ClearFaults()
			if refused := deliveryError(t, err); refused.Permanent || refused.Status != 412 {
				t.Errorf("a lasting conflict is %+v", refused)
			}
		},
		"many senders at once": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := another()
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					// A client of its own, as on another node.
					other := &fhir.Client{BaseURL: c.BaseURL, Token: c.Token, Builder: c.Builder}
					if _, err := other.Deliver(context.Background(), r, nil); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			heldOnce(t, s, r, deliver(t, c, r, nil))
		},
		"another sender was faster": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			// Between this sender's search and its POST, another one delivers.
			r := another()
			var theirs fhir.Receipt
			late := &fhir.Client{BaseURL: c.BaseURL, Token: c.Token, Builder: c.Builder}
			late.HTTP = &http.Client{Transport: &overtaken{by: func() { theirs = deliver(t, c, r, nil) }}}
			receipt := deliver(t, late, r, nil)
			heldOnce(t, s, r, receipt)
			if again := deliver(t, c, r, &theirs); again.DiagnosticReportID != receipt.DiagnosticReportID {
				t.Errorf("the two senders don't agree: %+v, %+v", again, receipt)
			}
			made := len(s.Search("DiagnosticReport?identifier=" + url.QueryEscape(namespace+"/report|"+r.ID)))
			if conditional := platformConditional(s); conditional && made != 1 {
				t.Errorf("%d DiagnosticReports on a platform that could have prevented it", made)
			} else if !conditional && made != 2 {
				t.Errorf("the premise fails: %d DiagnosticReports were made, not two", made)
			}
		},
		"the platform restarts": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := another()
			first := deliver(t, c, r, nil)
			s.Stop()
			next := version(r, fhir.Correction, "Tuzatildi.")
			_, err := c.Deliver(context.Background(), next, &first)
			if refused := deliveryError(t, err); refused.Permanent || refused.Status != 0 || !strings.Contains(refused.Message, "can't be reached") {
				t.Errorf("a platform that is down: %+v", refused)
			}
			s.Restart()
			if again := deliver(t, c, r, nil); again != first {
				t.Errorf("after a restart %+v, before %+v", again, first)
			}
			heldOnce(t, s, r, deliver(t, c, next, &first))
		},
		"all letters come through": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			for language, text := range map[string]string{
				"uz":      "Oʻng oʻpkada gʻuborlanish; maʼnosi O‘zbekcha ‘ ’ ʻ ʼ",
				"uz-Cyrl": "Ўнг ўпкада ғуборланиш: Қ қ Ғ ғ Ҳ ҳ Ў ў",
				"ru":      "Очаг в S6 правого лёгкого, ≤ 5 мм; № 3 «узел»",
				"en":      "5*4*3 mm nodule, _not_ enhancing < 20 HU & stable",
			} {
				r := another()
				r.Language, r.Sections.Impression, r.Sections.Findings = language, text, text+"\n"+text
				dr := heldOnce(t, s, r, deliver(t, c, r, nil))
				if dr["conclusion"] != text || dr["language"] != language {
					t.Errorf("%s: %v %q", language, dr["language"], dr["conclusion"])
				}
				plain := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&", "<br/>", "\n").Replace(at(t, dr, "text", "div").(string))
				if !strings.Contains(plain, text+"\n"+text) {
					t.Errorf("%s: narrative %s", language, plain)
				}
			}
		},
		"hostile text": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := another()
			evil := "</div><script>alert(1)</script>&nbsp;&x; ]]> <!-- \x00\x07\x1b \u202Egnp\u202C \xff\xfe \U0001F600 \uFFFF \v urn:uuid:" + r.ID
			r.Sections = fhir.Sections{Indication: evil, Technique: evil, Findings: evil, Impression: evil}
			r.Study.Description = evil
			r.Study.Accession = evil
			r.Facility.Name, r.Facility.TaxID, r.Facility.Code = evil, "", evil
			r.Patient = fhir.Patient{DICOMName: evil + "^" + evil + "=x", Sex: evil, BirthDate: evil, IDs: []fhir.PatientID{{Issuer: "a b/|,$\\" + evil, Value: "7|8,9$\\" + r.ID}}}
			r.Radiologist.Name.Family = evil
			r.Study.Series[0].Description, r.Study.Series[0].BodyPart = evil, evil
			receipt := deliver(t, c, r, nil)
			dr := heldOnce(t, s, r, receipt)
			encoded, err := json.Marshal(dr)
			if err != nil {
				t.Fatal(err)
			}
			div := at(t, dr, "text", "div").(string)
			if strings.Contains(div, "<script") || !strings.Contains(div, "&lt;script&gt;alert(1)") || strings.ContainsAny(string(encoded), "\x00\x07\u202E\v") {
				t.Errorf("narrative %s", div)
			}
			if conclusion := dr["conclusion"].(string); !strings.HasSuffix(conclusion, "urn:uuid:"+r.ID) || !strings.Contains(conclusion, "\U0001F600") {
				t.Errorf("the text changed: %q", conclusion)
			}
			// The same person again, found by a number full of separators.
			second := *r
			second.ID, second.Study.UID = uuid.NewString(), r.Study.UID+".2"
			if again := deliver(t, c, &second, nil); again.PatientID != receipt.PatientID {
				t.Errorf("the patient was made twice: %s, %s", receipt.PatientID, again.PatientID)
			}
		},
		"a birth date that is none does not keep the report back": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			r := another()
			r.Patient.BirthDate = "1968-02-31"
			receipt := deliver(t, c, r, nil)
			heldOnce(t, s, r, receipt)
			if date, ok := s.Get("Patient/" + receipt.PatientID)["birthDate"]; ok {
				t.Errorf("the platform got %v", date)
			}
		},
		"what the platform refuses is for a person": func(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client) {
			before := len(s.Search("Patient"))
			r := another()
			r.Patient.Name.Family = strings.Repeat("x", 2<<20) // FHIR strings end at 1 MB
			_, err := c.Deliver(context.Background(), r, nil)
			refused := deliveryError(t, err)
			if !refused.Permanent || refused.Status != 400 || !strings.Contains(refused.Message, "larger than 1 MB") {
				t.Errorf("%+v", refused)
			}
			if n := len(s.Search("Patient")); n != before {
				t.Errorf("a refused transaction left %d patients behind", n-before)
			}
		},
	}
	for platform, flags := range platforms {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			s := sandboxtest.Start(t, flags...)
			c := client(s)
			if i := slices.Index(flags, "--token"); i >= 0 {
				c.Token = flags[i+1]
			}
			for _, name := range slices.Sorted(maps.Keys(scenarios)) {
				t.Run(name, func(t *testing.T) { scenarios[name](t, s, c) })
			}
		})
	}
}

// failAfterPost delivers with every request failing once the POST went out.
func failAfterPost(t *testing.T, s *sandboxtest.Sandbox, c *fhir.Client, r *fhir.Report) (fhir.Receipt, error) {
	t.Helper()
	cut := &fhir.Client{BaseURL: c.BaseURL, Token: c.Token, Builder: c.Builder, HTTP: &http.Client{Transport: &cutAfterPost{}}}
	return cut.Deliver(context.Background(), r, nil)
}

// cutAfterPost is a line that breaks when something has been sent.
type cutAfterPost struct{ posted bool }

func (line *cutAfterPost) RoundTrip(request *http.Request) (*http.Response, error) {
	if line.posted {
		return nil, http.ErrServerClosed
	}
	line.posted = request.Method == http.MethodPost
	return http.DefaultTransport.RoundTrip(request)
}

// overtaken lets another sender go first when it is about to send.
type overtaken struct{ by func() }

func (line *overtaken) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodPost && line.by != nil {
		by := line.by
		line.by = nil
		by()
	}
	return http.DefaultTransport.RoundTrip(request)
}

func platformConditional(s *sandboxtest.Sandbox) bool {
	encoded, _ := json.Marshal(s.Get("metadata"))
	caps, err := fhir.ParseCapabilities(encoded)
	return err == nil && caps.ConditionalCreate("DiagnosticReport")
}

// annotate adds a note and an identifier to a report, as another system would.
func annotate(t *testing.T, s *sandboxtest.Sandbox, id, token string) {
	t.Helper()
	dr := s.Get("DiagnosticReport/" + id)
	dr["note"] = []any{map[string]any{"text": "seen by the ward"}}
	dr["identifier"] = append(dr["identifier"].([]any), map[string]any{"system": "https://ward.example.uz", "value": "W-1"})
	body, err := json.Marshal(dr)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPut, s.URL+"/DiagnosticReport/"+id, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/fhir+json")
	request.Header.Set("If-Match", `W/"`+at(t, dr, "meta", "versionId").(string)+`"`)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
}
