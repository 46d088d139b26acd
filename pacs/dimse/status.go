package dimse

import "fmt"

// Code is a status code: element (0000,0900).
type Code uint16

// Category is what a status means for the sender. PS3.7 Annex C.
type Category byte

const (
	CategorySuccess Category = iota
	CategoryWarning
	CategoryFailure
	CategoryCancel
	CategoryPending
)

func (c Category) String() string {
	return [...]string{"success", "warning", "failure", "cancel", "pending"}[c]
}

// Status is the outcome of an operation.
type Status struct {
	Code Code
	// Comment goes out as Error Comment (0000,0902) with anything but success:
	// what is wrong, in at most 64 ASCII characters. Longer ones are cut.
	Comment string
	// Offending goes out as Offending Element (0000,0901).
	Offending []uint32
	// ErrorID goes out as Error ID (0000,0903), unless 0: a service's own word
	// for what is wrong.
	ErrorID uint16
}

// Status codes of any service. PS3.7 Annex C.
const (
	Success                Code = 0x0000
	Cancelled              Code = 0xFE00
	Pending                Code = 0xFF00
	PendingWarning         Code = 0xFF01
	InvalidAttributeValue  Code = 0x0106
	ProcessingFailure      Code = 0x0110
	DuplicateInstance      Code = 0x0111
	NoSuchInstance         Code = 0x0112
	InvalidInstance        Code = 0x0117
	NoSuchSOPClass         Code = 0x0118
	ClassInstanceConflict  Code = 0x0119
	MissingAttribute       Code = 0x0120
	MissingAttributeValue  Code = 0x0121
	SOPClassNotSupported   Code = 0x0122
	NoSuchAction           Code = 0x0123
	NotAuthorized          Code = 0x0124
	DuplicateInvocation    Code = 0x0210
	UnrecognizedOperation  Code = 0x0211
	MistypedArgument       Code = 0x0212
	ResourceLimitation     Code = 0x0213
	AttributeListError     Code = 0x0107
	AttributeValueOutRange Code = 0x0116
)

// Status codes of the storage service class. PS3.4 Table B.2-1.
const (
	// OutOfResources: disk or quota is full; the sender may repeat later.
	OutOfResources Code = 0xA700
	// DataSetMismatch: the data set does not match the SOP class.
	DataSetMismatch Code = 0xA900
	// CannotUnderstand: the data set can't be parsed; repeating won't help.
	CannotUnderstand Code = 0xC000
	// CoercionOfDataElements and the other warnings: stored all the same.
	CoercionOfDataElements   Code = 0xB000
	DataSetMismatchWarning   Code = 0xB007
	ElementsDiscardedWarning Code = 0xB006
)

// Status codes of query and retrieval. PS3.4 Tables C.4-1, C.4-2 and C.4-3. A900H
// is DataSetMismatch there, too, and FF01H PendingWarning.
const (
	// FindOutOfResources: the query can't be done now.
	FindOutOfResources Code = 0xA700
	// NoMatchCount: the number of matches can't be found out.
	NoMatchCount Code = 0xA701
	// NoSuboperations: the sub-operations can't be done.
	NoSuboperations Code = 0xA702
	// MoveDestinationUnknown: no such AE title is known here.
	MoveDestinationUnknown Code = 0xA801
	// SomeSuboperationsFailed: done, but for one or more failures or warnings.
	SomeSuboperationsFailed Code = 0xB000
	// UnableToProcess: repeating it won't help.
	UnableToProcess Code = 0xC000
)

type statusRange struct {
	first, last Code
	category    Category
	text        string
}

// generalStatuses is PS3.7 Annex C.
var generalStatuses = []statusRange{
	{0x0000, 0x0000, CategorySuccess, "success"},
	{0x0001, 0x0001, CategoryWarning, "requested optional attributes are not supported"},
	{0x0105, 0x0105, CategoryFailure, "no such attribute"},
	{0x0106, 0x0106, CategoryFailure, "invalid attribute value"},
	{0x0107, 0x0107, CategoryWarning, "attribute list error"},
	{0x0110, 0x0110, CategoryFailure, "processing failure"},
	{0x0111, 0x0111, CategoryFailure, "duplicate SOP instance"},
	{0x0112, 0x0112, CategoryFailure, "no such SOP instance"},
	{0x0113, 0x0113, CategoryFailure, "no such event type"},
	{0x0114, 0x0114, CategoryFailure, "no such argument"},
	{0x0115, 0x0115, CategoryFailure, "invalid argument value"},
	{0x0116, 0x0116, CategoryWarning, "attribute value out of range"},
	{0x0117, 0x0117, CategoryFailure, "invalid SOP instance"},
	{0x0118, 0x0118, CategoryFailure, "no such SOP class"},
	{0x0119, 0x0119, CategoryFailure, "class-instance conflict"},
	{0x0120, 0x0120, CategoryFailure, "missing attribute"},
	{0x0121, 0x0121, CategoryFailure, "missing attribute value"},
	{0x0122, 0x0122, CategoryFailure, "SOP class not supported"},
	{0x0123, 0x0123, CategoryFailure, "no such action"},
	{0x0124, 0x0124, CategoryFailure, "not authorized"},
	{0x0210, 0x0210, CategoryFailure, "duplicate invocation"},
	{0x0211, 0x0211, CategoryFailure, "unrecognized operation"},
	{0x0212, 0x0212, CategoryFailure, "mistyped argument"},
	{0x0213, 0x0213, CategoryFailure, "resource limitation"},
	{0xFE00, 0xFE00, CategoryCancel, "canceled"},
	{0xFF00, 0xFF01, CategoryPending, "pending"},
}

// storageStatuses is PS3.4 Table B.2-1.
var storageStatuses = []statusRange{
	{0xA700, 0xA7FF, CategoryFailure, "refused: out of resources"},
	{0xA900, 0xA9FF, CategoryFailure, "data set does not match SOP class"},
	{0xC000, 0xCFFF, CategoryFailure, "cannot understand"},
	{0xB000, 0xB000, CategoryWarning, "coercion of data elements"},
	{0xB006, 0xB006, CategoryWarning, "elements discarded"},
	{0xB007, 0xB007, CategoryWarning, "data set does not match SOP class (stored)"},
}

// serviceStatuses are the tables of single operations, which come before the
// others: the same code can mean different things.
var serviceStatuses = map[Field][]statusRange{
	// PS3.4 Table C.4-1, and K.4-1 for the modality worklist.
	CFindRQ: {
		{0xA700, 0xA700, CategoryFailure, "refused: out of resources"},
		{0xA900, 0xA900, CategoryFailure, "identifier does not match SOP class"},
		{0xC000, 0xCFFF, CategoryFailure, "unable to process"},
		{0xFE00, 0xFE00, CategoryCancel, "matching ended by a cancel request"},
		{0xFF00, 0xFF00, CategoryPending, "matches are continuing"},
		{0xFF01, 0xFF01, CategoryPending, "matches are continuing; optional keys were not supported"},
	},
	// PS3.4 Table C.4-2.
	CMoveRQ: {
		{0xA701, 0xA701, CategoryFailure, "refused: unable to calculate number of matches"},
		{0xA702, 0xA702, CategoryFailure, "refused: unable to perform sub-operations"},
		{0xA801, 0xA801, CategoryFailure, "refused: move destination unknown"},
		{0xA900, 0xA900, CategoryFailure, "identifier does not match SOP class"},
		{0xC000, 0xCFFF, CategoryFailure, "unable to process"},
		{0xFE00, 0xFE00, CategoryCancel, "sub-operations ended by a cancel request"},
		{0xFF00, 0xFF00, CategoryPending, "sub-operations are continuing"},
		{0xB000, 0xB000, CategoryWarning, "sub-operations complete, one or more failures or warnings"},
	},
	// PS3.4 Table C.4-3.
	CGetRQ: {
		{0xA701, 0xA701, CategoryFailure, "refused: unable to calculate number of matches"},
		{0xA702, 0xA702, CategoryFailure, "refused: unable to perform sub-operations"},
		{0xA900, 0xA900, CategoryFailure, "identifier does not match SOP class"},
		{0xC000, 0xCFFF, CategoryFailure, "unable to process"},
		{0xFE00, 0xFE00, CategoryCancel, "sub-operations ended by a cancel request"},
		{0xFF00, 0xFF00, CategoryPending, "sub-operations are continuing"},
		{0xB000, 0xB000, CategoryWarning, "sub-operations complete, one or more failures or warnings"},
	},
	// The unified procedure step: PS3.4 Tables CC.2.1-2, CC.2.2-2, CC.2.3-3,
	// CC.2.5-4, CC.2.6-1 and CC.2.7-1. No other service has codes of its own for
	// these operations here.
	NActionRQ: {
		{0xB301, 0xB301, CategoryWarning, "deletion lock not granted"},
		{0xB304, 0xB304, CategoryWarning, "the step is CANCELED already"},
		{0xB306, 0xB306, CategoryWarning, "the step is COMPLETED already"},
		{0xC300, 0xC300, CategoryFailure, "the step may no longer be updated"},
		{0xC301, 0xC301, CategoryFailure, "the correct Transaction UID was not provided"},
		{0xC302, 0xC302, CategoryFailure, "the step is IN PROGRESS already"},
		{0xC303, 0xC303, CategoryFailure, "a step becomes SCHEDULED by N-CREATE only"},
		{0xC304, 0xC304, CategoryFailure, "the step has not met the final state requirements"},
		{0xC307, 0xC307, CategoryFailure, "no such step"},
		{0xC308, 0xC308, CategoryFailure, "the receiving AE title is unknown"},
		{0xC310, 0xC310, CategoryFailure, "the step is not yet IN PROGRESS"},
		{0xC311, 0xC311, CategoryFailure, "the step is COMPLETED already"},
		{0xC312, 0xC312, CategoryFailure, "the performer can't be contacted"},
		{0xC313, 0xC313, CategoryFailure, "the performer chooses not to cancel"},
		{0xC314, 0xC314, CategoryFailure, "the action is not appropriate for the instance"},
		{0xC315, 0xC315, CategoryFailure, "event reports are not supported"},
	},
	NCreateRQ: {
		{0xB300, 0xB300, CategoryWarning, "the step was created with modifications"},
		{0xC309, 0xC309, CategoryFailure, "the state of the step was not SCHEDULED"},
	},
	NSetRQ: {
		{0xB305, 0xB305, CategoryWarning, "invalid values were coerced to valid ones"},
		{0xC300, 0xC300, CategoryFailure, "the step may no longer be updated"},
		{0xC301, 0xC301, CategoryFailure, "the correct Transaction UID was not provided"},
		{0xC303, 0xC303, CategoryFailure, "a step becomes SCHEDULED by N-CREATE only"},
		{0xC307, 0xC307, CategoryFailure, "no such step"},
		{0xC310, 0xC310, CategoryFailure, "the step is not IN PROGRESS"},
	},
	NGetRQ: {
		{0xC307, 0xC307, CategoryFailure, "no such step"},
	},
}

// Of says what the code means in answer to this operation.
func (c Code) Of(f Field) string {
	for _, r := range serviceStatuses[f&^responseBit] {
		if r.first <= c && c <= r.last {
			return fmt.Sprintf("%04XH %s", uint16(c), r.text)
		}
	}
	return c.String()
}

// ranges is PS3.7 Annex C: what a code means that no table lists.
var ranges = []statusRange{
	{0xA000, 0xAFFF, CategoryFailure, "failure"},
	{0xB000, 0xBFFF, CategoryWarning, "warning"},
	{0xC000, 0xCFFF, CategoryFailure, "failure"},
	{0x0100, 0x01FF, CategoryFailure, "failure"},
	{0x0200, 0x02FF, CategoryFailure, "failure"},
}

func (c Code) lookup() statusRange {
	for _, table := range [][]statusRange{generalStatuses, storageStatuses, ranges} {
		for _, r := range table {
			if r.first <= c && c <= r.last {
				return r
			}
		}
	}
	return statusRange{category: CategoryFailure, text: "unknown status"}
}

// Category says what the code means; unknown codes are failures.
func (c Code) Category() Category { return c.lookup().category }

func (c Code) String() string { return fmt.Sprintf("%04XH %s", uint16(c), c.lookup().text) }

// OK says whether the operation was done: success or warning.
func (s Status) OK() bool {
	c := s.Code.Category()
	return c == CategorySuccess || c == CategoryWarning
}

func (s Status) String() string {
	if s.Comment != "" {
		return s.Code.String() + ": " + s.Comment
	}
	return s.Code.String()
}

// Statusf makes a Status with a comment.
func Statusf(code Code, format string, args ...any) Status {
	return Status{Code: code, Comment: fmt.Sprintf(format, args...)}
}

// statusOf reads the status of a response.
func statusOf(c Command) (Status, bool) {
	code, ok := c.Uint16(StatusElement)
	id, _ := c.Uint16(ErrorID)
	return Status{Code: Code(code), Comment: c.Text(ErrorComment), Offending: c.Tags(OffendingElement), ErrorID: id}, ok
}
