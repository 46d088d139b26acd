package ups

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// priorities are how the worklist's priorities are called here.
var priorities = map[worklist.Priority]string{worklist.Stat: "HIGH", worklist.Urgent: "MEDIUM", worklist.Routine: "LOW"}

func priorityOf(ds *dicom.Dataset) worklist.Priority {
	for p, word := range priorities {
		if ds.String(dicom.TagScheduledProcedureStepPriority) == word {
			return p
		}
	}
	return worklist.Routine
}

// reading is what the archive knows of the study that a step is the reading of.
type reading struct {
	task                                                string
	priority                                            worklist.Priority
	deadline                                            time.Time
	study                                               int64
	studyUID, accession, description                    string
	patientID, issuer, name, sex, birthDate, pinfl, fac string
}

// readings looks tasks up.
func readings(ctx context.Context, q querier, tasks []string) (map[string]reading, error) {
	rows, err := q.Query(ctx, `SELECT t.id::text, t.priority, t.deadline, s.id, s.study_uid, s.accession_number, s.description,
			p.patient_id, p.issuer, p.name, p.sex, p.birth_date, p.pinfl, f.name
		FROM reading_task t JOIN study s ON s.id = t.study_row JOIN patient p ON p.id = s.patient_row JOIN facility f ON f.id = s.facility_row
		WHERE t.id = ANY($1)`, tasks)
	if err != nil {
		return nil, err
	}
	found := map[string]reading{}
	var r reading
	_, err = pgx.ForEachRow(rows, []any{
		&r.task, &r.priority, &r.deadline, &r.study, &r.studyUID, &r.accession, &r.description,
		&r.patientID, &r.issuer, &r.name, &r.sex, &r.birthDate, &r.pinfl, &r.fac,
	}, func() error {
		found[r.task] = r
		return nil
	})
	return found, err
}

// shown returns the steps as they are told to others: with state and identity,
// never with the Transaction UID. What the archive knows of the study of a
// reading stands before what came with the step: patients are corrected.
// references asks for the instances of studies, too.
func (s *Steps) shown(ctx context.Context, q querier, steps []*step, references bool) ([]*dicom.Dataset, error) {
	var tasks []string
	for _, step := range steps {
		if step.task != "" {
			tasks = append(tasks, step.task)
		}
	}
	var of map[string]reading
	var requests map[int64]worklist.Request
	if len(tasks) > 0 {
		var err error
		if of, err = readings(ctx, q, tasks); err != nil {
			return nil, err
		}
		var studies []int64
		for _, r := range of {
			studies = append(studies, r.study)
		}
		if s.work.Requests != nil {
			if requests, err = s.work.Requests(ctx, q, studies); err != nil {
				return nil, err
			}
		}
	}
	list := make([]*dicom.Dataset, len(steps))
	for i, step := range steps {
		ds := step.attributes.UTF8()
		if r, ok := of[step.task]; ok {
			r.show(ds, requests[r.study])
			if references {
				if err := s.refer(ctx, q, ds, r); err != nil {
					return nil, err
				}
			}
		}
		ds.SetString(dicom.TagSOPClassUID, dicom.UI, PushSOPClass).SetString(dicom.TagSOPInstanceUID, dicom.UI, step.uid).
			SetString(dicom.TagProcedureStepState, dicom.CS, string(step.state)).Delete(dicom.TagTransactionUID)
		list[i] = ds
	}
	return list, nil
}

// show overlays what the archive knows.
func (r *reading) show(ds *dicom.Dataset, request worklist.Request) {
	ds.SetString(dicom.TagPatientName, dicom.PN, r.name).SetString(dicom.TagPatientID, dicom.LO, r.patientID).
		SetString(dicom.TagIssuerOfPatientID, dicom.LO, r.issuer).SetString(dicom.TagPatientBirthDate, dicom.DA, r.birthDate).
		SetString(dicom.TagPatientSex, dicom.CS, r.sex).SetString(dicom.TagStudyInstanceUID, dicom.UI, r.studyUID)
	if r.pinfl != "" {
		ds.SetSequence(dicom.TagOtherPatientIDsSequence, new(dicom.Dataset).SetString(dicom.TagPatientID, dicom.LO, r.pinfl).
			SetString(dicom.TagIssuerOfPatientID, dicom.LO, "PINFL").SetString(dicom.TagTypeOfPatientID, dicom.CS, "TEXT"))
	}
	ds.SetString(dicom.TagScheduledProcedureStepPriority, dicom.CS, priorities[r.priority]).
		SetString(dicom.TagExpectedCompletionDateTime, dicom.DT, wall(r.deadline))
	if valued(ds, dicom.TagReferencedRequestSequence) {
		return // who asked for the step knows better
	}
	accession := r.accession
	if request.Accession != "" {
		accession = request.Accession
	}
	if accession == "" && request.Order == "" {
		return
	}
	ds.SetSequence(dicom.TagReferencedRequestSequence, new(dicom.Dataset).SetString(dicom.TagStudyInstanceUID, dicom.UI, r.studyUID).
		SetString(dicom.TagAccessionNumber, dicom.SH, accession).
		SetString(dicom.TagRequestedProcedureDescription, dicom.LO, cut(r.description, 64)).
		SetString(dicom.TagPlacerOrderNumberImagingServiceRequest, dicom.LO, request.Placer).
		SetString(dicom.TagReasonForTheRequestedProcedure, dicom.LO, cut(strings.Join(strings.Fields(request.Reason), " "), 64)).
		SetString(dicom.TagRequestedProcedureComments, dicom.LT, request.Question).
		SetString(dicom.TagRequestingService, dicom.LO, request.Department).
		SetString(dicom.TagRequestingPhysician, dicom.PN, request.Physician).
		SetSequence(dicom.TagRequestedProcedureCodeSequence).SetString(dicom.TagRequestedProcedureID, dicom.SH))
}

// refer lists the instances of a study, by series, as the input of its reading:
// PS3.3 Table 10-3b. Those of a study of more than maxItems are named by series
// only. What the step was given as input stays.
func (s *Steps) refer(ctx context.Context, q querier, ds *dicom.Dataset, r reading) error {
	if valued(ds, dicom.TagInputInformationSequence) {
		return nil
	}
	rows, err := q.Query(ctx, `SELECT e.series_uid, i.sop_class, i.sop_uid FROM series e JOIN instance i ON i.series_row = e.id AND i.study_row = e.study_row AND i.current
		WHERE e.study_row = $1 ORDER BY e.number, e.series_uid, i.number, i.sop_uid LIMIT $2`, r.study, maxItems+1)
	if err != nil {
		return err
	}
	var items []*dicom.Dataset
	var series, class, uid, last string
	var references []*dicom.Dataset
	n := 0
	end := func() {
		if last == "" {
			return
		}
		item := new(dicom.Dataset).SetString(dicom.TagTypeOfInstances, dicom.CS, "DICOM").
			SetString(dicom.TagStudyInstanceUID, dicom.UI, r.studyUID).SetString(dicom.TagSeriesInstanceUID, dicom.UI, last).
			SetSequence(dicom.TagReferencedSOPSequence, references...).
			SetSequence(dicom.TagDICOMRetrievalSequence, new(dicom.Dataset).SetString(dicom.TagRetrieveAETitle, dicom.AE, s.o.AETitle))
		items, references = append(items, item), nil
	}
	_, err = pgx.ForEachRow(rows, []any{&series, &class, &uid}, func() error {
		if series != last {
			end()
			last = series
		}
		n++
		references = append(references, new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, class).
			SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, uid))
		return nil
	})
	if err != nil {
		return err
	}
	end()
	if n <= maxItems {
		ds.SetSequence(dicom.TagInputInformationSequence, items...)
		return nil
	}
	return s.referSeries(ctx, q, ds, r)
}

func (s *Steps) referSeries(ctx context.Context, q querier, ds *dicom.Dataset, r reading) error {
	rows, err := q.Query(ctx, `SELECT series_uid FROM series WHERE study_row = $1 ORDER BY number, series_uid LIMIT $2`, r.study, maxItems)
	if err != nil {
		return err
	}
	var items []*dicom.Dataset
	var series string
	_, err = pgx.ForEachRow(rows, []any{&series}, func() error {
		items = append(items, new(dicom.Dataset).SetString(dicom.TagTypeOfInstances, dicom.CS, "DICOM").
			SetString(dicom.TagStudyInstanceUID, dicom.UI, r.studyUID).SetString(dicom.TagSeriesInstanceUID, dicom.UI, series).
			SetSequence(dicom.TagReferencedSOPSequence).
			SetSequence(dicom.TagDICOMRetrievalSequence, new(dicom.Dataset).SetString(dicom.TagRetrieveAETitle, dicom.AE, s.o.AETitle)))
		return nil
	})
	ds.SetSequence(dicom.TagInputInformationSequence, items...)
	return err
}

func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return strings.TrimSpace(string(runes[:most]))
	}
	return text
}
