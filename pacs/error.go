package pacs

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an Error is. Codes are machine readable and
// few; each adapter maps them once: pacs/web to an HTTP status, the DIMSE
// wiring to a DIMSE status.
type Code string

const (
	// Invalid: the caller sent something that can't be understood or accepted.
	// Repeating the same call fails again.
	Invalid Code = "invalid"
	// Unauthenticated: nobody is signed in, or the token is unknown or expired.
	Unauthenticated Code = "unauthenticated"
	// Forbidden: the caller is known but may not do this.
	Forbidden Code = "forbidden"
	// NotFound: the object does not exist, or lies outside the caller's Scope.
	// The two are indistinguishable on purpose.
	NotFound Code = "not_found"
	// Conflict: the object's state does not allow it: claimed by someone else,
	// already signed, edited in the meantime.
	Conflict Code = "conflict"
	// TooLarge: the input is over a limit that protects the service.
	TooLarge Code = "too_large"
	// Unsupported: understood, but this build or this object can't do it.
	Unsupported Code = "unsupported"
	// NotAcceptable: nothing that can be produced is among what the caller takes.
	NotAcceptable Code = "not_acceptable"
	// OutOfResources: disk or quota is full. The caller may repeat later.
	OutOfResources Code = "out_of_resources"
	// Unavailable: something this call needs is down. The caller may repeat later.
	Unavailable Code = "unavailable"
	// Internal: a defect or an unexpected failure; details are logged, not shown.
	Internal Code = "internal"
)

// Error is the one error type of the archive. Message is written for the
// person who made the call: what is wrong and what to do. Err, when set, is
// the cause; it is logged and never shown outside.
type Error struct {
	Code    Code
	Message string
	// Reason is a finer, stable word for programs that act on it, such as
	// claimed_by_other; the client API's document lists them. Mostly empty.
	Reason string
	// Who is the name of the other person, where Reason speaks of one.
	Who string
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error whose message stands alone and whose cause is err.
func Wrap(code Code, err error, message string) *Error {
	return &Error{Code: code, Message: message, Err: err}
}

// WithReason returns a copy of e that carries a reason and, where the reason
// speaks of somebody, their name.
func (e *Error) WithReason(reason, who string) *Error {
	copied := *e
	copied.Reason, copied.Who = reason, who
	return &copied
}

// ReasonOf returns the reason of the outermost Error in err's chain and the
// person it speaks of; both are mostly empty.
func ReasonOf(err error) (reason, who string) {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason, e.Who
	}
	return "", ""
}

// CodeOf returns the code of the outermost Error in err's chain, Internal for
// any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// MessageOf returns what may be shown to the caller. The text of an unknown or
// Internal error stays inside.
func MessageOf(err error) string {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) && e.Code != Internal {
		return e.Message
	}
	return "Something went wrong inside Tasvir. The details are in its log."
}
