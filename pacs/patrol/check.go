package patrol

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

// pack is what the index says of one.
type pack struct {
	ID                  int64
	Key                 string
	Bytes               int64
	MetaOffset          int64
	MetaLength          int64
	SeriesRow, StudyRow int64
	Study, Series       string
	Facility            string
	instances           []instance
}

// instance is a row that lies in a pack.
type instance struct {
	SOP           string
	Version       int
	SHA256        []byte
	Offset        int64
	Length        int64
	DatasetOffset int64
}

func (i instance) key() string { return i.SOP + " " + hex.EncodeToString(i.SHA256) }

// load reads what the index says of a pack; nil when it is not in use any more.
func (p *Patrol) load(ctx context.Context, id int64) (*pack, error) {
	rows, err := p.pool.Query(ctx, `
		SELECT k.id, k.key, k.bytes, k.meta_offset, k.meta_length, e.id, s.id, s.study_uid, e.series_uid, f.code
		FROM pack k JOIN series e ON e.id = k.series_row JOIN study s ON s.id = e.study_row JOIN facility f ON f.id = s.facility_row
		WHERE k.id = $1 AND k.retired_at IS NULL`, id)
	if err != nil {
		return nil, failure(err)
	}
	k, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (*pack, error) {
		k := &pack{}
		return k, row.Scan(&k.ID, &k.Key, &k.Bytes, &k.MetaOffset, &k.MetaLength, &k.SeriesRow, &k.StudyRow, &k.Study, &k.Series, &k.Facility)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, failure(err)
	}
	rows, err = p.pool.Query(ctx, `
		SELECT sop_uid, version, sha256, pack_offset, length, dataset_offset FROM instance
		WHERE study_row = $1 AND pack_row = $2 ORDER BY pack_offset`, k.StudyRow, id)
	if err != nil {
		return nil, failure(err)
	}
	k.instances, err = pgx.CollectRows(rows, pgx.RowToStructByPos[instance])
	return k, failure(err)
}

func (k *pack) same(other *pack) bool {
	return other != nil && k.Key == other.Key && k.Bytes == other.Bytes && k.MetaOffset == other.MetaOffset &&
		slices.EqualFunc(k.instances, other.instances, func(a, b instance) bool {
			return a.key() == b.key() && a.Offset == b.Offset && a.Length == b.Length && a.DatasetOffset == b.DatasetOffset
		})
}

// verify reads a pack, records what is wrong with it and, when asked to,
// repairs it. It returns the problems that stay open.
func (p *Patrol) verify(ctx context.Context, id int64, repair bool) ([]Problem, error) {
	k, x, problems, err := p.look(ctx, id)
	if err != nil || k == nil {
		return nil, err
	}
	p.observe(problems)
	problems, err = p.record(ctx, k.Key, problems)
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 && repair {
		left, err := p.mend(ctx, k, x, problems)
		if err != nil {
			return nil, err
		}
		problems = left
	}
	return problems, p.verified(ctx, id, len(problems) == 0)
}

func (p *Patrol) observe(problems []Problem) {
	if p.o.Observer.Verified == nil {
		return
	}
	result := "sound"
	for _, q := range problems {
		if result = "damaged"; q.Kind == Missing {
			result = "missing"
		}
	}
	p.o.Observer.Verified(result)
}

// look reads a pack and compares it with the index. What the index says may
// change while the pack is read (it is merged, or an instance deleted): then
// it is looked at again. k is nil when the pack is not in use (any more).
func (p *Patrol) look(ctx context.Context, id int64) (k *pack, x *publish.Examination, problems []Problem, err error) {
	for {
		if k, err = p.load(ctx, id); err != nil || k == nil {
			return nil, nil, nil, err
		}
		if x, err = p.read(ctx, k.Key); err != nil && !errors.Is(err, errGivenUp) && !storage.IsNotExist(err) {
			return nil, nil, nil, err
		}
		problems = k.compare(x, err)
		extra, unindexedErr := p.notIndexed(ctx, k, x)
		if unindexedErr != nil {
			return nil, nil, nil, unindexedErr
		}
		problems = append(problems, extra...)
		if len(problems) == 0 {
			return k, x, nil, nil
		}
		again, err := p.load(ctx, id)
		if err != nil || again == nil {
			return nil, nil, nil, err
		}
		if k.same(again) {
			return k, x, problems, nil
		}
	}
}

// errGivenUp means that the store answers and does not give this object.
var errGivenUp = errors.New("the object store does not give it")

const attempts = 4

// read examines an object. An object that the store fails to give again and
// again, while it gives others, is errGivenUp; a store that gives nothing is
// errOutage.
func (p *Patrol) read(ctx context.Context, key string) (*publish.Examination, error) {
	for attempt := 1; ; attempt++ {
		x, err := publish.Examine(ctx, p.store, key, nil)
		if err == nil || storage.IsNotExist(err) {
			return x, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !p.answers(ctx) {
			return nil, fmt.Errorf("%w: %w", errOutage, err)
		}
		if attempt == attempts {
			return nil, fmt.Errorf("%w: %w", errGivenUp, err)
		}
		p.sleep(ctx, time.Second<<(attempt-1))
	}
}

// answers says whether the store gives anything at all: the beginning of some
// pack that was read before, or of any.
func (p *Patrol) answers(ctx context.Context) bool {
	rows, err := p.pool.Query(ctx, `
		SELECT k.key FROM patrol_pack v JOIN pack k ON k.id = v.pack_row WHERE v.sound ORDER BY v.verified_at DESC LIMIT 3`)
	if err != nil {
		return false
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return false
	}
	for _, key := range keys {
		body, err := p.o.Store.Get(ctx, key, 0, 1)
		if err != nil {
			continue
		}
		n, _ := body.Read(make([]byte, 1))
		_ = body.Close()
		if n == 1 {
			return true
		}
	}
	if len(keys) > 0 {
		return false
	}
	for _, err := range p.o.Store.List(ctx, "packs/") {
		return err == nil
	}
	return true
}

// compare says what is wrong with a pack. readErr is why there is no
// examination.
func (k *pack) compare(x *publish.Examination, readErr error) (problems []Problem) {
	note := func(kind Kind, sops []string, format string, args ...any) {
		problems = append(problems, Problem{
			Key: k.Key, Kind: kind, Message: fmt.Sprintf(format, args...), SOPs: sops,
			Facility: k.Facility, Study: k.Study, Series: k.Series,
		})
	}
	if x == nil {
		if storage.IsNotExist(readErr) {
			note(Missing, k.sops(), "The object is not in the store")
		} else {
			note(Unreadable, k.sops(), "The object can't be read: %s", readErr)
		}
		return problems
	}
	found := map[string]*publish.ExaminedInstance{}
	for i := range x.Instances {
		in := &x.Instances[i]
		found[in.SOP+" "+hex.EncodeToString(in.SHA256)] = in
	}
	var lost, moved []string
	for _, in := range k.instances {
		switch f := found[in.key()]; {
		case f == nil:
			lost = append(lost, in.SOP)
		case f.Offset != in.Offset || f.Length != in.Length || f.DatasetOffset != in.DatasetOffset:
			moved = append(moved, in.SOP)
		}
	}
	// A broken member that the index knows nothing of may be one of another
	// pack by now, or of nobody: still this pack is not what it was.
	for _, b := range x.Broken {
		if b.SOP != "" && !slices.Contains(lost, b.SOP) && !k.holds(b.SOP) {
			lost = append(lost, b.SOP)
		}
	}
	why := words(x)
	switch {
	case len(lost) > 0 && len(lost) == len(k.instances) && x.Belongs != "":
		note(Unreadable, lost, "Another pack is under this key: %s", why)
		problems[0].holds = x.Belongs
		return problems
	case len(lost) > 0:
		note(DamagedInstance, lost, "%d of %d instances are damaged: %s", len(lost), len(k.instances), why)
	case len(x.Broken) > 0:
		note(DamagedInstance, nil, "A part of the pack is damaged that holds no instance of the index: %s", why)
	}
	if x.Directory != nil || x.ManifestError != nil || x.Size != k.Bytes {
		note(DamagedDirectory, nil, "The instances are there; what the pack says about them is damaged, or its size is %d and not %d: %s", x.Size, k.Bytes, why)
	}
	if x.Metadata != nil || x.Directory == nil && (x.MetaOffset != k.MetaOffset || x.MetaLength != k.MetaLength) {
		note(DamagedMetadata, nil, "The metadata for viewers is damaged: %s", why)
	}
	if len(moved) > 0 {
		note(NotIndexed, moved, "The index has %d instances at other places of the pack than they are", len(moved))
	}
	return problems
}

// words are all that is wrong with a pack, in one line.
func words(x *publish.Examination) string {
	var all []string
	for i, err := range x.Problems() {
		if i == 5 {
			all = append(all, "…")
			break
		}
		all = append(all, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if len(all) == 0 {
		return "the pack itself is sound, and the index says something else"
	}
	return strings.Join(all, "; ")
}

func (k *pack) sops() (all []string) {
	for _, in := range k.instances {
		all = append(all, in.SOP)
	}
	return all
}

func (k *pack) holds(sop string) bool {
	return slices.ContainsFunc(k.instances, func(in instance) bool { return in.SOP == sop })
}

// notIndexed finds instances of a pack that the index does not know, neither
// here nor elsewhere.
func (p *Patrol) notIndexed(ctx context.Context, k *pack, x *publish.Examination) ([]Problem, error) {
	if x == nil || x.Belongs != "" {
		return nil, nil
	}
	known := map[string]bool{}
	for _, in := range k.instances {
		known[in.key()] = true
	}
	var unknown []string
	var kept, received [][]byte
	for _, in := range x.Instances {
		if !known[in.SOP+" "+hex.EncodeToString(in.SHA256)] {
			unknown, kept, received = append(unknown, in.SOP), append(kept, in.SHA256), append(received, in.Received())
		}
	}
	if len(unknown) == 0 {
		return nil, nil
	}
	rows, err := p.pool.Query(ctx, `
		SELECT u.sop FROM unnest($2::text[], $3::bytea[], $4::bytea[]) AS u (sop, kept, received) WHERE NOT EXISTS (
			SELECT 1 FROM instance i WHERE i.study_row = $1 AND i.sop_uid = u.sop AND (i.sha256 = u.kept OR `+index.ReceivedHash+` = u.received))`,
		k.StudyRow, unknown, kept, received)
	if err != nil {
		return nil, failure(err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(missing) == 0 {
		return nil, failure(err)
	}
	return []Problem{{
		Key: k.Key, Kind: NotIndexed, SOPs: missing, Facility: k.Facility, Study: k.Study, Series: k.Series,
		Message: fmt.Sprintf("%d instances of the pack are not in the index", len(missing)),
	}}, nil
}
