package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/s3"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
	"github.com/tasvir-pacs/tasvir/storage/storagetest"
)

func open(t testing.TB, c s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	server := miniotest.Start(t)
	var n int
	storagetest.Run(t, func(t *testing.T) storage.Store {
		n++
		c := server.Config(fmt.Sprintf("bucket-%d", n)) // made on demand
		if n%2 == 0 {
			c.Prefix = "some/prefix"
		}
		return open(t, c)
	})
}

// Two stores with different prefixes in one bucket don't see each other, nor
// what someone else has put there.
func TestPrefixesAreSeparate(t *testing.T) {
	server := miniotest.Start(t)
	c := server.Config("shared")
	c.Prefix = "a"
	a := open(t, c)
	c.Prefix = "ab"
	ab := open(t, c)
	c.Prefix = ""
	all := open(t, c)
	for i, s := range []*s3.Store{a, ab} {
		if err := s.Put(t.Context(), "k", int64(i), strings.NewReader("xyz"[:i])); err != nil {
			t.Fatal(err)
		}
	}
	for info, err := range a.List(t.Context(), "") {
		if err != nil || info.Key != "k" || info.Size != 0 {
			t.Errorf("a lists %+v, %v", info, err)
		}
	}
	if err := a.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if info, err := all.Stat(t.Context(), "ab/k"); err != nil || info.Size != 1 {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestWrongCredentials(t *testing.T) {
	server := miniotest.Start(t)
	c := server.Config("bucket")
	c.SecretKey = "wrong-wrong-wrong"
	_, err := s3.Open(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), server.Endpoint) || !strings.Contains(err.Error(), "signature") {
		t.Fatalf("got %v", err)
	}
	if storage.IsPermanent(err) {
		t.Errorf("%v is permanent: an operator can repair it", err)
	}
}

// While the server is down every call fails, in a way that may be repeated;
// when it is back all that was acknowledged is there.
func TestOutage(t *testing.T) {
	server := miniotest.Start(t)
	s := open(t, server.Config("bucket"))
	data := bytes.Repeat([]byte("tasvir"), 4<<20) // several parts
	if err := s.Put(t.Context(), "kept", int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, statErr := s.Stat(ctx, "kept")
	for what, err := range map[string]error{
		"Stat": statErr, "Put": s.Put(ctx, "lost", 3, strings.NewReader("abc")), "Delete": s.Delete(ctx, "kept"),
	} {
		if err == nil || storage.IsPermanent(err) {
			t.Errorf("%s during the outage: %v", what, err)
		}
	}
	server.Restart()
	r, err := s.Get(t.Context(), "kept", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after the outage %d bytes, %v", len(got), err)
	}
	if _, err := s.Stat(t.Context(), "lost"); !storage.IsNotExist(err) {
		t.Errorf("a Put that failed: %v", err)
	}
}

// flaky stands between the store and MinIO and breaks the first attempt of
// every upload: half by a 503, half by cutting the connection in the body. The
// store must repeat, with correct checksums, whatever the body's type.
func TestRepeatsWhatTheNetworkBroke(t *testing.T) {
	server := miniotest.Start(t)
	open(t, server.Config("bucket"))
	target, err := url.Parse("http://" + server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // part of the signature
	}}
	var uploads, broken atomic.Int32
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			switch uploads.Add(1) % 3 {
			case 1:
				broken.Add(1)
				_, _ = io.CopyN(io.Discard, r.Body, 1000)
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			case 2:
				broken.Add(1)
				_, _ = io.CopyN(io.Discard, r.Body, 1000)
				conn, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					_ = conn.(*net.TCPConn).SetLinger(0)
					_ = conn.Close()
				}
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	defer flaky.Close()
	c := server.Config("bucket")
	c.Endpoint = strings.TrimPrefix(flaky.URL, "http://")
	s := open(t, c)
	for _, size := range []int{5000, 40 << 20} {
		data := bytes.Repeat([]byte{byte(size >> 8), 1, 2, 3}, size/4)
		for name, body := range map[string]io.Reader{
			"seekable": bytes.NewReader(data), "stream": struct{ io.Reader }{bytes.NewReader(data)},
		} {
			if err := s.Put(t.Context(), name, int64(size), body); err != nil {
				t.Fatalf("%s, %d bytes: %v", name, size, err)
			}
			r, err := s.Get(t.Context(), name, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			_ = r.Close()
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, %d bytes: other bytes came back (%v)", name, size, err)
			}
		}
	}
	if broken.Load() < 8 {
		t.Errorf("only %d uploads were broken", broken.Load())
	}
}

// A server or proxy that sends less than it announced must not look like a
// shorter object, and one that ignores ranges must not look like a hit.
func TestBadAnswers(t *testing.T) {
	var answer http.HandlerFunc
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/k") {
			w.Header().Set("Last-Modified", "Sat, 21 Nov 2026 12:00:00 GMT")
			w.Header().Set("ETag", `"1"`)
			answer(w, r)
		}
	}))
	defer bad.Close()
	s := open(t, s3.Config{
		Endpoint: strings.TrimPrefix(bad.URL, "http://"), Insecure: true, Region: "us-east-1", Bucket: "bucket", AccessKey: "a", SecretKey: "b",
	})

	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10000")
		_, _ = w.Write(make([]byte, 5000))
	}
	r, err := s.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a truncated answer: %d bytes, %v", n, err)
	}
	_ = r.Close()

	answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100)) }
	if r, err := s.Get(t.Context(), "k", 50, 100); err == nil {
		_ = r.Close()
		t.Error("an answer that ignores the range was taken for it")
	}

	answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInsufficientStorage) }
	if _, err := s.Get(t.Context(), "k", 0, -1); !errors.Is(err, storage.ErrFull) {
		t.Errorf("507: %v", err)
	}
}

func BenchmarkPut64MiB(b *testing.B) {
	s := open(b, miniotest.Start(b).Config("bucket"))
	data := make([]byte, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := s.Put(b.Context(), "a", int64(len(data)), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet64MiB(b *testing.B) {
	s := open(b, miniotest.Start(b).Config("bucket"))
	data := make([]byte, 64<<20)
	if err := s.Put(b.Context(), "a", int64(len(data)), bytes.NewReader(data)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r, err := s.Get(b.Context(), "a", 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}
