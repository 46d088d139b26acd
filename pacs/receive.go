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
	// is absent or evidently wrong; "" for none.
	Charset string
	// StudyInstanceUID, when set, is the only study the instance may belong
	// to (STOW-RS to a study's address).
	StudyInstanceUID string
}

// Receipt says what was received.
type Receipt struct {
	StudyInstanceUID  string
	SeriesInstanceUID string
	SOPInstanceUID    string
	SOPClassUID       string
	TransferSyntaxUID string
	Bytes             int64 // length of the PS3.10 file as kept
	ReceivedAt        time.Time
}

// Receiver takes instances in. C-STORE, STOW-RS, file import and the archive's
// own reports all come through it.
//
// When Receive returns nil the instance is durable on this node: it survives
// the loss of power, and will be published even if the database and the object
// store are down at this moment. On any error nothing is kept and the sender
// must be told so:
//
//	Invalid         not a DICOM data set, truncated, or without what an index needs
//	Unsupported     a transfer syntax that can't be read
//	TooLarge        over a limit (nesting, header size)
//	OutOfResources  the disk is full
//	Unavailable     the archive is shutting down
type Receiver interface {
	Receive(ctx context.Context, in Incoming) (Receipt, error)
}
