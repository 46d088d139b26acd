package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// Kind says what a version is to those before it.
type Kind string

const (
	Final      Kind = "final"      // the first
	Correction Kind = "correction" // replaces the text before it
	Addendum   Kind = "addendum"   // adds to it
)

// Languages that a report may be written in (BCP 47).
var Languages = []string{"uz-Latn", "uz-Cyrl", "ru", "en"}

// Sections are the parts of a report, plain text with line breaks.
type Sections struct {
	Indication string `json:"indication"`
	Technique  string `json:"technique"`
	Findings   string `json:"findings"`
	Impression string `json:"impression"`
}

// maxSection is the longest section in characters.
const maxSection = 20_000

func (s Sections) all() []string {
	return []string{s.Indication, s.Technique, s.Findings, s.Impression}
}

func (s Sections) check() error {
	for _, text := range s.all() {
		if utf8.RuneCountInString(text) > maxSection {
			return pacs.Errorf(pacs.Invalid, "A section is longer than %d characters", maxSection)
		}
	}
	return nil
}

// say tells whether there is anything to sign: findings or an impression that
// can be seen.
func (s Sections) say() bool {
	return strings.ContainsFunc(s.Findings+s.Impression, func(c rune) bool {
		return unicode.IsGraphic(c) && !unicode.IsSpace(c)
	})
}

// clean drops NUL, which PostgreSQL's JSON can't hold, and whatever is not
// UTF-8.
func (s Sections) clean() Sections {
	f := func(t string) string { return strings.ToValidUTF8(strings.ReplaceAll(t, "\x00", ""), "\uFFFD") }
	return Sections{f(s.Indication), f(s.Technique), f(s.Findings), f(s.Impression)}
}

// Draft is a text in progress.
type Draft struct {
	AuthorID int64
	Author   string
	Kind     Kind
	Language string
	Sections Sections
	Revision int
	SavedAt  time.Time
}

// Version is a signed text. It never changes.
type Version struct {
	ReportID string
	Version  int
	Kind     Kind
	Language string
	Sections Sections
	SignerID int64
	SignedBy string
	SignedAt time.Time
	Delivery *Delivery // nil when no platform was configured at signing
}

// Report is a task's report.
type Report struct {
	ID       string // empty before the first save
	TaskID   string
	Versions []Version // oldest first
	Draft    *Draft    // whosever it is
}

// Reports keeps reports. Safe for concurrent use.
type Reports struct {
	worklist *worklist.Worklist
	pool     *pgxpool.Pool
	// Deliver, when set, enqueues the delivery of a version in the
	// transaction that signs it.
	Deliver func(ctx context.Context, tx pgx.Tx, reportID string, version int) error

	delivered index.Remembered[int] // how many, by scope
}

// New keeps reports of the worklist's tasks.
func New(w *worklist.Worklist) *Reports {
	return &Reports{worklist: w, pool: w.Index().Pool()}
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// OfTask returns the report of a task in scope, an empty one when nothing has
// been written yet. It has everyone's draft; whom to show it is the caller's
// to decide.
func (r *Reports) OfTask(ctx context.Context, scope pacs.Scope, taskID string) (Report, error) {
	task, err := r.worklist.Task(ctx, scope, taskID)
	if err != nil {
		return Report{}, err
	}
	return r.load(ctx, r.pool, task.ID)
}

func (r *Reports) load(ctx context.Context, q querier, taskID string) (Report, error) {
	report := Report{TaskID: taskID}
	err := q.QueryRow(ctx, `SELECT id::text FROM report WHERE task_id = $1`, taskID).Scan(&report.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return report, nil
	}
	if err != nil {
		return report, worklist.Failure(err)
	}
	if report.Versions, err = versions(ctx, q, "v.report_id = $1", report.ID); err != nil {
		return report, err
	}
	var d Draft
	err = q.QueryRow(ctx, `
		SELECT d.author, u.name, d.kind, d.language, d.sections, d.revision, d.saved_at
		FROM report_draft d JOIN user_account u ON u.id = d.author WHERE d.report_id = $1`, report.ID).
		Scan(&d.AuthorID, &d.Author, &d.Kind, &d.Language, &d.Sections, &d.Revision, &d.SavedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return report, nil
	}
	report.Draft = &d
	return report, worklist.Failure(err)
}

func versions(ctx context.Context, q querier, condition string, args ...any) ([]Version, error) {
	rows, err := q.Query(ctx, `
		SELECT v.report_id::text, v.version, v.kind, v.language, v.sections, v.signer, v.signed_by, v.signed_at, `+deliveryColumns+`
		FROM report_version v LEFT JOIN report_delivery d ON d.report_id = v.report_id AND d.version = v.version
		WHERE `+condition+` ORDER BY v.report_id, v.version`, args...)
	if err != nil {
		return nil, worklist.Failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Version, error) {
		var v Version
		var d deliveryRow
		err := row.Scan(append([]any{&v.ReportID, &v.Version, &v.Kind, &v.Language, &v.Sections, &v.SignerID, &v.SignedBy, &v.SignedAt}, d.fields()...)...)
		v.Delivery = d.delivery()
		return v, err
	})
	return out, worklist.Failure(err)
}

// OfStudies returns the signed versions of studies by study row, oldest first.
// The caller has established that the studies are in scope.
func (r *Reports) OfStudies(ctx context.Context, studyIDs []int64) (map[int64][]Version, error) {
	rows, err := r.pool.Query(ctx, `
		SELECT r.id::text, t.study_row FROM report r JOIN reading_task t ON t.id = r.task_id WHERE t.study_row = ANY($1)`, studyIDs)
	if err != nil {
		return nil, worklist.Failure(err)
	}
	studyOf := map[string]int64{}
	var id string
	var study int64
	_, err = pgx.ForEachRow(rows, []any{&id, &study}, func() error { studyOf[id] = study; return nil })
	if err := errors.Join(err, rows.Err()); err != nil {
		return nil, worklist.Failure(err)
	}
	ids := make([]string, 0, len(studyOf))
	for id := range studyOf {
		ids = append(ids, id)
	}
	all, err := versions(ctx, r.pool, "v.report_id = ANY($1::uuid[])", ids)
	if err != nil {
		return nil, err
	}
	byStudy := map[int64][]Version{}
	for _, v := range all {
		byStudy[studyOf[v.ReportID]] = append(byStudy[studyOf[v.ReportID]], v)
	}
	return byStudy, nil
}

// PDF returns the printed form of a signed version, the bytes that went to the
// platform. NotFound outside the scope.
func (r *Reports) PDF(ctx context.Context, scope pacs.Scope, reportID string, version int) ([]byte, error) {
	if !valid(reportID, version) {
		return nil, noSuchReport()
	}
	var pdf []byte
	var facility int64
	err := r.pool.QueryRow(ctx, `
		SELECT v.pdf, t.facility_row FROM report_version v JOIN report r ON r.id = v.report_id JOIN reading_task t ON t.id = r.task_id
		WHERE v.report_id = $1 AND v.version = $2`, reportID, version).Scan(&pdf, &facility)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !scope.Sees(facility) {
		return nil, noSuchReport()
	}
	return pdf, worklist.Failure(err)
}

func noSuchReport() error { return pacs.Errorf(pacs.NotFound, "There is no such report") }

// reference names a version in the audit trail.
func reference(reportID string, version int) string { return fmt.Sprintf("%s/%d", reportID, version) }

func checkLanguage(language string) error {
	if !slices.Contains(Languages, language) {
		return pacs.Errorf(pacs.Invalid, "A report is written in uz-Latn, uz-Cyrl, ru or en")
	}
	return nil
}
