package dicom

import "fmt"

// Header is what Scan keeps of an instance.
type Header struct {
	// Meta is the File Meta Information (group 2); nil for a bare data set.
	Meta *Dataset
	// TransferSyntax is the one the data set is really encoded in: what
	// ScanOptions or the Meta information declare, unless the data set shows
	// that they are wrong or silent. It is what the frames are encoded in.
	TransferSyntax string
	// Declared is the transfer syntax that was declared, "" when none was.
	Declared string
	// Dataset holds the attributes of the instance.
	Dataset *Dataset
	// DatasetOffset is where the data set begins in the stream: 0 for a bare
	// data set, behind the meta information for a file.
	DatasetOffset int64
	// Length is the number of bytes in the stream, up to EOF.
	Length int64
	// Deflated says that the data set was inflated on the way. All ranges
	// then count from the start of the inflated data set, not of the stream.
	Deflated bool
	// PixelData describes the pixel data, nil when there is none.
	PixelData *PixelData
	// PixelGroup is where group 7FE0 begins, 0 when there is none. Nothing that
	// describes the instance comes behind it.
	PixelGroup int64

	recognised bool
}

// Recognised says whether the stream is a DICOM data set, complete or not: at
// least one standard attribute was read to its end. Of something else (a PDF, a
// text, zeros) no element makes sense.
func (h *Header) Recognised() bool { return h.recognised }

// PixelData says where the pixels of an instance are.
type PixelData struct {
	Tag Tag // (7FE0,0010), (7FE0,0008) float or (7FE0,0009) double float
	VR  VR
	// Offset and Length describe the value of native pixel data. For
	// encapsulated pixel data Offset is where the first item begins and
	// Length is -1.
	Offset, Length   int64
	Encapsulated     bool
	BasicOffsetTable []uint32
	// Fragments are the values of the fragments, without their item headers
	// and without the offset table.
	Fragments []Range
	begins    []bool // per fragment: a compressed stream begins with it
}

// ErrorKind says what is wrong with a stream.
type ErrorKind uint8

const (
	// Truncated: the stream ended where more bytes were announced or needed.
	Truncated ErrorKind = iota + 1
	// NotDICOM: this is no DICOM file and no data set that can be recognised.
	NotDICOM
	// TooDeep: sequences are nested deeper than ScanOptions.MaxDepth.
	TooDeep
	// TooLarge: the header is over ScanOptions.MaxHeader or MaxElements, or a
	// deflated data set over MaxInflated.
	TooLarge
	// Malformed: the bytes can't be read as a data set.
	Malformed
	// UnsupportedSyntax: the transfer syntax isn't one of data sets (XML, MIME),
	// or its UID isn't a UID.
	UnsupportedSyntax
)

var errorKindNames = [...]string{"", "truncated", "not DICOM", "nested too deep", "too large", "malformed", "unsupported transfer syntax"}

func (k ErrorKind) String() string {
	if int(k) < len(errorKindNames) {
		return errorKindNames[k]
	}
	return fmt.Sprintf("ErrorKind(%d)", uint8(k))
}

// ScanError is the error of Scan for anything that is wrong with the bytes.
// Failures of the reader itself are returned as they are.
type ScanError struct {
	Kind   ErrorKind
	Tag    Tag   // the element being read, 0 when outside of one
	Offset int64 // where in the stream (in the inflated data set if deflated)
	Msg    string
}

func (e *ScanError) Error() string {
	if e.Tag == 0 {
		return fmt.Sprintf("dicom: %s at byte %d: %s", e.Kind, e.Offset, e.Msg)
	}
	return fmt.Sprintf("dicom: %s at byte %d in (%04X,%04X): %s", e.Kind, e.Offset, e.Tag.Group(), e.Tag.Element(), e.Msg)
}
