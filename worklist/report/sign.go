package report

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// Signer is who signs.
type Signer struct {
	ID   int64
	Name string // family name first, as it is printed
}

// Sign makes the draft the next version of the report. revision is that of the
// draft the signer has seen. Version, PDF, the task's state and the delivery
// job are written in one transaction.
//
//	Conflict   stale_revision, claimed_by_other, draft_by_other, already_signed
//	Invalid    empty_report: neither findings nor impression
func (r *Reports) Sign(ctx context.Context, scope pacs.Scope, taskID string, signer Signer, revision int) (Report, error) {
	var out Report
	err := r.change(ctx, scope, taskID, func(tx pgx.Tx, task worklist.Task, report Report) error {
		if report.Draft == nil {
			if len(report.Versions) > 0 {
				err := pacs.Errorf(pacs.Conflict, "The report is signed already")
				err.Reason = "already_signed"
				return err
			}
			return emptyReport()
		}
		kind, err := mayWrite(task, report, signer.ID)
		if err != nil {
			return err
		}
		draft := report.Draft
		if draft.Revision != revision {
			return staleRevision()
		}
		if strings.TrimSpace(draft.Sections.Findings) == "" && strings.TrimSpace(draft.Sections.Impression) == "" {
			return emptyReport()
		}
		v := Version{
			ReportID: report.ID,
			Version:  len(report.Versions) + 1,
			Kind:     kind,
			Language: draft.Language,
			Sections: draft.Sections,
			SignerID: signer.ID,
			SignedBy: signer.Name,
			SignedAt: time.Now().UTC().Truncate(time.Millisecond),
		}
		studies, err := r.worklist.Index().StudiesByID(ctx, scope, []int64{task.StudyID})
		if err != nil {
			return err
		}
		study, ok := studies[task.StudyID]
		if !ok {
			return pacs.Errorf(pacs.NotFound, "There is no such task")
		}
		var pdf bytes.Buffer
		if err := RenderPDF(&pdf, document(v, study, report.Versions)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO report_version (report_id, version, kind, language, sections, signer, signed_by, signed_at, pdf)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			v.ReportID, v.Version, v.Kind, v.Language, v.Sections, v.SignerID, v.SignedBy, v.SignedAt, pdf.Bytes()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM report_draft WHERE report_id = $1`, v.ReportID); err != nil {
			return err
		}
		if err := r.worklist.MarkSigned(ctx, tx, task, signer.ID); err != nil {
			return err
		}
		if r.Deliver != nil {
			if _, err := tx.Exec(ctx, `INSERT INTO report_delivery (report_id, version) VALUES ($1, $2)`, v.ReportID, v.Version); err != nil {
				return err
			}
			if err := r.Deliver(ctx, tx, v.ReportID, v.Version); err != nil {
				return err
			}
		}
		out, err = r.load(ctx, tx, task.ID)
		return err
	})
	return out, err
}

func emptyReport() error {
	err := pacs.Errorf(pacs.Invalid, "The report has neither findings nor an impression")
	err.Reason = "empty_report"
	return err
}

// document is the printed form of a version.
func document(v Version, study pacs.Study, before []Version) Document {
	doc := Document{
		Language:         PlatformLanguage(v.Language),
		ReportID:         v.ReportID,
		Version:          v.Version,
		FacilityName:     study.Facility.Name,
		PatientName:      pacs.DisplayName(study.Patient.Name),
		PatientSex:       study.Patient.Sex,
		BirthDate:        printedDate(study.Patient.BirthDate),
		PatientID:        study.Patient.PatientID,
		PINFL:            study.Patient.PINFL,
		StudyDescription: study.Description,
		Modality:         strings.Join(study.Modalities, ", "),
		StudyDate:        StudyTime(study),
		Accession:        study.AccessionNumber,
		Indication:       v.Sections.Indication,
		Technique:        v.Sections.Technique,
		Findings:         v.Sections.Findings,
		Impression:       v.Sections.Impression,
		SignerName:       v.SignedBy,
		SignedAt:         v.SignedAt,
	}
	if len(before) > 0 {
		last := before[len(before)-1]
		earlier := &EarlierVersion{Version: last.Version, SignedAt: last.SignedAt}
		if v.Kind == Addendum {
			doc.AddendumTo = earlier
		} else {
			doc.CorrectionOf = earlier
		}
	}
	return doc
}

// PlatformLanguage is the language tag the national platform uses: Uzbek in
// Latin script is plain "uz" there.
func PlatformLanguage(language string) string {
	if language == "uz-Latn" {
		return "uz"
	}
	return language
}

// StudyTime is when a study began, in Uzbekistan's time; the zero time when
// the data set gives no date.
func StudyTime(s pacs.Study) time.Time {
	clock, _, _ := strings.Cut(s.Time, ".")
	for _, layout := range []string{"20060102150405", "200601021504", "2006010215", "20060102"} {
		if t, err := time.ParseInLocation(layout, s.Date+clock, pdfZone); err == nil {
			return t
		}
		if layout == "2006010215" {
			clock = ""
		}
	}
	return time.Time{}
}

func printedDate(date string) string {
	if t, err := time.Parse("20060102", date); err == nil {
		return t.Format(pdfDate)
	}
	return ""
}
