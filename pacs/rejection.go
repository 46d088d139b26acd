package pacs

import "time"

// RejectionReason is why instances are not to be shown: the code of the title of
// a rejection note, PS3.16 CID 7011, IHE RAD TF-3 4.66.4.1.3.
type RejectionReason string

const (
	RejectedForQuality       RejectionReason = "113001" // of no use, and no danger: who may reject may look at them
	RejectedForPatientSafety RejectionReason = "113037"
	IncorrectWorklistEntry   RejectionReason = "113038"
	RetentionExpired         RejectionReason = "113039" // what is sent again later is shown
	// RejectionRevoked is the title, with RevocationScheme, of a note that takes
	// earlier ones back. The standard has none.
	RejectionRevoked RejectionReason = "REJECTION_REVOKED"
)

// RevocationScheme is the coding scheme of RejectionRevoked.
const RevocationScheme = "99TASVIR"

// rejectionMeanings are the code meanings of PS3.16 annex D.
var rejectionMeanings = map[RejectionReason]string{
	RejectedForQuality:       "Rejected for Quality Reasons",
	RejectedForPatientSafety: "Rejected for Patient Safety Reasons",
	IncorrectWorklistEntry:   "Incorrect Modality Worklist Entry",
	RetentionExpired:         "Data Retention Policy Expired",
	RejectionRevoked:         "Rejection revoked",
}

// Meaning is the code meaning of the reason, "" for what is none.
func (r RejectionReason) Meaning() string { return rejectionMeanings[r] }

// RejectionTitle tells by the code of a Key Object Selection's title whether it
// is a rejection note.
func RejectionTitle(code, scheme string) (RejectionReason, bool) {
	r := RejectionReason(code)
	switch r {
	case RejectedForQuality, RejectedForPatientSafety, IncorrectWorklistEntry, RetentionExpired:
		return r, scheme == "DCM"
	case RejectionRevoked:
		return r, scheme == RevocationScheme
	}
	return "", false
}

// RejectedInstance is an instance that is kept and not shown.
type RejectedInstance struct {
	SeriesInstanceUID string
	Modality          string
	SeriesDescription string
	SOPInstanceUID    string
	SOPClassUID       string
	Number            int // Instance Number, 0 for none
	Version           int
	Reason            RejectionReason
	NoteUID           string // SOP Instance UID of the note
	NotedAt           time.Time
	Sender            string // of the note
}

// RejectedStudy is a study of which instances are not shown, or nothing is.
type RejectedStudy struct {
	Study
	Rejected int       // current instances that are hidden
	NotedAt  time.Time // when the last note came
}
