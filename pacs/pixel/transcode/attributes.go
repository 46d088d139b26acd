package transcode

import (
	"strconv"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// methods are the defined terms of Lossy Image Compression Method, PS3.3
// C.7.6.1.1.5.1, for the transfer syntaxes that always lose.
var methods = map[string]string{
	dicom.JPEGBaseline8Bit:   "ISO_10918_1",
	dicom.JPEGExtended12Bit:  "ISO_10918_1",
	dicom.JPEGLSNearLossless: "ISO_14495_1",
}

// describe says in ds how the pixel data are kept in the target.
func (f *frames) describe(ds *dicom.Dataset) {
	as := f.coded
	number := func(tag dicom.Tag, was, is int) {
		if was != is {
			ds.SetInts(tag, dicom.US, is)
		}
	}
	if as.Photometric != f.format.Photometric {
		ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, as.Photometric)
	}
	number(dicom.TagBitsAllocated, f.format.BitsAllocated, as.BitsAllocated)
	number(dicom.TagBitsStored, f.format.BitsStored, as.BitsStored)
	number(dicom.TagHighBit, f.format.HighBit, as.HighBit)
	if as.Samples > 1 {
		planar := 0
		if as.Planar {
			planar = 1
		}
		if now, ok := ds.Int(dicom.TagPlanarConfiguration); !ok || now != planar {
			ds.SetInts(dicom.TagPlanarConfiguration, dicom.US, planar)
		}
	}
	// They speak of other pixel data.
	ds.Delete(dicom.TagExtendedOffsetTable).Delete(dicom.TagExtendedOffsetTableLengths).Delete(tagEncapsulatedLength)
	f.describeLoss(ds)
}

// tagEncapsulatedLength is Encapsulated Pixel Data Value Total Length.
const tagEncapsulatedLength dicom.Tag = 0x7FE00003

// method is the term for what the target loses by, "" for nothing.
func (f *frames) method() string {
	if f.target == dicom.JPEG2000 {
		return "ISO_15444_1"
	}
	return methods[f.target]
}

func (f *frames) loses() bool { return f.method() != "" }

// describeLoss says what encoding has lost; and what the source had lost, where
// it does not say so itself. The ratio is that of the first frame.
func (f *frames) describeLoss(ds *dicom.Dataset) {
	method := f.method()
	if method == "" {
		if _, lost := methods[f.source.Header.TransferSyntax]; lost && ds.String(dicom.TagLossyImageCompression) != "01" {
			ds.SetString(dicom.TagLossyImageCompression, dicom.CS, "01")
		}
		return
	}
	ratios, known := ds.Strings(dicom.TagLossyImageCompressionRatio), ds.Strings(dicom.TagLossyImageCompressionMethod)
	if ds.String(dicom.TagLossyImageCompression) != "01" || len(ratios) != len(known) {
		ratios, known = nil, nil
	}
	ratio := float64(f.native.FrameSize()) / float64(len(f.first))
	ds.SetString(dicom.TagLossyImageCompression, dicom.CS, "01").
		SetString(dicom.TagLossyImageCompressionRatio, dicom.DS, append(ratios, strconv.FormatFloat(ratio, 'f', 2, 64))...).
		SetString(dicom.TagLossyImageCompressionMethod, dicom.CS, append(known, method)...)
}
