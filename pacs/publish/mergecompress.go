package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

// Compressor makes smaller copies of instances without loss.
type Compressor interface {
	// Compress writes a compressed copy of the PS3.10 file of size bytes in src
	// to dst, from its beginning, and returns the copy's length, which is less
	// than size. When it returns nil the copy was decoded again and had the
	// pixels of the original, and its other attributes are the same bytes.
	//
	//	Unsupported  the instance is better left as it is
	//	Unavailable  the codec failed
	Compress(ctx context.Context, src io.ReaderAt, size int64, dst io.WriterAt) (int64, error)
}

const (
	// codecFailures is after how many failures of the codec in a row a merge
	// goes on without it: each may have taken a minute.
	codecFailures = 3
	// compressionReserve is the free space that compressing leaves on the disk
	// of its scratch files, which may be the journal's.
	compressionReserve = 1 << 30
)

// copies are the compressed copies of instances of a series, in a scratch file.
type copies struct {
	file *os.File // nil when there are none
	end  int64
	of   map[int]*compressedCopy // by the place in StoredSeries.Instances
	// before and after are the bytes of the originals and of the copies.
	before, after int64
}

// compressedCopy is one of them.
type compressedCopy struct {
	instance *pacs.Instance // what the index gets to know
	file     pacs.Range     // the PS3.10 file
	object   pacs.Range     // its DICOM JSON
	crc32    uint32         // of the file
}

func (c *copies) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
}

// compressible says whether an instance of a series may be compressed: a current
// version, uncompressed and as it was received. What is under legal hold stays
// as it is, and what retention has moved to a cold store stays where it is.
func (m *Merger) compressible(s *index.StoredSeries, in index.StoredInstance) bool {
	return m.Compressor != nil && in.Current && in.HasPixels && in.PixelsDeleted == nil && in.Compressed == nil &&
		in.TransferSyntaxUID == dicom.ExplicitVRLittleEndian &&
		!s.Held && !strings.HasPrefix(s.Packs[in.PackID].Key, tiered.Prefix)
}

// compressibleBytes is how much of a series may be compressed.
func (m *Merger) compressibleBytes(s *index.StoredSeries) (sum int64) {
	for _, in := range s.Instances {
		if m.compressible(s, in) {
			sum += in.Length
		}
	}
	return sum
}

// compress makes compressed copies of what becomes smaller by it, and puts them
// in the place of the originals in members and manifest. Each original is read
// and checked first, as any that is merged. What can't be compressed stays as it
// is: the error is never the codec's.
func (m *Merger) compress(ctx context.Context, s *index.StoredSeries, members []member, manifest *Manifest) (_ *copies, err error) {
	c := &copies{of: map[int]*compressedCopy{}}
	if m.compressibleBytes(s) == 0 {
		return c, nil
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	original, err := m.scratch()
	if err != nil {
		return nil, err
	}
	defer func() { _ = original.Close() }()
	if c.file, err = m.scratch(); err != nil {
		return nil, err
	}
	failures := 0
	for i, in := range s.Instances {
		if !m.compressible(s, in) {
			continue
		}
		if failures == codecFailures {
			m.log().Warn("the codec fails again and again: the rest of the series stays as it is", "series", s.SeriesUID)
			break
		}
		if free, ok := freeSpace(c.file); ok && free < 2*in.Length+compressionReserve {
			m.log().Warn("there is too little free space for scratch files: the rest of the series is not compressed", "series", s.SeriesUID, "free", free)
			break
		}
		if err := refill(original, members[i].open()); err != nil {
			return nil, err
		}
		made, err := m.compressOne(ctx, c, original, in, manifest.Instances[i])
		switch {
		case ctx.Err() != nil:
			return nil, pacs.Wrap(pacs.Unavailable, ctx.Err(), "The merge was stopped")
		case err == nil:
			failures = 0
			members[i].size, members[i].crc32 = made.file.Length, made.crc32
			members[i].open = func() io.Reader { return io.NewSectionReader(c.file, made.file.Offset, made.file.Length) }
			entry := &manifest.Instances[i]
			entry.SHA256, entry.Compressed = hex.EncodeToString(made.instance.SHA256), made.instance.Compressed
			c.of[i] = made
			c.before, c.after = c.before+in.Length, c.after+made.file.Length
		case pacs.CodeOf(err) == pacs.Unsupported:
			failures = 0
		default:
			failures++
			m.log().Warn("an instance could not be compressed and stays as it is", "sop", in.SOPInstanceUID, "error", err)
			if m.Observer.NotCompressed != nil {
				m.Observer.NotCompressed(err)
			}
		}
	}
	return c, nil
}

// refill makes a scratch file hold what r gives.
func refill(f *os.File, r io.Reader) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := io.Copy(io.NewOffsetWriter(f, 0), r)
	return err
}

// freeSpace is what is left on a file's disk, if that says.
func freeSpace(f *os.File) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}

// compressOne compresses the instance in original, writes its DICOM JSON behind
// it and reads off the copy what is new about it.
func (m *Merger) compressOne(ctx context.Context, c *copies, original *os.File, in index.StoredInstance, entry ManifestEntry) (*compressedCopy, error) {
	length, err := m.Compressor.Compress(ctx, original, in.Length, io.NewOffsetWriter(c.file, c.end))
	if err != nil {
		return nil, err
	}
	made := &compressedCopy{file: pacs.Range{Offset: c.end, Length: length}}
	header, err := dicom.Scan(dicom.NewSkipReader(c.file, c.end, length), scanLimits)
	if err != nil {
		return nil, err
	}
	if sop := header.Dataset.String(dicom.TagSOPInstanceUID); sop != in.SOPInstanceUID || length >= in.Length {
		return nil, fmt.Errorf("the copy of %s is one of %q with %d bytes", in.SOPInstanceUID, sop, length)
	}
	hash, crc := sha256.New(), crc32.NewIEEE()
	for _, part := range []struct {
		to         io.Writer
		from, size int64
	}{{crc, 0, header.DatasetOffset}, {io.MultiWriter(crc, hash), header.DatasetOffset, length - header.DatasetOffset}} {
		if _, err := io.Copy(part.to, io.NewSectionReader(c.file, c.end+part.from, part.size)); err != nil {
			return nil, err
		}
	}
	header.Dataset.SetFallbackCharset(entry.Charset)
	described := describeInstance(header)
	made.crc32 = crc.Sum32()
	made.instance = &pacs.Instance{
		SHA256: hash.Sum(nil), TransferSyntaxUID: described.TransferSyntaxUID, Location: described.Location,
		Compressed: &pacs.Compression{
			At: time.Now().UTC().Truncate(time.Second), SHA256: hex.EncodeToString(in.SHA256),
			TransferSyntaxUID: in.TransferSyntaxUID, Length: in.Length, DatasetOffset: in.DatasetOffset,
		},
	}
	object := dicom.AppendJSON(nil, header.Dataset, dicom.JSONOptions{BulkURI: bulkURI(header, made.instance.Compressed)})
	made.object = pacs.Range{Offset: c.end + length, Length: int64(len(object))}
	if _, err := c.file.WriteAt(object, made.object.Offset); err != nil {
		return nil, err
	}
	c.end = made.object.Offset + made.object.Length
	return made, nil
}

// rows are what the index gets to know.
func (c *copies) rows() map[int]*pacs.Instance {
	rows := make(map[int]*pacs.Instance, len(c.of))
	for i, made := range c.of {
		rows[i] = made.instance
	}
	return rows
}
