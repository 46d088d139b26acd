package patrol

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

// asidePrefix begins the keys under which damaged objects are put aside.
const asidePrefix = "damaged/"

// repairTime bounds one repair. A prepared pack that is not in use by then is
// swept.
const repairTime = 6 * time.Hour

// Repair reads the pack of a problem again and repairs what can be. It returns
// the problem as it is then.
func (p *Patrol) Repair(ctx context.Context, id string) (Problem, error) {
	q, err := p.Problem(ctx, id)
	if err != nil || q.State != Open {
		return q, err
	}
	now := &Patrol{o: p.o, pool: p.pool, store: p.o.Store, wake: p.wake} // somebody waits
	now.o.AddOrphans = true
	var pack int64
	err = p.pool.QueryRow(ctx, `SELECT id FROM pack WHERE key = $1 AND retired_at IS NULL`, q.Key).Scan(&pack)
	switch {
	case err == nil:
		_, err = now.verify(ctx, pack, true)
	case !errors.Is(err, pgx.ErrNoRows):
		err = failure(err)
	case q.Kind == Orphan || q.Kind == NotIndexed:
		_, err = now.orphan(ctx, q.Key)
	default:
		_, err = p.pool.Exec(ctx, `UPDATE patrol_problem SET state = 'gone', checked_at = clock_timestamp() WHERE id = $1 AND state = 'open'`, q.ID)
		err = failure(err)
	}
	if err != nil {
		return q, unavailable(err)
	}
	return p.Problem(ctx, id)
}

// unavailable is what whoever waits for a repair is told of an outage.
func unavailable(err error) error {
	if errors.Is(err, errOutage) {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not answer; nothing was changed")
	}
	return err
}

// mend repairs a pack with problems and returns those that stay open. The
// error is of the database or of a store that does not answer; that something
// can't be repaired is none.
func (p *Patrol) mend(ctx context.Context, k *pack, x *publish.Examination, problems []Problem) ([]Problem, error) {
	var left, bytes []Problem
	for _, q := range problems {
		if q.Kind != NotIndexed {
			bytes = append(bytes, q)
			continue
		}
		if ok, err := p.addUnknown(ctx, k.Key); err != nil {
			return nil, err
		} else if !ok {
			left = append(left, q)
		}
	}
	if len(bytes) == 0 {
		return left, nil
	}
	if x == nil {
		if done, err := p.putBack(ctx, k); err != nil || done {
			return left, err
		}
	}
	done, err := p.rebuild(ctx, k, x)
	if err != nil {
		return nil, err
	}
	if !done {
		left = append(left, bytes...)
	}
	return left, nil
}

// bytesKinds are the problems that a new pack ends.
var bytesKinds = []Kind{Missing, Unreadable, DamagedInstance, DamagedMetadata, DamagedDirectory}

// addUnknown indexes what a pack holds and the index does not know.
func (p *Patrol) addUnknown(ctx context.Context, key string) (bool, error) {
	added, err := publish.AddPack(ctx, p.o.Index, p.o.Store, key, p.o.InTransaction)
	switch {
	case pacs.CodeOf(err) == pacs.Conflict, errors.Is(err, index.ErrUnfit), errors.Is(err, index.ErrRaced):
		p.o.Log.Error("a pack that is not indexed contradicts the index", "key", key, "error", err)
		return false, nil
	case err != nil:
		return false, err
	case added == 0:
		return false, nil
	}
	return true, p.repaired(ctx, key, FromItself, NotIndexed)
}

// putBack puts an object that is not there back under its key, when the copy
// has it and nothing is wrong with it.
func (p *Patrol) putBack(ctx context.Context, k *pack) (bool, error) {
	if p.o.Copy == nil {
		return false, nil
	}
	if _, err := p.o.Store.Stat(ctx, k.Key); !storage.IsNotExist(err) {
		return false, err // it is there, and can't be read: nothing is written over it
	}
	x, err := publish.Examine(ctx, p.o.Copy, k.Key, nil)
	if err != nil || len(k.compare(x, nil)) > 0 {
		return false, ctx.Err()
	}
	if err := p.copyObject(ctx, p.o.Copy, k.Key, k.Key); err != nil {
		return false, fmt.Errorf("%w: %w", errOutage, err)
	}
	if x, err = publish.Examine(ctx, p.o.Store, k.Key, nil); err != nil {
		return false, fmt.Errorf("%w: %w", errOutage, err)
	}
	if len(k.compare(x, nil)) > 0 {
		p.o.Log.Error("what was put back can't be read as it was written", "key", k.Key)
		return false, nil
	}
	return true, p.repaired(ctx, k.Key, FromCopy, bytesKinds...)
}

func (p *Patrol) copyObject(ctx context.Context, from storage.Store, key, to string) error {
	info, err := from.Stat(ctx, key)
	if err != nil {
		return err
	}
	body, err := from.Get(ctx, key, 0, -1)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return p.o.Store.Put(ctx, to, info.Size, body)
}

// rebuild puts a pack together from sound instances and brings it into use. It
// returns false when that is not possible.
func (p *Patrol) rebuild(ctx context.Context, k *pack, x *publish.Examination) (bool, error) {
	series, err := p.o.Index.StoredSeries(ctx, k.SeriesRow)
	if err != nil {
		return false, err
	}
	var stored []index.StoredInstance
	for _, in := range series.Instances {
		if in.PackID == k.ID {
			stored = append(stored, in)
		}
	}
	if len(stored) == 0 {
		return false, nil
	}
	series.Instances = stored
	parts, from, err := p.gather(ctx, k, x, stored)
	if err != nil || parts == nil {
		return false, err
	}
	if err := p.fillEntries(ctx, k, stored, parts); err != nil {
		return false, err
	}
	rebuilt, err := publish.Rebuild(ctx, k.Facility, k.Study, k.Series, parts)
	if err != nil {
		return false, p.notNow(ctx, k, err)
	}
	id, err := p.prepare(ctx, k, rebuilt)
	if err != nil {
		return false, err
	}
	if err := p.replace(ctx, k, series, rebuilt, id); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if abandoned := p.o.Index.AbandonPack(undo, id); abandoned != nil {
			return false, abandoned
		}
		return false, p.notNow(ctx, k, err)
	}
	if err := p.verified(ctx, id, true); err != nil {
		return false, err
	}
	return true, p.repaired(ctx, k.Key, from, bytesKinds...)
}

// notNow leaves a problem open because of what came between. The patrol comes
// back to it.
func (p *Patrol) notNow(ctx context.Context, k *pack, err error) error {
	p.o.Log.Error("a damaged pack could not be repaired", "key", k.Key, "error", err)
	return ctx.Err()
}

func (p *Patrol) prepare(ctx context.Context, k *pack, r *publish.Rebuilt) (id int64, err error) {
	err = index.ErrRetired
	for attempt := 0; errors.Is(err, index.ErrRetired); attempt++ {
		// A repair never has the key of the damaged pack: that has a row.
		r.Pack.Key = r.Key(k.Key, attempt)
		id, err = p.o.Index.PreparePack(ctx, k.SeriesRow, r.Pack, repairTime)
	}
	return id, err
}

// replace stores the new pack, reads it back, puts the damaged object aside
// and moves the instances.
func (p *Patrol) replace(ctx context.Context, k *pack, series *index.StoredSeries, r *publish.Rebuilt, id int64) error {
	if err := r.Store(ctx, p.o.Store); err != nil {
		return err
	}
	x, err := publish.Examine(ctx, p.o.Store, r.Pack.Key, nil)
	if err != nil {
		return err
	}
	want := &pack{Key: r.Pack.Key, Bytes: r.Pack.Bytes, MetaOffset: r.Pack.MetaOffset, MetaLength: r.Pack.MetaLength}
	for i, in := range series.Instances {
		want.instances = append(want.instances, instance{in.SOPInstanceUID, in.Version, in.SHA256, r.Offsets[i], in.Length, in.DatasetOffset})
	}
	if problems := want.compare(x, nil); len(problems) > 0 {
		return fmt.Errorf("the repaired pack can't be read back as it was written: %s", problems[0].Message)
	}
	if err := p.copyObject(ctx, p.o.Store, k.Key, asidePrefix+k.Key); err != nil && !storage.IsNotExist(err) {
		// What can't be read can't be put aside; what can't be written may be
		// tomorrow.
		if body, readErr := p.o.Store.Get(ctx, k.Key, 0, -1); readErr == nil {
			_, readErr = io.Copy(io.Discard, body)
			if _ = body.Close(); readErr == nil {
				return fmt.Errorf("the damaged object can't be put aside: %w", err)
			}
		}
	}
	return p.o.Index.SwapPacks(ctx, index.Swap{Series: series, PackID: id, Offsets: r.Offsets})
}

// fillEntries completes what the manifest would say from the index, where no
// manifest was found.
func (p *Patrol) fillEntries(ctx context.Context, k *pack, stored []index.StoredInstance, parts []publish.Part) error {
	for i, in := range stored {
		e := &parts[i].Entry
		if e.SOPInstanceUID == "" {
			if err := p.pool.QueryRow(ctx, `SELECT sender, channel, received_at, charset FROM instance WHERE study_row = $1 AND sop_uid = $2 AND version = $3`,
				k.StudyRow, in.SOPInstanceUID, in.Version).Scan(&e.Sender, &e.Channel, &e.ReceivedAt, &e.Charset); err != nil {
				return failure(err)
			}
			e.ReceivedAt, e.Charset = e.ReceivedAt.UTC(), cmp.Or(e.Charset, dicom.FallbackCyrillic)
		}
		e.SOPInstanceUID, e.Version, e.Superseded = in.SOPInstanceUID, in.Version, !in.Current
		e.SHA256 = hex.EncodeToString(in.SHA256)
		e.PixelsDeleted, e.Compressed = in.PixelsDeleted, in.Compressed
	}
	return nil
}

// gather finds a sound place for every instance: in the pack itself, then in
// the copy, then in other packs of the series, then wherever a pack lies under
// a wrong key. It returns nil when an instance is nowhere. from says where the
// repair comes from.
func (p *Patrol) gather(ctx context.Context, k *pack, x *publish.Examination, stored []index.StoredInstance) (parts []publish.Part, from string, err error) {
	parts = make([]publish.Part, len(stored))
	byKey := map[string]int{}
	for i, in := range stored {
		byKey[in.SOPInstanceUID+" "+hex.EncodeToString(in.SHA256)] = i
	}
	left := len(stored)
	from = FromItself
	take := func(store storage.Store, x *publish.Examination, origin string) {
		for _, in := range x.Instances {
			i, ok := byKey[in.SOP+" "+hex.EncodeToString(in.SHA256)]
			if !ok || in.Length != stored[i].Length || in.DatasetOffset != stored[i].DatasetOffset {
				continue
			}
			part := &parts[i]
			if part.Store == nil {
				*part = publish.Part{Store: store, Key: x.Key, Offset: in.Offset, Length: in.Length, DatasetOffset: in.DatasetOffset, CRC32: in.CRC32}
				left--
				if from != FromCopy {
					from = origin
				}
			}
			if part.Entry.SOPInstanceUID == "" && in.Entry != nil {
				part.Entry = *in.Entry
			}
		}
	}
	if x != nil {
		take(p.o.Store, x, FromItself)
	}
	for source, err := range p.sources(ctx, k) {
		if err != nil {
			return nil, "", err
		}
		if left == 0 {
			break
		}
		x, err := publish.Examine(ctx, source.store, source.key, nil)
		if err != nil {
			if ctx.Err() != nil {
				return nil, "", ctx.Err()
			}
			continue // a source that can't be read is none
		}
		take(source.store, x, source.origin)
	}
	if left > 0 {
		return nil, "", nil
	}
	return parts, from, nil
}
