package index

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// TestPlans: with 50 000 studies, what is asked for all day long is found by
// an index. The queries are those the package sends.
func TestPlans(t *testing.T) {
	ix := open(t)
	const rows = 50_000
	if _, err := ix.pool.Exec(t.Context(), fmt.Sprintf(`
		INSERT INTO facility (code, name) SELECT 'F' || n, 'F' FROM generate_series(1, 20) n;
		INSERT INTO patient (facility_row, issuer, patient_id, name, name_fold)
			SELECT f.id, 'F' || n %% 20, 'P' || n, left(md5(n::text), 10), left(md5(n::text), 10)
			FROM generate_series(1, %[1]d) n JOIN facility f ON f.code = 'F' || (n %% 20 + 1);
		INSERT INTO study (study_uid, patient_row, facility_row, study_date, accession_number, modalities)
			SELECT '1.2.' || n, p.id, f.id, to_char(date '2020-01-01' + n %% 2000, 'YYYYMMDD'), 'A' || n, ARRAY['CT']
			FROM generate_series(1, %[1]d) n JOIN patient p ON p.patient_id = 'P' || n JOIN facility f ON f.code = 'F' || (n %% 20 + 1);
		INSERT INTO series (study_row, series_uid, modality) SELECT id, study_uid || '.1', 'CT' FROM study;
		INSERT INTO pack (key, series_row, bytes, meta_offset, meta_length) SELECT series_uid, id, 1, 1, 1 FROM series;
		INSERT INTO instance (study_row, series_row, sop_uid, version, sop_class, transfer_syntax, sha256, pack_row, pack_offset, length, dataset_offset, channel, received_at)
			SELECT e.study_row, e.id, e.series_uid || '.1', 1, '1', '1', '', k.id, 0, 0, 0, 'dimse', now() FROM series e JOIN pack k ON k.series_row = e.id;
		ANALYZE facility, patient, study, series, pack, instance`, rows)); err != nil {
		t.Fatal(err)
	}
	scope := facilityOf(t, ix, "F3")
	day := pacs.DateRange{From: "20220101", To: "20220101"}
	traced := &tracer{}
	config := ix.pool.Config()
	config.ConnConfig.Tracer = traced
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	spy := &Index{pool: pool}
	// plan is how the queries since the last time would be run.
	plan := func(name string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var all []string
		for _, q := range traced.queries {
			rows, _ := ix.pool.Query(t.Context(), `EXPLAIN `+q.sql, q.args...)
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all = append(all, lines...)
		}
		traced.queries = nil
		return strings.Join(all, "\n")
	}
	// walks wants an index read in the order of the list: nothing is sorted
	// but the rows of a page.
	walks := func(name, plan, index string) {
		t.Helper()
		if !strings.Contains(plan, index) {
			t.Errorf("%s: does not walk %s\n%s", name, index, plan)
		}
		for _, line := range strings.Split(plan, "\n") {
			_, rest, sorts := strings.Cut(line, "Sort  (cost=")
			if _, rows, _ := strings.Cut(rest, "rows="); sorts && !strings.Contains(line, "Incremental") {
				var n int
				if _, err := fmt.Sscan(strings.Fields(rows)[0], &n); err != nil || n > 51*manyFacilities {
					t.Errorf("%s: sorts %d rows\n%s", name, n, plan)
				}
			}
		}
	}
	scans := func(name, plan string, tables ...string) {
		t.Helper()
		for _, table := range tables {
			if strings.Contains(plan, "Seq Scan on "+table) {
				t.Errorf("%s: reads all of %s\n%s", name, table, plan)
			}
		}
	}
	const first = "c4ca4238a0" // md5 of 1
	for name, f := range map[string]pacs.StudyFilter{
		"UID":                      {StudyInstanceUIDs: []string{"1.2.782"}},
		"patient ID":               {PatientID: "P782"},
		"patient ID, prefix":       {PatientID: "P782*"},
		"accession":                {AccessionNumber: "A782"},
		"accession, prefix":        {AccessionNumber: "A4782*"},
		"date":                     {Date: day, Page: pacs.Page{Limit: 50}},
		"dates":                    {Date: pacs.DateRange{From: "20220101", To: "20220107"}, Page: pacs.Page{Limit: 50}},
		"newest":                   {Page: pacs.Page{Limit: 50}},
		"a later page":             {Page: pacs.Page{Limit: 50, After: cursor{Text: "20220101", ID: 700}.String()}},
		"name":                     {PatientName: first + "*"},
		"name, fuzzy":              {PatientName: first, Fuzzy: true},
		"text":                     {Text: first},
		"text: accession":          {Text: "A4782"},
		"patient and those linked": {PatientRowID: 782},
	} {
		for who, s := range map[string]pacs.Scope{"all": system, "one facility": scope} {
			_, _, err := spy.Studies(t.Context(), s, f)
			scans(name+", "+who, plan(name, err), "study", "patient")
		}
	}
	five := pacs.Scope{Who: "test", FacilityIDs: append(facilityOf(t, ix, "F4").FacilityIDs, facilityOf(t, ix, "F5").FacilityIDs...)}
	month := pacs.DateRange{From: "20220101", To: "20220131"}
	page := pacs.Page{Limit: 50}
	for _, glance := range []int{glanced, 0} {
		glancing(t, glance)
		for name, f := range map[string]pacs.StudyFilter{
			"newest":              {Page: page},
			"a later page":        {Page: pacs.Page{Limit: 50, After: cursor{Text: "20220101", ID: 700}.String()}},
			"a page by offset":    {Page: pacs.Page{Limit: 50, Offset: 2000}},
			"day and modality":    {Date: day, Modalities: []string{"CT"}, Page: page},
			"month":               {Date: month, Page: page},
			"month and modality":  {Date: month, Modalities: []string{"CT"}, Page: page},
			"a common name":       {PatientName: "a", Fuzzy: true, Page: page},
			"a not so rare name":  {PatientName: "a1*", Page: pacs.Page{Limit: 3}},
			"a common beginning":  {PatientName: "a*", Page: page},
			"a common typed text": {Text: "b", Page: page},
		} {
			for who, of := range map[string]struct {
				pacs.Scope
				index string
			}{
				"all": {system, "study_order"}, "one facility": {scope, "study_facility_order"}, "some facilities": {five, "study_facility_order"},
			} {
				if who == "some facilities" && f.Offset > 0 {
					continue // one list of all is walked
				}
				if who == "some facilities" && glance > 0 && (f.PatientName != "" || f.Text != "") {
					of.index = "study_order" // at which one glances
				}
				_, _, err := spy.Studies(t.Context(), of.Scope, f)
				walks(name+", "+who, plan(name, err), of.index)
			}
		}
	}
	for who, of := range map[string]struct {
		pacs.Scope
		index string
	}{"all": {system, "patient_name_order"}, "one facility": {scope, "patient_facility_name_order"}, "some facilities": {five, "patient_facility_name_order"}} {
		_, _, err = spy.Studies(t.Context(), of.Scope, pacs.StudyFilter{Sort: pacs.ByName, Page: page})
		walks("by name, "+who, plan("by name", err), of.index)
	}
	_, _, err = spy.Studies(t.Context(), system, pacs.StudyFilter{Sort: pacs.ByReceived, Page: page})
	walks("by arrival", plan("by arrival", err), "study_pkey")
	of := pacs.StudyFilter{StudyInstanceUIDs: []string{"1.2.782"}}
	_, _, err = spy.Series(t.Context(), scope, pacs.SeriesFilter{Study: of})
	scans("series of a study", plan("series", err), "study", "patient", "series")
	_, _, err = spy.Series(t.Context(), scope, pacs.SeriesFilter{SeriesInstanceUIDs: []string{"1.2.782.1"}})
	scans("series by UID", plan("series", err), "study", "patient", "series")
	_, _, err = spy.Instances(t.Context(), scope, pacs.InstanceFilter{Series: pacs.SeriesFilter{Study: of}})
	scans("instances of a study", plan("instances", err), "study", "patient", "series", "instance", "pack")
	_, _, err = spy.Instances(t.Context(), scope, pacs.InstanceFilter{SOPInstanceUIDs: []string{"1.2.782.1.1"}})
	scans("instance by UID", plan("instances", err), "study", "patient", "series", "instance", "pack")
	// How soon studies can be had, of a page: by the small indexes of what is not
	// online, also where much is in the cold store.
	for _, cold := range []string{
		"", `UPDATE pack SET key = 'cold/' || key WHERE id % 1000 = 0; UPDATE instance SET pixels_deleted = '{}' WHERE study_row % 1000 = 1; ANALYZE pack, instance`,
		`UPDATE pack SET key = 'cold/' || key WHERE id % 2 = 1; ANALYZE pack`,
	} {
		if _, err := ix.pool.Exec(t.Context(), cold); err != nil {
			t.Fatal(err)
		}
		_, _, err = spy.Studies(t.Context(), system, pacs.StudyFilter{Page: page, Availability: true})
		plan := plan("availability", err)
		scans("availability", plan, "study", "series", "instance", "pack")
		for _, index := range []string{"pack_cold", "study_row_series_row_idx"} { // the latter of deleted pixels, in each partition
			if !strings.Contains(plan, index) && !strings.Contains(cold, "% 2") {
				t.Errorf("availability: does not use %s\n%s", index, plan)
			}
		}
	}
	_, err = spy.PacksOf(t.Context(), scope, "1.2.782", "1.2.782.1")
	scans("packs of a series", plan("packs", err), "study", "series", "instance", "pack")
}

// tracer remembers queries.
type tracer struct {
	queries []struct {
		sql  string
		args []any
	}
}

func (r *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if sql := strings.TrimSpace(data.SQL); strings.HasPrefix(sql, "SELECT") || strings.HasPrefix(sql, "WITH") {
		r.queries = append(r.queries, struct {
			sql  string
			args []any
		}{data.SQL, data.Args})
	}
	return ctx
}

func (r *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
