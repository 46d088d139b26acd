package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

// mergePatience is how long after its last instance a study may take to be
// complete and merged before it is measured as it is.
const mergePatience = 90 * time.Second

// merged sends a series of 500 slices and measures what is in storage once the
// study is complete, its packs are merged and the old ones swept.
func merged(ctx context.Context, r *run) error {
	slices, err := newRecipe("merge", phantom.HeadCT, 500, 256)
	if err != nil {
		return err
	}
	for _, series := range []struct {
		what   string
		recipe *recipe
	}{{"128×128 MR", r.corpus.mr}, {"256×256 CT", slices}} {
		s := &tasvir{run: r, flags: []string{"--quiet", "2s"}}
		batches, err := r.corpus.batches(series.recipe, 1, 500, 1)
		if err != nil {
			return err
		}
		err = r.on(ctx, s, func() error {
			r.noteLoad("merge of " + series.what)
			if _, err := r.storescu(ctx, s, batches, false); err != nil {
				return err
			}
			if _, err := awaitCount(ctx, s, 500, pollPause); err != nil {
				return err
			}
			before, _, err := stored(s)
			if err != nil {
				return err
			}
			sweep, err := s.sweeper(ctx)
			if err != nil {
				return err
			}
			defer sweep.close()
			objects, bytes := before, int64(0)
			for deadline := time.Now().Add(mergePatience); time.Now().Before(deadline); {
				if _, err := sweep.Retired(ctx); err != nil {
					return err
				}
				if objects, bytes, err = stored(s); err != nil {
					return err
				}
				if objects == 1 {
					break
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(200 * time.Millisecond):
				}
			}
			more := 100 * (float64(bytes)/float64(batches[0].bytes) - 1)
			r.report.row("objects in storage of a series of 500 slices of "+series.what+" after merge", "objects", "tasvir", below(2)).add("tasvir", float64(objects))
			r.report.row("bytes in storage of a series of 500 slices of "+series.what+" after merge", "% more than its files", "tasvir", below(1)).add("tasvir", more)
			r.say("  %s: %d objects when published, %d after merge, %.2f %% more bytes than the files", series.what, before, objects, more)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", series.what, err)
		}
	}
	return nil
}

// sweeper deletes the objects of packs that were merged at once: a server
// leaves them for an hour to those who may be reading.
type sweeper struct {
	publish.Sweeper
	close func()
}

// index looks into the database of a running server.
func (t *tasvir) index(ctx context.Context) (*index.Index, error) {
	database, err := cluster.Attach(ctx, cluster.Options{Dir: filepath.Join(t.data(), "postgres"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return index.Open(ctx, database.URL(cluster.Database))
}

func (t *tasvir) sweeper(ctx context.Context) (*sweeper, error) {
	ix, err := t.index(ctx)
	if err != nil {
		return nil, err
	}
	store, err := file.Open(filepath.Join(t.data(), "store"))
	if err != nil {
		ix.Close()
		return nil, err
	}
	return &sweeper{publish.Sweeper{Index: ix, Store: store, Grace: time.Millisecond}, ix.Close}, nil
}

// stored counts the objects of packs in the folder of a store, which has a list
// of facilities besides.
func stored(s *tasvir) (objects int, bytes int64, err error) {
	err = filepath.WalkDir(filepath.Join(s.data(), "store", "packs"), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if os.IsNotExist(err) {
				return nil // a merge has just removed it
			}
			return err
		}
		info, err := entry.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil {
			objects++
			bytes += info.Size()
		}
		return err
	})
	return objects, bytes, err
}
