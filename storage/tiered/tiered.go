package tiered

import (
	"context"
	"io"
	"iter"
	"strings"

	"github.com/tasvir-pacs/tasvir/storage"
)

// Prefix begins the keys of the cold store's objects.
const Prefix = "cold/"

// Store is a storage.Store over two others. What each of its methods promises
// is what the store that has the key promises.
type Store struct{ hot, cold storage.Store }

var _ storage.Store = (*Store)(nil)

// New joins two stores. Objects that the hot store has under Prefix, or the
// cold one under any other key, are not seen.
func New(hot, cold storage.Store) *Store { return &Store{hot: hot, cold: cold} }

// IsCold says whether an object with this key is in the cold store.
func IsCold(key string) bool { return strings.HasPrefix(key, Prefix) }

func (s *Store) of(key string) storage.Store {
	if IsCold(key) {
		return s.cold
	}
	return s.hot
}

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	return s.of(key).Put(ctx, key, size, body)
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return s.of(key).Get(ctx, key, offset, length)
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	return s.of(key).Stat(ctx, key)
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string) error { return s.of(key).Delete(ctx, key) }

// List implements storage.Store. The cold keys all begin alike, so they come
// in one run among the hot ones.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	switch {
	case IsCold(prefix):
		return s.cold.List(ctx, prefix)
	case !strings.HasPrefix(Prefix, prefix):
		return s.hot.List(ctx, prefix)
	}
	return func(yield func(storage.Info, error) bool) {
		listed := false
		cold := func() bool {
			listed = true
			for info, err := range s.cold.List(ctx, Prefix) {
				if !yield(info, err) || err != nil {
					return false
				}
			}
			return true
		}
		for info, err := range s.hot.List(ctx, prefix) {
			if err == nil && IsCold(info.Key) {
				continue
			}
			if err == nil && info.Key > Prefix && !listed && !cold() {
				return
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
		if !listed {
			cold()
		}
	}
}
