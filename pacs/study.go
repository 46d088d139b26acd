package pacs

import (
	"encoding/json"
	"time"
)

// Facility is a hospital or clinic: the owner of what its devices send.
type Facility struct {
	ID    int64
	Code  string // [A-Z0-9_-]{1,32}, stable, used in configuration
	Name  string
	TaxID string // STIR, for the national platform; may be empty
}

// Patient is a person as one facility knows them. Identity is (Issuer,
// PatientID) within the facility that sent the study: two hospitals' "12345"
// are two patients, whatever issuer the data sets name. PINFL links them.
type Patient struct {
	ID        int64
	Issuer    string // Issuer of Patient ID (0010,0021), or the facility's code
	PatientID string // (0010,0020)
	Name      string // (0010,0010) decoded, DICOM form: Family^Given^Middle
	Sex       string // (0010,0040): M, F, O or ""
	BirthDate string // (0010,0030) YYYYMMDD or ""
	PINFL     string // 14 digits or ""
	// Variant is not 0 when the ID belonged to somebody else before, going by
	// name, birth date, sex or PINFL. Such an ID identifies nobody outside.
	Variant int
}

// Study is a row of the index: PS3.3 C.7.2.1 and what the archive counted.
type Study struct {
	ID                 int64
	StudyInstanceUID   string
	Facility           Facility
	Patient            Patient
	Date               string // YYYYMMDD or ""
	Time               string // HHMMSS.ffffff as sent, or ""
	AccessionNumber    string
	StudyID            string
	Description        string
	ReferringPhysician string // DICOM PN form
	Question           string // reason for the study or the procedure
	Modalities         []string
	BodyParts          []string
	SeriesCount        int
	InstanceCount      int
	Bytes              int64
	ReceivedAt         time.Time // first instance indexed
	UpdatedAt          time.Time // last instance indexed
	CompletedAt        time.Time // zero while images still arrive
	// Availability is the worst of its instances, when StudyFilter asked for it.
	Availability Availability
	// Amendment is nil when the instances are served as they are kept.
	Amendment *Amendment
	// Attributes are further study-level attributes as DICOM JSON
	// (PS3.18 Annex F), for includefield.
	Attributes json.RawMessage
}

// Series is a row of the index.
type Series struct {
	ID                int64
	StudyID           int64
	StudyInstanceUID  string
	SeriesInstanceUID string
	Modality          string
	Number            *int
	Description       string
	BodyPart          string
	InstanceCount     int
	HasPixels         bool
	// Availability is the worst of its instances, when SeriesFilter asked for it.
	Availability Availability
	Attributes   json.RawMessage
}

// Instance is a row of the index and the place of its bytes.
type Instance struct {
	StudyID           int64
	SeriesID          int64
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPInstanceUID    string
	SOPClassUID       string
	TransferSyntaxUID string
	Number            *int
	Rows, Columns     int
	FrameCount        int // 0 when the instance has no pixel data
	SHA256            []byte
	Version           int // 1 for the first bytes received under this UID
	ReceivedAt        time.Time
	Location          Location
	Attributes        json.RawMessage // instance-level attributes for QIDO-RS
	// Charset is the sender's fallback for text whose declared character set is
	// absent or wrong; "" for the likeliest Cyrillic one.
	Charset string
	// Amendment is nil when the instance is served as it is kept. Location is
	// where the kept bytes are in either case.
	Amendment *Amendment
	// PixelsDeleted is set when a retention policy has deleted the pixel data.
	// SHA256, Location and FrameCount are then those of what is left.
	PixelsDeleted *PixelDeletion
	// Compressed is set when the archive has compressed the pixel data.
	// TransferSyntaxUID, SHA256 and Location are then those of what is kept.
	Compressed *Compression
}

// PixelDeletion says what became of an instance's pixel data.
type PixelDeletion struct {
	At     time.Time `json:"at"`
	Policy string    `json:"policy"` // the retention policy's name then
	// SHA256 of the data set as it was received, hexadecimal, by which it is
	// known again when it is sent anew.
	SHA256 string `json:"sha256"`
}

// Location is where an instance's bytes are: a stored (uncompressed) member
// of a pack in object storage.
type Location struct {
	PackID        int64
	PackKey       string
	Offset        int64 // of the member's first byte (the PS3.10 preamble) in the pack
	Length        int64 // of the PS3.10 file
	DatasetOffset int64 // of the data set, relative to Offset
	// PixelData describes (7FE0,0010) relative to Offset; nil without pixels.
	PixelData *PixelLocation
}

// PixelLocation says where the pixel data is within an instance.
type PixelLocation struct {
	Offset       int64 // of the value, relative to the PS3.10 file
	Length       int64 // of the value; -1 when encapsulated
	Encapsulated bool
	// Deflated: offsets are into the inflated data set; frames can't be read
	// by range.
	Deflated bool
	// FrameLength is the size of each frame in bytes when they follow one
	// another (native pixel data); 0 otherwise.
	FrameLength int64
	// Fragments, for encapsulated pixel data, holds per frame the byte ranges
	// of its fragments, when those are few (MaxFragments).
	Fragments [][]Range `json:",omitempty"`
	// Mapped is how many frames the FrameMap has that is kept for more of them.
	// When there are neither Fragments nor a map, frames can't be told apart.
	Mapped int `json:",omitempty"`
	// FrameMap is set on the way into the index only; there it is kept by
	// itself, for who asks for frames (index.FrameMap).
	FrameMap FrameMap `json:",omitempty"`
}

// MaxFragments is how many fragments PixelLocation holds itself.
const MaxFragments = 8

// SetFrames notes where the frames of encapsulated pixel data are.
func (p *PixelLocation) SetFrames(frames [][]Range) {
	p.Fragments, p.Mapped, p.FrameMap = nil, 0, nil
	fragments := 0
	for _, f := range frames {
		fragments += len(f)
	}
	if len(frames) <= MaxFragments && fragments <= MaxFragments {
		p.Fragments = frames
		return
	}
	p.FrameMap = NewFrameMap(frames)
	p.Mapped = p.FrameMap.Frames()
}

// Range is a run of bytes.
type Range struct{ Offset, Length int64 }
