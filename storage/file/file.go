package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tasvir-pacs/tasvir/storage"
)

const (
	tempDir = ".tmp"
	// A temporary file this old belongs to a process that died.
	tempAge = 24 * time.Hour

	dirMode  = 0o750
	fileMode = 0o640
)

// Store is a storage.Store in a folder. The zero value is not usable; see Open.
type Store struct {
	dir string
}

var _ storage.Store = (*Store)(nil)

// Open returns the store in folder dir, which is created if absent. It clears
// away what processes that died have left half written. There is nothing to
// close.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir}
	if err := makeDir(filepath.Join(s.dir, tempDir)); err != nil {
		return nil, fmt.Errorf("the folder for objects can't be made: %w", err)
	}
	return s, s.dropStale(time.Now().Add(-tempAge))
}

// Dir returns the store's folder, as an absolute path.
func (s *Store) Dir() string { return s.dir }

func (s *Store) dropStale(before time.Time) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, tempDir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.ModTime().After(before) {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, tempDir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *Store) path(key string) string {
	return filepath.Join(s.dir, filepath.FromSlash(key))
}

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("put %s: %w: a size of %d", key, storage.ErrSizeMismatch, size)
	}
	temp, err := s.writeTemp(storage.Exact(ctx, body, size))
	if err != nil {
		return fmt.Errorf("put %s: %w", key, writeError(err))
	}
	if err := s.place(temp, key); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("put %s: %w", key, writeError(err))
	}
	return nil
}

// writeTemp writes body to a temporary file and fsyncs it.
func (s *Store) writeTemp(body io.Reader) (name string, err error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, tempDir), "put-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	// Hide f's ReadFrom: it would copy from a file descriptor behind the back
	// of body's length check.
	if _, err = io.CopyBuffer(struct{ io.Writer }{f}, body, make([]byte, 256<<10)); err != nil {
		return "", err
	}
	if err = f.Chmod(fileMode); err != nil {
		return "", err
	}
	// An fsync that failed can't be repeated (the kernel drops the dirty pages
	// and the next one succeeds), so the file is given up as a whole.
	if err = f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// place renames the temporary file to key's place and makes that durable.
func (s *Store) place(temp, key string) error {
	target := s.path(key)
	for attempt := 0; ; attempt++ {
		err := os.MkdirAll(filepath.Dir(target), dirMode)
		if err == nil {
			err = os.Rename(temp, target)
		}
		if err == nil {
			break
		}
		// A Delete of the last neighbour may remove an empty folder under us;
		// os.MkdirAll can say "exists" of one that was and is no more.
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) || attempt == 100 {
			return err
		}
	}
	// Every folder up to the store's own: another Put may have made one of
	// them an instant ago and not synced it yet. An fsync of a clean folder
	// costs next to nothing.
	for dir := path.Dir(key); ; dir = path.Dir(dir) {
		// A folder that is gone was emptied by a Delete that came after us.
		if err := syncDir(s.path(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := errors.Join(storage.CheckKey(key), storage.CheckRange(offset, length), ctx.Err()); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, readError(err))
	}
	r, err := newSection(f, offset, length)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("get %s: %w", key, readError(err))
	}
	return r, nil
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	if err := errors.Join(storage.CheckKey(key), ctx.Err()); err != nil {
		return storage.Info{}, err
	}
	info, err := os.Lstat(s.path(key))
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist // a folder is no object
	}
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %s: %w", key, readError(err))
	}
	return storage.Info{Key: key, Size: info.Size(), ModTime: info.ModTime()}, nil
}

// Delete implements storage.Store. It removes folders that became empty.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := errors.Join(storage.CheckKey(key), ctx.Err()); err != nil {
		return err
	}
	target := s.path(key)
	if info, err := os.Lstat(target); err == nil && info.IsDir() {
		return nil // a folder is no object
	}
	err := os.Remove(target)
	switch {
	case gone(err):
		return nil
	case err != nil:
		return fmt.Errorf("delete %s: %w", key, err)
	}
	if err := syncDir(filepath.Dir(target)); err != nil {
		// Somebody else's Delete may have removed the folder already.
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete %s: %w", key, err)
		}
	}
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		if err := os.Remove(s.path(dir)); err != nil {
			break // not empty, or gone
		}
	}
	return nil
}

// writeError turns the operating system's errors into those of package storage.
func writeError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w (%w)", storage.ErrFull, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR),
		errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.ENOTEMPTY):
		return fmt.Errorf("%w: an object's name is another object's folder (%w)", storage.ErrKey, err)
	}
	return err
}

func readError(err error) error {
	if gone(err) {
		return fmt.Errorf("%w (%w)", storage.ErrNotFound, err)
	}
	return err
}

// gone reports whether there is nothing under a path: ENOTDIR means that a
// folder of the path is an object.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// makeDir is os.MkdirAll whose new folders survive power loss.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	err = d.Sync()
	// Some network file systems can't fsync a folder and say so.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
