package pacs

// QuarantineReason says why a data set is kept and not archived. An
// administrator reads it, and decides by it what to do.
type QuarantineReason string

// What Receive finds out: the data set is DICOM, is safe, and can't be
// published as it stands (Receipt.Unfit).
const (
	// MissingUID: no Study, Series or SOP Instance UID, or no SOP Class UID.
	MissingUID QuarantineReason = "missing_uid"
	// BadUID: one of them is none (PS3.5 9.1).
	BadUID QuarantineReason = "bad_uid"
	// BrokenHeader: the sender has finished, yet the data set breaks off or
	// can't be read to its end.
	BrokenHeader QuarantineReason = "broken_header"
	// TooManyElements: over a limit that protects the archive: nesting, number
	// of elements, bytes of the header.
	TooManyElements QuarantineReason = "too_large"
	// Mismatch: another SOP Instance or Class than the C-STORE request named.
	Mismatch QuarantineReason = "mismatch"
	// Unfit: the index can't hold it, or its transfer syntax is none that data
	// sets are written in.
	Unfit QuarantineReason = "unfit"
)

// What the publisher finds out, which knows the index.
const (
	// OtherPatient: the Study Instance UID already belongs to somebody else.
	OtherPatient QuarantineReason = "other_patient"
	// OtherFacility: the study belongs to another facility.
	OtherFacility QuarantineReason = "other_facility"
	// Damaged: the bytes are not those that were received; the journal's disk
	// has changed them.
	Damaged QuarantineReason = "damaged"
)
