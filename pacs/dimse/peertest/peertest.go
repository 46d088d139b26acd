// Package peertest runs other people's DICOM software beside a test: the tools of
// dcmtk and GDCM, and Orthanc (orthanc.go).
package peertest

import (
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Path is where a program is. Without it the test is skipped, or fails under
// TASVIR_TEST_REQUIRE=1.
func Path(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
		t.Fatalf("%s is not installed: run deploy/install-debian.sh test", program)
	}
	t.Skipf("%s is not installed (Debian packages dcmtk, libgdcm-tools, orthanc)", program)
	return ""
}

// FreePorts are n different loopback ports that nobody listens at.
func FreePorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // all at the end: else a port is given twice
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

const (
	starts        = 5
	startPatience = time.Minute
)

// Serve runs a program that listens at some loopback ports, until stop is called
// or the test ends. When it ends by itself, since another program was quicker to
// take a port, it is started again with others.
func Serve(t testing.TB, ports int, command func(ports []string) *exec.Cmd) (addresses []string, stop func()) {
	t.Helper()
	for range starts {
		list := FreePorts(t, ports)
		addresses = nil
		for _, port := range list {
			addresses = append(addresses, net.JoinHostPort("127.0.0.1", port))
		}
		cmd := command(list)
		var said output
		if cmd.Stdout == nil && cmd.Stderr == nil {
			cmd.Stdout, cmd.Stderr = &said, &said
		}
		cmd.WaitDelay = time.Second // of what it started itself
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(ended)
		}()
		stop = sync.OnceFunc(func() {
			_ = cmd.Process.Kill()
			<-ended
			if t.Failed() {
				t.Logf("%s: %s", cmd.Path, said.String())
			}
		})
		t.Cleanup(stop)
		if listening(t, addresses, ended) {
			return addresses, stop
		}
		t.Logf("%s has ended: %s", cmd.Path, said.String())
	}
	t.Fatalf("the program does not start")
	return nil, nil
}

// listening waits until there is somebody at every address; false when ended
// comes first.
func listening(t testing.TB, addresses []string, ended <-chan struct{}) bool {
	t.Helper()
	deadline := time.Now().Add(startPatience)
	for _, address := range addresses {
		for {
			nc, err := net.Dial("tcp", address)
			if err == nil {
				_ = nc.Close()
			}
			select {
			case <-ended: // and somebody else answers
				return false
			case <-time.After(10 * time.Millisecond):
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("nobody answers at %s", address)
			}
		}
	}
	return true
}

// output is what a program says, which the test may read while it runs.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}
