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
	err := r.change(ctx, scope, taskID, func(tx pgx.Tx, task worklist.Task, report Report) error {
		kind, err := mayWrite(task, report, author)
		if err != nil {
			return err
		}
		if report.Draft != nil && report.Draft.Revision != based || report.Draft == nil && based != 0 {
			return staleRevision()
		}
		id, err := ensureReport(ctx, tx, report)
		if err != nil {
			return err
		}
		saved = Draft{AuthorID: author, Kind: kind, Language: language, Sections: sections.clean(), Revision: based + 1}
		return putDraft(ctx, tx, id, &saved)
	})
	return saved, err
}

// DiscardDraft throws the author's draft away. Discarding none is a success.
func (r *Reports) DiscardDraft(ctx context.Context, scope pacs.Scope, taskID string, author int64) error {
	return r.change(ctx, scope, taskID, func(tx pgx.Tx, task worklist.Task, report Report) error {
		if report.Draft == nil {
			return nil
		}
		if report.Draft.AuthorID != author {
			return draftByOther(report.Draft)
		}
		_, err := tx.Exec(ctx, `DELETE FROM report_draft WHERE report_id = $1`, report.ID)
		return err
	})
}

// Amend begins a correction (from the text that stands) or an addendum (from
// nothing) of a signed report.
//
//	Conflict   draft_by_other (Who), or the report is not signed yet
func (r *Reports) Amend(ctx context.Context, scope pacs.Scope, taskID string, author int64, kind Kind) (Report, error) {
	if kind != Correction && kind != Addendum {
		return Report{}, pacs.Errorf(pacs.Invalid, "A signed report takes a correction or an addendum")
	}
	var out Report
	err := r.change(ctx, scope, taskID, func(tx pgx.Tx, task worklist.Task, report Report) error {
		if len(report.Versions) == 0 {
			return pacs.Errorf(pacs.Conflict, "The report is not signed yet; change its draft")
		}
		if d := report.Draft; d != nil && (d.AuthorID != author || d.Kind != kind) {
			return draftByOther(d)
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
// that claims, drafts and signatures of one task take turns.
func (r *Reports) change(ctx context.Context, scope pacs.Scope, taskID string, f func(pgx.Tx, worklist.Task, Report) error) error {
	task, err := r.worklist.Task(ctx, scope, taskID)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		state, holder, err := worklist.Lock(ctx, tx, task.ID)
		if err != nil {
			return err
		}
		if holder != task.ClaimedBy {
			task.ClaimedByName = "" // changed hands meanwhile
		}
		task.State, task.ClaimedBy = state, holder
		report, err := r.load(ctx, tx, task.ID)
		if err != nil {
			return err
		}
		if err := f(tx, task, report); err != nil {
			return err
		}
		return events.Notify(ctx, tx, events.Event{Type: events.Report, Data: map[string]string{"task": task.ID, "report": report.ID}, Facility: task.FacilityID})
	})
	return worklist.Failure(err)
}

// mayWrite says what kind of draft the author may save now.
func mayWrite(task worklist.Task, report Report, author int64) (Kind, error) {
	if d := report.Draft; d != nil && len(report.Versions) > 0 {
		if d.AuthorID != author {
			return "", draftByOther(d)
		}
		return d.Kind, nil
	}
	switch {
	case task.State == worklist.Signed:
		err := pacs.Errorf(pacs.Conflict, "The report is signed. To change it, write a correction or an addendum")
		err.Reason = "already_signed"
		return "", err
	case task.State == worklist.Claimed && task.ClaimedBy == author:
		return Final, nil
	case task.State == worklist.Claimed:
		err := pacs.Errorf(pacs.Conflict, "Someone else is reading this study now")
		err.Reason, err.Who = "claimed_by_other", task.ClaimedByName
		return "", err
	}
	return "", pacs.Errorf(pacs.Conflict, "Claim the task before you write")
}

func ensureReport(ctx context.Context, tx pgx.Tx, report Report) (string, error) {
	if report.ID != "" {
		return report.ID, nil
	}
	var id string
	err := tx.QueryRow(ctx, `INSERT INTO report (task_id) VALUES ($1) RETURNING id::text`, report.TaskID).Scan(&id)
	return id, err
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
	err := pacs.Errorf(pacs.Conflict, "The draft has been saved from another window since; compare before you save over it")
	err.Reason = "stale_revision"
	return err
}

func draftByOther(d *Draft) error {
	err := pacs.Errorf(pacs.Conflict, "%s has a draft of this report open", d.Author)
	err.Reason, err.Who = "draft_by_other", d.Author
	return err
}
