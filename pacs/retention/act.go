package retention

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

// work is an action on one study.
type work struct {
	// apply changes the rows.
	apply func(context.Context, pgx.Tx) error
	// prepared are the packs that were stored for it. They come into use by
	// apply; if it doesn't come to that they are swept.
	prepared []int64
	// deleted are the keys of the packs that apply has deleted.
	deleted []string
}

// prepare does of an action what is not rows: it stores the packs that the
// rows will speak of. Killed here, it leaves prepared packs, which are swept.
func (r *Retention) prepare(ctx context.Context, run *Run, c candidate) (*work, error) {
	w := &work{}
	var err error
	switch run.Action {
	case DeleteAll:
		w.apply = func(ctx context.Context, tx pgx.Tx) (err error) {
			if w.deleted, err = index.UnsweptPacks(ctx, tx, c.ID, false); err != nil {
				return err
			}
			return index.DeleteStudy(ctx, tx, c.ID)
		}
	case DeletePixels:
		err = r.withoutPixels(ctx, w, run, c)
	case MoveToCold:
		err = r.toCold(ctx, w, c)
	default:
		err = pacs.Errorf(pacs.Internal, "no action %q", run.Action)
	}
	if err != nil {
		return nil, errors.Join(err, r.packs.Abandon(ctx, w.prepared...))
	}
	return w, nil
}

func (r *Retention) withoutPixels(ctx context.Context, w *work, run *Run, c candidate) error {
	packs, err := index.PacksOfStudy(ctx, r.pool, c.ID)
	if err != nil {
		return err
	}
	var swaps []index.PackSwap
	for _, pack := range packs {
		pixels := false
		for i := range pack.Instances {
			pixels = pixels || pack.Instances[i].HasPixels()
		}
		if !pixels {
			continue
		}
		swap, err := r.packs.WithoutPixels(ctx, pack, run.asOf, run.Policy)
		if err != nil {
			return err
		}
		w.prepared = append(w.prepared, swap.New.ID)
		swaps = append(swaps, swap)
	}
	w.apply = func(ctx context.Context, tx pgx.Tx) (err error) {
		if err := index.DeletePixels(ctx, tx, c.ID, swaps); err != nil {
			return err
		}
		w.deleted, err = index.UnsweptPacks(ctx, tx, c.ID, true)
		return err
	}
	return nil
}

func (r *Retention) toCold(ctx context.Context, w *work, c candidate) error {
	if !r.o.Cold {
		return pacs.Errorf(pacs.Unavailable, "There is no cold store to move to. Start the archive with --cold-store")
	}
	packs, err := index.PacksOfStudy(ctx, r.pool, c.ID)
	if err != nil {
		return err
	}
	copies := map[int64]int64{}
	for _, pack := range packs {
		if tiered.IsCold(pack.Key) {
			continue
		}
		moved, err := r.packs.CopyTo(ctx, tiered.Prefix, pack)
		if err != nil {
			return err
		}
		w.prepared = append(w.prepared, moved.ID)
		copies[pack.ID] = moved.ID
	}
	w.apply = func(ctx context.Context, tx pgx.Tx) error {
		for from, to := range copies {
			if err := index.MovePack(ctx, tx, c.ID, from, to); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}
