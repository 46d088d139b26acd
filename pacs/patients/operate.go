package patients

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// Kinds of operations.
const (
	Correct = "correct"
	Merge   = "merge"
	Move    = "move"
	Split   = "split"
	Undo    = "undo"
)

// operation is one on its way.
type operation struct {
	session
	doc     Document
	patient int64 // row it is done to
	other   int64 // row of the other patient, 0 for none
	undoes  int64
	shown   int64 // row of the patient to show then
	changes []index.Change
}

// run does one operation to a facility's patients.
func (p *Patients) run(ctx context.Context, who *access.Identity, facility int64, kind, why string, do func(*operation) error) (shown int64, err error) {
	why = strings.TrimSpace(why)
	if why == "" || !printable(why) || utf8.RuneCountInString(why) > 1000 {
		return 0, pacs.Errorf(pacs.Invalid, "Say why, in up to 1,000 characters")
	}
	if !who.Scope.Sees(facility) {
		return 0, errNoPatient
	}
	err = pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if err := index.LockPatients(ctx, tx, facility); err != nil {
			return err
		}
		o := &operation{session: session{Context: ctx, tx: tx, facility: facility}}
		if err := tx.QueryRow(ctx, `SELECT code, clock_timestamp() FROM facility WHERE id = $1`, facility).Scan(&o.code, &o.doc.At); err != nil {
			return err
		}
		o.doc.At = o.doc.At.UTC()
		o.doc.Format, o.doc.Kind, o.doc.Who, o.doc.Why, o.doc.Facility = 1, kind, who.Who(), why, o.code
		if err := do(o); err != nil {
			return err
		}
		if err := o.apply(o.doc.After, o.doc.At); err != nil {
			return err
		}
		o.doc.Patient, o.doc.Other = o.refs[o.patient], o.refs[o.other]
		shown = o.shown
		return o.record(who)
	})
	return shown, failure(err)
}

// record writes the operation into history, outbox, audit trail and feed.
func (o *operation) record(who *access.Identity) error {
	key, err := o.doc.enqueue(o, o.tx)
	if err != nil {
		return err
	}
	id, err := o.insert(key, o.undoes)
	if err != nil {
		return err
	}
	if err := access.Audit(o, o.tx, who.Event("patient."+o.doc.Kind, "patient:"+strconv.FormatInt(o.patient, 10)+"/operation:"+strconv.FormatInt(id, 10), o.facility)); err != nil {
		return err
	}
	for i := range o.changes {
		o.changes[i].FacilityID = o.facility
	}
	return index.RecordChange(o, o.tx, o.changes...)
}

// insert adds the row of the history.
func (o *operation) insert(key string, undoes int64) (id int64, err error) {
	d := &o.doc
	err = o.tx.QueryRow(o, `
		INSERT INTO patient_operation (key, kind, at, who, why, facility_row, patient_row, other_row, undoes, writes, requires)
		VALUES ($1, $2, $3, $4, $5, $6, $7, nullif($8, 0), nullif($9, 0), $10, $11) RETURNING id`,
		key, d.Kind, d.At, d.Who, d.Why, o.facility, o.patient, o.other, undoes, orEmpty(d.Writes), orEmpty(d.Requires)).Scan(&id)
	if err == nil && undoes != 0 {
		_, err = o.tx.Exec(o, `UPDATE patient_operation SET undone_by = $2 WHERE id = $1`, undoes, id)
	}
	return id, err
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// What operations change and rely on.
func demographics(r ref) string { return "d:" + string(r) }
func living(r ref) string       { return "l:" + string(r) }
func belonging(uid string) string {
	return "s:" + uid
}

// Demographics are given by people; nil stays as it is.
type Demographics struct {
	Name, PatientID, Issuer, BirthDate, Sex, PINFL *string
}

// check returns Invalid for what can't be anybody's, and brings the rest into
// the form in which it is kept.
func (d *Demographics) check(facility string) error {
	for _, f := range []struct {
		value *string
		what  string
		limit int
	}{{d.Name, "name", 320}, {d.PatientID, "patient ID", 64}, {d.Issuer, "issuer", 64}, {d.BirthDate, "birth date", 8}, {d.Sex, "sex", 1}, {d.PINFL, "PINFL", 14}} {
		if f.value == nil {
			continue
		}
		*f.value = strings.TrimSpace(*f.value)
		if !printable(*f.value) || strings.Contains(*f.value, `\`) {
			return pacs.Errorf(pacs.Invalid, "The %s has characters that can't be in it", f.what)
		}
		if utf8.RuneCountInString(*f.value) > f.limit {
			return pacs.Errorf(pacs.Invalid, "The %s is longer than %d characters", f.what, f.limit)
		}
	}
	if d.Name != nil && strings.Trim(*d.Name, " ^=") == "" {
		return pacs.Errorf(pacs.Invalid, "The name is empty; it is written Family^Given^Middle")
	}
	if d.Issuer != nil && *d.Issuer == "" {
		*d.Issuer = facility
	}
	if d.BirthDate != nil && *d.BirthDate != "" {
		if t, err := time.Parse("20060102", *d.BirthDate); err != nil || t.Year() < 1850 || t.After(time.Now().Add(24*time.Hour)) {
			return pacs.Errorf(pacs.Invalid, "The birth date is no day in the past, written YYYYMMDD")
		}
	}
	if d.Sex != nil && !slices.Contains([]string{"", "M", "F", "O"}, *d.Sex) {
		return pacs.Errorf(pacs.Invalid, "The sex is M, F, O or empty")
	}
	if d.PINFL != nil && *d.PINFL != "" && (len(*d.PINFL) != 14 || strings.Trim(*d.PINFL, "0123456789") != "") {
		return pacs.Errorf(pacs.Invalid, "A PINFL has 14 digits")
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError })
}

// over returns f with what is given in place of what it says.
func (d *Demographics) over(f Face) Face {
	for _, c := range []struct {
		to   *string
		from *string
	}{{&f.Name, d.Name}, {&f.PatientID, d.PatientID}, {&f.Issuer, d.Issuer}, {&f.BirthDate, d.BirthDate}, {&f.Sex, d.Sex}, {&f.PINFL, d.PINFL}} {
		if c.from != nil {
			*c.to = *c.from
		}
	}
	return f
}

// at checks that nobody was faster.
func (s *PatientState) at(revision int) error {
	if s.revision != revision {
		return pacs.Errorf(pacs.Conflict, "Somebody has changed the record meanwhile; look at it again").WithReason("stale_revision", "")
	}
	return nil
}

// Correct changes demographics. The patient goes on receiving what comes under
// the demographics it had.
//
//	Invalid    not demographics, or no reason
//	NotFound   no such patient in scope
//	Conflict   stale_revision; the record was merged; another patient has the ID
func (p *Patients) Correct(ctx context.Context, who *access.Identity, patient int64, revision int, d Demographics, why string) (*Detail, error) {
	facility, err := p.facilityOf(ctx, who.Scope, patient)
	if err != nil {
		return nil, err
	}
	return p.done(ctx, who)(p.run(ctx, who, facility, Correct, why, func(o *operation) error {
		if err := d.check(o.code); err != nil {
			return err
		}
		before, err := o.load(patient)
		if err != nil {
			return err
		}
		if err := before.at(revision); err != nil {
			return err
		}
		after := before
		after.Face = d.over(before.Face)
		if after.Face == before.Face {
			return pacs.Errorf(pacs.Invalid, "Nothing is different from what is there")
		}
		if after.Issuer != before.Issuer || after.PatientID != before.PatientID {
			if err := o.taken(after.Issuer, after.PatientID, patient); err != nil {
				return err
			}
			if after.Variant, err = o.free(&before, after.Issuer, after.PatientID); err != nil {
				return err
			}
		}
		after.Aliases = append(slices.Clone(before.Aliases), before.Face)
		studies, err := o.studiesOf(before.Ref)
		if err != nil {
			return err
		}
		o.doc.Before = State{[]PatientState{before}, studies}
		o.doc.After = State{[]PatientState{after}, amended(studies)}
		o.doc.Writes, o.doc.Requires = []string{demographics(before.Ref)}, []string{living(before.Ref)}
		o.patient, o.shown = patient, patient
		o.changes = []index.Change{{Kind: index.PatientCorrected, Patient: patient, Instances: len(studies)}}
		return nil
	}))
}

// amended marks studies as served with other demographics than their bytes'.
func amended(studies []StudyState) []StudyState {
	out := slices.Clone(studies)
	for i := range out {
		out[i].Amended = true
	}
	return out
}

// moved gives studies to another patient.
func moved(studies []StudyState, to ref) []StudyState {
	out := amended(studies)
	for i := range out {
		s := &out[i]
		if s.Received == "" {
			s.Received = s.Patient
		}
		if s.Patient = to; s.Received == to {
			s.Received = ""
		}
	}
	return out
}

// Merge makes patient's studies those of into, of the same facility: the two
// records are one person. Patient disappears from lists; what comes under its
// identity goes to into.
//
//	Invalid    the two are the same, of different facilities, or no reason
//	NotFound   no such patient in scope
//	Conflict   stale_revision; one of the records was merged
func (p *Patients) Merge(ctx context.Context, who *access.Identity, patient, into int64, revision int, why string) (*Detail, error) {
	facility, err := p.facilityOf(ctx, who.Scope, patient)
	if err != nil {
		return nil, err
	}
	if err := p.sameFacility(ctx, who.Scope, facility, into); err != nil {
		return nil, err
	}
	if patient == into {
		return nil, pacs.Errorf(pacs.Invalid, "These are one record already")
	}
	return p.done(ctx, who)(p.run(ctx, who, facility, Merge, why, func(o *operation) error {
		from, err := o.load(patient)
		if err != nil {
			return err
		}
		if err := from.at(revision); err != nil {
			return err
		}
		to, err := o.load(into)
		if err != nil {
			return err
		}
		studies, err := o.studiesOf(from.Ref)
		if err != nil {
			return err
		}
		there, err := o.studiesOf(to.Ref)
		if err != nil {
			return err
		}
		gone := from
		gone.MergedInto = to.Ref
		o.doc.Before = State{[]PatientState{from, to}, slices.Concat(studies, there)}
		o.doc.After = State{[]PatientState{to, gone}, slices.Concat(moved(studies, to.Ref), there)}
		o.doc.Writes, o.doc.Requires = []string{living(from.Ref)}, []string{living(to.Ref)}
		for _, s := range studies {
			o.doc.Writes = append(o.doc.Writes, belonging(s.StudyUID))
		}
		o.patient, o.other, o.shown = patient, into, into
		o.changes = []index.Change{{Kind: index.PatientMerged, Patient: patient, Into: into}}
		return nil
	}))
}

// Move gives a study to another patient of its facility. Further instances of
// the study go with it, whatever they say.
//
//	Invalid    it is that patient's already; another facility's; no reason
//	NotFound   no such study or patient in scope
//	Conflict   the patient was merged
func (p *Patients) Move(ctx context.Context, who *access.Identity, studyUID string, patient int64, why string) (*Detail, error) {
	facility, err := p.facilityOfStudy(ctx, who.Scope, studyUID)
	if err != nil {
		return nil, err
	}
	if err := p.sameFacility(ctx, who.Scope, facility, patient); err != nil {
		return nil, err
	}
	return p.done(ctx, who)(p.run(ctx, who, facility, Move, why, func(o *operation) error {
		to, err := o.load(patient)
		if err != nil {
			return err
		}
		studies, err := o.studies(`s.study_uid = $1 AND s.facility_row = $2`, studyUID, facility)
		if err != nil {
			return err
		}
		if len(studies) == 0 {
			return errNoStudy
		}
		from, err := o.load(o.rows[studies[0].Patient])
		if err != nil {
			return err
		}
		if from.Ref == to.Ref {
			return pacs.Errorf(pacs.Invalid, "The study belongs to this patient already")
		}
		o.doc.Before = State{[]PatientState{from, to}, studies}
		o.doc.After = State{[]PatientState{from, to}, moved(studies, to.Ref)}
		o.doc.Writes, o.doc.Requires = []string{belonging(studyUID)}, []string{living(from.Ref), living(to.Ref)}
		o.patient, o.other, o.shown = o.rows[from.Ref], patient, patient
		o.changes = []index.Change{{Kind: index.StudyMoved, StudyUID: studyUID, Patient: o.patient, Into: patient}}
		return nil
	}))
}

// Split makes a record for somebody who had none and gives them studies that
// were taken for another's. Demographics that aren't given are those of the
// patient the studies came under, but for the name, which is needed.
//
//	Invalid    not demographics; no studies, or not of this patient; no reason
//	NotFound   no such patient in scope
//	Conflict   stale_revision; the record was merged; another patient has the ID
func (p *Patients) Split(ctx context.Context, who *access.Identity, patient int64, revision int, studyUIDs []string, d Demographics, why string) (*Detail, error) {
	facility, err := p.facilityOf(ctx, who.Scope, patient)
	if err != nil {
		return nil, err
	}
	return p.done(ctx, who)(p.run(ctx, who, facility, Split, why, func(o *operation) error {
		if err := d.check(o.code); err != nil {
			return err
		}
		if d.Name == nil {
			return pacs.Errorf(pacs.Invalid, "Give the name of the patient the studies belong to")
		}
		from, err := o.load(patient)
		if err != nil {
			return err
		}
		if err := from.at(revision); err != nil {
			return err
		}
		studies, err := o.studies(`s.study_uid = ANY($1) AND s.patient_row = $2`, studyUIDs, patient)
		if err != nil {
			return err
		}
		slices.Sort(studyUIDs)
		if n := len(slices.Compact(studyUIDs)); n == 0 || n != len(studies) {
			return pacs.Errorf(pacs.Invalid, "Name one or more studies of this patient")
		}
		face := d.over(Face{Issuer: from.Issuer, PatientID: from.PatientID})
		if face.Issuer != from.Issuer || face.PatientID != from.PatientID {
			if err := o.taken(face.Issuer, face.PatientID, 0); err != nil {
				return err
			}
		}
		made := PatientState{Face: face}
		if made.Variant, err = o.free(&made, face.Issuer, face.PatientID); err != nil {
			return err
		}
		made.Ref = refOf(made.Issuer, made.PatientID, made.Variant)
		// That people have made it is said by what it was made as.
		made.Aliases = []Face{made.Face}
		o.doc.Before = State{[]PatientState{from}, studies}
		o.doc.After = State{[]PatientState{from, made}, moved(studies, made.Ref)}
		o.doc.Writes, o.doc.Requires = []string{living(made.Ref)}, []string{living(from.Ref)}
		for _, s := range studies {
			o.doc.Writes = append(o.doc.Writes, belonging(s.StudyUID))
		}
		if err := o.applyPatient(&made, o.doc.At); err != nil {
			return err
		}
		o.patient, o.other = patient, o.rows[made.Ref]
		o.shown = o.other
		o.changes = []index.Change{{Kind: index.PatientSplit, Patient: patient, Into: o.other}}
		return nil
	}))
}

// marshal is the document as it is kept.
func (d *Document) marshal() ([]byte, error) { return json.Marshal(d) }

var errNoStudy = pacs.Errorf(pacs.NotFound, "There is no such study")

// facilityOf returns the facility of a patient in scope.
func (p *Patients) facilityOf(ctx context.Context, scope pacs.Scope, patient int64) (facility int64, err error) {
	err = p.pool.QueryRow(ctx, `SELECT facility_row FROM patient WHERE id = $1`, patient).Scan(&facility)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !scope.Sees(facility) {
		return 0, errNoPatient
	}
	return facility, failure(err)
}

func (p *Patients) sameFacility(ctx context.Context, scope pacs.Scope, facility, patient int64) error {
	other, err := p.facilityOf(ctx, scope, patient)
	if err == nil && other != facility {
		err = pacs.Errorf(pacs.Invalid, "The records are of different facilities. They stay apart; give both the same PINFL to link them")
	}
	return err
}

func (p *Patients) facilityOfStudy(ctx context.Context, scope pacs.Scope, studyUID string) (facility int64, err error) {
	if !utf8.ValidString(studyUID) || strings.Contains(studyUID, "\x00") {
		return 0, errNoStudy
	}
	err = p.pool.QueryRow(ctx, `SELECT facility_row FROM study WHERE study_uid = $1`, studyUID).Scan(&facility)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !scope.Sees(facility) {
		return 0, errNoStudy
	}
	return facility, failure(err)
}

// done shows the patient that an operation has led to.
func (p *Patients) done(ctx context.Context, who *access.Identity) func(int64, error) (*Detail, error) {
	return func(shown int64, err error) (*Detail, error) {
		if err != nil {
			return nil, err
		}
		return p.Get(ctx, who.Scope, shown)
	}
}
