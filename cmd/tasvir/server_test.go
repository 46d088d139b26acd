package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/openjpeg"
)

// builtBinary is the built tasvir that the tests drive: TASVIR_BIN, or one built
// once for this run.
var builtBinary = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("TASVIR_BIN"); bin != "" {
		return bin, nil
	}
	dir, err := os.MkdirTemp("", "tasvir-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "tasvir")
	args := []string{"build", "-o", bin}
	if tags := builtTags(); tags != "" { // as these tests are
		args = append(args, "-tags", tags)
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// builtTags are the tags of the codecs that the tests are built with.
func builtTags() string {
	var tags []string
	if charls.Available {
		tags = append(tags, "charls")
	}
	if openjpeg.Available {
		tags = append(tags, "openjpeg")
	}
	return strings.Join(tags, ",")
}

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("TASVIR_BIN") == "" {
		if bin, err := builtBinary(); err == nil {
			_ = os.RemoveAll(filepath.Dir(bin))
		}
	}
	os.Exit(code)
}

// patience bounds every wait for something that must happen.
const patience = 90 * time.Second

// eventually waits until f is content.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// archive is a built tasvir serve under test, with its data in a folder of
// its own.
type archive struct {
	t     *testing.T
	dir   string
	flags []string
	env   []string

	cmd   *exec.Cmd
	log   *safeBuffer
	web   string // http://host:port
	dicom string // host:port
}

const adminPassword = "correct horse battery"

// startArchive starts the server; it ends with the test.
func startArchive(t *testing.T, env []string, flags ...string) *archive {
	t.Helper()
	// Not t.TempDir: PostgreSQL runs as another user when we are root, and
	// must get in.
	dir, err := os.MkdirTemp("", "tasvir-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a := &archive{t: t, dir: dir, flags: flags, env: env}
	t.Cleanup(func() {
		a.kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", a.log.String())
		}
		_ = os.RemoveAll(dir)
	})
	a.start()
	return a
}

var readyLine = regexp.MustCompile(`msg=ready web=(\S+) dicom=(\S+)`)

// command is the server's, not started yet.
func (a *archive) command() *exec.Cmd {
	a.t.Helper()
	bin, err := builtBinary()
	if err != nil {
		a.t.Fatal(err)
	}
	args := append([]string{"serve", "--data", filepath.Join(a.dir, "data"), "--http", "127.0.0.1:0", "--dicom", "127.0.0.1:0", "--quiet", "1s"}, a.flags...)
	cmd := exec.Command(bin, args...)
	cmd.Env = append(append(os.Environ(), "TASVIR_ADMIN_PASSWORD="+adminPassword), a.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (a *archive) start() {
	a.t.Helper()
	a.cmd = a.command()
	if a.log == nil {
		a.log = &safeBuffer{}
	}
	errors, err := a.cmd.StderrPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	ready := make(chan []string, 1)
	go func() {
		lines := bufio.NewScanner(errors)
		for lines.Scan() {
			fmt.Fprintln(a.log, lines.Text())
			if found := readyLine.FindStringSubmatch(lines.Text()); found != nil {
				ready <- found
			}
		}
		close(ready)
	}()
	select {
	case found, open := <-ready:
		if !open {
			a.t.Fatalf("the server ended while it started:\n%s", a.log.String())
		}
		a.web, a.dicom = found[1], found[2]
	case <-time.After(patience):
		_ = a.cmd.Process.Signal(syscall.SIGQUIT) // says what it is at
		time.Sleep(time.Second)
		a.t.Fatalf("the server is not ready:\n%s", a.log.String())
	}
}

// kill ends the server as a power cut would.
func (a *archive) kill() {
	if a.cmd != nil && a.cmd.Process != nil {
		_ = a.cmd.Process.Kill()
		_, _ = a.cmd.Process.Wait()
		a.cmd = nil
	}
}

// stop ends the server as an administrator would, and checks that it says so.
func (a *archive) stop() {
	a.t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	state, err := a.cmd.Process.Wait()
	if err != nil || !state.Success() {
		a.t.Errorf("the server did not end in order: %v %v", state, err)
	}
	a.cmd = nil
}

// tasvir runs another command of the binary on the same data and returns what
// it printed.
func (a *archive) tasvir(stdin string, args ...string) string {
	a.t.Helper()
	bin, err := builtBinary()
	if err != nil {
		a.t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(append(os.Environ(), "TASVIR_DATA="+filepath.Join(a.dir, "data")), a.env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		a.t.Fatalf("tasvir %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), complaints.String())
	}
	return strings.TrimSpace(out.String())
}

// rss is the server's resident memory in bytes.
func (a *archive) rss() int64 {
	a.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	var kb int64
	for _, line := range strings.Split(string(raw), "\n") {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%d kB", &kb); err != nil {
				a.t.Fatal(err)
			}
		}
	}
	return kb << 10
}

// person is someone at a browser: a session with its cookie and CSRF token.
type person struct {
	t    *testing.T
	base string
	http http.Client
	csrf string
	id   string
}

func (a *archive) signIn(login, password string) *person {
	a.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	p := &person{t: a.t, base: a.web, http: http.Client{Jar: jar}}
	var session struct {
		CSRF string
		User struct{ ID string }
	}
	p.must(http.StatusOK, p.call("POST", "/api/session", map[string]string{"login": login, "password": password}, &session))
	p.csrf, p.id = session.CSRF, session.User.ID
	return p
}

// call makes a request and decodes a JSON answer into out, a problem's too.
func (p *person) call(method, path string, in, out any) int {
	p.t.Helper()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			p.t.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	rq, err := http.NewRequestWithContext(context.Background(), method, p.base+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	if in != nil {
		rq.Header.Set("Content-Type", "application/json")
	}
	rq.Header.Set("X-CSRF-Token", p.csrf)
	answer, err := p.http.Do(rq)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = raw
	default:
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, out); err != nil {
				p.t.Fatalf("%s %s: %v in %.300s", method, path, err, raw)
			}
		}
	}
	if answer.StatusCode >= 400 {
		p.t.Logf("%s %s: %d %.300s", method, path, answer.StatusCode, raw)
	}
	return answer.StatusCode
}

func (p *person) must(want, got int) {
	p.t.Helper()
	if got != want {
		p.t.Fatalf("HTTP status %d, want %d", got, want)
	}
}

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
