package report

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// Signer is who signs.
type Signer struct {
	ID    int64
	Name  string // family name first, as it is printed
	ARGOS string // number in the national register of health workers, or ""
	From  string // network address, for the audit trail
}

// Sign makes the draft the next version of the report. revision is that of the
// draft the signer has seen. Version, PDF, the task's state, the audit event
// and the delivery job are written in one transaction.
//
//	Conflict   stale_revision, claimed_by_other, draft_by_other, already_signed
//	Invalid    empty_report: neither findings nor impression
func (r *Reports) Sign(ctx context.Context, scope pacs.Scope, taskID string, signer Signer, revision int) (Report, error) {
	// Read before the transaction: one that waits for a second connection of
	// the pool while it holds a first can wait for itself.
	study, err := r.studyOf(ctx, scope, taskID)
	if err != nil {
		return Report{}, err
	}
	var out Report
	err = r.change(ctx, scope, taskID, func(tx pgx.Tx, task worklist.Task, report *Report) error {
		kind, err := maySign(task, report, signer.ID, revision)
		if err != nil {
			return err
		}
		v := Version{
			ReportID: report.ID,
			Version:  len(report.Versions) + 1,
			Kind:     kind,
			Language: report.Draft.Language,
			Sections: report.Draft.Sections,
			SignerID: signer.ID,
			SignedBy: signer.Name,
			SignedAt: time.Now().UTC().Truncate(time.Millisecond),
		}
		var pdf bytes.Buffer
		if err := RenderPDF(&pdf, document(v, study, report.Versions, signer)); err != nil {
			return err
		}
		if err := r.write(ctx, tx, v, pdf.Bytes()); err != nil {
			return err
		}
		if err := r.worklist.MarkSigned(ctx, tx, task, signer.ID); err != nil {
			return err
		}
		event := access.AuditEvent{
			Who: scope.Who, Action: "report.sign", Object: "report:" + reference(v.ReportID, v.Version),
			Facility: task.FacilityID, Remote: signer.From,
		}
		if err := access.Audit(ctx, tx, event); err != nil {
			return err
		}
		out, err = r.load(ctx, tx, task.ID)
		return err
	})
	return out, err
}

// maySign says what kind of version the draft becomes.
func maySign(task worklist.Task, report *Report, signer int64, revision int) (Kind, error) {
	if report.Draft == nil {
		if len(report.Versions) > 0 {
			return "", pacs.Errorf(pacs.Conflict, "The report is signed already").WithReason("already_signed", "")
		}
		return "", emptyReport()
	}
	kind, err := mayWrite(task, report, signer)
	switch {
	case err != nil:
		return "", err
	case report.Draft.Revision != revision:
		return "", staleRevision()
	case !report.Draft.Sections.say():
		return "", emptyReport()
	}
	return kind, nil
}

// write stores a version in the draft's place and sends it on its way.
func (r *Reports) write(ctx context.Context, tx pgx.Tx, v Version, pdf []byte) error {
	if _, err := tx.Exec(ctx, `
		INSERT INTO report_version (report_id, version, kind, language, sections, signer, signed_by, signed_at, pdf)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		v.ReportID, v.Version, v.Kind, v.Language, v.Sections, v.SignerID, v.SignedBy, v.SignedAt, pdf); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM report_draft WHERE report_id = $1`, v.ReportID); err != nil {
		return err
	}
	if r.Deliver == nil {
		return nil
	}
	if _, err := tx.Exec(ctx, `INSERT INTO report_delivery (report_id, version) VALUES ($1, $2)`, v.ReportID, v.Version); err != nil {
		return err
	}
	return r.Deliver(ctx, tx, v.ReportID, v.Version)
}

func (r *Reports) studyOf(ctx context.Context, scope pacs.Scope, taskID string) (pacs.Study, error) {
	task, err := r.worklist.Task(ctx, scope, taskID)
	if err != nil {
		return pacs.Study{}, err
	}
	studies, err := r.worklist.Index().StudiesByID(ctx, scope, []int64{task.StudyID})
	if err != nil {
		return pacs.Study{}, err
	}
	study, ok := studies[task.StudyID]
	if !ok {
		return pacs.Study{}, pacs.Errorf(pacs.NotFound, "There is no such task")
	}
	return study, nil
}

func emptyReport() error {
	return pacs.Errorf(pacs.Invalid, "The report has neither findings nor an impression").WithReason("empty_report", "")
}

// document is the printed form of a version.
func document(v Version, study pacs.Study, before []Version, signer Signer) Document {
	_, words := wordsOf(PlatformLanguage(v.Language))
	doc := Document{
		Language:         PlatformLanguage(v.Language),
		ReportID:         v.ReportID,
		Version:          v.Version,
		FacilityName:     study.Facility.Name,
		FacilityDetails:  labelled(words.tax, study.Facility.TaxID),
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
		SignerPosition:   words.radiologist,
		SignedAt:         v.SignedAt,
	}
	if signer.ARGOS != "" {
		doc.SignerPosition += ", " + labelled("Argos", signer.ARGOS)
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

func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + " " + value
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
