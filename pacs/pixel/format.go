package pixel

import (
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Format says how the samples of a frame are laid out: the attributes of the
// Image Pixel Module, PS3.3 C.7.6.3.
type Format struct {
	Columns, Rows int
	Samples       int // Samples per Pixel (0028,0002)
	// BitsAllocated is 1, 8, 16, 32 or 64. A sample has BitsStored bits, of
	// which HighBit is the highest.
	BitsAllocated, BitsStored, HighBit int
	Signed                             bool   // Pixel Representation (0028,0103)
	Planar                             bool   // Planar Configuration (0028,0006): colour by plane
	Photometric                        string // Photometric Interpretation (0028,0004)
	// Words says that native pixel data are OW, not OB. In big endian that turns
	// samples of 8 bits round in pairs.
	Words bool
}

// The photometric interpretations of PS3.3 C.7.6.3.1.2.
const (
	Monochrome1      = "MONOCHROME1"
	Monochrome2      = "MONOCHROME2"
	PaletteColor     = "PALETTE COLOR"
	RGB              = "RGB"
	YBRFull          = "YBR_FULL"
	YBRFull422       = "YBR_FULL_422"
	YBRPartial420    = "YBR_PARTIAL_420"
	YBRPartial422    = "YBR_PARTIAL_422" // retired
	YBRIrreversible  = "YBR_ICT"
	YBRReversible    = "YBR_RCT"
	maxSamples       = 4
	maxSideOfPicture = 1 << 17
)

// FormatOf reads the Image Pixel Module. What it returns can be trusted: the
// numbers fit one another and FrameSize is not above the largest frame that is
// taken. Anything else is an error with code Unsupported.
func FormatOf(ds *dicom.Dataset) (Format, error) {
	number := func(tag dicom.Tag, otherwise int) int {
		if n, ok := ds.Int(tag); ok {
			return n
		}
		return otherwise
	}
	f := Format{
		Columns: number(dicom.TagColumns, 0), Rows: number(dicom.TagRows, 0),
		Samples:       number(dicom.TagSamplesPerPixel, 1),
		BitsAllocated: number(dicom.TagBitsAllocated, 0),
		Signed:        number(dicom.TagPixelRepresentation, 0) == 1,
		Photometric:   ds.String(dicom.TagPhotometricInterpretation),
	}
	f.BitsStored = number(dicom.TagBitsStored, f.BitsAllocated)
	f.HighBit = number(dicom.TagHighBit, f.BitsStored-1)
	f.Planar = f.Samples > 1 && number(dicom.TagPlanarConfiguration, 0) == 1
	if e, ok := ds.Get(dicom.TagPixelData); ok {
		f.Words = e.VR == dicom.OW
	}
	return f, f.check()
}

func (f Format) check() error {
	switch {
	case f.Columns < 1 || f.Rows < 1 || f.Columns > maxSideOfPicture || f.Rows > maxSideOfPicture:
		return pacs.Errorf(pacs.Unsupported, "A picture of %d × %d pixels can't be read", f.Columns, f.Rows)
	case f.Samples < 1 || f.Samples > maxSamples:
		return pacs.Errorf(pacs.Unsupported, "A picture with %d samples per pixel can't be read", f.Samples)
	case f.BitsAllocated != 1 && f.BitsAllocated != 8 && f.BitsAllocated != 16 && f.BitsAllocated != 32 && f.BitsAllocated != 64:
		return pacs.Errorf(pacs.Unsupported, "Samples of %d bits can't be read", f.BitsAllocated)
	case f.BitsStored < 1 || f.BitsStored > f.BitsAllocated || f.HighBit < f.BitsStored-1 || f.HighBit >= f.BitsAllocated:
		return pacs.Errorf(pacs.Unsupported, "%d bits of which %d are stored up to bit %d contradict one another", f.BitsAllocated, f.BitsStored, f.HighBit)
	case f.FrameSize() > maxFrame:
		return pacs.Errorf(pacs.Unsupported, "A frame of %d bytes is too large to be read at once", f.FrameSize())
	}
	return nil
}

// FrameSize is the number of bytes of a frame in native form. Frames of one bit
// per pixel are filled up to a whole byte. Native YBR_FULL_422 shares its chroma
// between two pixels, PS3.3 C.7.6.3.1.2.
func (f Format) FrameSize() int64 {
	samples := int64(f.Columns) * int64(f.Rows) * int64(f.Samples)
	if (f.Photometric == YBRFull422 || f.Photometric == YBRPartial422) && f.Samples == 3 {
		samples = int64(f.Columns) * int64(f.Rows) * 2
	}
	return (samples*int64(f.BitsAllocated) + 7) / 8
}

// Frame is one decoded frame.
type Frame struct {
	// Format is that of Pixels, which may be another than what the attributes of
	// the instance say: a decoder gives RGB for what its stream keeps as
	// YBR_FULL_422, YBR_ICT or YBR_RCT, and colour by pixel.
	Format
	// Pixels are FrameSize bytes, little endian.
	Pixels []byte
}
