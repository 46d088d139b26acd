package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Deletion is an object in storage that says which packs of a study a retention
// policy has deleted. Their objects stay for a grace time; without it an index
// that is rebuilt in that time would have the study again, or its pixel data.
//
// It names packs, not the study: what is sent again afterwards comes in packs
// of other keys. It is stored after the transaction that deletes. The other way
// round, a deletion that did not come about would cost the study when the index
// is rebuilt; so, a crash between the two costs nothing but that the study is
// back.
type Deletion struct {
	Study  string    `json:"study"`
	At     time.Time `json:"at"`
	Action string    `json:"action"`
	Policy string    `json:"policy"`
	Packs  []string  `json:"packs"` // keys
}

const (
	deletionPrefix = "deleted/"
	// longestDeletion bounds what is read of an object that should be one: some
	// 200 bytes a pack.
	longestDeletion = 32 << 20
)

// Store makes the deletion durable.
func (d Deletion) Store(ctx context.Context, store storage.Store) error {
	text, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s%s/%d-%s.json", deletionPrefix, d.Study, d.At.UnixMicro(), d.Action)
	if err := store.Put(ctx, key, int64(len(text)), bytes.NewReader(text)); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not take what is said of a deletion")
	}
	return nil
}

// deletions calls f for each deletion in a store. One that can't be read as
// such deletes nothing: f is not called.
func deletions(ctx context.Context, store storage.Store, log *slog.Logger, f func(storage.Info, Deletion) error) error {
	for info, err := range store.List(ctx, deletionPrefix) {
		if err != nil {
			return pacs.Wrap(pacs.Unavailable, err, "The object store does not list the deletions")
		}
		body, err := store.Get(ctx, info.Key, 0, -1)
		if storage.IsNotExist(err) {
			continue
		}
		if err != nil {
			return pacs.Wrap(pacs.Unavailable, err, "The object store does not give a deletion")
		}
		text, err := io.ReadAll(io.LimitReader(body, longestDeletion))
		_ = body.Close()
		if err != nil {
			return pacs.Wrap(pacs.Unavailable, err, "The object store does not give a deletion")
		}
		var d Deletion
		if err := json.Unmarshal(text, &d); err != nil {
			log.Warn("what is said of a deletion can't be read; what it deleted may be indexed again", "key", info.Key, "error", err)
			continue
		}
		if err := f(info, d); err != nil {
			return err
		}
	}
	return nil
}

// deletedPacks are the keys of packs that retention policies have deleted.
func deletedPacks(ctx context.Context, store storage.Store, log *slog.Logger) (map[string]bool, error) {
	keys := map[string]bool{}
	err := deletions(ctx, store, log, func(_ storage.Info, d Deletion) error {
		for _, key := range d.Packs {
			keys[key] = true
		}
		return nil
	})
	return keys, err
}

// ForgetDeletions deletes what is said of deletions before a time, of which no
// pack is left.
func ForgetDeletions(ctx context.Context, store storage.Store, before time.Time, log *slog.Logger) error {
	return deletions(ctx, store, log, func(info storage.Info, d Deletion) error {
		if !d.At.Before(before) {
			return nil
		}
		for _, key := range d.Packs {
			if storage.CheckKey(key) != nil {
				continue
			}
			if _, err := store.Stat(ctx, key); !storage.IsNotExist(err) {
				return err
			}
		}
		return store.Delete(ctx, info.Key)
	})
}
