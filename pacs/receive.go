package pacs

import (
	"context"
	"io"
	"time"
)

// Channel says by which door an instance came in.
type Channel string

const (
	ChannelDIMSE  Channel = "dimse"  // C-STORE, PS3.4 Annex B
	ChannelSTOW   Channel = "stow"   // STOW-RS, PS3.18 10.5
	ChannelImport Channel = "import" // files, PS3.10
	ChannelReport Channel = "report" // made by this archive
)

// Unassigned is the code of the facility that owns what an unknown sender
// sent while the archive was told to accept and park it.
const Unassigned = "UNASSIGNED"

// Incoming is one instance on its way in.
type Incoming struct {
	// Data is the instance, read once, to its end. With TransferSyntaxUID set
	// it is a bare data set as in C-STORE; otherwise a PS3.10 file.
	Data io.Reader
	// TransferSyntaxUID, SOPClassUID and SOPInstanceUID are what the C-STORE
	// request and its presentation context say. All empty for a PS3.10 file.
	TransferSyntaxUID string
	SOPClassUID       string
	SOPInstanceUID    string

	Channel  Channel
	Facility string // code of the facility the sender is bound to
	Sender   string // calling AE title, token name or user
	Remote   string // network address, for the record
	// Charset is the sender's fallback for text whose declared character set
	// is absent or evidently wrong (dicom.DecodeText); "" lets windows-1251,
	// cp866 and KOI8-R be recognised.
	Charset string
	// StudyInstanceUID, when set, is the only study the instance may belong
	// to (STOW-RS to a study's address).
	StudyInstanceUID string
	// Correction is an administrator's, with what comes from quarantine.
	Correction *Correction
}

// Receipt says what was received. The UIDs of an unfit data set are those that
// could be read and are UIDs, "" otherwise.
type Receipt struct {
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPInstanceUID    string
	SOPClassUID       string
	TransferSyntaxUID string
	Bytes             int64 // length of the PS3.10 file as kept
	ReceivedAt        time.Time
	// Unfit says why the data set goes to quarantine; "" for a sound one.
	Unfit QuarantineReason
	// Problem says the same in words, for the sender.
	Problem string
}

// Receiver takes instances in. C-STORE, STOW-RS, file import and the archive's
// own reports all come through it.
//
// When Receive returns nil the instance is durable on this node: it survives
// the loss of power, and will be published even if the database and the object
// store are down at this moment. That holds for everything that is a DICOM data
// set: one that can't be indexed (its mandatory UIDs are missing or bad, its
// header breaks off or is over a limit, its transfer syntax can't be read, it
// is another instance than the request says) is kept as it came, with
// Receipt.Unfit, and goes to quarantine where an administrator sees it.
//
// On any error nothing is kept and the sender must be told so:
//
//	Invalid         no DICOM data set at all (ReasonNotDICOM), of another study
//	                than the address it was sent to (ReasonOtherStudy), or the
//	                sender broke off before the end
//	OutOfResources  the disk or the quarantine is full
//	Unavailable     the archive is shutting down
type Receiver interface {
	Receive(ctx context.Context, in Incoming) (Receipt, error)
}

// Reasons of Receive's errors with code Invalid.
const (
	ReasonNotDICOM   = "not_dicom"
	ReasonOtherStudy = "other_study"
)
