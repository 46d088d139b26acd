package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

// A pack whose pixel data a retention policy deletes is written anew. Each
// instance stays a PS3.10 file that any DICOM tool reads, byte for byte as it
// was received up to the group of the pixel data (7FE0), which is its end: of
// what may follow, padding says nothing and a digital signature (FFFA) would no
// longer hold. Instances without pixel data (reports, documents, presentation
// states) stay as they are. The manifest says when and why, and what the hash
// was, so that the index can be rebuilt and the original is known again when it
// is sent anew.

const (
	// maxHeader bounds what is kept of a deflated instance in memory, and the
	// scan of any. Headers that are received are a fraction of it.
	maxHeader = 128 << 20
	// headersAtOnce is how many headers are read side by side.
	headersAtOnce = 4
)

// WithoutPixels stores the pack that takes the place of old when its pixel data
// are deleted, prepared (index.PreparePack): until it comes into use it is
// nobody's, and is swept some time. at and policy are kept with the instances.
func (p *Packs) WithoutPixels(ctx context.Context, old index.StudyPack, at time.Time, policy string) (index.PackSwap, error) {
	swap := index.PackSwap{Old: old.ID}
	s, err := p.openPack(ctx, old)
	if err != nil {
		return swap, err
	}
	reads, reading := errgroup.WithContext(ctx)
	reads.SetLimit(headersAtOnce)
	for i := range s.members {
		if s.members[i].instance.HasPixels() {
			reads.Go(func() error { return s.cut(reading, &s.members[i], at, policy) })
		}
	}
	if err := reads.Wait(); err != nil {
		return swap, err
	}
	meta, described, err := s.metadata(ctx)
	if err != nil {
		return swap, err
	}
	manifest := s.file.Manifest
	manifest.Instances = nil
	var members []member
	for _, m := range s.members {
		members = append(members, m.member)
		manifest.Instances = append(manifest.Instances, m.entry)
	}
	manifestMember, manifestText, err := manifest.encode()
	if err != nil {
		return swap, err
	}
	members = append(members, inMemory(metadataName, meta), manifestMember)
	swap.New = index.Pack{Bytes: layout(members), Described: described}
	last := members[len(s.members)]
	swap.New.MetaOffset, swap.New.MetaLength = last.offset, last.size
	for i, m := range s.members {
		in := m.instance
		in.Location = pacs.Location{Offset: members[i].offset, Length: members[i].size, DatasetOffset: in.Location.DatasetOffset}
		swap.Instances = append(swap.Instances, in)
	}
	swap.New, err = p.prepare(ctx, old.SeriesID, swap.New, func(attempt int) string { return tierOf(old.Key) + packKey(manifest, manifestText, attempt) })
	if err != nil {
		return swap, err
	}
	if err := p.Store.Put(ctx, swap.New.Key, swap.New.Bytes, zipReader(members)); err != nil {
		return swap, errors.Join(pacs.Wrap(pacs.Unavailable, err, "The object store does not take a pack"), p.Abandon(ctx, swap.New.ID))
	}
	return swap, nil
}

// CopyTo stores a copy of a pack under a tier's prefix, prepared, and reads it
// back: the copy holds what was read.
func (p *Packs) CopyTo(ctx context.Context, tier string, old index.StudyPack) (index.Pack, error) {
	name, _ := strings.CutSuffix(old.Key, ".zip")
	k, err := p.prepare(ctx, old.SeriesID, old.Pack, func(attempt int) string {
		if attempt == 0 {
			return tier + old.Key
		}
		return fmt.Sprintf("%s%s-%d.zip", tier, name, attempt)
	})
	if err != nil {
		return k, err
	}
	if err := p.copyObject(ctx, old.Key, k.Key, old.Bytes); err != nil {
		return k, errors.Join(err, p.Abandon(ctx, k.ID))
	}
	return k, nil
}

// prepare makes the row of a pack under the first key that was never used.
func (p *Packs) prepare(ctx context.Context, series int64, k index.Pack, key func(attempt int) string) (index.Pack, error) {
	for attempt := 0; ; attempt++ {
		k.Key = key(attempt)
		id, err := p.Index.PreparePack(ctx, series, k, mergeTime)
		if errors.Is(err, index.ErrRetired) {
			continue
		}
		k.ID = id
		return k, err
	}
}

// Abandon retires prepared packs that will not come into use; also when ctx
// has ended. If that does not work either, time does it.
func (p *Packs) Abandon(ctx context.Context, prepared ...int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs error
	for _, id := range prepared {
		errs = errors.Join(errs, p.Index.AbandonPack(ctx, id))
	}
	return errs
}

// copyObject copies an object and compares what the store gives back.
func (p *Packs) copyObject(ctx context.Context, from, to string, size int64) error {
	body, err := p.Store.Get(ctx, from, 0, size)
	if err != nil {
		return storeFailure(from, err)
	}
	defer func() { _ = body.Close() }()
	read, written := sha256.New(), sha256.New()
	if err := p.Store.Put(ctx, to, size, io.TeeReader(body, read)); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not take a pack")
	}
	back, err := p.Store.Get(ctx, to, 0, -1)
	if err != nil {
		return storeFailure(to, err)
	}
	defer func() { _ = back.Close() }()
	if _, err := io.Copy(written, back); err != nil {
		return storeFailure(to, err)
	}
	if !bytes.Equal(read.Sum(nil), written.Sum(nil)) {
		return pacs.Wrap(pacs.Unavailable, fmt.Errorf("%s has other bytes than %s", to, from), "The object store gives back other bytes than it was given")
	}
	return nil
}

// oldPack is a pack that is being rewritten.
type oldPack struct {
	ctx     context.Context
	store   storage.Store
	pack    index.StudyPack
	file    *PackFile
	members []oldMember // instances in the order of the manifest
}

// oldMember is an instance of a pack and what becomes of it.
type oldMember struct {
	member
	entry     ManifestEntry
	instance  index.PackedInstance
	described []byte // its DICOM JSON, where other places in it have changed
}

// openPack reads what a pack says of itself, and matches it with the index.
func (p *Packs) openPack(ctx context.Context, old index.StudyPack) (*oldPack, error) {
	s := &oldPack{ctx: ctx, store: p.Store, pack: old}
	var err error
	if s.file, err = ReadPack(ctx, p.Store, old.Key, old.Bytes); err != nil {
		return nil, storeFailure(old.Key, err)
	}
	at := map[int64]int{}
	for n, m := range s.file.Instances {
		at[m.Offset] = n
	}
	for _, in := range old.Instances {
		n, ok := at[in.Location.Offset]
		if !ok {
			return nil, s.damaged("there is no member at %d, where %s version %d should be", in.Location.Offset, in.SOPInstanceUID, in.Version)
		}
		entry, held := s.file.Manifest.Instances[n], s.file.Instances[n]
		if entry.SOPInstanceUID != in.SOPInstanceUID || held.Length != in.Location.Length || !strings.EqualFold(entry.SHA256, hex.EncodeToString(in.SHA256)) {
			return nil, s.damaged("%s version %d is not what the index knows it as", in.SOPInstanceUID, in.Version)
		}
		s.members = append(s.members, oldMember{entry: entry, instance: in, member: member{
			name: held.Name, size: held.Length, crc32: held.CRC32, open: s.opener(held.Offset, held.Length),
		}})
	}
	return s, nil
}

func (s *oldPack) damaged(format string, args ...any) error {
	return &DamageError{s.pack.Key, fmt.Errorf(format, args...)}
}

// read reads a range whole.
func (s *oldPack) read(ctx context.Context, offset, length int64) ([]byte, error) {
	b, err := (&packObject{store: s.store, key: s.pack.Key, size: s.pack.Bytes}).bytes(ctx, offset, length)
	if err != nil {
		return nil, storeFailure(s.pack.Key, err)
	}
	return b, nil
}

// opener reads a range of the old pack when it is its turn in the new one.
func (s *oldPack) opener(offset, length int64) func() io.Reader {
	return func() io.Reader {
		return &openedLate{open: func() (io.ReadCloser, error) { return s.store.Get(s.ctx, s.pack.Key, offset, length) }, left: length}
	}
}

// openedLate opens what it reads when it is first read, and closes it when that
// has been read.
type openedLate struct {
	open func() (io.ReadCloser, error)
	left int64
	body io.ReadCloser
}

func (r *openedLate) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if r.body == nil {
		var err error
		if r.body, err = r.open(); err != nil {
			return 0, err
		}
	}
	n, err := r.body.Read(p)
	if r.left -= int64(n); r.left == 0 || err != nil {
		_ = r.body.Close()
	}
	return n, err
}

// cut makes of a member what is left of it without pixel data.
func (s *oldPack) cut(ctx context.Context, m *oldMember, at time.Time, policy string) error {
	loc, px := m.instance.Location, m.instance.Location.PixelData
	if px.Offset > maxHeader {
		return s.damaged("%s has a header of %d bytes", m.name, px.Offset)
	}
	opt := scanLimits
	opt.MaxHeader = maxHeader
	var stored dicom.OpenRange
	var whole io.ReadCloser
	if px.Deflated {
		// The place of its pixel data says nothing about the file.
		stored = s.ranges(ctx, loc)
		var err error
		if whole, err = stored(0, loc.Length); err != nil {
			return storeFailure(s.pack.Key, err)
		}
	} else {
		header, err := s.read(ctx, loc.Offset, px.Offset)
		if err != nil {
			return err
		}
		stored = func(offset, length int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(header[offset : offset+length])), nil
		}
		whole = io.NopCloser(bytes.NewReader(header))
	}
	left, moved, err := dicom.WithoutPixels(whole, loc.Length, opt)
	if err = errors.Join(err, whole.Close()); err != nil {
		return s.cutFailure(err)
	}
	length, err := left.Length(stored)
	if err != nil {
		return s.cutFailure(err)
	}
	body, err := left.Open(0, length, stored)
	if err != nil {
		return s.cutFailure(err)
	}
	defer func() { _ = body.Close() }()
	kept := make([]byte, 0, length)
	into := bytes.NewBuffer(kept)
	if _, err := into.ReadFrom(io.LimitReader(body, length)); err != nil || int64(into.Len()) != length {
		return s.cutFailure(errors.Join(err, io.ErrUnexpectedEOF))
	}
	kept = into.Bytes()
	if length <= loc.DatasetOffset {
		return s.damaged("%s has nothing but pixel data", m.name)
	}
	sum := sha256.Sum256(kept[loc.DatasetOffset:])
	m.size, m.crc32 = length, crc32.ChecksumIEEE(kept)
	switch {
	case px.Deflated:
		m.open = func() io.Reader { return bytes.NewReader(kept) }
	case moved:
		m.open = func() io.Reader {
			return &openedLate{open: func() (io.ReadCloser, error) { return left.Open(0, length, s.ranges(s.ctx, loc)) }, left: length}
		}
	default:
		m.open = s.opener(loc.Offset, length)
	}
	if moved {
		h, err := dicom.Scan(bytes.NewReader(kept), opt)
		if err != nil {
			return s.cutFailure(err)
		}
		h.Dataset.SetFallbackCharset(m.entry.Charset)
		m.described = dicom.AppendJSON(nil, h.Dataset, dicom.JSONOptions{BulkURI: bulkURI(h, m.instance.Compressed)})
	}
	deletion := &pacs.PixelDeletion{At: at, Policy: policy, SHA256: hex.EncodeToString(pacs.ReceivedSHA256(m.instance.SHA256, nil, m.instance.Compressed))}
	m.instance.PixelsDeleted, m.entry.PixelsDeleted = deletion, deletion
	m.instance.SHA256, m.entry.SHA256 = sum[:], hex.EncodeToString(sum[:])
	return nil
}

// cutFailure tells a header that is not what it was from a store that does not
// give it.
func (s *oldPack) cutFailure(err error) error {
	var broken *dicom.ScanError
	if errors.As(err, &broken) {
		return &DamageError{s.pack.Key, err}
	}
	return storeFailure(s.pack.Key, err)
}

// ranges opens ranges of an instance of the old pack.
func (s *oldPack) ranges(ctx context.Context, loc pacs.Location) dicom.OpenRange {
	return func(offset, length int64) (io.ReadCloser, error) {
		return s.store.Get(ctx, s.pack.Key, loc.Offset+offset, length)
	}
}

// metadata is the old pack's without group 7FE0, and anew for instances in
// which something is at another place now.
func (s *oldPack) metadata(ctx context.Context) (meta []byte, described int, err error) {
	body, err := s.store.Get(ctx, s.pack.Key, s.file.Metadata.Offset, s.file.Metadata.Length)
	if err != nil {
		return nil, 0, storeFailure(s.pack.Key, err)
	}
	defer func() { _ = body.Close() }()
	z, err := gzip.NewReader(body)
	if err != nil {
		return nil, 0, storeFailure(s.pack.Key, err)
	}
	list := json.NewDecoder(z)
	if _, err := list.Token(); err != nil {
		return nil, 0, storeFailure(s.pack.Key, err)
	}
	anew := map[string][]byte{}
	for _, m := range s.members {
		if m.described != nil && !m.entry.Superseded {
			anew[m.entry.SOPInstanceUID] = m.described
		}
	}
	w := newMetadataWriter(gzip.DefaultCompression)
	for list.More() {
		var o object
		if err := list.Decode(&o.raw); err != nil {
			return nil, 0, storeFailure(s.pack.Key, err)
		}
		if err := o.withoutPixels(anew); err != nil {
			return nil, 0, storeFailure(s.pack.Key, err)
		}
		if err := w.add(o.raw); err != nil {
			return nil, 0, err
		}
		described++
	}
	if _, err := list.Token(); err != nil {
		return nil, 0, storeFailure(s.pack.Key, err)
	}
	meta, err = w.close()
	return meta, described, err
}

// withoutPixels takes group 7FE0 out of an instance's DICOM JSON, or puts what
// it is anew in its place.
func (o *object) withoutPixels(anew map[string][]byte) error {
	if err := o.identify(); err != nil {
		return err
	}
	if described := anew[o.sop]; described != nil {
		o.raw = described
		return nil
	}
	var attributes map[string]json.RawMessage
	if err := json.Unmarshal(o.raw, &attributes); err != nil {
		return err
	}
	for tag := range attributes {
		if strings.HasPrefix(strings.ToUpper(tag), "7FE0") {
			delete(attributes, tag)
		}
	}
	raw, err := json.Marshal(attributes)
	o.raw = raw
	return err
}
