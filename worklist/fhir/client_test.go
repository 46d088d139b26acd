package fhir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/fhir/sandboxtest"
)

func TestClientCredentials(t *testing.T) {
	s := sandboxtest.Start(t, "--client", "tasvir:pass word:&")
	c := client(s)
	c.Credentials = &fhir.Credentials{TokenURL: strings.TrimSuffix(s.URL, "/fhir") + "/oauth/token", ID: "tasvir", Secret: "pass word:&"}
	r := another()
	first := deliver(t, c, r, nil)
	// The token that the client remembers is worth nothing now.
	s.ExpireTokens()
	if again := deliver(t, c, r, nil); again != first {
		t.Errorf("after renewing the token %+v, before %+v", again, first)
	}
	granted := 0
	for _, request := range s.Requests() {
		if request.URL == "/oauth/token" {
			granted++
		}
	}
	if granted != 2 {
		t.Errorf("%d tokens were asked for, want one and one more after it expired", granted)
	}

	wrong := client(s)
	wrong.Credentials = &fhir.Credentials{TokenURL: c.Credentials.TokenURL, ID: "tasvir", Secret: "wrong"}
	_, err := wrong.Deliver(context.Background(), r, nil)
	if refused := deliveryError(t, err); refused.Permanent || refused.RetryAfter < time.Minute || !strings.Contains(refused.Message, "check the client id and secret") {
		t.Errorf("wrong secret: %+v", refused)
	}
	// /metadata is open on the platform, what follows is not: the report is not at
	// fault and must not be given up.
	wrong = client(s)
	wrong.Token = "stale"
	_, err = wrong.Deliver(context.Background(), r, nil)
	if refused := deliveryError(t, err); refused.Permanent || refused.Status != 401 || refused.RetryAfter < time.Minute {
		t.Errorf("wrong token: %+v", refused)
	}
}

func TestSlowPlatformIsNotSentASecondReport(t *testing.T) {
	s := sandboxtest.Start(t, "--no-conditional-create")
	r := another()
	c := client(s)
	deliver(t, c, another(), nil) // so that only the POST below can be slow
	release := make(chan struct{})
	answered := make(chan struct{})
	c.HTTP = &http.Client{Transport: &slowAnswer{release: release, answered: answered}}
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := c.Deliver(ctx, r, nil)
		failed <- err
	}()
	<-answered // the platform has committed; its answer is on the way, for ever
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	close(release)
	c.HTTP = nil
	heldOnce(t, s, r, deliver(t, c, r, nil))
}

// slowAnswer lets a POST through and keeps its answer back.
type slowAnswer struct{ release, answered chan struct{} }

func (line *slowAnswer) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(request.WithContext(context.WithoutCancel(request.Context())))
	if request.Method != http.MethodPost || err != nil {
		return response, err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	close(line.answered)
	select {
	case <-line.release:
	case <-request.Context().Done():
	}
	return nil, request.Context().Err()
}

func TestPlatformsThatAreNone(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request followed a redirect to another host")
	}))
	defer elsewhere.Close()
	for name, test := range map[string]struct {
		metadata  func(w http.ResponseWriter, r *http.Request)
		permanent bool
		words     string
	}{
		"R4":            {answering(200, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}`), false, "speaks FHIR 4.0.1"},
		"a web page":    {answering(200, `<html>`), false, "check the platform's address"},
		"a wrong path":  {answering(404, `not here`), false, "Not Found"},
		"no reports":    {answering(200, `{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}`), false, "does not take DiagnosticReports"},
		"another host":  {http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect).ServeHTTP, false, "Temporary Redirect"},
		"an empty page": {answering(200, ``), false, "check the platform's address"},
		"a torrent": {func(w http.ResponseWriter, _ *http.Request) {
			chunk := make([]byte, 1<<20)
			for range 64 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, false, "longer than"},
		"hostile words": {answering(503, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"x","diagnostics":"down\u0007 \u202Efor\nlunch`+strings.Repeat("!", 5000)+`"}]}`), false, "down for lunch!"},
	} {
		t.Run(name, func(t *testing.T) {
			platform := httptest.NewServer(http.HandlerFunc(test.metadata))
			defer platform.Close()
			c := &fhir.Client{BaseURL: platform.URL + "/fhir/", Builder: fhir.Builder{Namespace: namespace}}
			_, err := c.Deliver(context.Background(), another(), nil)
			refused := deliveryError(t, err)
			if refused.Permanent != test.permanent || !strings.Contains(refused.Message, test.words) || len(refused.Message) > 1100 {
				t.Errorf("%+v", refused)
			}
		})
	}
}

func answering(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// A server that ignores search parameters answers everything with everything.
func TestAnswersAreChecked(t *testing.T) {
	posted := false
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/metadata":
			fmt.Fprint(w, `{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0","rest":[{"mode":"server","resource":[{"type":"DiagnosticReport","interaction":[{"code":"create"}]}]}]}`)
		case r.Method == http.MethodPost:
			posted = true
		default:
			fmt.Fprintf(w, `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":%q,"id":"someone-else","identifier":[{"system":"other","value":"other"}]}}]}`, strings.Trim(r.URL.Path, "/"))
		}
	}))
	defer platform.Close()
	c := &fhir.Client{BaseURL: platform.URL, Builder: fhir.Builder{Namespace: namespace}}
	_, err := c.Deliver(context.Background(), another(), nil)
	if refused := deliveryError(t, err); !strings.Contains(refused.Message, "does not know the radiologist") || posted {
		t.Errorf("an answer to another question was believed: %v", err)
	}
}

func TestCapabilitiesAreReadAgainAfterARefusal(t *testing.T) {
	s := sandboxtest.Start(t)
	c := client(s)
	deliver(t, c, another(), nil)
	// The platform is rebuilt without conditional create while the client still
	// believes in it.
	s.RestartWith("--no-conditional-create")
	r := another()
	heldOnce(t, s, r, deliver(t, c, r, nil))
	statements := 0
	for _, request := range s.Requests() {
		if u, err := url.Parse(request.URL); err == nil && u.Path == "/fhir/metadata" {
			statements++
		}
	}
	if statements != 1 {
		t.Errorf("/metadata was read %d times after the change", statements)
	}
}

func TestReportsThatCannotBeSent(t *testing.T) {
	for name, change := range map[string]func(r *fhir.Report){
		"no text":       func(r *fhir.Report) { r.Sections = fhir.Sections{Findings: " \n\x00"} },
		"no id":         func(r *fhir.Report) { r.ID = "7" },
		"version 0":     func(r *fhir.Report) { r.Version = 0 },
		"unknown kind":  func(r *fhir.Report) { r.Kind = "draft" },
		"language":      func(r *fhir.Report) { r.Language = `uz" onclick="` },
		"not signed":    func(r *fhir.Report) { r.SignedAt = time.Time{} },
		"study UID":     func(r *fhir.Report) { r.Study.UID = "../x" },
		"PDF too large": func(r *fhir.Report) { r.PDF = make([]byte, fhir.MaxPDF+1) },
	} {
		t.Run(name, func(t *testing.T) {
			r := another()
			change(r)
			c := &fhir.Client{BaseURL: "http://127.0.0.1:1", Builder: fhir.Builder{Namespace: namespace}}
			_, err := c.Deliver(context.Background(), r, nil)
			if refused := deliveryError(t, err); !refused.Permanent || refused.Status != 0 {
				t.Errorf("%+v", refused)
			}
		})
	}
}
