package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Packs reads what the publisher has stored.
type Packs struct {
	Index *index.Index
	Store storage.Store
}

// Open streams length bytes of an instance's PS3.10 file from offset; -1 means
// to its end. Invalid when the range is not within the instance. It is one
// ranged read of one object.
func (p *Packs) Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error) {
	if length < 0 {
		length = loc.Length - offset
	}
	if offset < 0 || length < 0 || offset > loc.Length-length {
		return nil, pacs.Errorf(pacs.Invalid, "The range is not within the instance, which is %d bytes long", loc.Length)
	}
	body, err := p.Store.Get(ctx, loc.PackKey, loc.Offset+offset, length)
	if err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The object store does not give the instance at the moment")
	}
	return body, nil
}

// Metadata returns the DICOM JSON of the current instances of a series. When
// one pack holds the series it is sent as stored; otherwise the packs' arrays
// are joined in instance order.
func (p *Packs) Metadata(ctx context.Context, scope pacs.Scope, studyUID, seriesUID string) (*pacs.SeriesMetadata, error) {
	packs, err := p.Index.PacksOf(ctx, scope, studyUID, seriesUID)
	if err != nil {
		return nil, err
	}
	tag := metadataTag(packs)
	if len(packs) == 1 && len(packs[0].Current) == packs[0].Total {
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
	}
	return hex.EncodeToString(h.Sum(nil))
}

// object is what join must know of an instance to choose and order it.
type object struct {
	raw json.RawMessage
	key struct {
		SOP    stringAttribute `json:"00080018"`
		Number numberAttribute `json:"00200013"`
	}
}

type stringAttribute struct{ Value []string }

type numberAttribute struct{ Value []json.Number }

func (o object) sop() string {
	if len(o.key.SOP.Value) == 0 {
		return ""
	}
	return o.key.SOP.Value[0]
}

func (o object) number() int64 {
	if len(o.key.Number.Value) == 0 {
		return 0
	}
	n, _ := o.key.Number.Value[0].Int64()
	return n
}

func (p *Packs) join(ctx context.Context, packs []index.SeriesPack) ([]byte, error) {
	var all []object
	for _, k := range packs {
		if len(k.Current) == 0 {
			continue
		}
		objects, err := p.objects(ctx, k)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	slices.SortStableFunc(all, func(a, b object) int {
		if a.number() != b.number() {
			return int(max(-1, min(1, a.number()-b.number())))
		}
		return bytes.Compare([]byte(a.sop()), []byte(b.sop()))
	})
	var out bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the level is valid
	separator := []byte("[")
	for _, o := range all {
		_, _ = zip.Write(separator)
		_, _ = zip.Write(o.raw)
		separator = []byte(",")
	}
	_, _ = zip.Write([]byte("]"))
	err := zip.Close()
	return out.Bytes(), err
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
		if err := json.Unmarshal(r, &o.key); err != nil {
			return nil, fmt.Errorf("metadata of pack %s: %w", k.Key, err)
		}
		if current[o.sop()] {
			objects = append(objects, o)
		}
	}
	return objects, nil
}
