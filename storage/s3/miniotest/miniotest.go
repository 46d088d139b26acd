// Package miniotest starts a real MinIO server for a test.
//
// The binary is the one that deploy/minio.sh has built into the cache folder
// (TASVIR_CACHE, by default ~/.cache/tasvir). A test that needs it is skipped
// when it is absent, unless TASVIR_TEST_REQUIRE=1, as set by "make test": then
// its absence is a failure.
package miniotest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tasvir-pacs/tasvir/storage/s3"
)

const (
	user     = "tasvir-test"
	password = "tasvir-test-secret"
	patience = time.Minute // a loaded machine; it normally takes a second
)

// Server is a MinIO server on a loopback port, with its data in a temporary
// folder.
type Server struct {
	Endpoint string // 127.0.0.1:PORT
	t        testing.TB
	binary   string
	dir      string
	process  *process
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, binary: find(t), dir: t.TempDir()}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			if log, err := os.ReadFile(s.logFile()); err == nil && len(log) > 0 {
				t.Logf("MinIO's log:\n%s", log)
			}
		}
	})
	var err error
	for range 5 { // somebody else may take the port we chose
		s.Endpoint = freeAddress(t)
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatalf("MinIO does not start: %v", err)
	return nil
}

// Config is the configuration of a bucket on this server.
func (s *Server) Config(bucket string) s3.Config {
	return s3.Config{Endpoint: s.Endpoint, Insecure: true, Bucket: bucket, AccessKey: user, SecretKey: password}
}

// URL names a bucket for --store; Env supplies the credentials.
func (s *Server) URL(bucket string) string {
	query := url.Values{"endpoint": {s.Endpoint}, "insecure": {"true"}}
	return "s3://" + bucket + "?" + query.Encode()
}

// Env is the environment ("NAME=value") a program needs beside URL.
func (s *Server) Env() []string {
	return []string{"TASVIR_S3_ACCESS_KEY=" + user, "TASVIR_S3_SECRET_KEY=" + password}
}

// Stop kills the server: an outage. Its data stays for Restart.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

// Restart ends an outage, on the same address.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("MinIO does not start again: %v", err)
	}
}

func find(t testing.TB) string {
	t.Helper()
	cache := os.Getenv("TASVIR_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache", "tasvir")
	}
	binary := filepath.Join(cache, "bin", "minio")
	if _, err := os.Stat(binary); err != nil {
		message := fmt.Sprintf("no MinIO at %s: run deploy/minio.sh", binary)
		if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	return binary
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "minio.log") }

func (s *Server) start() error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(s.binary, "server", "--address", s.Endpoint, "--quiet", filepath.Join(s.dir, "data"))
	cmd.Env = []string{
		"MINIO_ROOT_USER=" + user, "MINIO_ROOT_PASSWORD=" + password,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off",
		"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"),
	}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := run(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.ready(ctx, s.answers); err != nil {
		p.kill()
		text, _ := os.ReadFile(s.logFile())
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(text)))
	}
	s.process = p
	return nil
}

// process is a child that dies with us, even if we are killed.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func run(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig means the thread that started the child, not the process:
		// this one is kept until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}

// answers asks for what a user would ask for: the server says that it is ready
// before it knows its users.
func (s *Server) answers(ctx context.Context) error {
	client, err := minio.New(s.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(user, password, ""), MaxRetries: 1})
	if err != nil {
		return err
	}
	_, err = client.ListBuckets(ctx)
	return err
}

// ready waits until answers returns nil.
func (p *process) ready(ctx context.Context, answers func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("it is not ready after %s: %w", patience, err)
		case <-tick.C:
		}
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
