package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tasvir-pacs/tasvir/storage"
)

// big is larger than any part or buffer an implementation works with, and no
// multiple of one.
const big = 33<<20 + 12345

// Run checks one implementation. open returns a new, empty store; Run calls it
// once for each part of the suite.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, storage.Store)
	}{
		{"PutGetStat", putGetStat},
		{"Ranges", ranges},
		{"BigObject", bigObject},
		{"Overwrite", overwrite},
		{"OverwriteIsAtomic", overwriteIsAtomic},
		{"SizeMismatch", sizeMismatch},
		{"FailingBody", failingBody},
		{"NotFound", notFound},
		{"Delete", deleteObject},
		{"Keys", keys},
		{"ListOrder", listOrder},
		{"ListMany", listMany},
		{"Context", contexts},
		{"Concurrent", concurrent},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open(t)) })
	}
}

func pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func put(t *testing.T, s storage.Store, key string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func get(t *testing.T, s storage.Store, key string, offset, length int64) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatalf("Get(%s, %d, %d): %v", key, offset, length, err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("reading %s (%d, %d): %v", key, offset, length, err)
	}
	return data
}

func list(t *testing.T, s storage.Store, prefix string) []string {
	t.Helper()
	var got []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		got = append(got, info.Key)
	}
	return got
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func putGetStat(t *testing.T, s storage.Store) {
	begin := time.Now().Add(-time.Minute)
	for _, n := range []int{0, 1, 511, 65536, 1<<20 + 1} {
		key := fmt.Sprintf("packs/1.2.840.10008.1/2.25.99/%d.zip", n)
		data := pattern(uint64(n), n)
		// A body that is only an io.Reader, and one that hands out single bytes.
		body := struct{ io.Reader }{bytes.NewReader(data)}
		if n == 511 {
			body.Reader = iotest.OneByteReader(body.Reader)
		}
		if err := s.Put(t.Context(), key, int64(n), body); err != nil {
			t.Fatalf("Put of %d bytes: %v", n, err)
		}
		if got := get(t, s, key, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d other ones", n, len(got))
		}
		info, err := s.Stat(t.Context(), key)
		if err != nil {
			t.Fatalf("Stat: %v", err)
		}
		if info.Key != key || info.Size != int64(n) || info.ModTime.Before(begin) || info.ModTime.After(time.Now().Add(time.Minute)) {
			t.Errorf("Stat gave %+v", info)
		}
	}

	// Put reads from the current position of a seekable body.
	data := pattern(5, 1000)
	r := bytes.NewReader(data)
	if _, err := r.Seek(400, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "tail", 600, r); err != nil {
		t.Fatalf("Put from position 400: %v", err)
	}
	if got := get(t, s, "tail", 0, -1); !bytes.Equal(got, data[400:]) {
		t.Error("Put did not start at the body's current position")
	}
}

func ranges(t *testing.T, s storage.Store) {
	data := pattern(1, 10_000)
	put(t, s, "r", data)
	put(t, s, "empty", nil)
	for _, c := range []struct {
		offset, length int64
		want           []byte
	}{
		{0, -1, data},
		{0, 10_000, data},
		{0, 1, data[:1]},
		{9_999, 1, data[9_999:]},
		{9_999, -1, data[9_999:]},
		{1234, 4321, data[1234 : 1234+4321]},
		{0, 0, nil},
		{5000, 0, nil},
		{10_000, 0, nil},
		{10_000, -1, nil},
	} {
		if got := get(t, s, "r", c.offset, c.length); !bytes.Equal(got, c.want) {
			t.Errorf("range (%d, %d) gave %d bytes, or wrong ones; want %d", c.offset, c.length, len(got), len(c.want))
		}
	}
	if got := get(t, s, "empty", 0, -1); len(got) != 0 {
		t.Errorf("the empty object has %d bytes", len(got))
	}
	if got := get(t, s, "empty", 0, 0); len(got) != 0 {
		t.Errorf("the empty object has %d bytes", len(got))
	}
	for _, c := range []struct {
		key            string
		offset, length int64
	}{
		{"r", 0, 10_001},
		{"r", 9_999, 2},
		{"r", 10_000, 1},
		{"r", 10_001, -1},
		{"r", 10_001, 0},
		{"r", 1 << 40, -1},
		{"r", 1 << 40, 1},
		{"r", -1, 1},
		{"r", 0, -2},
		{"r", 1<<63 - 1, 1},
		{"r", 1, 1<<63 - 1},
		{"empty", 0, 1},
		{"empty", 1, -1},
	} {
		r, err := s.Get(t.Context(), c.key, c.offset, c.length)
		if err == nil {
			_ = r.Close()
		}
		wantErr(t, fmt.Sprintf("Get(%s, %d, %d)", c.key, c.offset, c.length), err, storage.ErrRange)
		if !storage.IsPermanent(err) {
			t.Errorf("%v is not permanent", err)
		}
	}
}

func bigObject(t *testing.T, s storage.Store) {
	data := pattern(2, big)
	for name, body := range map[string]io.Reader{
		"seekable": bytes.NewReader(data),
		"stream":   iotest.HalfReader(bytes.NewReader(data)),
	} {
		key := "big/" + name
		if err := s.Put(t.Context(), key, big, body); err != nil {
			t.Fatalf("Put of %d bytes: %v", big, err)
		}
		if got := get(t, s, key, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("%s: the bytes that came back differ", name)
		}
		const from = 16<<20 - 7
		if got := get(t, s, key, from, 100); !bytes.Equal(got, data[from:from+100]) {
			t.Errorf("%s: a range across a part boundary differs", name)
		}
		if info, err := s.Stat(t.Context(), key); err != nil || info.Size != big {
			t.Errorf("%s: Stat gave %+v, %v", name, info, err)
		}
	}
	// Left half-read readers must not hinder anything.
	r, err := s.Get(t.Context(), "big/stream", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r, 1000); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func overwrite(t *testing.T, s storage.Store) {
	first, second := pattern(1, 1000), pattern(2, 10)
	put(t, s, "a/b", first)
	put(t, s, "a/b", second)
	if got := get(t, s, "a/b", 0, -1); !bytes.Equal(got, second) {
		t.Error("the second Put did not replace the first")
	}
	if got := list(t, s, ""); !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("List gave %q", got)
	}
}

// overwriteIsAtomic replaces an object again and again while others read it.
func overwriteIsAtomic(t *testing.T, s storage.Store) {
	const size = 300_000
	version := func(v int) []byte { return bytes.Repeat([]byte{byte(v)}, size) }
	put(t, s, "v", version(0))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				r, err := s.Get(t.Context(), "v", 0, -1)
				if err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				got, err := io.ReadAll(r)
				_ = r.Close()
				if err != nil {
					t.Errorf("reading: %v", err)
					return
				}
				if len(got) != size || !bytes.Equal(got, version(int(got[0]))) {
					t.Errorf("read a mixture of versions (%d bytes)", len(got))
					return
				}
			}
		})
	}
	for v := 1; v <= 20; v++ {
		put(t, s, "v", version(v))
	}
	close(done)
	readers.Wait()
}

func sizeMismatch(t *testing.T, s storage.Store) {
	put(t, s, "old", []byte("old"))
	for _, size := range []int{0, 1, 1000, 16 << 20, big} {
		for _, c := range []struct {
			name   string
			actual int
		}{{"longer", size + 1}, {"shorter", size - 1}, {"empty", 0}, {"much longer", size + 1<<20}} {
			if c.actual < 0 || c.actual == size {
				continue
			}
			data := make([]byte, c.actual)
			for _, key := range []string{"old", "new/x"} {
				err := s.Put(t.Context(), key, int64(size), bytes.NewReader(data))
				wantErr(t, fmt.Sprintf("Put of a body that is %s than %d", c.name, size), err, storage.ErrSizeMismatch)
				if !storage.IsPermanent(err) {
					t.Errorf("%v is not permanent", err)
				}
			}
		}
	}
	wantErr(t, "Put of a negative size", s.Put(t.Context(), "new/x", -1, strings.NewReader("abc")), storage.ErrSizeMismatch)
	if got := get(t, s, "old", 0, -1); string(got) != "old" {
		t.Errorf("a refused Put has changed the object to %d bytes", len(got))
	}
	if got := list(t, s, ""); !slices.Equal(got, []string{"old"}) {
		t.Errorf("a refused Put has left something: %q", got)
	}
}

// failingBody: an error of the body comes back as it is, and nothing is left.
func failingBody(t *testing.T, s storage.Store) {
	broken := errors.New("the journal can't be read")
	for _, size := range []int{100, 20 << 20} {
		body := io.MultiReader(bytes.NewReader(make([]byte, size/2)), iotest.ErrReader(broken))
		err := s.Put(t.Context(), "x", int64(size), body)
		wantErr(t, "Put", err, broken)
		if storage.IsPermanent(err) {
			t.Errorf("%v is permanent", err)
		}
	}
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("a failed Put has left something: %q", got)
	}
}

func notFound(t *testing.T, s storage.Store) {
	put(t, s, "a/b", []byte("x"))
	for _, key := range []string{"nothing", "a", "a/b/c", "a/c", "b/b"} {
		_, err := s.Stat(t.Context(), key)
		wantErr(t, "Stat of "+key, err, storage.ErrNotFound)
		for _, length := range []int64{-1, 0, 1} {
			r, err := s.Get(t.Context(), key, 0, length)
			if err == nil {
				_ = r.Close()
			}
			wantErr(t, "Get of "+key, err, storage.ErrNotFound)
			if !storage.IsNotExist(err) || !storage.IsPermanent(err) {
				t.Errorf("%v: IsNotExist %v, IsPermanent %v", err, storage.IsNotExist(err), storage.IsPermanent(err))
			}
		}
	}
}

func deleteObject(t *testing.T, s storage.Store) {
	put(t, s, "a/b/c", []byte("x"))
	put(t, s, "a/d", []byte("y"))
	for _, key := range []string{"a/b/c", "a/b/c", "nothing", "a", "a/d/e"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%s): %v", key, err)
		}
	}
	_, err := s.Stat(t.Context(), "a/b/c")
	wantErr(t, "Stat after Delete", err, storage.ErrNotFound)
	if got := list(t, s, ""); !slices.Equal(got, []string{"a/d"}) {
		t.Errorf("List gave %q", got)
	}
	put(t, s, "a/b/c", []byte("again"))
	if got := get(t, s, "a/b/c", 0, -1); string(got) != "again" {
		t.Errorf("got %q", got)
	}
}

func keys(t *testing.T, s storage.Store) {
	long := strings.Repeat("s", storage.MaxSegment)
	longest := strings.Repeat(long[:storage.MaxSegment-1]+"/", 3) + strings.Repeat("k", storage.MaxKey-3*storage.MaxSegment)
	if len(longest) != storage.MaxKey {
		t.Fatal("the longest key is built wrongly")
	}
	for _, key := range []string{"a", "A-b_c.9", long, longest} {
		put(t, s, key, []byte(key))
		if got := get(t, s, key, 0, -1); string(got) != key {
			t.Errorf("%q came back as %q", key, got)
		}
		if got := list(t, s, key); !slices.Contains(got, key) {
			t.Errorf("List(%q) gave %q", key, got)
		}
	}
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", ".tmp/x", "a/.b",
		"a b", "a\x00b", "a\nb", `a\b`, "ä", "\xff", "a:b", "a*b", "a?b", "a%2fb",
		long + "s", longest + "k", strings.Repeat("k/", 5000) + "k",
	} {
		ctx := t.Context()
		_, statErr := s.Stat(ctx, key)
		r, getErr := s.Get(ctx, key, 0, -1)
		if getErr == nil {
			_ = r.Close()
		}
		for what, err := range map[string]error{
			"Put": s.Put(ctx, key, 1, strings.NewReader("x")), "Get": getErr, "Stat": statErr, "Delete": s.Delete(ctx, key),
		} {
			wantErr(t, fmt.Sprintf("%s(%.40q)", what, key), err, storage.ErrKey)
			if !storage.IsPermanent(err) {
				t.Errorf("%v is not permanent", err)
			}
		}
	}
}

func listOrder(t *testing.T, s storage.Store) {
	// '-' < '.' < '/' < '0' < 'A' < '_' < 'a': a folder sorts as "name/".
	want := []string{
		"p-x", "p.x", "p/1", "p/1-1", "p/1.1/a", "p/10/a", "p/2/a", "p/2/b/c", "p/2/b-c/d", "p0", "pA", "p_", "pa", "packs/1", "q",
	}
	slices.Sort(want)
	shuffled := slices.Clone(want)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for _, key := range shuffled {
		put(t, s, key, []byte(key))
	}
	for _, prefix := range []string{"", "p", "p/", "p/1", "p/1.", "p/1.1/", "p/2/b", "p/2/b/", "p/2/b/c", "pa", "packs/", "q", "q/", "zzz", "..", "../", "/", "p//", ".tmp/"} {
		var expect []string
		for _, key := range want {
			if strings.HasPrefix(key, prefix) {
				expect = append(expect, key)
			}
		}
		if got := list(t, s, prefix); !slices.Equal(got, expect) {
			t.Errorf("List(%q)\n got %q\nwant %q", prefix, got, expect)
		}
	}
	for info, err := range s.List(t.Context(), "p/2/b/") {
		if err != nil || info.Size != int64(len("p/2/b/c")) || time.Since(info.ModTime).Abs() > 5*time.Minute {
			t.Errorf("List gave %+v, %v", info, err)
		}
	}
}

// listMany goes past the page size of S3 (1000) and stops in the middle.
func listMany(t *testing.T, s storage.Store) {
	const n = 1100
	var wg sync.WaitGroup
	limit := make(chan struct{}, 8)
	for i := range n {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			if err := s.Put(t.Context(), fmt.Sprintf("many/%02d/%04d", i%7, i), 1, strings.NewReader("x")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := list(t, s, "many/")
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("List gave %d objects, sorted: %v", len(got), slices.IsSorted(got))
	}
	seen := 0
	for _, err := range s.List(t.Context(), "many/") {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("stopped after %d objects", seen)
	}
}

func contexts(t *testing.T, s storage.Store) {
	put(t, s, "a", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, getErr := s.Get(ctx, "a", 0, -1)
	if getErr == nil {
		_, getErr = io.ReadAll(r)
		_ = r.Close()
	}
	var listErr error
	for _, listErr = range s.List(ctx, "") {
		if listErr != nil {
			break
		}
	}
	_, statErr := s.Stat(ctx, "a")
	for what, err := range map[string]error{
		"Put": s.Put(ctx, "b", 1, strings.NewReader("x")), "Get": getErr, "Stat": statErr, "List": listErr, "Delete": s.Delete(ctx, "a"),
	} {
		wantErr(t, what, err, context.Canceled)
		if storage.IsPermanent(err) {
			t.Errorf("%s: %v is permanent", what, err)
		}
	}

	// Cancelled in the middle of a body: nothing becomes visible.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	read := 0
	body := readerFunc(func(p []byte) (int, error) {
		if read += len(p); read > 20<<20 {
			cancel()
		}
		return len(p), nil
	})
	wantErr(t, "Put", s.Put(ctx, "c", 64<<20, body), context.Canceled)
	if got := list(t, s, ""); !slices.Equal(got, []string{"a"}) {
		t.Errorf("List gave %q", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// concurrent puts and deletes neighbours, so that folders come and go.
func concurrent(t *testing.T, s storage.Store) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				key := fmt.Sprintf("shared/folder%d/object%d", i%2, w)
				data := pattern(uint64(w*100+i), 2000)
				if err := s.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				r, err := s.Get(t.Context(), key, 0, -1)
				if err != nil {
					t.Errorf("Get after Put: %v", err)
					return
				}
				got, err := io.ReadAll(r)
				_ = r.Close()
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("other bytes came back (%v)", err)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}
