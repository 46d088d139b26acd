package tiered_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/file"
	"github.com/tasvir-pacs/tasvir/storage/s3"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
	"github.com/tasvir-pacs/tasvir/storage/storagetest"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

func folder(t *testing.T) storage.Store {
	t.Helper()
	s, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// below shows the objects of a store under a prefix as if they had none.
type below struct {
	storage.Store
	prefix string
}

func (b below) key(key string) string {
	// What is refused anyway, or would be with the prefix, stays as it is.
	if storage.CheckKey(key) != nil || len(b.prefix+key) > storage.MaxKey {
		return key
	}
	return b.prefix + key
}

func (b below) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	return b.Store.Put(ctx, b.key(key), size, body)
}

func (b below) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return b.Store.Get(ctx, b.key(key), offset, length)
}

func (b below) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := b.Store.Stat(ctx, b.key(key))
	info.Key = strings.TrimPrefix(info.Key, b.prefix)
	return info, err
}

func (b below) Delete(ctx context.Context, key string) error { return b.Store.Delete(ctx, b.key(key)) }

func (b below) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if len(b.prefix+prefix) <= storage.MaxKey {
			prefix = b.prefix + prefix
		}
		for info, err := range b.Store.List(ctx, prefix) {
			info.Key = strings.TrimPrefix(info.Key, b.prefix)
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestStore(t *testing.T) {
	t.Run("Hot", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T) storage.Store { return tiered.New(folder(t), folder(t)) })
	})
	t.Run("Cold", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T) storage.Store {
			return below{tiered.New(folder(t), folder(t)), tiered.Prefix}
		})
	})
	t.Run("ColdMinIO", func(t *testing.T) {
		minio, n := miniotest.Start(t), 0
		storagetest.Run(t, func(t *testing.T) storage.Store {
			n++
			cold, err := s3.Open(t.Context(), minio.Config(fmt.Sprintf("cold-%d", n)))
			if err != nil {
				t.Fatal(err)
			}
			return below{tiered.New(folder(t), cold), tiered.Prefix}
		})
	})
}

func put(t *testing.T, s storage.Store, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := s.Put(t.Context(), key, int64(len(key)), strings.NewReader(key)); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, s storage.Store, prefix string) (keys []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// The key alone decides, and lists are in order across both stores.
func TestKeysSayWhere(t *testing.T) {
	hot, cold := folder(t), folder(t)
	s := tiered.New(hot, cold)
	put(t, s, "packs/1", "cold/packs/1", "a", "coldest", "cold-1", "cold.1", "cold/a", "zz")
	if got, want := list(t, cold, ""), []string{"cold/a", "cold/packs/1"}; !slices.Equal(got, want) {
		t.Errorf("the cold store has %q, want %q", got, want)
	}
	all := []string{"a", "cold-1", "cold.1", "cold/a", "cold/packs/1", "coldest", "packs/1", "zz"}
	for prefix, want := range map[string][]string{
		"": all, "c": all[1:6], "cold": all[1:6], "cold/": all[3:5], "cold/p": all[4:5], "p": all[6:7], "z": all[7:], "q": nil,
	} {
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("listing %q gives %q, want %q", prefix, got, want)
		}
	}
	// What lies under the prefix in the hot store is no object of ours.
	put(t, hot, "cold/stray")
	put(t, cold, "packs/stray")
	if got := list(t, s, ""); !slices.Equal(got, all) {
		t.Errorf("listing gives %q, want %q", got, all)
	}
	if _, err := s.Stat(t.Context(), "cold/stray"); !storage.IsNotExist(err) {
		t.Errorf("an object of the hot store is found under a cold key: %v", err)
	}
	// Stopping early at each place.
	for n := 1; n <= len(all); n++ {
		var got []string
		for info := range s.List(t.Context(), "") {
			if got = append(got, info.Key); len(got) == n {
				break
			}
		}
		if !slices.Equal(got, all[:n]) {
			t.Errorf("the first %d are %q", n, got)
		}
	}
	// Only cold objects.
	only := tiered.New(folder(t), cold)
	if got, want := list(t, only, ""), []string{"cold/a", "cold/packs/1"}; !slices.Equal(got, want) {
		t.Errorf("listing gives %q, want %q", got, want)
	}
}
