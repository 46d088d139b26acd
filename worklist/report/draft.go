package report

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/events"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// SaveDraft saves a draft. The author must hold the task, or have begun the
// amendment of a signed report. based is the revision the text was edited
// from, 0 for the first save.
//
//	NotFound   no such task in scope
//	Conflict   stale_revision: the draft has moved on; claimed_by_other,
//	           draft_by_other (Who); already_signed: begin an amendment first
func (r *Reports) SaveDraft(ctx context.Context, scope pacs.Scope, taskID string, author int64, sections Sections, language string, based int) (Draft, error) {
	if err := sections.check(); err != nil {
		return Draft{}, err
	}
	if err := checkLanguage(language); err != nil {
		return Draft{}, err
	}
	var saved Draft
	err := r.change(ctx, scope, taskID, func(tx pgx.Tx, task worklist.Task, report *Report) error {
		kind, err := mayWrite(task, report, author)
		if err != nil {
			return err
		}
		if report.Draft != nil && report.Draft.Revision != based || report.Draft == nil && based != 0 {
			return staleRevision()
		}
		if err := ensureReport(ctx, tx, report); err != nil {
			return err
		}
		saved = Draft{AuthorID: author, Kind: kind, Language: language, Sections: sections.clean(), Revision: based + 1}
		return putDraft(ctx, tx, report.ID, &saved)
	})
	return saved, err
}

// DiscardDraft throws a draft away: one's own, or the one that came with the
// task one holds. Discarding none is a success.
//
//	Conflict   claimed_by_other, draft_by_other (Who)
func (r *Reports) DiscardDraft(ctx context.Context, scope pacs.Scope, taskID string, author int64) error {
	return r.change(ctx, scope, taskID, func(tx pgx.Tx, task worklist.Task, report *Report) error {
		if report.Draft == nil {
			return nil
		}
		holds := task.State == worklist.Claimed && task.ClaimedBy == author
		switch {
		case holds:
		case task.State == worklist.Claimed:
			return claimedByOther(task) // who goes on from this draft
		case report.Draft.AuthorID != author:
			return draftByOther(report.Draft)
		}
		_, err := tx.Exec(ctx, `DELETE FROM report_draft WHERE report_id = $1`, report.ID)
		return err
	})
}

// Amend begins a correction (from the text that stands) or an addendum (from
// nothing) of a signed report.
//
//	Conflict   draft_by_other (Who); the report is not signed yet; one has begun
//	           the other kind
func (r *Reports) Amend(ctx context.Context, scope pacs.Scope, taskID string, author int64, kind Kind) (Report, error) {
	if kind != Correction && kind != Addendum {
		return Report{}, pacs.Errorf(pacs.Invalid, "A signed report takes a correction or an addendum")
	}
	var out Report
	err := r.change(ctx, scope, taskID, func(tx pgx.Tx, task worklist.Task, report *Report) error {
		if len(report.Versions) == 0 {
			return pacs.Errorf(pacs.Conflict, "The report is not signed yet; change its draft")
		}
		switch d := report.Draft; {
		case d == nil:
		case d.AuthorID != author:
			return draftByOther(d)
		case d.Kind != kind:
			return pacs.Errorf(pacs.Conflict, "You have begun a %s of this report. Sign or discard it first", d.Kind)
		}
		if report.Draft == nil {
			last := report.Versions[len(report.Versions)-1]
			d := Draft{AuthorID: author, Kind: kind, Language: last.Language, Revision: 1}
			if kind == Correction {
				d.Sections = standing(report.Versions)
			}
			if err := putDraft(ctx, tx, report.ID, &d); err != nil {
				return err
			}
		}
		var err error
		out, err = r.load(ctx, tx, task.ID)
		return err
	})
	return out, err
}

// standing is the text a correction starts from: the last final or correction.
func standing(versions []Version) Sections {
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].Kind != Addendum {
			return versions[i].Sections
		}
	}
	return Sections{}
}

// change runs one operation on a task's report with the task's row locked, so
// that claims, drafts and signatures of one task take turns. f sets the ID of a
// report that it makes.
func (r *Reports) change(ctx context.Context, scope pacs.Scope, taskID string, f func(pgx.Tx, worklist.Task, *Report) error) error {
	task, err := r.worklist.Task(ctx, scope, taskID)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if err := worklist.Lock(ctx, tx, &task); err != nil {
			return err
		}
		report, err := r.load(ctx, tx, task.ID)
		if err != nil {
			return err
		}
		if err := f(tx, task, &report); err != nil {
			return err
		}
		return events.Notify(ctx, tx, events.Event{Type: events.Report, Data: map[string]string{"task": task.ID, "report": report.ID}, Facility: task.FacilityID})
	})
	return worklist.Failure(err)
}

// mayWrite says what kind of draft the author may save now.
func mayWrite(task worklist.Task, report *Report, author int64) (Kind, error) {
	if d := report.Draft; d != nil && len(report.Versions) > 0 {
		if d.AuthorID != author {
			return "", draftByOther(d)
		}
		return d.Kind, nil
	}
	switch {
	case task.State == worklist.Signed:
		return "", pacs.Errorf(pacs.Conflict, "The report is signed. To change it, write a correction or an addendum").WithReason("already_signed", "")
	case task.State == worklist.Claimed && task.ClaimedBy == author:
		return Final, nil
	case task.State == worklist.Claimed:
		return "", claimedByOther(task)
	}
	return "", pacs.Errorf(pacs.Conflict, "Claim the task before you write")
}

// ensureReport gives the task its report, if it has none yet.
func ensureReport(ctx context.Context, tx pgx.Tx, report *Report) error {
	if report.ID != "" {
		return nil
	}
	return tx.QueryRow(ctx, `INSERT INTO report (task_id) VALUES ($1) RETURNING id::text`, report.TaskID).Scan(&report.ID)
}

// putDraft writes a draft. One that is taken over with its task changes its
// author.
func putDraft(ctx context.Context, tx pgx.Tx, reportID string, d *Draft) error {
	return tx.QueryRow(ctx, `
		INSERT INTO report_draft (report_id, author, kind, language, sections, revision, saved_at)
		VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
		ON CONFLICT (report_id) DO UPDATE SET author = EXCLUDED.author, kind = EXCLUDED.kind, language = EXCLUDED.language,
			sections = EXCLUDED.sections, revision = EXCLUDED.revision, saved_at = EXCLUDED.saved_at
		RETURNING saved_at`, reportID, d.AuthorID, d.Kind, d.Language, d.Sections, d.Revision).Scan(&d.SavedAt)
}

func staleRevision() error {
	return pacs.Errorf(pacs.Conflict, "The draft has been saved from another window since; compare before you save over it").WithReason("stale_revision", "")
}

func claimedByOther(task worklist.Task) error {
	return pacs.Errorf(pacs.Conflict, "%s is reading this study now", task.ClaimedByName).WithReason("claimed_by_other", task.ClaimedByName)
}

func draftByOther(d *Draft) error {
	return pacs.Errorf(pacs.Conflict, "%s has a draft of this report open", d.Author).WithReason("draft_by_other", d.Author)
}
