// Package sandboxtest runs the FHIR sandbox of deploy/fhir-sandbox for tests: a
// real R5 server in a process of its own, with failures on demand.
package sandboxtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Sandbox is a running sandbox.
type Sandbox struct {
	// URL is the FHIR base, as http://127.0.0.1:40123/fhir. It stays the same over
	// Restart.
	URL string

	t     testing.TB
	flags []string
	run   *exec.Cmd
	done  chan struct{}
}

// startTimeout is generous: loading HL7's definitions takes a second, on a busy
// machine several.
const startTimeout = time.Minute

// Start runs a sandbox with the demo registries (--seed), an own data folder and
// these flags until the test ends. It skips the test where the npm packages are
// not installed, unless TASVIR_TEST_REQUIRE=1.
func Start(t testing.TB, flags ...string) *Sandbox {
	t.Helper()
	folder := Folder()
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		missing(t, "the FHIR sandbox's packages are not installed: run npm ci in "+folder)
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "node is not installed")
	}
	s := &Sandbox{t: t, flags: append([]string{"--seed", "--data", t.TempDir()}, flags...)}
	s.start("0")
	t.Cleanup(s.Stop)
	return s
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Folder is where the sandbox's source lies.
func Folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "deploy", "fhir-sandbox")
}

func (s *Sandbox) start(port string) {
	s.t.Helper()
	run := exec.Command("node", append([]string{filepath.Join(Folder(), "server.mjs"), "--port", port}, s.flags...)...)
	var stderr bytes.Buffer
	run.Stderr = &stderr
	out, err := run.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.run, s.done = run, make(chan struct{})
	first := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		if lines.Scan() {
			first <- lines.Text()
		} else {
			close(first)
		}
		_, _ = io.Copy(io.Discard, out)
		_ = run.Wait()
		close(s.done)
	}()
	select {
	case line := <-first:
		url, ok := strings.CutPrefix(line, "listening ")
		if !ok {
			s.Stop()
			s.t.Fatalf("the FHIR sandbox did not start: %s\n%s", line, stderr.String())
		}
		s.URL = url
	case <-time.After(startTimeout):
		s.Stop()
		s.t.Fatal("the FHIR sandbox did not start in time")
	}
}

// Stop ends the sandbox. What it stored stays for Restart.
func (s *Sandbox) Stop() {
	if s.run == nil {
		return
	}
	_ = s.run.Process.Kill()
	<-s.done
	s.run = nil
}

// Restart stops the sandbox, if it runs, and starts it on the same port and data.
func (s *Sandbox) Restart() {
	s.t.Helper()
	s.Stop()
	port := s.URL[strings.LastIndex(s.URL, ":")+1:]
	s.start(strings.TrimSuffix(port, "/fhir"))
}

// RestartWith is Restart with these flags besides the ones of Start.
func (s *Sandbox) RestartWith(flags ...string) {
	s.t.Helper()
	s.flags = append(s.flags, flags...)
	s.Restart()
}

// Fault is one failure to come; deploy/fhir-sandbox/faults.mjs says what each
// field does.
type Fault struct {
	Status          int    `json:"status,omitempty"`
	Count           int    `json:"count,omitempty"`
	DelayMS         int    `json:"delayMs,omitempty"`
	DropAfterCommit int    `json:"dropAfterCommit,omitempty"`
	Drop            int    `json:"drop,omitempty"`
	Method          string `json:"method,omitempty"`
	Path            string `json:"path,omitempty"`
	RetryAfter      int    `json:"retryAfter,omitempty"`
}

// Fault makes the coming requests fail.
func (s *Sandbox) Fault(f Fault) {
	s.t.Helper()
	s.control(http.MethodPost, "faults", f, nil)
}

// ClearFaults ends all faults.
func (s *Sandbox) ClearFaults() {
	s.t.Helper()
	s.control(http.MethodDelete, "faults", nil, nil)
}

// ExpireTokens makes every granted access token invalid.
func (s *Sandbox) ExpireTokens() {
	s.t.Helper()
	s.control(http.MethodPost, "expire-tokens", nil, nil)
}

// AddResources puts resources in as the national registries would.
func (s *Sandbox) AddResources(resources ...any) {
	s.t.Helper()
	s.control(http.MethodPost, "resources", resources, nil)
}

// Request is a request that the sandbox has seen.
type Request struct{ Method, URL string }

// Requests returns the latest requests, the oldest first.
func (s *Sandbox) Requests() []Request {
	s.t.Helper()
	var seen []Request
	s.control(http.MethodGet, "requests", nil, &seen)
	return seen
}

func (s *Sandbox) control(method, name string, body, into any) {
	s.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	root := strings.TrimSuffix(s.URL, "/fhir")
	s.do(method, root+"/_sandbox/"+name, encoded, into)
}

// Get reads a FHIR address relative to the base, as DiagnosticReport?status=final.
func (s *Sandbox) Get(path string) map[string]any {
	s.t.Helper()
	var got map[string]any
	s.do(http.MethodGet, s.URL+"/"+path, nil, &got)
	return got
}

// Search returns the resources that a query finds.
func (s *Sandbox) Search(query string) []map[string]any {
	s.t.Helper()
	var found []map[string]any
	entries, _ := s.Get(query)["entry"].([]any)
	for _, entry := range entries {
		found = append(found, entry.(map[string]any)["resource"].(map[string]any))
	}
	return found
}

func (s *Sandbox) do(method, url string, body []byte, into any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i, flag := range s.flags {
		if flag == "--token" {
			request.Header.Set("Authorization", "Bearer "+s.flags[i+1])
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %s %s %v", method, url, response.Status, text, err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			s.t.Fatal(err)
		}
	}
}
