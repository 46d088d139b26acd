package pacs

// StudyFilter asks for studies. QIDO-RS, C-FIND, the worklist and the client's
// lists all speak it. Empty fields match everything.
//
// Text fields with Wildcards take * and ? as PS3.4 C.2.2.2.4 says. Lists match
// any of their members. Name matching adds what sounds or is spelled alike in
// the other script when Fuzzy is set; it never hides an exact match.
type StudyFilter struct {
	StudyInstanceUIDs []string
	PatientID         string // wildcards
	Issuer            string
	PatientName       string // wildcards
	Fuzzy             bool   // fold scripts, case and apostrophes in PatientName
	BirthDate         DateRange
	Sex               string
	PINFL             string
	AccessionNumber   string // wildcards
	StudyID           string // wildcards
	Description       string // wildcards
	Referring         string // wildcards
	Date              DateRange
	Time              DateRange // HHMMSS
	// Moment is a range of YYYYMMDDHHMMSS.FFFFFF over date and time together; see
	// CombineRanges.
	Moment     DateRange
	Modalities []string // any series of the study has one of these
	// AllModalities asks for series of each of Modalities, not of any.
	AllModalities bool
	Facility      string // code
	// Text is free text: part of a name in any script, a patient ID or an
	// accession number.
	Text string
	// Attributes match by what Study.Attributes holds.
	Attributes []AttributeKey
	// Without are attributes of study and patient, by tag, that have no value or are
	// absent (PS3.4 C.2.2.2.7): those with a field of their own here.
	Without []string
	// PatientRowID restricts to one patient and those linked to them by PINFL.
	PatientRowID int64
	// ExcludeStudyInstanceUID leaves one study out (for priors).
	ExcludeStudyInstanceUID string
	// Sort is the order of the list; "" is ByDate.
	Sort StudyOrder
	// Availability asks for Study.Availability to be filled in, too.
	Availability bool

	Page
}

// StudyOrder is how a list of studies is sorted.
type StudyOrder string

const (
	ByDate     StudyOrder = ""         // newest study date first, then as received
	ByReceived StudyOrder = "received" // received last first
	ByName     StudyOrder = "name"     // patient's name, by the Uzbek alphabet
)

// SeriesFilter asks for series, within studies that match Study.
type SeriesFilter struct {
	Study              StudyFilter
	SeriesInstanceUIDs []string
	Modality           string // wildcards
	Modalities         []string
	Number             *int
	Description        string // wildcards
	BodyPart           string // wildcards
	// Attributes match by what Series.Attributes holds.
	Attributes []AttributeKey
	Without    []string // as in StudyFilter, of series
	// Availability asks for Series.Availability to be filled in, too.
	Availability bool
	Page
}

// InstanceFilter asks for instances (current versions), within series that
// match Series.
type InstanceFilter struct {
	Series          SeriesFilter
	SOPInstanceUIDs []string
	SOPClassUIDs    []string
	Number          *int
	// Attributes match by what Instance.Attributes holds.
	Attributes []AttributeKey
	Without    []string // as in StudyFilter, of instances
	// Notes finds rejection notes in place of what is shown, also in a study of
	// which nothing is.
	Notes bool
	Page
}

// AttributeKey matches by an attribute that has no column of its own: one of its
// values lies in Range, or is one of Values, or, for a sequence, one of its items
// matches all keys of Item (PS3.4 C.2.2.2.6). Such keys narrow a search that
// others have made short; no database index helps them.
type AttributeKey struct {
	Tag    string // eight hexadecimal digits
	VR     string
	Values []string // wildcards
	// All asks that each of Values is there, in any order (PS3.4 C.2.2.2.8).
	All   bool
	Range DateRange
	Item  []AttributeKey
	// Empty matches when there is no value, and nothing else (PS3.4 C.2.2.2.7).
	Empty bool
}

// DateRange is an inclusive range of DICOM dates or times; either end may be
// empty. A single value has both ends equal.
type DateRange struct{ From, To string }

// Empty reports whether the range matches everything.
func (r DateRange) Empty() bool { return r.From == "" && r.To == "" }

// Page limits a result. After is the cursor a previous page gave; with it
// Offset is ignored.
type Page struct {
	Limit  int
	Offset int
	After  string
}
