package transcode

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
	"strconv"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Spooled is an instance whose frames are made already.
type Spooled struct {
	Instance
	file *os.File
}

// Close removes the frames.
func (s *Spooled) Close() error { return s.file.Close() }

// Spool makes all frames of an instance in a temporary file in dir ("" for that of
// the system), which is removed when it is closed. Its length is known then, it has
// an offset table, basic or, where offsets need more than 32 bits, extended
// (PS3.3 C.7.6.3.1.8), and the ratio of what loses is that of all frames. It is for
// encapsulated transfer syntaxes; errors are those of Transcoder.Instance, and
// damage to any frame is found here.
func (t *Transcoder) Spool(ctx context.Context, s Source, transferSyntax, dir string) (*Spooled, error) {
	ts, _ := dicom.LookupTransferSyntax(transferSyntax)
	if !ts.Encapsulated || s.Header.PixelData == nil {
		return nil, pacs.Errorf(pacs.Unsupported, "Only images in compressed form are made beforehand")
	}
	f, ds, err := t.prepare(ctx, s, transferSyntax)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(dir, "tasvir-frames-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(file.Name()) // nobody else needs its name
	out := &Spooled{file: file}
	if out.Instance, err = f.spool(ctx, ds, file); err != nil {
		_ = file.Close()
		return nil, err
	}
	return out, nil
}

// spool writes the items of all frames, and describes them in ds.
func (f *frames) spool(ctx context.Context, ds *dicom.Dataset, file *os.File) (Instance, error) {
	var (
		at             int64
		offsets        = make([]int64, len(f.ranges))
		lengths        = make([]int64, len(f.ranges))
		coded, samples int64
	)
	for n := range f.ranges {
		data, err := f.next(ctx, n)
		if err != nil {
			return Instance{}, err
		}
		offsets[n], lengths[n] = at, int64(len(data))
		coded, samples = coded+int64(len(data)), samples+f.native.FrameSize()
		if _, err := file.Write(append(appendItem(make([]byte, 0, len(data)+8), len(data)), data...)); err != nil {
			return Instance{}, err
		}
		at += int64(len(data)) + 8
	}
	table := f.table(ds, offsets, lengths)
	if ratios := ds.Strings(dicom.TagLossyImageCompressionRatio); f.loses() && len(ratios) > 0 {
		ratios[len(ratios)-1] = strconv.FormatFloat(float64(samples)/float64(coded), 'f', 2, 64)
		ds.SetString(dicom.TagLossyImageCompressionRatio, dicom.DS, ratios...)
	}
	value := &dicom.PixelValue{VR: dicom.OB, Length: -1, Known: int64(len(table)) + at + int64(len(delimiter())), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(table), io.NewSectionReader(file, 0, at), bytes.NewReader(delimiter()))), nil
	}}
	copied := *f.source.Header
	copied.Dataset = ds
	dataset, err := copied.Rewrite(f.target, value)
	if err != nil {
		return Instance{}, pacs.Wrap(pacs.Unsupported, err, "The instance can't be given in "+f.target)
	}
	return Instance{TransferSyntax: f.target, meta: f.source.Header.Meta, dataset: dataset, open: f.source.Open}, nil
}

// table is the item of the basic offset table: empty when the extended one is
// put into ds instead.
func (f *frames) table(ds *dicom.Dataset, offsets, lengths []int64) []byte {
	if offsets[len(offsets)-1] <= math.MaxUint32 && int64(len(offsets))*4 <= math.MaxUint32 {
		out := appendItem(make([]byte, 0, 8+4*len(offsets)), 4*len(offsets))
		for _, o := range offsets {
			out = binary.LittleEndian.AppendUint32(out, uint32(o))
		}
		return out
	}
	long := func(values []int64) (out []byte) {
		for _, v := range values {
			if ds.BigEndian {
				out = binary.BigEndian.AppendUint64(out, uint64(v))
			} else {
				out = binary.LittleEndian.AppendUint64(out, uint64(v))
			}
		}
		return out
	}
	ds.SetBytes(dicom.TagExtendedOffsetTable, dicom.OV, long(offsets)).SetBytes(dicom.TagExtendedOffsetTableLengths, dicom.OV, long(lengths))
	return appendItem(nil, 0)
}
