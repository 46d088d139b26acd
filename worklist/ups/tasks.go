package ups

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// A code of the DICOM terminology, PS3.16 Annex D: what a step of a reading task
// is for.
var interpretation = code("110005", "DCM", "Interpretation")

// ownScheme is the coding scheme of this archive's people and stations.
const ownScheme = "99TASVIR"

// Reasons for a discontinuation, of PS3.16 CID 9300: no performer has given one,
// and another step takes this one's place.
var (
	unspecified = code("110513", "DCM", "Discontinued for unspecified reason")
	rescheduled = code("110528", "DCM", "Discontinued Procedure Step rescheduled")
)

// because is why a step is canceled.
func because(text string, reason *dicom.Dataset) *dicom.Dataset {
	return new(dicom.Dataset).SetString(dicom.TagReasonForCancellation, dicom.LT, text).SetSequence(dicom.TagProcedureStepDiscontinuationReasonCodeSequence, reason)
}

func code(value, scheme, meaning string) *dicom.Dataset {
	tag, vr := dicom.TagCodeValue, dicom.SH
	if len([]rune(value)) > 16 {
		tag, vr = dicom.TagLongCodeValue, dicom.UC
	}
	return new(dicom.Dataset).SetString(tag, vr, value).SetString(dicom.TagCodingSchemeDesignator, dicom.SH, scheme).
		SetString(dicom.TagCodeMeaning, dicom.LO, cut(meaning, 64))
}

// isReading says whether a step asks for a study to be read.
func isReading(ds *dicom.Dataset) bool {
	for _, item := range ds.Items(dicom.TagScheduledWorkitemCodeSequence) {
		if item.String(dicom.TagCodeValue) == "110005" && item.String(dicom.TagCodingSchemeDesignator) == "DCM" {
			return true
		}
	}
	return false
}

// taskStates are what the states of tasks are here.
var taskStates = map[worklist.State]State{worklist.Open: Scheduled, worklist.Claimed: InProgress, worklist.Signed: Completed, worklist.Cancelled: Canceled}

// holder is who holds a task.
type holder struct{ who, login, name string }

// moved makes the step of a task follow it: in the transaction that makes the
// task or changes its state, with its row locked. It is worklist.Worklist.Moved.
// What has come by the step itself has changed the step before, and is not done
// twice.
func (s *Steps) moved(ctx context.Context, tx pgx.Tx, id string) error {
	var state worklist.State
	var h holder
	var facility int64
	var created, deadline time.Time
	var group, performer string
	err := tx.QueryRow(ctx, `SELECT t.state, t.facility_row, t.created_at, t.deadline, t.performer, coalesce(g.name, ''), coalesce(u.login, ''), coalesce(u.name, '')
		FROM reading_task t LEFT JOIN user_account u ON u.id = t.claimed_by LEFT JOIN reading_group g ON g.id = t.group_row WHERE t.id = $1`, id).
		Scan(&state, &facility, &created, &deadline, &performer, &group, &h.login, &h.name)
	if err != nil {
		return err
	}
	if h.who = h.login; h.who == "" {
		h.who = performer
	}
	now, err := find(ctx, tx, `u.task_id = $1 ORDER BY u.id DESC LIMIT 1 FOR NO KEY UPDATE`, id)
	if err != nil {
		return err
	}
	want := taskStates[state]
	if now != nil && now.state == want || want.final() && (now == nil || now.state.final()) {
		return nil
	}
	if now != nil && now.state == InProgress && want == Scheduled {
		if err := s.end(ctx, tx, now, Canceled, because("Returned to the worklist", rescheduled)); err != nil {
			return err
		}
	}
	if now == nil || now.state.final() {
		if now, err = s.begin(ctx, tx, id, facility, created, group, now); err != nil || now.state == want {
			return err
		}
	}
	if now.state == Scheduled {
		if err := s.hold(ctx, tx, now, dicom.NewUID(), h); err != nil {
			return err
		}
	}
	if !want.final() {
		return nil
	}
	return s.end(ctx, tx, now, want, new(dicom.Dataset))
}

// begin makes the step of a task: one that somebody has pushed for the study
// before it was complete, else a new one. replaced is the step before, nil for
// none.
func (s *Steps) begin(ctx context.Context, tx pgx.Tx, task string, facility int64, created time.Time, group string, replaced *step) (*step, error) {
	of, err := readings(ctx, tx, []string{task})
	if err != nil {
		return nil, err
	}
	r := of[task]
	if replaced == nil {
		pushed, err := s.pushed(ctx, tx, r.studyUID, facility)
		if err != nil {
			return nil, err
		}
		if pushed != nil {
			pushed.task = task
			if err := s.work.Ask(ctx, tx, worklist.Task{ID: task, Priority: r.priority}, priorityOf(pushed.attributes)); err != nil {
				return nil, err
			}
			return pushed, pushed.write(ctx, tx)
		}
	}
	label := "Interpretation"
	if r.description != "" {
		label += ": " + r.description
	}
	if group == "" {
		group = "Reading"
	}
	now := time.Now()
	if replaced != nil {
		created = now
	}
	ds := new(dicom.Dataset).UTF8()
	ds.SetString(dicom.TagProcedureStepLabel, dicom.LO, cut(label, 64)).SetString(dicom.TagWorklistLabel, dicom.LO, cut(group, 64)).
		SetString(dicom.TagScheduledProcedureStepPriority, dicom.CS, priorities[r.priority]).
		SetString(dicom.TagScheduledProcedureStepStartDateTime, dicom.DT, wall(created)).
		SetString(dicom.TagScheduledProcedureStepModificationDateTime, dicom.DT, wall(now)).
		SetString(dicom.TagInputReadinessState, dicom.CS, "READY").SetString(dicom.TagStudyInstanceUID, dicom.UI, r.studyUID).
		SetSequence(dicom.TagScheduledWorkitemCodeSequence, interpretation)
	for _, a := range attributes {
		if (a.create == mayBeEmpty || a.create == startsEmpty) && !ds.Has(a.tag) {
			putEmpty(ds, a.tag)
		}
	}
	if replaced != nil {
		ds.SetSequence(dicom.TagReplacedProcedureStepSequence, reference(replaced.uid))
	}
	begun := &step{uid: dicom.NewUID(), facility: facility, task: task, state: Scheduled, attributes: ds}
	if _, err := begun.insert(ctx, tx, "system"); err != nil {
		return nil, err
	}
	return begun, s.created(ctx, tx, begun)
}

func reference(uid string) *dicom.Dataset {
	return new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, PushSOPClass).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, uid)
}

// pushed finds the oldest step that asks for a study to be read and waits for it.
func (s *Steps) pushed(ctx context.Context, tx pgx.Tx, study string, facility int64) (*step, error) {
	rows, err := tx.Query(ctx, `SELECT `+stepColumns+` FROM ups u WHERE u.study_uid = $1 AND u.facility_row = $2 AND u.task_id IS NULL AND u.state = 'SCHEDULED'
		ORDER BY u.id LIMIT 20 FOR NO KEY UPDATE`, study, facility)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanStep)
	for _, p := range list {
		if isReading(p.attributes) {
			return p, err
		}
	}
	return nil, err
}

// hold makes a step IN PROGRESS. A person's name is what they are known by here.
func (s *Steps) hold(ctx context.Context, tx pgx.Tx, now *step, transaction string, h holder) error {
	now.state, now.transaction, now.performer = InProgress, transaction, h.who
	if h.login != "" {
		human := new(dicom.Dataset).SetSequence(dicom.TagHumanPerformerCodeSequence, code(h.login, ownScheme, h.name)).
			SetString(dicom.TagHumanPerformerName, dicom.PN, personName(h.name))
		now.attributes.SetSequence(dicom.TagUnifiedProcedureStepPerformedProcedureSequence, new(dicom.Dataset).
			SetSequence(dicom.TagActualHumanPerformersSequence, human).
			SetString(dicom.TagPerformedProcedureStepStartDateTime, dicom.DT, wall(time.Now())))
	}
	now.touched()
	if err := now.write(ctx, tx); err != nil {
		return err
	}
	return s.report(ctx, tx, now)
}

// end puts a step that is held here into a final state, with what is demanded of
// that. why has the Reason For Cancellation.
func (s *Steps) end(ctx context.Context, tx pgx.Tx, now *step, to State, why *dicom.Dataset) error {
	if to == Canceled {
		now.discontinue(why)
	} else {
		item := new(dicom.Dataset)
		if had := now.attributes.Item(dicom.TagUnifiedProcedureStepPerformedProcedureSequence); had != nil {
			item = had.UTF8()
		}
		if !valued(item, dicom.TagPerformedProcedureStepStartDateTime) {
			item.SetString(dicom.TagPerformedProcedureStepStartDateTime, dicom.DT, wall(time.Now()))
		}
		item.SetSequence(dicom.TagPerformedStationNameCodeSequence, code(s.o.AETitle, ownScheme, s.o.AETitle)).
			SetSequence(dicom.TagPerformedWorkitemCodeSequence, interpretation).
			SetString(dicom.TagPerformedProcedureStepEndDateTime, dicom.DT, wall(time.Now()))
		if !item.Has(dicom.TagOutputInformationSequence) {
			item.SetSequence(dicom.TagOutputInformationSequence)
		}
		now.attributes.SetSequence(dicom.TagUnifiedProcedureStepPerformedProcedureSequence, item)
	}
	now.state = to
	now.touched()
	if err := now.write(ctx, tx); err != nil {
		return err
	}
	return s.report(ctx, tx, now)
}

// discontinue notes when and why a step was canceled, unless its performer has:
// a CANCELED step has a time and a coded reason.
func (s *step) discontinue(why *dicom.Dataset) {
	item := new(dicom.Dataset)
	if had := s.attributes.Item(dicom.TagProcedureStepProgressInformationSequence); had != nil {
		item = had.UTF8()
	}
	if !valued(item, dicom.TagProcedureStepCancellationDateTime) {
		item.SetString(dicom.TagProcedureStepCancellationDateTime, dicom.DT, wall(time.Now()))
	}
	why = why.UTF8()
	for _, tag := range []dicom.Tag{dicom.TagReasonForCancellation, dicom.TagProcedureStepDiscontinuationReasonCodeSequence} {
		if e, ok := why.Get(tag); ok && !empty(e) && !valued(item, tag) {
			put(item, e)
		}
	}
	if !valued(item, dicom.TagProcedureStepDiscontinuationReasonCodeSequence) {
		item.SetSequence(dicom.TagProcedureStepDiscontinuationReasonCodeSequence, unspecified)
	}
	if contact := contactOf(why); contact != nil && !valued(item, dicom.TagProcedureStepCommunicationsURISequence) {
		item.SetSequence(dicom.TagProcedureStepCommunicationsURISequence, contact)
	}
	s.attributes.SetSequence(dicom.TagProcedureStepProgressInformationSequence, item)
}

// contactOf is who can be asked about a cancellation.
func contactOf(why *dicom.Dataset) *dicom.Dataset {
	if !valued(why, dicom.TagContactURI) {
		return nil
	}
	return why.Select(dicom.TagContactURI, dicom.TagContactDisplayName).UTF8()
}

// touched notes that the step was changed.
func (s *step) touched() {
	s.attributes.SetString(dicom.TagScheduledProcedureStepModificationDateTime, dicom.DT, wall(time.Now()))
}

// personName makes a PN of a name that is written family name first.
func personName(name string) string {
	parts := strings.Fields(strings.NewReplacer("^", " ", "=", " ", `\`, " ").Replace(name))
	if len(parts) > 3 {
		parts = append(parts[:2], strings.Join(parts[2:], " "))
	}
	return strings.Join(parts, "^")
}
