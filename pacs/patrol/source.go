package patrol

import (
	"context"
	"iter"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

// source is an object that may hold an instance of a damaged pack.
type source struct {
	store  storage.Store
	key    string
	origin string
}

// sources lists where instances of a pack may be beside the pack itself.
func (p *Patrol) sources(ctx context.Context, k *pack) iter.Seq2[source, error] {
	return func(yield func(source, error) bool) {
		if p.o.Copy != nil && !yield(source{p.o.Copy, k.Key, FromCopy}, nil) {
			return
		}
		folder := "packs/" + k.Study + "/" + k.Series + "/"
		for _, in := range []struct {
			store  storage.Store
			origin string
		}{{p.o.Store, FromOlder}, {p.o.Copy, FromCopy}} {
			if in.store == nil {
				continue
			}
			for info, err := range publish.PacksUnder(ctx, in.store, folder) {
				if err != nil {
					if in.store == p.o.Copy {
						break // a copy that is down is none
					}
					yield(source{}, err)
					return
				}
				if info.Key != k.Key && !yield(source{in.store, info.Key, in.origin}, nil) {
					return
				}
			}
		}
		p.misplaced(ctx, folder, yield)
	}
}

// misplaced are objects that were found to be other packs than their keys say.
func (p *Patrol) misplaced(ctx context.Context, folder string, yield func(source, error) bool) {
	rows, err := p.pool.Query(ctx, `SELECT key FROM patrol_problem WHERE kind = $1 AND holds = $2 ORDER BY id DESC LIMIT 20`, Unreadable, folder)
	if err != nil {
		yield(source{}, failure(err))
		return
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			yield(source{}, failure(err))
			return
		}
		keys = append(keys, key, asidePrefix+key)
	}
	rows.Close()
	for _, key := range keys {
		if !yield(source{p.o.Store, key, FromOlder}, nil) {
			return
		}
	}
}

// oldEnough is how old an object must be that no pack knows: a publisher may
// have stored it and not indexed it yet.
const oldEnough = 24 * time.Hour

// orphans looks for objects that no pack knows.
func (p *Patrol) orphans(ctx context.Context) ([]Problem, error) {
	var found []Problem
	var keys []string
	look := func() error {
		unknown, err := p.o.Index.UnknownPacks(ctx, keys)
		if err != nil {
			return err
		}
		keys = keys[:0]
		for _, key := range unknown {
			problems, err := p.orphan(ctx, key)
			if err != nil {
				return err
			}
			found = append(found, problems...)
		}
		return nil
	}
	before := time.Now().Add(-p.o.OldEnough)
	for info, err := range publish.AllPacks(ctx, p.o.Store) {
		if err != nil {
			return found, err
		}
		if info.ModTime.After(before) {
			continue
		}
		if keys = append(keys, info.Key); len(keys) == 1000 {
			if err := look(); err != nil {
				return found, err
			}
		}
	}
	return found, look()
}

// Orphan records an object that no pack knows and that holds, or may hold,
// what the index has nowhere else (publish.Sweeper.Orphan).
func (p *Patrol) Orphan(ctx context.Context, key string, _ int64, _ error) error {
	_, err := p.orphan(ctx, key)
	return err
}

func (p *Patrol) orphan(ctx context.Context, key string) ([]Problem, error) {
	x, err := p.read(ctx, key)
	if storage.IsNotExist(err) {
		_, err := p.pool.Exec(ctx, `UPDATE patrol_problem SET state = 'gone', checked_at = clock_timestamp() WHERE key = $1 AND state = 'open'`, key)
		return nil, failure(err)
	}
	q := Problem{Key: key, Kind: Orphan}
	switch {
	case x == nil:
		q.Message = "No pack of the index has this object, and it can't be read: " + err.Error()
	case len(x.Instances) == 0:
		q.Message = "No pack of the index has this object, and no instance in it is sound: " + words(x)
	default:
		contained, err := publish.Contained(ctx, p.o.Index, x)
		if err != nil {
			return nil, err
		}
		if contained {
			// The sweeper deletes it.
			return p.record(ctx, key, nil)
		}
		q.Kind, q.Message = NotIndexed, "The index does not know this pack. Repairing adds it to the index"
		q.Study, q.Series = x.Instances[0].Study, x.Instances[0].Series
		if x.Manifest != nil {
			q.Facility = x.Manifest.Facility
		}
		for _, in := range x.Instances {
			q.SOPs = append(q.SOPs, in.SOP)
		}
	}
	problems, err := p.record(ctx, key, []Problem{q})
	if err != nil || q.Kind != NotIndexed || !p.o.AddOrphans {
		return problems, err
	}
	if ok, err := p.addUnknown(ctx, key); err != nil || ok {
		return nil, err
	}
	return problems, nil
}
