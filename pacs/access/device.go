package access

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Device is a remote application entity: an AE title bound to a facility, with
// what it may ask of the archive and where the archive finds it.
type Device struct {
	AETitle      string
	FacilityCode string
	FacilityID   int64 // row of the facility; set by the database
	Description  string

	// Host and Port are where it answers; "" and 0 for one we never call.
	Host string
	Port int

	// Services are what it may ask of us, in the order of Services. Nil stands
	// for DefaultServices when it is added; an empty list allows nothing.
	Services []Service
	// Destination says that images may be sent to it: by C-MOVE and by
	// forwarding. It needs an address.
	Destination bool
	// Notify says that it is told when instances of its facility's studies, or of
	// all with AllFacilities, become available and when that changes (instance
	// availability notification). It needs an address.
	Notify bool
	// AllFacilities lets it query and retrieve the whole archive instead of its
	// own facility's studies: a national viewer.
	AllFacilities bool

	// TransferSyntaxes are the UIDs it takes images in; empty: what negotiation
	// finds.
	TransferSyntaxes []string
	// Charset is the fallback for text whose declared character set is absent
	// or evidently wrong; "" for none.
	Charset string
	// AnswerCharset is the character set of what we answer it with, one of
	// AnswerCharsets; "" for UTF-8 (ISO_IR 192), and in the modality worklist
	// for what the request declares, or else ASCII.
	AnswerCharset string

	// TLS says that it is talked to over TLS only, in both directions.
	TLS bool
	// TLSServerName is the name its certificate must have when we call it; ""
	// for Host.
	TLSServerName string
	// Certificate, when set, binds the AE title to a certificate in both
	// directions: "sha256:" and 64 hexadecimal digits, the fingerprint of the
	// certificate, which then needs no authority; or its subject, such as
	// "CN=CT1,O=Hospital", of a certificate that is trusted.
	Certificate string

	// MaxAssociationsFrom and MaxAssociationsTo bound the associations at a
	// time that it opens to us and we to it; 0 for the archive's default.
	MaxAssociationsFrom, MaxAssociationsTo int

	LastSeenAt time.Time // zero: never
}

// AnswerCharsets are the character sets that answers can be written in, as
// defined terms of PS3.3 C.12.1.1.2: UTF-8, ASCII (transliterated), Latin-1,
// Cyrillic, Latin-5.
var AnswerCharsets = []string{"ISO_IR 192", "ISO_IR 6", "ISO_IR 100", "ISO_IR 144", "ISO_IR 148"}

// Allows reports whether the AE may use a service of ours.
func (d Device) Allows(service Service) bool { return slices.Contains(d.Services, service) }

// Address is host:port, or "" when there is none.
func (d Device) Address() string {
	if d.Host == "" {
		return ""
	}
	return net.JoinHostPort(d.Host, strconv.Itoa(d.Port))
}

// Scope is what the AE may see: its own facility's studies, or all. One whose
// facility has no row, such as a sender whose images are parked, sees nothing.
func (d Device) Scope() pacs.Scope {
	scope := pacs.Scope{Who: "ae:" + d.AETitle, All: d.AllFacilities}
	if d.FacilityID != 0 && !d.AllFacilities {
		scope.FacilityIDs = []int64{d.FacilityID}
	}
	return scope
}

// CheckAETitle returns the AE title without its insignificant leading and
// trailing spaces, or Invalid. An AE title has 1 to 16 characters of the ISO
// 646 basic set without backslash and control characters (PS3.5 6.2 AE, PS3.8
// 9.3.2); case matters.
func CheckAETitle(title string) (string, error) {
	title = strings.Trim(title, " ")
	if title == "" || len(title) > 16 {
		return "", pacs.Errorf(pacs.Invalid, "An AE title has 1 to 16 characters")
	}
	for i := range len(title) {
		if c := title[i]; c < ' ' || c > '~' || c == '\\' {
			return "", pacs.Errorf(pacs.Invalid, "An AE title has only ASCII letters, digits, spaces and punctuation, without backslash")
		}
	}
	return title, nil
}

// A charset is named by a label of the WHATWG encoding standard ("windows-1251")
// or a defined term of PS3.3 C.12.1.1.2 ("ISO_IR 144"); receiving falls back to
// none when it knows no such name.
var charsetName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_.: -]{0,31})?$`)

// hostName is a DNS name (RFC 1123, with the underscores that are met in
// hospitals).
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}\.?)*$`)

const (
	maxTransferSyntaxes = 64
	maxAssociations     = 1000
)

func (d *Device) check() (err error) {
	if d.AETitle, err = CheckAETitle(d.AETitle); err != nil {
		return err
	}
	d.Description, d.Charset = strings.TrimSpace(d.Description), strings.TrimSpace(d.Charset)
	if utf8.RuneCountInString(d.Description) > 200 || !printable(d.Description) {
		return pacs.Errorf(pacs.Invalid, "The description may have at most 200 characters")
	}
	if !charsetName.MatchString(d.Charset) {
		return pacs.Errorf(pacs.Invalid, "%q is not the name of a character set; examples are windows-1251 and ISO_IR 144", d.Charset)
	}
	if d.AnswerCharset != "" && !slices.Contains(AnswerCharsets, d.AnswerCharset) {
		return pacs.Errorf(pacs.Invalid, "Answers can't be written in %q; choose one of %s", d.AnswerCharset, strings.Join(AnswerCharsets, ", "))
	}
	if d.Services, err = checkServices(d.Services); err != nil {
		return err
	}
	if err := d.checkAddress(); err != nil {
		return err
	}
	if err := d.checkTLS(); err != nil {
		return err
	}
	if d.TransferSyntaxes, err = checkTransferSyntaxes(d.TransferSyntaxes); err != nil {
		return err
	}
	if min(d.MaxAssociationsFrom, d.MaxAssociationsTo) < 0 || max(d.MaxAssociationsFrom, d.MaxAssociationsTo) > maxAssociations {
		return pacs.Errorf(pacs.Invalid, "The number of associations at a time is 1 to %d, or 0 for the archive's default", maxAssociations)
	}
	return nil
}

func (d *Device) checkAddress() error {
	d.Host = strings.TrimSpace(d.Host)
	if !validHost(d.Host) {
		return pacs.Errorf(pacs.Invalid, "%q is neither a host name nor an IP address. Write the port in its own field", d.Host).WithReason("host", "")
	}
	switch {
	case d.Port < 0 || d.Port > 65535:
		return pacs.Errorf(pacs.Invalid, "A port is 1 to 65535").WithReason("port", "")
	case d.Host != "" && d.Port == 0:
		return pacs.Errorf(pacs.Invalid, "The address needs a port; 104 and 11112 are common").WithReason("port", "")
	case d.Host == "" && d.Port != 0:
		return pacs.Errorf(pacs.Invalid, "The address needs a host name or an IP address").WithReason("host", "")
	case d.Host == "" && d.Destination:
		return pacs.Errorf(pacs.Invalid, "Images can be sent only to an AE that has an address").WithReason("host", "")
	case d.Host == "" && d.Notify:
		return pacs.Errorf(pacs.Invalid, "Only an AE that has an address can be told that studies are available").WithReason("host", "")
	}
	return nil
}

// validHost takes "", names and addresses; not the address that means
// "anywhere", nor many hosts at once.
func validHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return !addr.IsUnspecified() && !addr.IsMulticast()
	}
	return host == "" || len(host) <= 253 && hostName.MatchString(host)
}

// checkTransferSyntaxes drops repetitions and refuses what this archive does
// not know.
func checkTransferSyntaxes(uids []string) ([]string, error) {
	if len(uids) > maxTransferSyntaxes {
		return nil, pacs.Errorf(pacs.Invalid, "At most %d transfer syntaxes can be named", maxTransferSyntaxes)
	}
	list := []string{}
	for _, uid := range uids {
		uid = strings.TrimSpace(uid)
		if _, ok := dicom.LookupTransferSyntax(uid); !ok {
			return nil, pacs.Errorf(pacs.Invalid, "%q is not the UID of a transfer syntax", uid).WithReason("transfer_syntax", "")
		}
		if !slices.Contains(list, uid) {
			list = append(list, uid)
		}
	}
	return list, nil
}
