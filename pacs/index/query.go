package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// studyColumns are scanned by scanStudy.
const studyColumns = `
	s.id, s.study_uid, f.id, f.code, f.name, f.tax_id,
	p.id, p.issuer, p.patient_id, p.name, p.sex, p.birth_date, p.pinfl, p.variant,
	s.study_date, s.study_time, s.accession_number, s.study_id, s.description, s.referring_physician, s.question,
	s.modalities, s.body_parts, s.series_count, s.instance_count, s.bytes, s.received_at, s.updated_at, s.completed_at, s.attributes, ` + amendmentColumn

const studyTables = `
	study s JOIN patient p ON p.id = s.patient_row JOIN facility f ON f.id = s.facility_row`

func scanStudy(row pgx.CollectableRow) (pacs.Study, error) {
	var s pacs.Study
	var completed *time.Time
	var amended []byte
	err := row.Scan(&s.ID, &s.StudyInstanceUID, &s.Facility.ID, &s.Facility.Code, &s.Facility.Name, &s.Facility.TaxID,
		&s.Patient.ID, &s.Patient.Issuer, &s.Patient.PatientID, &s.Patient.Name, &s.Patient.Sex, &s.Patient.BirthDate, &s.Patient.PINFL, &s.Patient.Variant,
		&s.Date, &s.Time, &s.AccessionNumber, &s.StudyID, &s.Description, &s.ReferringPhysician, &s.Question,
		&s.Modalities, &s.BodyParts, &s.SeriesCount, &s.InstanceCount, &s.Bytes, &s.ReceivedAt, &s.UpdatedAt, &completed, &s.Attributes, &amended)
	if err == nil {
		s.Amendment, err = parseAmendment(amended)
	}
	if completed != nil {
		s.CompletedAt = *completed
	}
	return s, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func studyByID(ctx context.Context, q querier, id int64) (pacs.Study, error) {
	rows, err := q.Query(ctx, `SELECT `+studyColumns+` FROM `+studyTables+` WHERE s.id = $1`, id)
	if err != nil {
		return pacs.Study{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanStudy)
}

// Studies returns the studies in scope that match, newest first (study date,
// then order of arrival) unless the filter says otherwise, and the cursor of
// the next page. search.go says how they are found.
func (ix *Index) Studies(ctx context.Context, scope pacs.Scope, f pacs.StudyFilter) ([]pacs.Study, string, error) {
	sorted, known := orders[f.Sort]
	if !known {
		return nil, "", pacs.Errorf(pacs.Invalid, "Studies are sorted by date, received or name")
	}
	var c conditions
	if f.After != "" {
		at, err := parseCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		c.after(f.Sort, at)
	}
	page, err := ix.page(ctx, scope, f, &c)
	if err != nil || page == "" {
		return nil, "", err
	}
	sql := `SELECT ` + studyColumns + ` FROM (` + page + `) AS page JOIN study s ON s.id = page.id
		JOIN patient p ON p.id = s.patient_row JOIN facility f ON f.id = s.facility_row ORDER BY ` + sorted.by
	studies, err := collect(ctx, ix.pool, sql, c.args, scanStudy)
	if err != nil {
		return nil, "", err
	}
	studies, next := cut(studies, f.Page, sorted.cursor)
	if f.Availability {
		err = ix.studyAvailability(ctx, studies)
	}
	return studies, next, err
}

// Study returns one study. NotFound when it is absent or out of scope.
func (ix *Index) Study(ctx context.Context, scope pacs.Scope, studyUID string) (pacs.Study, error) {
	studies, _, err := ix.Studies(ctx, scope, pacs.StudyFilter{StudyInstanceUIDs: []string{studyUID}})
	if err != nil {
		return pacs.Study{}, err
	}
	if len(studies) == 0 {
		return pacs.Study{}, pacs.Errorf(pacs.NotFound, "There is no such study")
	}
	return studies[0], nil
}

// StudiesByID returns the studies in scope with these row numbers, in no
// particular order: also those that a retention policy has deleted, since
// reports and tasks go on speaking of them.
func (ix *Index) StudiesByID(ctx context.Context, scope pacs.Scope, ids []int64) (map[int64]pacs.Study, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.add("s.id = ANY(%s)", ids)
	studies, err := collect(ctx, ix.pool, `SELECT `+studyColumns+` FROM `+studyTables+` WHERE `+c.where(), c.args, scanStudy)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]pacs.Study, len(studies))
	for _, s := range studies {
		byID[s.ID] = s
	}
	return byID, nil
}

// Series returns the series that match, by study, number and UID.
func (ix *Index) Series(ctx context.Context, scope pacs.Scope, f pacs.SeriesFilter) ([]pacs.Series, string, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.series(f)
	c.clauses = append(c.clauses, "e.instance_count > 0") // the rest is rejected
	if f.After != "" {
		at, err := parseCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		c.add("(e.study_row, coalesce(e.number, 0), e.series_uid) > (%s, %s, %s)", at.ID, at.Number, at.UID)
	}
	sql := fmt.Sprintf(`
		SELECT e.id, e.study_row, s.study_uid, e.series_uid, e.modality, e.number, e.description, e.body_part,
			e.instance_count, e.has_pixels, e.attributes
		FROM series e JOIN %s ON s.id = e.study_row WHERE %s
		ORDER BY e.study_row, coalesce(e.number, 0), e.series_uid LIMIT %s OFFSET %s`,
		studyTables, c.where(), c.arg(limit(f.Page)), c.arg(offset(f.Page)))
	series, err := collect(ctx, ix.pool, sql, c.args, func(row pgx.CollectableRow) (pacs.Series, error) {
		var e pacs.Series
		err := row.Scan(&e.ID, &e.StudyID, &e.StudyInstanceUID, &e.SeriesInstanceUID, &e.Modality, &e.Number, &e.Description, &e.BodyPart,
			&e.InstanceCount, &e.HasPixels, &e.Attributes)
		return e, err
	})
	if err != nil {
		return nil, "", err
	}
	series, next := cut(series, f.Page, func(e pacs.Series) cursor {
		return cursor{ID: e.StudyID, Number: orZero(e.Number), UID: e.SeriesInstanceUID}
	})
	if f.Availability {
		err = ix.seriesAvailability(ctx, series)
	}
	return series, next, err
}

// Instances returns the current versions of the instances that match, by
// series, instance number and UID.
func (ix *Index) Instances(ctx context.Context, scope pacs.Scope, f pacs.InstanceFilter) ([]pacs.Instance, string, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.instance(f)
	if f.Notes {
		c.clauses = slices.DeleteFunc(c.clauses, func(clause string) bool { return clause == "NOT s.hidden" })
		c.clauses = append(c.clauses, "i.current", "i.rejected = 'note'")
	} else {
		c.clauses = append(c.clauses, "i.current", "i.rejected IS NULL")
	}
	if f.After != "" {
		at, err := parseCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		c.add("(i.series_row, coalesce(i.number, 0), i.sop_uid) > (%s, %s, %s)", at.ID, at.Number, at.UID)
	}
	sql := fmt.Sprintf(`
		SELECT i.study_row, i.series_row, s.study_uid, e.series_uid, i.sop_uid, i.sop_class, i.transfer_syntax, i.number,
			i.rows, i.columns, i.frames, i.sha256, i.version, i.received_at,
			i.pack_row, k.key, i.pack_offset, i.length, i.dataset_offset, i.pixels, i.attributes, i.pixels_deleted, i.compressed, i.charset, `+amendmentColumn+`
		FROM %s JOIN series e ON e.study_row = s.id JOIN instance i ON i.study_row = s.id AND i.series_row = e.id
			JOIN pack k ON k.id = i.pack_row
		WHERE %s
		ORDER BY i.series_row, coalesce(i.number, 0), i.sop_uid LIMIT %s OFFSET %s`,
		studyTables, c.where(), c.arg(limit(f.Page)), c.arg(offset(f.Page)))
	var instances []pacs.Instance
	var err error
	if byUIDOnly(f) {
		instances, err = collectByUID(ctx, ix.pool, sql, c.args, scanInstance)
	} else {
		instances, err = collect(ctx, ix.pool, sql, c.args, scanInstance)
	}
	if err != nil {
		return nil, "", err
	}
	instances, next := cut(instances, f.Page, func(i pacs.Instance) cursor {
		return cursor{ID: i.SeriesID, Number: orZero(i.Number), UID: i.SOPInstanceUID}
	})
	return instances, next, nil
}

func scanInstance(row pgx.CollectableRow) (pacs.Instance, error) {
	var i pacs.Instance
	var pixels, deleted, compressed, amended []byte
	err := row.Scan(&i.StudyID, &i.SeriesID, &i.StudyInstanceUID, &i.SeriesInstanceUID, &i.SOPInstanceUID, &i.SOPClassUID, &i.TransferSyntaxUID, &i.Number,
		&i.Rows, &i.Columns, &i.FrameCount, &i.SHA256, &i.Version, &i.ReceivedAt,
		&i.Location.PackID, &i.Location.PackKey, &i.Location.Offset, &i.Location.Length, &i.Location.DatasetOffset, &pixels, &i.Attributes, &deleted, &compressed, &i.Charset, &amended)
	if err == nil {
		i.Amendment, err = parseAmendment(amended)
	}
	if err == nil {
		err = errors.Join(optional(pixels, &i.Location.PixelData), optional(deleted, &i.PixelsDeleted), optional(compressed, &i.Compressed))
	}
	return i, err
}

// SeriesPack is a pack with instances of a series that are current.
type SeriesPack struct {
	Pack
	// Current are the SOP Instance UIDs in the pack that are the current
	// version; Total counts all instances in it. Its metadata is that of the
	// series when no other pack has current ones and Described is their number:
	// it describes those that were current when it was written.
	Current []string
	Total   int
}

// PacksOf returns the packs that hold a series, oldest first. NotFound when
// the series is absent or out of scope.
func (ix *Index) PacksOf(ctx context.Context, scope pacs.Scope, studyUID, seriesUID string) ([]SeriesPack, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.add("s.study_uid = %s AND e.series_uid = %s", studyUID, seriesUID)
	packs, err := collectByUID(ctx, ix.pool, `
		SELECT k.id, k.key, k.bytes, k.meta_offset, k.meta_length, k.described,
			array_agg(i.sop_uid) FILTER (WHERE i.current AND i.rejected IS NULL), count(*)
		FROM study s JOIN series e ON e.study_row = s.id
			JOIN instance i ON i.study_row = s.id AND i.series_row = e.id
			JOIN pack k ON k.id = i.pack_row
		WHERE `+c.where()+`
		GROUP BY k.id ORDER BY k.id`, c.args, func(row pgx.CollectableRow) (SeriesPack, error) {
		var p SeriesPack
		err := row.Scan(&p.ID, &p.Key, &p.Bytes, &p.MetaOffset, &p.MetaLength, &p.Described, &p.Current, &p.Total)
		return p, err
	})
	if err != nil {
		return nil, err
	}
	// Of a series of which all is rejected nothing is shown.
	if !slices.ContainsFunc(packs, func(p SeriesPack) bool { return len(p.Current) > 0 }) {
		return nil, pacs.Errorf(pacs.NotFound, "There is no such series")
	}
	return packs, nil
}

// Totals counts what the index holds.
type Totals struct {
	Studies, Instances, Bytes int64
}

// Totals sums up the studies in scope. In a large index that takes a while, so
// the answer may be some seconds old (KeepFor).
func (ix *Index) Totals(ctx context.Context, scope pacs.Scope) (Totals, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.clauses = append(c.clauses, undeleted)
	return ix.totals.Get(ctx, fmt.Sprint(scope.All, distinct(scope.FacilityIDs)), func(ctx context.Context) (t Totals, err error) {
		err = ix.pool.QueryRow(ctx, `SELECT count(*), coalesce(sum(instance_count), 0)::bigint, coalesce(sum(bytes), 0)::bigint FROM study s WHERE `+c.where(), c.args...).
			Scan(&t.Studies, &t.Instances, &t.Bytes)
		return t, fail(err)
	})
}

func collect[T any](ctx context.Context, q querier, sql string, args []any, scan pgx.RowToFunc[T]) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fail(err)
	}
	out, err := pgx.CollectRows(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return out, fail(err)
}

func orZero(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// MiddleInstances returns, by series row, the SOP Instance UID in the middle
// of each series of a study in scope that has pixels: what a thumbnail shows.
func (ix *Index) MiddleInstances(ctx context.Context, scope pacs.Scope, studyID int64) (map[int64]string, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.add("s.id = %s AND i.study_row = %s", studyID, studyID)
	type row struct {
		series int64
		uid    string
	}
	rows, err := collect(ctx, ix.pool, `
		SELECT series_row, sop_uid FROM (
			SELECT i.series_row, i.sop_uid,
				row_number() OVER w AS place, count(*) OVER (PARTITION BY i.series_row) AS total
			FROM instance i JOIN study s ON s.id = i.study_row
			WHERE i.current AND i.rejected IS NULL AND i.frames > 0 AND `+c.where()+`
			WINDOW w AS (PARTITION BY i.series_row ORDER BY coalesce(i.number, 0), i.sop_uid)) numbered
		WHERE place = total / 2 + 1`, c.args, func(r pgx.CollectableRow) (row row, err error) {
		err = r.Scan(&row.series, &row.uid)
		return row, err
	})
	middle := make(map[int64]string, len(rows))
	for _, r := range rows {
		middle[r.series] = r.uid
	}
	return middle, err
}
