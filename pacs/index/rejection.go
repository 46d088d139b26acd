package index

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Rejected instances (IHE RAD TF-2 4.66, Image Object Change Management). A
// rejection note says of instances in its study that they are not to be shown.
// It is stored like any other instance, and so are they: what is rejected stays
// in its pack, is counted by retention as before, and comes back when another
// note takes the first one back.

// Note is what a rejection note says.
type Note struct {
	Code      string   // of its title; see pacs.RejectionReason
	Instances []string // SOP Instance UIDs that it names, of its own study
}

// maxNoted is how many instances a note may name.
const maxNoted = 100_000

// addNotes adds what the notes among some instances say.
func addNotes(ctx context.Context, tx pgx.Tx, studyID int64, instances []NewInstance) (noted bool, err error) {
	for i := range instances {
		in := &instances[i]
		if in.Note == nil || len(in.Note.Instances) == 0 {
			continue
		}
		noted = true
		uids := in.Note.Instances[:min(len(in.Note.Instances), maxNoted)]
		if _, err := tx.Exec(ctx, `
			INSERT INTO rejection (study_row, sop_uid, note_uid, code, noted_at)
			SELECT DISTINCT $1::bigint, uid, $3, $4, $5::timestamptz FROM unnest($2::text[]) AS named(uid)
			ON CONFLICT (study_row, sop_uid, note_uid) DO UPDATE SET code = EXCLUDED.code, noted_at = greatest(rejection.noted_at, EXCLUDED.noted_at)`,
			studyID, uids, in.SOPInstanceUID, in.Note.Code, in.ReceivedAt); err != nil {
			return false, err
		}
	}
	return noted, nil
}

// SettleRejections brings a study's rows in line with its notes: which instances
// are shown, and what is counted over those. It returns how many instances are
// hidden that were not, and how many are shown again.
//
// The last note about an instance counts. One that says that the data retention
// policy has expired is about what was there: the same instance, sent again
// later, is shown (RAD TF-2 4.66.4.1.3); any other also hides what comes later.
func SettleRejections(ctx context.Context, tx pgx.Tx, studyID int64) (hidden, shown int, err error) {
	rows, err := tx.Query(ctx, `
		WITH verdict AS (
			SELECT DISTINCT ON (sop_uid) sop_uid, code, noted_at FROM rejection WHERE study_row = $1
			ORDER BY sop_uid, noted_at DESC, note_uid DESC),
		due AS (
			SELECT i.sop_uid, i.version, CASE
				WHEN EXISTS (SELECT FROM rejection n WHERE n.study_row = $1 AND n.note_uid = i.sop_uid) THEN 'note'
				WHEN v.code IS NULL OR v.code = $2 OR v.code = $3 AND i.received_at > v.noted_at THEN NULL
				ELSE v.code END AS rejected
			FROM instance i LEFT JOIN verdict v ON v.sop_uid = i.sop_uid WHERE i.study_row = $1)
		UPDATE instance i SET rejected = due.rejected FROM due
		WHERE i.study_row = $1 AND i.sop_uid = due.sop_uid AND i.version = due.version AND i.rejected IS DISTINCT FROM due.rejected
		RETURNING coalesce(i.rejected, ''), i.current`,
		studyID, string(pacs.RejectionRevoked), string(pacs.RetentionExpired))
	if err != nil {
		return 0, 0, err
	}
	var code string
	var current bool
	if _, err := pgx.ForEachRow(rows, []any{&code, &current}, func() error {
		switch {
		case !current || code == "note":
		case code == "":
			shown++
		default:
			hidden++
		}
		return nil
	}); err != nil {
		return 0, 0, err
	}
	for _, statement := range []string{
		`WITH counted AS (
			SELECT e.id, count(i.sop_uid) FILTER (WHERE i.current AND i.rejected IS NULL) AS instances FROM series e
			LEFT JOIN instance i ON i.study_row = e.study_row AND i.series_row = e.id
			WHERE e.study_row = $1 GROUP BY e.id)
		UPDATE series e SET instance_count = c.instances FROM counted c WHERE e.id = c.id AND e.instance_count <> c.instances`,
		`UPDATE study SET
			instance_count = (SELECT coalesce(sum(instance_count), 0) FROM series WHERE study_row = $1),
			series_count   = (SELECT count(*) FROM series WHERE study_row = $1 AND instance_count > 0),
			modalities     = (SELECT coalesce(array_agg(DISTINCT modality ORDER BY modality), '{}') FROM series WHERE study_row = $1 AND modality <> '' AND instance_count > 0),
			body_parts     = (SELECT coalesce(array_agg(DISTINCT body_part ORDER BY body_part), '{}') FROM series WHERE study_row = $1 AND body_part <> '' AND instance_count > 0),
			hidden         = NOT EXISTS (SELECT FROM series WHERE study_row = $1 AND instance_count > 0),
			updated_at     = clock_timestamp()
		WHERE id = $1`,
	} {
		if _, err := tx.Exec(ctx, statement, studyID); err != nil {
			return 0, 0, err
		}
	}
	return hidden, shown, nil
}

// settleAdded is SettleRejections behind an addition, with what it has changed
// in the feed.
func settleAdded(ctx context.Context, tx pgx.Tx, a Addition, out Added) error {
	hidden, shown, err := SettleRejections(ctx, tx, out.StudyID)
	if err != nil {
		return err
	}
	change := Change{FacilityID: out.FacilityID, StudyUID: a.Study.StudyInstanceUID}
	var changes []Change
	if hidden > 0 {
		change.Kind, change.Instances = InstancesRejected, hidden
		changes = append(changes, change)
	}
	if shown > 0 {
		change.Kind, change.Instances = InstancesRestored, shown
		changes = append(changes, change)
	}
	return RecordChange(ctx, tx, changes...)
}

// Rejected returns a study in scope, also one of which nothing is shown, and
// its instances that notes have hidden, by series, number and UID. NotFound when there
// is no such study.
func (ix *Index) Rejected(ctx context.Context, scope pacs.Scope, studyUID string) (pacs.Study, []pacs.RejectedInstance, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.oneOf("s.study_uid", []string{studyUID})
	c.clauses = append(c.clauses, undeleted)
	studies, err := collect(ctx, ix.pool, `SELECT `+studyColumns+` FROM `+studyTables+` WHERE `+c.where(), c.args, scanStudy)
	if err != nil {
		return pacs.Study{}, nil, err
	}
	if len(studies) != 1 {
		return pacs.Study{}, nil, pacs.Errorf(pacs.NotFound, "There is no such study")
	}
	instances, err := collect(ctx, ix.pool, `
		SELECT e.series_uid, e.modality, e.description, i.sop_uid, i.sop_class, coalesce(i.number, 0), i.version, i.rejected, n.note_uid, n.noted_at, coalesce(o.sender, '')
		FROM instance i JOIN series e ON e.id = i.series_row
			JOIN LATERAL (SELECT note_uid, noted_at FROM rejection r WHERE r.study_row = i.study_row AND r.sop_uid = i.sop_uid AND r.code = i.rejected
				ORDER BY noted_at DESC, note_uid DESC LIMIT 1) n ON true
			LEFT JOIN instance o ON o.study_row = i.study_row AND o.sop_uid = n.note_uid AND o.current
		WHERE i.study_row = $1 AND i.current AND i.rejected IS NOT NULL
		ORDER BY e.series_uid COLLATE "C", i.number, i.sop_uid COLLATE "C"`, []any{studies[0].ID}, func(row pgx.CollectableRow) (r pacs.RejectedInstance, err error) {
		var reason string
		err = row.Scan(&r.SeriesInstanceUID, &r.Modality, &r.SeriesDescription, &r.SOPInstanceUID, &r.SOPClassUID, &r.Number, &r.Version, &reason, &r.NoteUID, &r.NotedAt, &r.Sender)
		r.Reason = pacs.RejectionReason(reason)
		return r, err
	})
	return studies[0], instances, err
}

// RejectedStudies returns the studies in scope of which notes have hidden
// instances, those with the newest note first, and the cursor of the next page,
// "" after the last. It goes through all that was ever rejected.
func (ix *Index) RejectedStudies(ctx context.Context, scope pacs.Scope, page pacs.Page) ([]pacs.RejectedStudy, string, error) {
	c := conditions{args: []any{string(pacs.RejectionRevoked)}}
	c.scope(scope, "s.facility_row")
	c.clauses = append(c.clauses, undeleted)
	if page.After != "" {
		after, err := parseCursor(page.After)
		if err != nil {
			return nil, "", err
		}
		at, err := time.Parse(time.RFC3339Nano, after.Text)
		if err != nil {
			return nil, "", pacs.Errorf(pacs.Invalid, "The page marker is not one of ours; begin at the first page")
		}
		c.add("(n.at, s.id) < (%s, %s)", at, after.ID)
	}
	list, err := collect(ctx, ix.pool, `
		SELECT s.id, n.at, h.hidden FROM (SELECT study_row, max(noted_at) AS at FROM rejection WHERE code <> $1 GROUP BY study_row) n
			JOIN study s ON s.id = n.study_row
			JOIN LATERAL (SELECT count(*) AS hidden FROM instance i WHERE i.study_row = s.id AND i.current AND i.rejected <> 'note') h ON h.hidden > 0
		WHERE `+c.where()+` ORDER BY n.at DESC, s.id DESC LIMIT `+c.arg(limit(page)), c.args, func(row pgx.CollectableRow) (r pacs.RejectedStudy, err error) {
		err = row.Scan(&r.ID, &r.NotedAt, &r.Rejected)
		return r, err
	})
	if err != nil {
		return nil, "", err
	}
	list, next := cut(list, page, func(r pacs.RejectedStudy) cursor {
		return cursor{Text: r.NotedAt.UTC().Format(time.RFC3339Nano), ID: r.ID}
	})
	ids := make([]int64, len(list))
	for i, r := range list {
		ids[i] = r.ID
	}
	studies, err := collect(ctx, ix.pool, `SELECT `+studyColumns+` FROM `+studyTables+` WHERE s.id = ANY($1)`, []any{ids}, scanStudy)
	if err != nil {
		return nil, "", err
	}
	byID := make(map[int64]pacs.Study, len(studies))
	for _, s := range studies {
		byID[s.ID] = s
	}
	for i := range list {
		list[i].Study = byID[list[i].ID]
	}
	return list, next, nil
}
