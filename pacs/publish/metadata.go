package publish

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// keptMetadata returns the DICOM JSON of the current instances of a series as
// they are kept. When one pack describes just these it is sent as stored; otherwise the packs' arrays
// are joined in instance order.
func (p *Packs) keptMetadata(ctx context.Context, scope pacs.Scope, studyUID, seriesUID string) (*pacs.SeriesMetadata, error) {
	packs, err := p.Index.PacksOf(ctx, scope, studyUID, seriesUID)
	if err != nil {
		return nil, err
	}
	tag := metadataTag(packs)
	packs = slices.DeleteFunc(packs, func(k index.SeriesPack) bool { return len(k.Current) == 0 })
	if len(packs) == 1 && len(packs[0].Current) == packs[0].Described {
		body, err := p.Store.Get(ctx, packs[0].Key, packs[0].MetaOffset, packs[0].MetaLength)
		if err != nil {
			return nil, pacs.Wrap(pacs.Unavailable, err, "The object store does not give the series at the moment")
		}
		return &pacs.SeriesMetadata{Body: body, Length: packs[0].MetaLength, ETag: tag}, nil
	}
	joined, err := p.join(ctx, packs)
	if err != nil {
		return nil, err
	}
	return &pacs.SeriesMetadata{Body: io.NopCloser(bytes.NewReader(joined)), Length: int64(len(joined)), ETag: tag}, nil
}

// metadataTag changes when an instance is added or replaced.
func metadataTag(packs []index.SeriesPack) string {
	h := fnv.New128a()
	for _, k := range packs {
		_, _ = io.WriteString(h, k.Key+" "+strconv.Itoa(len(k.Current))+"\n")
		if len(k.Current) < k.Total {
			// Which ones may change without their number: some are rejected, others restored.
			slices.Sort(k.Current)
			_, _ = io.WriteString(h, strings.Join(k.Current, ",")+"\n")
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// object is what join must know of an instance to choose and order it.
type object struct {
	raw    json.RawMessage
	sop    string
	number int64
}

// jsonAttribute is an attribute in DICOM JSON. A sender may have given it any
// VR, so its values may be strings or numbers, or bytes with the VR UN.
type jsonAttribute struct {
	Value        []json.RawMessage
	InlineBinary []byte
}

func (a *jsonAttribute) first() string {
	if len(a.Value) == 0 {
		return strings.Trim(string(a.InlineBinary), " \x00")
	}
	var s string
	if json.Unmarshal(a.Value[0], &s) == nil {
		return s
	}
	return string(a.Value[0])
}

// identify reads SOP Instance UID and Instance Number.
func (o *object) identify() error {
	var of struct {
		SOP    jsonAttribute `json:"00080018"`
		Number jsonAttribute `json:"00200013"`
	}
	if err := json.Unmarshal(o.raw, &of); err != nil {
		return err
	}
	o.sop = of.SOP.first()
	if n, err := strconv.ParseInt(strings.TrimSpace(of.Number.first()), 10, 32); err == nil {
		o.number = n // else 0, as the index orders it
	}
	return nil
}

// readAtOnce bounds how many packs of a series are read at the same time. A
// series that came slowly has dozens, and each read costs a round trip.
const readAtOnce = 8

func (p *Packs) join(ctx context.Context, packs []index.SeriesPack) ([]byte, error) {
	byPack := make([][]object, len(packs))
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(readAtOnce)
	for i, k := range packs {
		reads.Go(func() (err error) {
			byPack[i], err = p.objects(ctx, k)
			return err
		})
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(byPack...)
	slices.SortStableFunc(all, func(a, b object) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.sop, b.sop))
	})
	joined := newMetadataWriter(gzip.BestSpeed)
	for _, o := range all {
		if err := joined.add(o.raw); err != nil {
			return nil, err
		}
	}
	return joined.close()
}

// objects reads the metadata of the current instances in one pack.
func (p *Packs) objects(ctx context.Context, k index.SeriesPack) ([]object, error) {
	body, err := p.Store.Get(ctx, k.Key, k.MetaOffset, k.MetaLength)
	if err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The object store does not give the series at the moment")
	}
	defer func() { _ = body.Close() }()
	zip, err := gzip.NewReader(body)
	if err != nil {
		return nil, fmt.Errorf("metadata of pack %s: %w", k.Key, err)
	}
	var raw []json.RawMessage
	if err := json.NewDecoder(zip).Decode(&raw); err != nil {
		return nil, fmt.Errorf("metadata of pack %s: %w", k.Key, err)
	}
	current := make(map[string]bool, len(k.Current))
	for _, uid := range k.Current {
		current[uid] = true
	}
	objects := make([]object, 0, len(raw))
	for _, r := range raw {
		o := object{raw: r}
		if err := o.identify(); err != nil {
			return nil, fmt.Errorf("metadata of pack %s: %w", k.Key, err)
		}
		if current[o.sop] {
			objects = append(objects, o)
		}
	}
	return objects, nil
}
