package file

import (
	"context"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/storage"
)

// List implements storage.Store. Its memory is that of the folders on the way
// from the top to the current object.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if prefix != "" && storage.CheckKey(strings.TrimSuffix(prefix, "/")) != nil {
			return // no key begins like this
		}
		// Start in the deepest folder the prefix names for certain.
		s.walk(ctx, path.Dir(prefix+"x"), prefix, yield)
	}
}

// walk yields the objects below folder dir (a key without slash at the end, or
// ".") that begin with prefix. It returns false when the caller must stop.
func (s *Store) walk(ctx context.Context, dir, prefix string, yield func(storage.Info, error) bool) bool {
	entries, err := os.ReadDir(s.path(dir))
	if gone(err) {
		return true // removed in the meantime, or never there
	}
	if err != nil {
		yield(storage.Info{}, err)
		return false
	}
	// A folder's objects all begin with "name/", and '/' sorts after '-' and
	// '.': "a.b" comes before "a/b", although the folder "a" sorts before it.
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		return strings.Compare(sortName(a), sortName(b))
	})
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, err)
			return false
		}
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		key := path.Join(dir, entry.Name())
		if entry.IsDir() {
			if !strings.HasPrefix(key+"/", prefix) && !strings.HasPrefix(prefix, key+"/") {
				continue
			}
			if !s.walk(ctx, key, prefix, yield) {
				return false
			}
			continue
		}
		if !strings.HasPrefix(key, prefix) || storage.CheckKey(key) != nil {
			continue
		}
		info, err := entry.Info()
		if gone(err) {
			continue
		}
		if err != nil {
			yield(storage.Info{}, err)
			return false
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if !yield(storage.Info{Key: key, Size: info.Size(), ModTime: info.ModTime()}, nil) {
			return false
		}
	}
	return true
}

func sortName(entry fs.DirEntry) string {
	if entry.IsDir() {
		return entry.Name() + "/"
	}
	return entry.Name()
}
