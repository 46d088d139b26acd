package transcode

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// Transcoder makes instances in other transfer syntaxes. The zero value knows the
// codecs that are written in Go. Safe for concurrent use.
type Transcoder struct {
	Codecs *pixel.Codecs
	// Options are for the transfer syntaxes that lose.
	Options pixel.EncodeOptions
}

func (t *Transcoder) codecs() *pixel.Codecs {
	if t == nil || t.Codecs == nil {
		return &pixel.Codecs{}
	}
	return t.Codecs
}

// lossless are the compressed transfer syntaxes that lose nothing and may be made
// unasked, the smallest first.
var lossless = []string{dicom.JPEGLSLossless, dicom.JPEG2000Lossless, dicom.JPEGLosslessSV1, dicom.RLELossless}

// Targets are the transfer syntaxes among those taken in which an instance can be
// given that is kept in stored, the best first. stored itself is the first when
// it is taken. What was compressed stays so without loss, if possible; explicit
// goes before implicit. What loses comes last, and only if lossy is set.
//
// That is so by the transfer syntaxes alone: of single instances some can't be
// given in all, a bitmap for example, or what has no pixel data (Uncompressed).
func (t *Transcoder) Targets(stored string, taken []string, lossy bool) []string {
	ts, known := dicom.LookupTransferSyntax(stored)
	var out []string
	add := func(list ...string) {
		for _, uid := range list {
			if slices.Contains(taken, uid) && !slices.Contains(out, uid) && (uid == stored || t.codecs().Encodes(uid)) {
				out = append(out, uid)
			}
		}
	}
	add(stored)
	if !known || !t.codecs().Decodes(stored) {
		return out
	}
	native := []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}
	if ts.Encapsulated {
		add(lossless...)
		add(native...)
	} else {
		add(native...)
		add(lossless...)
	}
	add(dicom.EncapsulatedUncompressed)
	if lossy {
		add(taken...)
	}
	return out
}

// Uncompressed are those of targets in which an instance without pixel data can be
// given that is kept in stored: there is nothing to compress.
func Uncompressed(stored string, targets []string) []string {
	return slices.DeleteFunc(slices.Clone(targets), func(uid string) bool {
		ts, known := dicom.LookupTransferSyntax(uid)
		return uid != stored && (!known || ts.Encapsulated)
	})
}

// Instance is one instance in a transfer syntax.
type Instance struct {
	TransferSyntax string
	meta           *dicom.Dataset
	dataset        *dicom.Rewritten
	open           dicom.OpenRange
}

// Instance prepares an instance to be read in a transfer syntax. Errors have the
// codes of pixel.Codecs.Decode and Encode.
func (t *Transcoder) Instance(ctx context.Context, s Source, transferSyntax string) (*Instance, error) {
	f, ds, err := t.prepare(ctx, s, transferSyntax)
	if err != nil {
		return nil, err
	}
	var value *dicom.PixelValue
	if f != nil {
		if value, err = f.value(); err != nil {
			return nil, err
		}
	}
	copied := *s.Header
	copied.Dataset = ds
	dataset, err := copied.Rewrite(transferSyntax, value)
	if err != nil {
		return nil, pacs.Wrap(pacs.Unsupported, err, "The instance can't be given in "+transferSyntax)
	}
	return &Instance{TransferSyntax: transferSyntax, meta: s.Header.Meta, dataset: dataset, open: s.Open}, nil
}

// prepare copies the data set of an instance for the target. Where its pixel data
// have to be made anew, it decodes the first frame and describes them.
func (t *Transcoder) prepare(ctx context.Context, s Source, transferSyntax string) (*frames, *dicom.Dataset, error) {
	h := s.Header
	ts, known := dicom.LookupTransferSyntax(transferSyntax)
	if !known || !t.codecs().Encodes(transferSyntax) {
		return nil, nil, pacs.Errorf(pacs.Unsupported, "Instances can't be given in %s", transferSyntax)
	}
	ds := t.withoutCodedIcons(ctx, s, h.Dataset)
	switch {
	case h.PixelData == nil:
		if ts.Encapsulated && transferSyntax != h.TransferSyntax {
			return nil, nil, pacs.Errorf(pacs.Unsupported, "There are no pixel data to be compressed")
		}
	case h.PixelData.Tag != dicom.TagPixelData:
		if ts.Encapsulated {
			return nil, nil, pacs.Errorf(pacs.Unsupported, "Floating point pixel data are not compressed")
		}
	case ts.Encapsulated || h.PixelData.Encapsulated || !rewritable(h):
		f := &frames{t: t, source: s, target: transferSyntax}
		var err error
		if f.format, err = pixel.FormatOf(h.Dataset); err != nil {
			return nil, nil, err
		}
		if f.ranges, err = h.Frames(); err != nil || len(f.ranges) == 0 {
			return nil, nil, pacs.Wrap(pacs.Unsupported, err, "The frames of the pixel data can't be told apart")
		}
		if err := f.begin(ctx); err != nil {
			return nil, nil, err
		}
		f.describe(ds)
		return f, ds, nil
	}
	return nil, ds, nil
}

// rewritable says whether native pixel data need no codec: they are little
// endian, or samples have the size of the units that are turned round.
func rewritable(h *dicom.Header) bool {
	ts, known := dicom.LookupTransferSyntax(h.TransferSyntax)
	bits, _ := h.Dataset.Int(dicom.TagBitsAllocated)
	return known && (ts.Implicit || !ts.BigEndian || bits <= 16) && h.TransferSyntax != gePrivateSyntax
}

// gePrivateSyntax has big endian pixels in a little endian data set.
const gePrivateSyntax = "1.2.840.113619.5.2"

// value is the pixel data, made while they are read.
func (f *frames) value() (*dicom.PixelValue, error) {
	if ts, _ := dicom.LookupTransferSyntax(f.target); ts.Encapsulated {
		return &dicom.PixelValue{VR: dicom.OB, Length: -1, Open: f.open(true)}, nil
	}
	bits := int64(f.native.Columns) * int64(f.native.Rows) * int64(f.native.Samples) * int64(f.native.BitsAllocated)
	if len(f.ranges) > 1 && bits%8 != 0 {
		return nil, pacs.Errorf(pacs.Unsupported, "Frames of %d bits can't be put one behind another", bits)
	}
	vr := dicom.OW
	if f.native.BitsAllocated <= 8 {
		vr = dicom.OB
	}
	return &dicom.PixelValue{VR: vr, Length: int64(len(f.ranges)) * f.native.FrameSize(), Open: f.open(false)}, nil
}

// Length is how many bytes Dataset reads, -1 when that is not known beforehand.
func (i *Instance) Length() int64 { return i.dataset.Length() }

// Dataset reads the data set. Errors of reading have the codes of
// pixel.Codecs.Decode.
func (i *Instance) Dataset(ctx context.Context) io.ReadCloser { return i.dataset.Open(ctx, i.open) }

// Head is what comes before the data set in a PS3.10 file: the preamble and the
// file meta information, that of the source with another transfer syntax.
func (i *Instance) Head() ([]byte, error) {
	meta := &dicom.Dataset{}
	if i.meta != nil {
		for _, e := range i.meta.Elements {
			if e.Tag != dicom.TagFileMetaInformationGroupLength {
				meta.Elements = append(meta.Elements, e)
			}
		}
	}
	meta.SetString(dicom.TagTransferSyntaxUID, dicom.UI, i.TransferSyntax)
	group, err := dicom.AppendDataset(nil, meta, dicom.ExplicitVRLittleEndian)
	if err != nil {
		return nil, err
	}
	head := append(make([]byte, 128), "DICM"...)
	head = append(head, 2, 0, 0, 0, 'U', 'L', 4, 0) // (0002,0000)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(group)))
	return append(head, group...), nil
}

// File reads the instance as a PS3.10 file.
func (i *Instance) File(ctx context.Context) (io.ReadCloser, error) {
	head, err := i.Head()
	if err != nil {
		return nil, err
	}
	body := i.Dataset(ctx)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), body), body}, nil
}

// Transcode opens the data set of an instance that is kept as file in the first
// of Targets that it can be given in, of those taken. It loses nothing. The error
// is Unsupported when there is none.
func (t *Transcoder) Transcode(ctx context.Context, i pacs.Instance, file pacs.File, taken []string) (transferSyntax string, dataset io.ReadCloser, err error) {
	err = pacs.Errorf(pacs.Unsupported, "What is kept in %s can be given in none of the transfer syntaxes that are taken", i.TransferSyntaxUID)
	targets := t.Targets(i.TransferSyntaxUID, taken, false)
	if len(targets) == 0 {
		return "", nil, err
	}
	source, failed := Scan(ctx, file, i.Location.DatasetOffset, i.TransferSyntaxUID)
	if failed != nil {
		return "", nil, failed
	}
	for _, target := range targets {
		var instance *Instance
		if instance, failed = t.Instance(ctx, source, target); failed == nil {
			return target, instance.Dataset(ctx), nil
		}
		if err = failed; pacs.CodeOf(failed) != pacs.Unsupported {
			break
		}
	}
	return "", nil, err
}
