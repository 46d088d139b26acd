package transcode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// maxIcon bounds the coded bytes of an icon: it is decoded in memory.
const maxIcon = 16 << 20

// withoutCodedIcons is a copy of a data set in which compressed pixel data within
// sequences are native: an icon is encoded as the pixel data beside it are (PS3.5
// A.4), which will be others. A sequence that has one which can't be decoded is
// left out: there is no icon that could not be missed.
func (t *Transcoder) withoutCodedIcons(ctx context.Context, s Source, ds *dicom.Dataset) *dicom.Dataset {
	out := ds.Clone()
	if ts, _ := dicom.LookupTransferSyntax(s.Header.TransferSyntax); !ts.Encapsulated {
		return out
	}
	out.Elements = out.Elements[:0:0]
	for _, e := range ds.Elements {
		if !hasPixels(e.Items) {
			out.Elements = append(out.Elements, e)
			continue
		}
		items := make([]*dicom.Dataset, 0, len(e.Items))
		for _, item := range e.Items {
			native, err := t.nativeItem(ctx, s, item)
			if err != nil {
				break
			}
			items = append(items, native)
		}
		if len(items) == len(e.Items) {
			e.Items = items
			out.Elements = append(out.Elements, e)
		}
	}
	return out
}

// hasPixels says whether there are pixel data in items, however deep.
func hasPixels(items []*dicom.Dataset) bool {
	for _, item := range items {
		for i := range item.Elements {
			if e := &item.Elements[i]; e.Tag == dicom.TagPixelData && e.Bulk != nil || hasPixels(e.Items) {
				return true
			}
		}
	}
	return false
}

// nativeItem decodes the pixel data of an item, and of those within it.
func (t *Transcoder) nativeItem(ctx context.Context, s Source, item *dicom.Dataset) (*dicom.Dataset, error) {
	out := t.withoutCodedIcons(ctx, s, item)
	e, ok := item.Get(dicom.TagPixelData)
	if !ok || e.Bulk == nil || e.Bulk.Length > maxIcon {
		return out, nil
	}
	body, err := s.Open(e.Bulk.Offset, e.Bulk.Length)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	coded, ok := joined(raw)
	if !ok {
		return out, nil // native already
	}
	format, err := pixel.FormatOf(item)
	if err != nil {
		return nil, err
	}
	frame, err := t.codecs().Decode(ctx, s.Header.TransferSyntax, format, coded)
	if err != nil {
		return nil, err
	}
	vr, pixels := dicom.OW, frame.Pixels
	if format.BitsAllocated <= 8 {
		vr = dicom.OB
	}
	if len(pixels)%2 != 0 {
		pixels = append(pixels[:len(pixels):len(pixels)], 0)
	}
	if frame.Photometric != format.Photometric {
		out.SetString(dicom.TagPhotometricInterpretation, dicom.CS, frame.Photometric)
	}
	if frame.Samples > 1 {
		out.SetInts(dicom.TagPlanarConfiguration, dicom.US, 0)
	}
	return out.SetBytes(dicom.TagPixelData, vr, pixels), nil
}

// joined puts the fragments of encapsulated pixel data together: items from the
// first byte to a delimiter at the very end, as native ones never are.
func joined(raw []byte) (coded []byte, ok bool) {
	for first := true; len(raw) >= 8; first = false {
		length := int64(binary.LittleEndian.Uint32(raw[4:]))
		switch {
		case bytes.Equal(raw, delimiter()):
			return coded, !first
		case !bytes.HasPrefix(raw, []byte{0xFE, 0xFF, 0x00, 0xE0}) || length > int64(len(raw)-8):
			return nil, false
		case !first: // the first is the offset table
			coded = append(coded, raw[8:8+length]...)
		}
		raw = raw[8+length:]
	}
	return nil, false
}
