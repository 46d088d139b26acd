package orders

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// State is where an order, or one of its steps, is.
type State string

const (
	Scheduled    State = "scheduled"
	Arrived      State = "arrived" // the patient is there
	InProgress   State = "in_progress"
	Completed    State = "completed"
	Discontinued State = "discontinued" // begun and given up
	Cancelled    State = "cancelled"    // never begun
)

// States lists all, in the order of an order's life.
var States = []State{Scheduled, Arrived, InProgress, Completed, Discontinued, Cancelled}

// Code is a coded concept: Code Value, Coding Scheme Designator and Code
// Meaning (PS3.3 Table 8.8-1). The zero Code is none.
type Code struct{ Value, Scheme, Meaning string }

// Procedure is the requested procedure, PS3.3 C.4.11.
type Procedure struct {
	ID          string // Requested Procedure ID (0040,1001); the accession number when none is given
	Description string // (0032,1060)
	Code        Code   // (0032,1064)
}

// Step is a scheduled procedure step, PS3.3 C.4.10.
type Step struct {
	ID          string // (0040,0009); made from accession number and position when none is given
	State       State
	Performed   bool // a modality has reported on it
	Modality    string
	Stations    []string  // Scheduled Station AE Titles; empty for any of the modality
	Start       time.Time // of the wall clock; its location means nothing
	Description string    // (0040,0007); the procedure's when none is given
	Code        Code      // (0040,0008)
	Physician   string    // who is to perform it (0040,0006), DICOM PN form
	Location    string    // (0040,0011)
	Medication  string    // pre-medication (0040,0012)
}

// Order is an imaging service request with its one requested procedure.
type Order struct {
	ID       string // UUID
	Revision int
	State    State
	Facility pacs.Facility
	// Patient is as known to whoever ordered; ID, the row of the index, is not
	// set.
	Patient    pacs.Patient
	Accession  string // unique in the facility
	Placer     string // Placer Order Number; unique in the facility when there is one
	Filler     string
	Physician  string // Requesting Physician (0032,1032), DICOM PN form
	Department string // Requesting Service (0032,1033)
	Reason     string // Reason for the Requested Procedure (0040,1002)
	Question   string // what the reader is to answer
	Priority   worklist.Priority
	Procedure  Procedure
	Steps      []Step
	StudyUID   string
	CreatedBy  string
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Studies    []Study // what came of it
}

// Study is a study that belongs to an order.
type Study struct {
	StudyUID   string
	Instances  int
	Modalities []string
	Complete   bool
}

// Event is a line of an order's history.
type Event struct {
	At   time.Time
	Who  string
	What string // created, changed, a State, reopened, images
	Why  string
}

// Longest values in characters: SH and LO of PS3.5 Table 6.2-1, so that what is
// taken here can be told to a modality whole. Reason and question are texts for
// people; a modality is told the beginning of the reason.
const (
	maxSH    = 16
	maxLO    = 64
	maxPN    = 64
	maxText  = 2000
	maxSteps = 20
	maxAEs   = 20
)

var (
	modalityCode = regexp.MustCompile(`^[A-Z0-9_ ]{1,16}$`)
	dicomDate    = regexp.MustCompile(`^(\d{8})?$`)
	pinflNumber  = regexp.MustCompile(`^(\d{14})?$`)
)

// clean brings the order's texts into the form in which they are kept.
func (o *Order) clean() {
	for _, s := range []*string{
		&o.Accession, &o.Placer, &o.Filler, &o.Physician, &o.Department, &o.Reason, &o.Question, &o.StudyUID,
		&o.Procedure.ID, &o.Procedure.Description, &o.Procedure.Code.Value, &o.Procedure.Code.Scheme, &o.Procedure.Code.Meaning,
		&o.Patient.Issuer, &o.Patient.PatientID, &o.Patient.Name, &o.Patient.Sex, &o.Patient.BirthDate, &o.Patient.PINFL,
	} {
		*s = strings.TrimSpace(*s)
	}
	if o.Priority == "" {
		o.Priority = worklist.Routine
	}
	o.Steps = slices.Clone(o.Steps)
	for i := range o.Steps {
		s := &o.Steps[i]
		for _, text := range []*string{&s.ID, &s.Modality, &s.Description, &s.Code.Value, &s.Code.Scheme, &s.Code.Meaning, &s.Physician, &s.Location, &s.Medication} {
			*text = strings.TrimSpace(*text)
		}
		s.Modality = strings.ToUpper(s.Modality)
		s.Start = wall(s.Start)
		if s.Description == "" {
			s.Description = o.Procedure.Description
		}
		s.Stations = slices.Clone(s.Stations)
		for j := range s.Stations {
			s.Stations[j] = strings.TrimSpace(s.Stations[j])
		}
	}
}

// wall is the time a clock on the wall shows, to the second, as the database
// keeps it.
func wall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

func invalid(format string, args ...any) error {
	return pacs.Errorf(pacs.Invalid, format, args...).WithReason("order", "")
}

// check says what can't be accepted, in words for who entered it.
func (o *Order) check() error {
	for _, v := range []struct {
		what, value string
		most        int
	}{
		{"accession number", o.Accession, maxSH},
		{"placer's order number", o.Placer, maxLO},
		{"filler's order number", o.Filler, maxLO},
		{"patient ID", o.Patient.PatientID, maxLO},
		{"issuer of the patient ID", o.Patient.Issuer, maxLO},
		{"requesting physician", o.Physician, maxPN},
		{"department", o.Department, maxLO},
		{"procedure's ID", o.Procedure.ID, maxSH},
		{"procedure's description", o.Procedure.Description, maxLO},
	} {
		if err := line(v.what, v.value, v.most); err != nil {
			return err
		}
	}
	for _, group := range strings.Split(o.Patient.Name, "=") {
		if err := line("patient's name", group, maxPN); err != nil {
			return err
		}
	}
	for what, text := range map[string]string{"reason": o.Reason, "question": o.Question} {
		if utf8.RuneCountInString(text) > maxText {
			return invalid("The %s is longer than %d characters", what, maxText)
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }) {
			return invalid("The %s has characters that no text has", what)
		}
	}
	switch {
	case strings.Trim(o.Patient.Name, "^= ") == "":
		return invalid("Give the patient's name")
	case strings.Count(o.Patient.Name, "=") > 2:
		return invalid("A name has at most three groups separated by =")
	case !dicomDate.MatchString(o.Patient.BirthDate) || o.Patient.BirthDate != "" && !isDay(o.Patient.BirthDate):
		return invalid("The birth date %q is none. Write it as YYYYMMDD", o.Patient.BirthDate)
	case !slices.Contains([]string{"", "M", "F", "O"}, o.Patient.Sex):
		return invalid("The sex is M, F, O or empty")
	case !pinflNumber.MatchString(o.Patient.PINFL):
		return invalid("A PINFL has 14 digits")
	case !slices.Contains(worklist.Priorities, o.Priority):
		return invalid("The priority is stat, urgent or routine")
	case o.StudyUID != "" && dicom.ValidUID(o.StudyUID) != nil:
		return invalid("The Study Instance UID %q is none", o.StudyUID)
	case len(o.Steps) == 0:
		return invalid("Say with what and when: an order has at least one step")
	case len(o.Steps) > maxSteps:
		return invalid("An order has at most %d steps", maxSteps)
	}
	if err := o.Procedure.Code.check("procedure"); err != nil {
		return err
	}
	for i := range o.Steps {
		if err := o.Steps[i].check(); err != nil {
			return err
		}
		if id := o.Steps[i].ID; id != "" && slices.ContainsFunc(o.Steps[:i], func(s Step) bool { return s.ID == id }) {
			return invalid("Two steps have the ID %q", id)
		}
	}
	return nil
}

func (s *Step) check() error {
	for _, v := range []struct {
		what, value string
		most        int
	}{
		{"step's ID", s.ID, maxSH},
		{"step's description", s.Description, maxLO},
		{"performing physician", s.Physician, maxPN},
		{"location", s.Location, maxSH},
		{"pre-medication", s.Medication, maxLO},
	} {
		if err := line(v.what, v.value, v.most); err != nil {
			return err
		}
	}
	switch {
	case !modalityCode.MatchString(s.Modality):
		return invalid("A modality is a code such as CT, MR or US")
	case s.Start.Year() < 1900 || s.Start.Year() > 9999:
		return invalid("Say when the step is to begin")
	case len(s.Stations) > maxAEs:
		return invalid("A step has at most %d stations", maxAEs)
	}
	for _, station := range s.Stations {
		if _, err := access.CheckAETitle(station); err != nil {
			return invalid("%s", pacs.MessageOf(err))
		}
	}
	return s.Code.check("step")
}

func (c Code) check(of string) error {
	if c == (Code{}) {
		return nil
	}
	if c.Value == "" || c.Scheme == "" {
		return invalid("A code of the %s has a value and a scheme", of)
	}
	for _, v := range []struct {
		what, value string
		most        int
	}{{"code's value", c.Value, maxSH}, {"code's scheme", c.Scheme, maxSH}, {"code's meaning", c.Meaning, maxLO}} {
		if err := line(v.what, v.value, v.most); err != nil {
			return err
		}
	}
	return nil
}

// line checks a text of one line that DICOM must be able to hold.
func line(what, value string, most int) error {
	if utf8.RuneCountInString(value) > most {
		return invalid("The %s is longer than %d characters", what, most)
	}
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
		return invalid("The %s has characters that it can't have", what)
	}
	return nil
}

func isDay(date string) bool {
	_, err := time.Parse("20060102", date)
	return err == nil
}

// derive is the state of an order by the states of its steps.
func derive(steps []State) State {
	count := map[State]int{}
	for _, s := range steps {
		count[s]++
	}
	open := count[Scheduled] + count[Arrived] + count[InProgress]
	ended := count[Completed] + count[Discontinued]
	switch {
	case open == 0 && ended == 0:
		return Cancelled
	case open == 0 && count[Completed] > 0:
		return Completed
	case open == 0:
		return Discontinued
	case count[InProgress] > 0 || ended > 0:
		return InProgress
	case count[Arrived] > 0:
		return Arrived
	}
	return Scheduled
}
