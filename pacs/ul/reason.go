package ul

import (
	"errors"
	"fmt"
)

// Reject refuses an association: it is the A-ASSOCIATE-RJ PDU of PS3.8 Table
// 9-21 and the error a requestor gets from one.
type Reject struct {
	Result RejectResult
	Source RejectSource
	Reason RejectReason
}

type (
	// RejectResult is permanent (1) or transient (2).
	RejectResult byte
	// RejectSource says which layer refuses and so what Reason means.
	RejectSource byte
	// RejectReason is read together with RejectSource.
	RejectReason byte
)

const (
	RejectedPermanent RejectResult = 1
	RejectedTransient RejectResult = 2

	SourceUser         RejectSource = 1 // service-user
	SourceACSE         RejectSource = 2 // service-provider, ACSE related
	SourcePresentation RejectSource = 3 // service-provider, presentation related
)

// The refusals of PS3.8 Table 9-21 that this package and its users make.
var (
	RejectNoReason           = Reject{RejectedPermanent, SourceUser, 1}
	RejectApplicationContext = Reject{RejectedPermanent, SourceUser, 2}
	RejectCallingAE          = Reject{RejectedPermanent, SourceUser, 3}
	RejectCalledAE           = Reject{RejectedPermanent, SourceUser, 7}
	RejectProtocolVersion    = Reject{RejectedPermanent, SourceACSE, 2}
	RejectCongestion         = Reject{RejectedTransient, SourcePresentation, 1}
	RejectLocalLimit         = Reject{RejectedTransient, SourcePresentation, 2}
)

// rejectReasons is PS3.8 Table 9-21.
var rejectReasons = map[RejectSource]map[RejectReason]string{
	SourceUser: {
		1: "no reason given",
		2: "application context name not supported",
		3: "calling AE title not recognized",
		7: "called AE title not recognized",
	},
	SourceACSE: {
		1: "no reason given",
		2: "protocol version not supported",
	},
	SourcePresentation: {
		1: "temporary congestion",
		2: "local limit exceeded",
	},
}

func (rj *Reject) Error() string {
	result := "permanently"
	if rj.Result == RejectedTransient {
		result = "for now"
	}
	reason, ok := rejectReasons[rj.Source][rj.Reason]
	if !ok {
		reason = "reason unknown"
	}
	return fmt.Sprintf("association rejected %s: %s (%d/%d/%d)", result, reason, rj.Result, rj.Source, rj.Reason)
}

// Abort is the A-ABORT PDU of PS3.8 Table 9-26.
type Abort struct {
	Source AbortSource
	Reason AbortReason
}

type (
	// AbortSource is who aborts: the user of the upper layer or the layer itself.
	AbortSource byte
	// AbortReason is significant only for AbortedByProvider.
	AbortReason byte
)

const (
	AbortedByUser     AbortSource = 0
	AbortedByProvider AbortSource = 2

	ReasonNotSpecified          AbortReason = 0
	ReasonUnrecognizedPDU       AbortReason = 1
	ReasonUnexpectedPDU         AbortReason = 2
	ReasonUnrecognizedParameter AbortReason = 4
	ReasonUnexpectedParameter   AbortReason = 5
	ReasonInvalidParameter      AbortReason = 6
)

func (r AbortReason) String() string {
	switch r {
	case ReasonNotSpecified:
		return "reason not specified"
	case ReasonUnrecognizedPDU:
		return "unrecognized PDU"
	case ReasonUnexpectedPDU:
		return "unexpected PDU"
	case ReasonUnrecognizedParameter:
		return "unrecognized PDU parameter"
	case ReasonUnexpectedParameter:
		return "unexpected PDU parameter"
	case ReasonInvalidParameter:
		return "invalid PDU parameter value"
	}
	return fmt.Sprintf("reason %d", byte(r))
}

func (ab *Abort) String() string {
	if ab.Source == AbortedByUser {
		return "by the service-user"
	}
	return "by the service-provider: " + ab.Reason.String()
}

// ErrReleased is what reading returns after the peer released the association
// in good order.
var ErrReleased = errors.New("association released")

// ErrClosed is what reading and sending return after the connection went away
// without release or abort.
var ErrClosed = errors.New("connection closed by the peer without release")

// AbortError ends an association. Remote says which side aborted; Err, when
// set, is what made this side do it.
type AbortError struct {
	Abort  Abort
	Remote bool
	Err    error
}

func (e *AbortError) Error() string {
	who := "association aborted by this side"
	if e.Remote {
		who = "association aborted by the peer"
	}
	if e.Err != nil {
		return who + ": " + e.Err.Error()
	}
	return who + " (" + e.Abort.String() + ")"
}

func (e *AbortError) Unwrap() error { return e.Err }
