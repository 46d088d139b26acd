package publish

import (
	"compress/gzip"
	"context"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Part is an instance of a pack that is put together from others, and where
// its bytes are.
type Part struct {
	Store         storage.Store
	Key           string
	Offset        int64
	Length        int64
	DatasetOffset int64
	CRC32         uint32 // of the Length bytes
	Entry         ManifestEntry
}

// Rebuilt is a pack put together from parts, not stored yet.
type Rebuilt struct {
	Pack     index.Pack
	Offsets  []int64 // of the parts, in their order
	members  []member
	manifest Manifest
	text     []byte
}

// Rebuild puts a pack together. What a part's bytes describe is read anew for
// the metadata; that they have their CRC is checked while the pack is stored,
// and again by whoever examines it.
func Rebuild(ctx context.Context, facility, study, series string, parts []Part) (*Rebuilt, error) {
	r := &Rebuilt{manifest: Manifest{Format: 1, Facility: facility, Study: study, Series: series}}
	metadata := newMetadataWriter(gzip.DefaultCompression)
	for i := range parts {
		part := &parts[i]
		entry := part.Entry
		entry.Member = ""
		if entry.Superseded {
			entry.Member = fmt.Sprintf("%s.v%d%s", entry.SOPInstanceUID, entry.Version, instanceSuffix)
		} else {
			object, err := part.describe(ctx)
			if err != nil {
				return nil, err
			}
			if err := metadata.add(object); err != nil {
				return nil, err
			}
		}
		r.manifest.Instances = append(r.manifest.Instances, entry)
		r.members = append(r.members, member{
			name: entry.MemberName(), size: part.Length, crc32: part.CRC32,
			open: func() io.Reader { return &partReader{ctx: ctx, part: part} },
		})
	}
	meta, err := metadata.close()
	if err != nil {
		return nil, err
	}
	manifest, text, err := r.manifest.encode()
	if err != nil {
		return nil, err
	}
	r.text = text
	r.members = append(r.members, inMemory(metadataName, meta), manifest)
	r.Pack.Bytes = layout(r.members)
	last := r.members[len(parts)]
	r.Pack.MetaOffset, r.Pack.MetaLength, r.Pack.Described = last.offset, last.size, metadata.count
	for _, m := range r.members[:len(parts)] {
		r.Offsets = append(r.Offsets, m.offset)
	}
	return r, nil
}

// Key is where the pack may be stored, in the tier of the one that it takes the
// place of; attempt counts up while there is or was a pack under the key before.
func (r *Rebuilt) Key(instead string, attempt int) string {
	return tierOf(instead) + packKey(r.manifest, r.text, attempt)
}

// Store puts the pack under its Pack.Key. ErrDamaged when a part does not have
// its CRC (any more).
func (r *Rebuilt) Store(ctx context.Context, store storage.Store) error {
	return store.Put(ctx, r.Pack.Key, r.Pack.Bytes, zipReader(r.members))
}

// describe is the instance's DICOM JSON.
func (p *Part) describe(ctx context.Context) ([]byte, error) {
	body, err := p.Store.Get(ctx, p.Key, p.Offset, p.Length)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	h, err := dicom.Scan(body, scanLimits)
	if err != nil {
		return nil, err
	}
	h.Dataset.SetFallbackCharset(p.Entry.Charset)
	return dicom.AppendJSON(nil, h.Dataset, dicom.JSONOptions{BulkURI: bulkURI(h, p.Entry.Compressed)}), nil
}

// partReader opens a part when it is read, and checks it at its end.
type partReader struct {
	ctx  context.Context
	part *Part
	body io.ReadCloser
	left int64
	crc  uint32
}

func (r *partReader) Read(b []byte) (int, error) {
	if r.body == nil {
		body, err := r.part.Store.Get(r.ctx, r.part.Key, r.part.Offset, r.part.Length)
		if err != nil {
			return 0, err
		}
		r.body, r.left = body, r.part.Length
	}
	n, err := r.body.Read(b)
	r.crc = crc32.Update(r.crc, crc32.IEEETable, b[:n])
	if r.left -= int64(n); r.left > 0 && err == nil {
		return n, nil
	}
	_ = r.body.Close()
	switch {
	case err != nil && err != io.EOF:
		return n, err
	case r.left != 0 || r.crc != r.part.CRC32:
		return 0, damaged("%s at %d of %s does not have its CRC", r.part.Entry.SOPInstanceUID, r.part.Offset, r.part.Key)
	}
	return n, nil
}

// AddPack brings one pack that the index does not know, or not all of, into an
// index that is in use: what is sound in it and missing there. added is how
// many instances that were. inTx is called in the transactions that add, as
// the publisher's.
func AddPack(ctx context.Context, ix *index.Index, store storage.Store, key string, inTx func(context.Context, pgx.Tx, string, index.Added) error) (added int, err error) {
	s := newStaging()
	x, err := Examine(ctx, store, key, s.visit)
	if err != nil {
		return 0, err
	}
	p := s.finish(x)
	if len(p.SOPs) == 0 {
		return 0, pacs.Errorf(pacs.Conflict, "There is no sound instance in %s", key)
	}
	one := &reindexing{Reindex: &Reindex{Index: ix, Store: store, Add: true}}
	facility, existing, err := one.known(ctx, p.Study)
	if err != nil {
		return 0, err
	}
	plan([]*stagedPack{p}, existing, facility)
	err = p.additions(func(a index.Addition) error {
		return ix.Add(ctx, a, func(ctx context.Context, tx pgx.Tx, now index.Added) error {
			added += now.New
			if inTx == nil || now.New == 0 {
				return nil
			}
			return inTx(ctx, tx, p.Study, now)
		})
	})
	if err != nil {
		return 0, err
	}
	return added, one.settleStudies(ctx, `SELECT id FROM study WHERE study_uid = $1`, p.Study)
}

// Contained says whether the index has every sound instance of an examined
// pack, wherever.
func Contained(ctx context.Context, ix *index.Index, x *Examination) (bool, error) {
	if len(x.Instances) == 0 {
		return false, nil
	}
	one := &reindexing{Reindex: &Reindex{Index: ix}}
	known := map[string]bool{}
	_, existing, err := one.known(ctx, x.Instances[0].Study)
	if err != nil {
		return false, err
	}
	for _, k := range existing {
		known[entryKeyOf(k.sop, k.received)], known[entryKeyOf(k.sop, k.kept)] = true, true
	}
	for _, in := range x.Instances {
		if !known[entryKeyOf(in.SOP, in.Received())] {
			return false, nil
		}
	}
	return true, nil
}
