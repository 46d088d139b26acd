package synthetic

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
)

func TestMain(m *testing.M) {
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.startBound.func1"))
}

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	ix.Close()
	return nil
}

func open(t *testing.T) *index.Index {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	return ix
}

var until = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// disagree asks whether a column is what the rows below say, for every row.
func disagree(table, column, below string) string {
	return `SELECT count(*) = 0 FROM ` + table + ` t LEFT JOIN (` + below + `) b(id, want) USING (id) WHERE ` + column + ` IS DISTINCT FROM b.want`
}

// TestFill: what is written agrees with itself, as if it had been received.
func TestFill(t *testing.T) {
	ix := open(t)
	pool := ix.Pool()
	const studies = 25_000 // several parts
	if err := Fill(t.Context(), pool, Options{Studies: studies, Facilities: 20, Seed: 7, Until: until}); err != nil {
		t.Fatal(err)
	}
	for what, sql := range map[string]string{
		"studies":              `SELECT count(*) = 25000 FROM study`,
		"names of studies":     disagree("study", "patient_name || patient_fold", "SELECT s.id, lower(p.name) || p.name_fold FROM study s JOIN patient p ON p.id = s.patient_row"),
		"patients of studies":  `SELECT count(*) = 0 FROM study s LEFT JOIN patient p ON p.id = s.patient_row AND p.facility_row = s.facility_row WHERE p.id IS NULL`,
		"series":               disagree("study", "series_count", "SELECT study_row, count(*) FROM series GROUP BY 1"),
		"instances of studies": disagree("study", "instance_count", "SELECT study_row, count(*) FROM instance GROUP BY 1"),
		"instances of series":  disagree("series", "instance_count", "SELECT series_row, count(*) FROM instance WHERE current GROUP BY 1"),
		"bytes":                disagree("study", "bytes", "SELECT study_row, sum(length) FROM instance GROUP BY 1"),
		"modalities":           disagree("study", "modalities", "SELECT study_row, array_agg(DISTINCT modality ORDER BY modality) FROM series GROUP BY 1"),
		"packs":                `SELECT count(*) = (SELECT count(*) FROM series) FROM pack WHERE key LIKE 'synthetic/%'`,
		"completed":            `SELECT count(*) = 0 FROM study WHERE completed_at IS NULL`,
		"patients":             `SELECT count(*) = 10000 FROM patient`,
		"years":                `SELECT count(DISTINCT left(study_date, 4)) = 9 FROM study`,
		"both scripts":         `SELECT bool_or(name ~ '[А-Я]') AND bool_or(name ~ '[A-Z]') FROM patient`,
	} {
		var ok bool
		if err := pool.QueryRow(t.Context(), sql).Scan(&ok); err != nil || !ok {
			t.Errorf("%s: not as they should be (%v)", what, err)
		}
	}
	// Row numbers go on after them.
	a := index.Addition{
		Facility: "TMA", Patient: pacs.Patient{Issuer: "TMA", PatientID: "1", Name: "Karimov^Ali"},
		Study: pacs.Study{StudyInstanceUID: "1.2", Date: "20261121", ReceivedAt: until}, Series: pacs.Series{SeriesInstanceUID: "1.2.3"},
		Pack: index.Pack{Key: "packs/1.zip"},
	}
	if err := ix.Add(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
	// A second run adds, whatever its seed.
	before := indexes(t, pool)
	for seed := range uint64(2) {
		if err := Fill(t.Context(), pool, Options{Studies: 1000, Facilities: 20, Seed: 7 * seed, Until: until}); err != nil {
			t.Fatal(err)
		}
	}
	if real, synthetic, err := Count(t.Context(), pool); err != nil || real != 1 || synthetic != studies+2000 {
		t.Errorf("%d real and %d synthetic studies, want 1 and %d (%v)", real, synthetic, studies+2000, err)
	}
	if diff := cmp.Diff(before, indexes(t, pool)); diff != "" {
		t.Error(diff)
	}
	if err := Remove(t.Context(), pool, nil); err != nil {
		t.Fatal(err)
	}
	real, synthetic, err := Count(t.Context(), pool)
	if err != nil || real != 1 || synthetic != 0 {
		t.Errorf("%d real and %d synthetic studies are left, want 1 and 0 (%v)", real, synthetic, err)
	}
	for _, table := range []string{"patient", "series", "pack"} {
		var n int
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s: %d rows are left (%v)", table, n, err)
		}
	}
}

// indexes lists the indexes and constraints of all tables.
func indexes(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, _ := pool.Query(t.Context(), `
		SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('u', 'p', 'f') ORDER BY 1`)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(list) < 20 {
		t.Fatalf("%d indexes (%v)", len(list), err)
	}
	return list
}

// TestFillEmpty: an empty index has the same indexes when it is full, and when
// filling it was given up.
func TestFillEmpty(t *testing.T) {
	ix := open(t)
	before := indexes(t, ix.Pool())
	for _, when := range []string{"rows", "indexes", ""} {
		ctx, cancel := context.WithCancel(t.Context())
		err := Fill(ctx, ix.Pool(), Options{Studies: 200, Facilities: 3, Until: until, Progress: func(what string, _, _ int) {
			if what == when {
				cancel()
			}
		}})
		cancel()
		if (err != nil) != (when != "") {
			t.Fatalf("given up at %q: %v", when, err)
		}
		want := 0
		if when == "" {
			want = 200
		}
		if _, synthetic, err := Count(t.Context(), ix.Pool()); err != nil || synthetic != want {
			t.Errorf("given up at %q: %d studies, want %d (%v)", when, synthetic, want, err)
		}
		if diff := cmp.Diff(before, indexes(t, ix.Pool())); diff != "" {
			t.Errorf("given up at %q: the indexes differ\n%s", when, diff)
		}
	}
}

// TestFillWhileInUse: whoever holds the tables is not waited for for ever.
func TestFillWhileInUse(t *testing.T) {
	ix := open(t)
	tx, err := ix.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE study IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	patience := lockPatience
	lockPatience = 10 * time.Millisecond
	defer func() { lockPatience = patience }()
	if err := Fill(t.Context(), ix.Pool(), Options{Studies: 10, Until: until}); pacs.CodeOf(err) != pacs.Unavailable {
		t.Errorf("%v, want it unavailable", err)
	}
}

// TestFillIsRepeatable: the seed decides, not how the work was shared out.
func TestFillIsRepeatable(t *testing.T) {
	read := func(seed uint64) []string {
		ix := open(t)
		if err := Fill(t.Context(), ix.Pool(), Options{Studies: 500, Facilities: 5, Seed: seed, Until: until}); err != nil {
			t.Fatal(err)
		}
		rows, _ := ix.Pool().Query(t.Context(), `
			SELECT concat_ws('|', s.study_uid, s.study_date, s.modalities, p.name, p.birth_date, p.patient_id, f.code, e.series_uid, i.sop_uid)
			FROM study s JOIN patient p ON p.id = s.patient_row JOIN facility f ON f.id = s.facility_row
				JOIN series e ON e.study_row = s.id JOIN instance i ON i.series_row = e.id ORDER BY s.id, e.id, i.sop_uid`)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	first := read(3)
	if diff := cmp.Diff(first, read(3)); diff != "" {
		t.Error(diff)
	}
	if len(first) < 500 || cmp.Equal(first, read(4)) {
		t.Errorf("%d instances, the same whatever the seed", len(first))
	}
}

// TestRemoveLeavesWhatIsNotOurs: an image that was sent into a synthetic study,
// and a study sent for a synthetic facility, stay.
func TestRemoveLeavesWhatIsNotOurs(t *testing.T) {
	ix := open(t)
	if err := Fill(t.Context(), ix.Pool(), Options{Studies: 100, Facilities: 3, Until: until}); err != nil {
		t.Fatal(err)
	}
	study, _, err := ix.Studies(t.Context(), pacs.System("test"), pacs.StudyFilter{Page: pacs.Page{Limit: 1}})
	if err != nil {
		t.Fatal(err)
	}
	into, own := study[0], pacs.Study{StudyInstanceUID: "1.2", ReceivedAt: until}
	for i, s := range []pacs.Study{into, own} {
		a := index.Addition{
			Facility: into.Facility.Code, Patient: into.Patient, Study: s,
			Series: pacs.Series{SeriesInstanceUID: s.StudyInstanceUID + ".9"}, Pack: index.Pack{Key: string(rune('a'+i)) + ".zip"},
		}
		if err := ix.Add(t.Context(), a, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := Remove(t.Context(), ix.Pool(), nil); err != nil {
		t.Fatal(err)
	}
	left, _, err := ix.Studies(t.Context(), pacs.System("test"), pacs.StudyFilter{})
	if err != nil || len(left) != 2 {
		t.Errorf("%d studies are left, want the 2 with real images (%v)", len(left), err)
	}
}
