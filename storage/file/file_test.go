package file_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/file"
	"github.com/tasvir-pacs/tasvir/storage/storagetest"
)

func open(t testing.TB, dir string) *file.Store {
	t.Helper()
	s, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		s := open(t, filepath.Join(t.TempDir(), "made", "on", "demand"))
		t.Cleanup(func() {
			left, err := os.ReadDir(filepath.Join(s.Dir(), ".tmp"))
			if err != nil || len(left) != 0 {
				t.Errorf("temporary files are left: %v, %v", left, err)
			}
		})
		return s
	})
}

func TestStoreSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Put(t.Context(), "packs/1/2.zip", 3, strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	info, err := open(t, dir).Stat(t.Context(), "packs/1/2.zip")
	if err != nil || info.Size != 3 {
		t.Errorf("got %+v, %v", info, err)
	}
	// It is an ordinary file of that name.
	if data, err := os.ReadFile(filepath.Join(dir, "packs", "1", "2.zip")); err != nil || string(data) != "abc" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestOpenDropsStaleTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	stale, fresh := filepath.Join(dir, ".tmp", "put-1"), filepath.Join(dir, ".tmp", "put-2")
	for _, name := range []string{stale, fresh} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(stale, old, old); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale file is still there (%v)", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a file that is being written was removed: %v", err)
	}
}

func TestOpenOfAFileFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Open(name); err == nil {
		t.Error("a file was opened as a folder")
	}
}

func TestNameThatIsAFolderIsRefused(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Put(t.Context(), "a/b", 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "a/b/c"} {
		if err := s.Put(t.Context(), key, 1, strings.NewReader("y")); !errors.Is(err, storage.ErrKey) {
			t.Errorf("Put(%s) beside a/b: %v", key, err)
		}
	}
}

// A reader that is open keeps its bytes, and ends with an error, never early
// with io.EOF, if somebody truncates the file under it.
func TestReaderOfAChangedObject(t *testing.T) {
	s := open(t, t.TempDir())
	put := func(n int) {
		if err := s.Put(t.Context(), "a", int64(n), bytes.NewReader(make([]byte, n))); err != nil {
			t.Fatal(err)
		}
	}
	put(100_000)
	r, err := s.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	put(5)
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); n != 100_000 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	_ = r.Close()

	for name, read := range map[string]func(io.Reader) error{
		"Read":    func(r io.Reader) error { _, err := io.ReadAll(struct{ io.Reader }{r}); return err },
		"WriteTo": func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err },
	} {
		put(100_000)
		r, err = s.Get(t.Context(), "a", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(s.Dir(), "a"), 10); err != nil {
			t.Fatal(err)
		}
		if err := read(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
		_ = r.Close()
	}
}

func BenchmarkPut64MiB(b *testing.B) {
	s := open(b, b.TempDir())
	data := make([]byte, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := s.Put(b.Context(), "a", int64(len(data)), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet64MiB(b *testing.B) {
	s := open(b, b.TempDir())
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

func BenchmarkPutSmall(b *testing.B) {
	s := open(b, b.TempDir())
	for b.Loop() {
		if err := s.Put(b.Context(), "packs/1/2/a", 1000, bytes.NewReader(make([]byte, 1000))); err != nil {
			b.Fatal(err)
		}
	}
}
