package publish

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

// Examination is what reading every byte of a pack has shown.
type Examination struct {
	Key      string
	Size     int64
	Modified time.Time // when it was put, by the store's clock

	Study, Series string    // of the key: packs/STUDY/SERIES/…
	Manifest      *Manifest // nil when it is lost
	MetaOffset    int64     // of the gzipped DICOM JSON; 0 when it is lost
	MetaLength    int64
	Described     int // instances that the metadata describes

	Instances []ExaminedInstance // the sound ones, in the order of their places
	Broken    []BrokenMember     // those whose bytes are not what was written

	// What is wrong beside, each ErrDamaged or nil: the directory or local
	// headers, the metadata, the manifest.
	Directory, Metadata, ManifestError error

	// Belongs is the folder in which this pack should be, when it is not that
	// of Key.
	Belongs string
}

// ExaminedInstance is an instance in a pack whose bytes have their CRC and
// can be read as DICOM.
type ExaminedInstance struct {
	Study, Series, SOP string // of the data set
	Name               string // of the member
	Offset, Length     int64
	DatasetOffset      int64
	CRC32              uint32
	SHA256             []byte // of the data set
	Entry              *ManifestEntry
}

// Received is the hash of the data set as it was received, as far as the
// manifest says.
func (in *ExaminedInstance) Received() []byte { return in.Entry.received(in.SHA256) }

// BrokenMember is an instance whose bytes are damaged. What it was is known
// from its name and the manifest only.
type BrokenMember struct {
	Name           string
	SOP            string // "" when the name is damaged too
	Offset, Length int64
	Why            error
}

// Sound says whether nothing at all is wrong.
func (x *Examination) Sound() bool {
	return len(x.Broken) == 0 && x.Directory == nil && x.Metadata == nil && x.ManifestError == nil && x.Belongs == ""
}

// Problems are all that is wrong with the pack, in words.
func (x *Examination) Problems() (all []error) {
	for _, b := range x.Broken {
		all = append(all, fmt.Errorf("%s: %w", b.Name, b.Why))
	}
	for _, err := range []error{x.Directory, x.Metadata, x.ManifestError} {
		if err != nil {
			all = append(all, err)
		}
	}
	if x.Belongs != "" {
		all = append(all, damaged("the object is a pack of %s", x.Belongs))
	}
	return all
}

// Visit is told of each sound instance with its header, which is valid during
// the call, in the order of their places. An error ends the examination.
type Visit func(in *ExaminedInstance, h *dicom.Header) error

// maxMetadata bounds how much metadata is unpacked.
const maxMetadata = 8 << 30

// scanLimits are the journal's, with room for the file meta information.
var scanLimits = dicom.ScanOptions{MaxElements: 500_016, MaxHeader: 64<<20 + 1<<10}

// Examine reads a pack whole, once from front to end when it is sound, and
// compares all that it says twice. Memory does not grow with its size.
//
// The error is the store's (or visit's), never about the pack's content: what
// is damaged is in the Examination. storage.ErrNotFound when there is no such
// object.
func Examine(ctx context.Context, store storage.Store, key string, visit Visit) (*Examination, error) {
	info, err := store.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	x := &examination{
		Examination: Examination{Key: key, Size: info.Size, Modified: info.ModTime},
		object:      packObject{store: store, key: key, size: info.Size},
		visit:       visit,
	}
	x.Study, x.Series = ofKey(key)
	members, _, err := x.object.directory(ctx)
	switch {
	case errors.Is(err, ErrDamaged):
		x.Directory = err
		if members, _, err = x.object.search(ctx); err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	if err := x.readManifest(ctx, members); err != nil {
		return nil, err
	}
	if err := x.readMembers(ctx, members); err != nil {
		return nil, err
	}
	if err := x.readMetadata(ctx, members); err != nil {
		return nil, err
	}
	x.account()
	return &x.Examination, nil
}

// ofKey reads study and series off a pack's key.
func ofKey(key string) (study, series string) {
	if parts := strings.Split(strings.TrimPrefix(key, tiered.Prefix), "/"); len(parts) == 4 && parts[0] == "packs" {
		return parts[1], parts[2]
	}
	return "", ""
}

type examination struct {
	Examination
	object  packObject
	visit   Visit
	entries map[string]*ManifestEntry // by entryKey
	sops    map[string]bool           // that the manifest names
	bodies  map[string]bool           // SOP Instance UIDs in the metadata
}

func entryKey(sop, sha string) string { return sop + " " + strings.ToLower(sha) }

// blame notes damage; any other error is returned.
func blame(into *error, err error) error {
	if errors.Is(err, ErrDamaged) {
		*into = errors.Join(*into, err)
		return nil
	}
	return err
}

func find(members []member, name string) *member {
	if i := slices.IndexFunc(members, func(m member) bool { return m.name == name }); i >= 0 {
		return &members[i]
	}
	return nil
}

func (x *examination) readManifest(ctx context.Context, members []member) error {
	m := find(members, manifestName)
	if m == nil {
		x.ManifestError = damaged("there is no %s", manifestName)
		return nil
	}
	if m.size > longestManifest {
		x.ManifestError = damaged("%s has %d bytes", manifestName, m.size)
		return nil
	}
	b, err := x.object.bytes(ctx, m.offset, m.size)
	if err != nil {
		return blame(&x.ManifestError, err)
	}
	if crc32.ChecksumIEEE(b) != m.crc32 {
		x.ManifestError = damaged("%s does not have its CRC", manifestName)
		return nil
	}
	manifest, err := decodeManifest(b)
	if err != nil {
		x.ManifestError = damaged("%s can't be read: %v", manifestName, err)
		return nil
	}
	x.Manifest = manifest
	x.entries, x.sops = map[string]*ManifestEntry{}, map[string]bool{}
	for i := range manifest.Instances {
		e := &manifest.Instances[i]
		x.entries[entryKey(e.SOPInstanceUID, e.SHA256)] = e
		x.sops[e.SOPInstanceUID] = true
	}
	if x.Study != "" && (manifest.Study != x.Study || manifest.Series != x.Series) {
		x.Belongs = packPrefix + manifest.Study + "/" + manifest.Series + "/"
	}
	return nil
}

// readMembers streams the pack from its first to its last member.
func (x *examination) readMembers(ctx context.Context, members []member) error {
	var body io.ReadCloser
	defer func() {
		if body != nil {
			_ = body.Close()
		}
	}()
	var r *bufio.Reader
	at := int64(-1)
	for i := range members {
		m := &members[i]
		if at != m.headerAt {
			// The first, or one behind a damaged one.
			if body != nil {
				_ = body.Close()
			}
			var err error
			if body, err = x.object.open(ctx, m.headerAt, -1); err != nil {
				return err
			}
			r = bufio.NewReaderSize(body, 256<<10)
		}
		if err := x.readMember(ctx, r, m); err != nil {
			return fmt.Errorf("reading %s: %w", x.Key, err)
		}
		at = m.offset + m.size
	}
	return nil
}

func (x *examination) readMember(ctx context.Context, r *bufio.Reader, m *member) error {
	header := make([]byte, m.offset-m.headerAt)
	if _, err := io.ReadFull(r, header); err != nil {
		return err
	}
	local, _, ok := parseLocal(header)
	headerSound := ok && local.name == m.name && local.crc32 == m.crc32 && local.size == m.size
	if !headerSound {
		x.Directory = errors.Join(x.Directory, damaged("%q and its entry in the directory differ", m.name))
	}
	content := &io.LimitedReader{R: r, N: m.size}
	sum := crc32.NewIEEE()
	if !strings.HasSuffix(m.name, instanceSuffix) && !(ok && strings.HasSuffix(local.name, instanceSuffix)) {
		if _, err := io.Copy(sum, content); err != nil {
			return err
		}
		if content.N > 0 {
			return io.ErrUnexpectedEOF
		}
		if sum.Sum32() != m.crc32 {
			x.other(m, damaged("%s does not have its CRC", m.name))
		}
		return nil
	}
	hash := newDatasetHash(r)
	h, scanErr := dicom.Scan(io.TeeReader(content, io.MultiWriter(sum, hash)), scanLimits)
	var unfit *dicom.ScanError
	if scanErr != nil && !errors.As(scanErr, &unfit) {
		return scanErr // the store's
	}
	// What the scanner did not want has a CRC too.
	if _, err := io.Copy(io.MultiWriter(sum, hash), content); err != nil {
		return err
	}
	if content.N > 0 {
		return io.ErrUnexpectedEOF
	}
	if sum.Sum32() != m.crc32 && !(ok && local.size == m.size && sum.Sum32() == local.crc32) {
		x.lose(m, damaged("its bytes do not have their CRC"))
		return nil
	}
	if scanErr != nil {
		x.lose(m, damaged("it has its CRC and can't be read: %v", scanErr))
		return nil
	}
	in := ExaminedInstance{
		Study: h.Dataset.String(dicom.TagStudyInstanceUID), Series: h.Dataset.String(dicom.TagSeriesInstanceUID),
		SOP: h.Dataset.String(dicom.TagSOPInstanceUID), Name: m.name,
		Offset: m.offset, Length: m.size, DatasetOffset: h.DatasetOffset, CRC32: sum.Sum32(), SHA256: hash.sum.Sum(nil),
	}
	if hash.from != h.DatasetOffset {
		var err error
		if in.SHA256, err = x.hashAgain(ctx, m, h.DatasetOffset); err != nil {
			return err
		}
	}
	return x.take(m, in, h)
}

// take keeps a sound instance, unless the manifest speaks against it.
func (x *examination) take(m *member, in ExaminedInstance, h *dicom.Header) error {
	in.Entry = x.entries[entryKey(in.SOP, hex.EncodeToString(in.SHA256))]
	if in.Entry == nil && x.sops[in.SOP] {
		x.lose(m, damaged("it has other bytes than the manifest says"))
		return nil
	}
	if x.Study != "" && (in.Study != x.Study || in.Series != x.Series) && x.Belongs == "" {
		x.lose(m, damaged("it is of another series"))
		return nil
	}
	x.Instances = append(x.Instances, in)
	if x.visit == nil {
		return nil
	}
	return x.visit(&x.Instances[len(x.Instances)-1], h)
}

func (x *examination) lose(m *member, why error) {
	x.Broken = append(x.Broken, BrokenMember{Name: m.name, SOP: x.sopOf(m.name), Offset: m.offset, Length: m.size, Why: why})
}

// sopOf reads the SOP Instance UID off a member's name: SOP.dcm, or SOP.vN.dcm
// for a version that was replaced.
func (x *examination) sopOf(name string) string {
	sop, ok := strings.CutSuffix(name, instanceSuffix)
	if !ok {
		return ""
	}
	if i := strings.LastIndex(sop, ".v"); i > 0 {
		sop = sop[:i]
	}
	if dicom.ValidUID(sop) != nil || x.sops != nil && !x.sops[sop] {
		return ""
	}
	return sop
}

// other notes damage to a member that is no instance.
func (x *examination) other(m *member, why error) {
	switch m.name {
	case manifestName:
		if x.ManifestError == nil {
			x.ManifestError = why
		}
	case metadataName:
		x.Metadata = why
	default:
		x.Directory = errors.Join(x.Directory, why)
	}
}

func (x *examination) hashAgain(ctx context.Context, m *member, from int64) ([]byte, error) {
	body, err := x.object.open(ctx, m.offset+from, m.size-from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, body); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}

// readMetadata unpacks the metadata and notes which instances it describes.
func (x *examination) readMetadata(ctx context.Context, members []member) error {
	m := find(members, metadataName)
	if m == nil {
		x.Metadata = damaged("there is no %s", metadataName)
		return nil
	}
	if x.Metadata != nil {
		return nil
	}
	body, err := x.object.open(ctx, m.offset, m.size)
	if err != nil {
		return blame(&x.Metadata, err)
	}
	defer func() { _ = body.Close() }()
	source := &io.LimitedReader{R: body, N: m.size}
	x.bodies, err = sopsDescribed(source)
	if err != nil {
		// The CRC was right: these are the bytes that were written.
		x.bodies, x.Metadata = nil, damaged("%s can't be read: %v", metadataName, err)
		return ctx.Err()
	}
	x.MetaOffset, x.MetaLength, x.Described = m.offset, m.size, len(x.bodies)
	return nil
}

// sopsDescribed lists the SOP Instance UIDs in gzipped DICOM JSON.
func sopsDescribed(r io.Reader) (map[string]bool, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	list := json.NewDecoder(io.LimitReader(zip, maxMetadata))
	if _, err := list.Token(); err != nil {
		return nil, err
	}
	sops := map[string]bool{}
	for list.More() {
		var o object
		if err := list.Decode(&o.raw); err != nil {
			return nil, err
		}
		if err := o.identify(); err != nil {
			return nil, err
		}
		sops[o.sop] = true
	}
	if _, err := list.Token(); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, io.MultiReader(list.Buffered(), zip)); err != nil { // its own CRC
		return nil, err
	}
	return sops, nil
}

// account compares instances, manifest and metadata with one another.
func (x *examination) account() {
	found := map[string]bool{}
	for i := range x.Instances {
		in := &x.Instances[i]
		found[entryKey(in.SOP, hex.EncodeToString(in.SHA256))] = true
		superseded := in.Entry != nil && in.Entry.Superseded
		if x.bodies != nil && !x.bodies[in.SOP] && !superseded {
			x.Metadata = damaged("%s does not describe %s", metadataName, in.SOP)
		}
	}
	if x.Manifest == nil {
		return
	}
	named := map[string]bool{}
	for _, b := range x.Broken {
		named[b.SOP] = true
	}
	for _, e := range x.Manifest.Instances {
		if !found[entryKey(e.SOPInstanceUID, e.SHA256)] && !named[e.SOPInstanceUID] {
			named[e.SOPInstanceUID] = true
			x.Broken = append(x.Broken, BrokenMember{Name: e.SOPInstanceUID + instanceSuffix, SOP: e.SOPInstanceUID, Why: damaged("the manifest names it and it is not there")})
		}
	}
}

// datasetHash is SHA-256 of the data set, behind the file meta information.
// Where that ends is taken from its group length, which mostly is right; who
// compares from with the scanner's finding knows.
type datasetHash struct {
	from int64
	at   int64
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func newDatasetHash(r *bufio.Reader) *datasetHash {
	h := &datasetHash{sum: sha256.New()}
	// Preamble, DICM, and (0002,0000) UL of four bytes (PS3.10 7.1).
	head, _ := r.Peek(144)
	if len(head) == 144 && bytes.Equal(head[128:140], []byte("DICM\x02\x00\x00\x00UL\x04\x00")) {
		h.from = 144 + int64(binary.LittleEndian.Uint32(head[140:]))
	}
	return h
}

func (h *datasetHash) Write(p []byte) (int, error) {
	if skip := h.from - h.at; skip < int64(len(p)) {
		_, _ = h.sum.Write(p[max(skip, 0):])
	}
	h.at += int64(len(p))
	return len(p), nil
}
