package fhir

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Report is one signed version of a report with everything the platform is told
// about it. Times carry their zone. Texts are plain text; line ends are kept.
type Report struct {
	// ID is the report's UUID, the same in all versions.
	ID string
	// Version counts from 1.
	Version int
	Kind    Kind
	// Predecessor is the version this one corrects or adds to; nil for the first.
	Predecessor *Predecessor
	// Language of the texts: uz, uz-Cyrl, ru or en (BCP 47).
	Language    string
	Sections    Sections
	SignedAt    time.Time
	Radiologist Radiologist
	Patient     Patient
	Facility    Facility
	Study       Study
	// PDF is the report as issued, at most MaxPDF bytes.
	PDF []byte
}

// MaxPDF bounds Report.PDF; it travels inside the JSON as base64.
const MaxPDF = 16 << 20

// Kind says what a version is to the one before.
type Kind string

const (
	Final      Kind = "final"      // the first signed version
	Correction Kind = "correction" // replaces text that was wrong
	Addendum   Kind = "addendum"   // adds to text that stands
)

// Predecessor names the version before.
type Predecessor struct {
	Version  int
	SignedAt time.Time
}

// Sections are the report's texts; empty ones are left out. Findings or
// Impression must be there.
type Sections struct {
	Indication, Technique, Findings, Impression string
}

// PersonName is a name in parts, as UZ Core keeps it: the patronymic travels in
// HumanName.suffix.
type PersonName struct {
	Family, Given, Patronymic string
}

// String gives the name in the order used in Uzbekistan: family name first.
func (n PersonName) String() string {
	return strings.Join(strings.Fields(clean(n.Family+" "+n.Given+" "+n.Patronymic)), " ")
}

// Radiologist is who signed. The platform's registry must know the Argos id or
// the PINFL; Deliver never creates practitioners.
type Radiologist struct {
	Name PersonName
	// PINFL is the 14-digit personal number (JShShIR).
	PINFL string
	// ArgosID is the health worker's number in HRM Argos.
	ArgosID string
}

// Patient is the person in the pictures. At least a PINFL or one of IDs is needed.
type Patient struct {
	Name PersonName
	// DICOMName is PatientName (0010,0010) as received, used when Name is empty.
	DICOMName string
	// IDs are the hospitals' own numbers, each with who issued it.
	IDs   []PatientID
	PINFL string
	// Sex is PatientSex (0010,0040): M, F, O or empty.
	Sex string
	// BirthDate is YYYY-MM-DD, or YYYY or YYYY-MM where no more is known, or empty.
	// What is no date is left out: it must not keep the report from arriving.
	BirthDate string
}

// PatientID is a hospital's number for a patient. Two issuers' equal values are
// two people.
type PatientID struct {
	Issuer, Value string
}

// Facility is where the pictures were taken.
type Facility struct {
	Code, Name string
	// TaxID is the organisation's STIR (Soliq), nine digits, or empty.
	TaxID string
}

// Study is what was read.
type Study struct {
	UID       string // StudyInstanceUID
	Accession string
	// Order is the placer's number of the order that asked for the study, as
	// the facility's information system knows it; empty for none.
	Order       string
	Description string
	Started     time.Time
	Modalities  []string // DICOM modality codes, as CT
	Series      []Series
}

// Series is one series of the study.
type Series struct {
	UID         string
	Number      int // SeriesNumber; left out when negative
	Modality    string
	Description string
	BodyPart    string
	// InstanceCount is how many instances there are, also where Instances is empty.
	InstanceCount int
	Instances     []Instance
}

// Instance is one SOP instance.
type Instance struct {
	UID      string
	SOPClass string
	Number   int // InstanceNumber; left out when negative
}

var (
	uuidPattern     = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	uidPattern      = regexp.MustCompile(`^[0-9.]{1,64}$`)
	pinflPattern    = regexp.MustCompile(`^\d{14}$`)
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}(-[A-Z][a-z]{3})?$`)
)

// check refuses what no platform could accept, in words for the person who can
// put it right.
func (r *Report) check() error {
	switch {
	case !uuidPattern.MatchString(r.ID):
		return fmt.Errorf("the report's id %q is not a lower-case UUID", r.ID)
	case r.Version < 1:
		return fmt.Errorf("report version %d: versions count from 1", r.Version)
	case statuses[r.Kind] == "":
		return fmt.Errorf("unknown kind of report %q", r.Kind)
	case !languagePattern.MatchString(r.Language):
		return fmt.Errorf("report language %q: use uz, uz-Cyrl, ru or en", r.Language)
	case r.SignedAt.IsZero():
		return fmt.Errorf("the report has no time of signing")
	case clean(r.Sections.Findings) == "" && clean(r.Sections.Impression) == "":
		return fmt.Errorf("the report has neither findings nor an impression")
	case !uidPattern.MatchString(r.Study.UID):
		return fmt.Errorf("the Study Instance UID %q is not a UID", r.Study.UID)
	case len(r.PDF) > MaxPDF:
		return fmt.Errorf("the report's PDF has %d bytes; at most %d can be sent", len(r.PDF), MaxPDF)
	case r.Patient.PINFL != "" && !pinflPattern.MatchString(r.Patient.PINFL):
		return fmt.Errorf("the patient's PINFL does not have 14 digits: correct it in the patient's record, then send again")
	case r.Patient.PINFL == "" && len(r.Patient.ids()) == 0:
		return fmt.Errorf("the patient has neither a PINFL nor a patient ID: the platform can't know who it is. Enter one, then send again")
	}
	return nil
}

// ids returns the usable patient IDs.
func (p *Patient) ids() []PatientID {
	var kept []PatientID
	for _, id := range p.IDs {
		id = PatientID{Issuer: oneLine(id.Issuer), Value: oneLine(id.Value)}
		if id.Issuer != "" && id.Value != "" {
			kept = append(kept, id)
		}
	}
	return kept
}

// isDate tells whether s is a FHIR date: YYYY, YYYY-MM or YYYY-MM-DD of the calendar.
func isDate(s string) bool {
	for _, layout := range []string{time.DateOnly, "2006-01", "2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Year() > 0
		}
	}
	return false
}

// clean makes text that JSON, XHTML and FHIR's string type all take: valid UTF-8
// in lines, without control characters, without the invisible marks that turn
// the direction of writing, without blanks around it.
func clean(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n").Replace(s)
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return c
		case unicode.IsControl(c), c == 0xFEFF, c&0xFFFE == 0xFFFE,
			c >= 0x202A && c <= 0x202E, c >= 0x2066 && c <= 0x2069:
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
	return strings.TrimSpace(s)
}

// oneLine is clean for names and numbers.
func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }
