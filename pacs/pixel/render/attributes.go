package render

import (
	"io"
	"math"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// attributes are an instance's, as they hold for one of its frames.
type attributes struct {
	*dicom.Dataset
	perFrame, shared *dicom.Dataset
}

// attributesOf frame n, counted from 1.
func attributesOf(ds *dicom.Dataset, n int) attributes {
	a := attributes{Dataset: ds, shared: ds.Item(dicom.TagSharedFunctionalGroupsSequence)}
	if items := ds.Items(dicom.TagPerFrameFunctionalGroupsSequence); n <= len(items) {
		a.perFrame = items[n-1]
	}
	return a
}

// group is the functional group macro of a frame (PS3.3 C.7.6.16), nil when
// there is none.
func (a attributes) group(tag dicom.Tag) *dicom.Dataset {
	if item := a.perFrame.Item(tag); item != nil {
		return item
	}
	return a.shared.Item(tag)
}

// floats are the numbers of an attribute; what is none ends them.
func floats(ds *dicom.Dataset, tag dicom.Tag) []float64 {
	all := ds.Floats(tag)
	if all == nil {
		if f, ok := ds.Float(tag); ok {
			all = []float64{f}
		}
	}
	for i, f := range all {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return all[:i]
		}
	}
	return all
}

// words are the 16-bit values of an attribute of any VR that holds such.
func words(ds *dicom.Dataset, e *dicom.Element) []uint16 {
	out := make([]uint16, len(e.Value)/2)
	for i := range out {
		if ds.BigEndian {
			out[i] = uint16(e.Value[2*i])<<8 | uint16(e.Value[2*i+1])
		} else {
			out[i] = uint16(e.Value[2*i+1])<<8 | uint16(e.Value[2*i])
		}
	}
	return out
}

// octets are the bytes of an attribute that was written as words perhaps.
func octets(ds *dicom.Dataset, e *dicom.Element) []byte {
	if !ds.BigEndian || e.VR == dicom.OB {
		return e.Value
	}
	out := make([]byte, len(e.Value))
	for i := range out {
		if i^1 < len(e.Value) {
			out[i] = e.Value[i^1]
		}
	}
	return out
}

// Bounds of what Load reads.
const (
	maxLoaded    = 64 << 20
	maxLoadedOne = 32 << 20
)

// Load reads values that dicom.Scan left in the stream because they are long, and
// that a picture needs: lookup tables, overlays, colour profiles, lines. read
// opens a range of the stream that was scanned. The data set must not be in use
// elsewhere. Longer ones than are reasonable are left where they are.
func Load(ds *dicom.Dataset, read func(dicom.Range) (io.ReadCloser, error)) error {
	left := int64(maxLoaded)
	return load(ds, read, &left)
}

func load(ds *dicom.Dataset, read func(dicom.Range) (io.ReadCloser, error), left *int64) error {
	for i := range ds.Elements {
		e := &ds.Elements[i]
		for _, item := range e.Items {
			if err := load(item, read, left); err != nil {
				return err
			}
		}
		if e.Bulk == nil || !needed(e.Tag) || e.Bulk.Length > maxLoadedOne || e.Bulk.Length > *left {
			continue
		}
		*left -= e.Bulk.Length
		rc, err := read(*e.Bulk)
		if err != nil {
			return err
		}
		value := make([]byte, e.Bulk.Length)
		_, err = io.ReadFull(rc, value)
		rc.Close()
		if err != nil {
			return pacs.Wrap(pacs.Internal, err, "A lookup table or overlay of the image can't be read.")
		}
		e.Value, e.Bulk = value, nil
	}
	return nil
}

// needed says whether a picture needs the attribute, however long it is.
func needed(tag dicom.Tag) bool {
	switch tag {
	case dicom.TagLUTData, dicom.TagICCProfile, dicom.TagGraphicData, dicom.TagVerticesOfThePolygonalShutter:
		return true
	}
	return tag >= dicom.TagRedPaletteColorLookupTableData && tag <= dicom.TagSegmentedAlphaPaletteColorLookupTableData ||
		tag >= 0x60000000 && tag <= 0x601EFFFF && tag.Element() == 0x3000
}
