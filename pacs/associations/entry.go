package associations

import (
	"cmp"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Direction says who opened an association.
type Direction string

const (
	In  Direction = "in"
	Out Direction = "out"
)

// Outcome is how an association ended.
type Outcome string

const (
	Released      Outcome = "released"
	AbortedByPeer Outcome = "aborted_by_peer"
	AbortedByUs   Outcome = "aborted_by_us"
	Closed        Outcome = "closed"   // the connection went away
	TimedOut      Outcome = "timeout"  // the peer was silent
	Rejected      Outcome = "rejected" // by whoever was asked
	Failed        Outcome = "failed"   // there was no association
)

// Outcomes lists all outcomes.
var Outcomes = []Outcome{Released, AbortedByPeer, AbortedByUs, Closed, TimedOut, Rejected, Failed}

// Entry is one association, or attempt at one.
type Entry struct {
	ID              string // set by the database
	Began           time.Time
	Duration        time.Duration
	Direction       Direction
	Calling, Called string
	Address         string // of the other side
	Facility        string // code, of the other side; "" when it was not known
	Outcome         Outcome
	// Code is a rejection's: called_ae_title, calling_ae_title, limit, or "".
	Code   string
	Reason string // in English
	Times  int    // how many alike refusals this stands for; mostly 1
	// Instances were stored by us, or by the other side when we sent them.
	Instances, Failed int
	Bytes             int64
	Detail            Detail
}

// Detail is what is shown of one entry only.
type Detail struct {
	TLSVersion, TLSSubject string
	// User is the user name that was presented, or the kind of another identity;
	// never a secret.
	User     string
	Software string
	MaxPDU   uint32 // the longest P-DATA that the other side takes
	Contexts []Context
	Messages map[string]int // requests, by command
}

// Context is a presentation context as it was proposed and answered.
type Context struct {
	AbstractSyntax, Name string
	Proposed             []string // transfer syntaxes
	Accepted             string   // the one chosen; "" when the context was refused
	Result               string   // why it was refused
	// SCP says that the side that opened the association serves it.
	SCP bool
}

func (e *Entry) peer() string {
	if e.Direction == In {
		return e.Calling
	}
	return e.Called
}

// Bounds of what a hostile peer can have us keep.
const (
	maxText     = 200
	maxSyntaxes = 12 // of a context
)

func clip(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "�")
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

func clipAll(list []string) []string {
	kept := make([]string, 0, min(len(list), maxSyntaxes))
	for _, s := range list[:min(len(list), maxSyntaxes)] {
		kept = append(kept, clip(s))
	}
	return kept
}

func (d *Detail) tls(state *tls.ConnectionState) {
	if state == nil {
		return
	}
	d.TLSVersion = tls.VersionName(state.Version)
	if len(state.PeerCertificates) > 0 {
		d.TLSSubject = clip(state.PeerCertificates[0].Subject.String())
	}
}

func (d *Detail) user(u ul.UserInformation) {
	d.Software = clip(cmp.Or(u.ImplementationVersion, u.ImplementationClassUID))
	d.MaxPDU = u.MaxPDU
	if u.Identity == nil {
		return
	}
	switch u.Identity.Type {
	case ul.IdentityUsername, ul.IdentityUsernamePasscode:
		d.User = clip(string(u.Identity.Primary))
	case ul.IdentityKerberos:
		d.User = "Kerberos"
	case ul.IdentitySAML:
		d.User = "SAML"
	case ul.IdentityJWT:
		d.User = "JWT"
	}
}

func contextOf(p ul.ProposedContext) Context {
	return Context{AbstractSyntax: clip(p.AbstractSyntax), Name: dicom.SOPClassName(p.AbstractSyntax), Proposed: clipAll(p.TransferSyntaxes)}
}

// ending says how an association ended from the error that ended it.
func (e *Entry) ending(err error) {
	var rj *ul.Reject
	var ab *ul.AbortError
	switch {
	case err == nil, errors.Is(err, ul.ErrReleased):
		e.Outcome = Released
		return
	case errors.As(err, &rj):
		e.Outcome, e.Code = Rejected, rejectCode(*rj)
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Outcome = TimedOut
	case errors.As(err, &ab) && ab.Remote:
		e.Outcome = AbortedByPeer
	case errors.As(err, &ab):
		e.Outcome = AbortedByUs
	default:
		e.Outcome = Closed
	}
	e.Reason = clip(err.Error())
}

func rejectCode(rj ul.Reject) string {
	switch rj {
	case ul.RejectCalledAE:
		return "called_ae_title"
	case ul.RejectCallingAE:
		return "calling_ae_title"
	case ul.RejectLocalLimit, ul.RejectCongestion:
		return "limit"
	}
	return ""
}
