package synthetic

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// Options say what to make.
type Options struct {
	Studies    int
	Facilities int       // default 200
	Instances  int       // in a usual series; default 2
	Seed       uint64    // another seed gives other studies
	Until      time.Time // day of the last study; default today
	// Progress is told how many rows of all are written. May be nil.
	Progress func(done, total int)
}

// Most that can be asked for: the numbers that identify patients and studies
// have so many digits.
const (
	maxStudies    = 50_000_000
	maxFacilities = 9_999
	maxInstances  = 1_000
)

func (o *Options) complete() error {
	if o.Facilities == 0 {
		o.Facilities = 200
	}
	if o.Instances == 0 {
		o.Instances = 2
	}
	if o.Until.IsZero() {
		o.Until = time.Now()
	}
	y, m, d := o.Until.Date()
	o.Until = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	if o.Studies < 1 || o.Studies > maxStudies || o.Facilities < 1 || o.Facilities > maxFacilities || o.Instances < 1 || o.Instances > maxInstances {
		return pacs.Errorf(pacs.Invalid, "between 1 and %d studies can be generated, of 1 to %d facilities, with 1 to %d instances in a usual series", maxStudies, maxFacilities, maxInstances)
	}
	return nil
}

// mostSeries is the space of row numbers that each study gets for its series
// and packs.
const mostSeries = 4

// Rows written in one transaction.
const (
	peopleAtOnce  = 20_000
	studiesAtOnce = 10_000
)

// Fill adds o.Studies synthetic studies. Each part of some thousand studies is
// a transaction of its own; when it fails, Remove takes out what is there.
//
// The rows are copied in by several connections, with all indexes in place.
// Where the account may, triggers and foreign keys rest meanwhile (the rows
// are right by construction) so that what follows real studies does not follow
// these.
//
// Conflict when there are synthetic studies already.
func Fill(ctx context.Context, pool *pgxpool.Pool, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	_, synthetic, err := Count(ctx, pool)
	if err != nil {
		return err
	}
	if synthetic > 0 {
		return pacs.Errorf(pacs.Conflict, "the index has %d synthetic studies already; remove them first (tasvir generate --remove)", synthetic)
	}
	f := filler{Options: o, pool: pool, calendar: newCalendar(o.Until)}
	if err := f.prepare(ctx); err != nil {
		return fmt.Errorf("generating: %w", err)
	}
	people := patientsBy(o.Studies - 1)
	f.total = people + o.Studies
	if err := f.parallel(ctx, people, peopleAtOnce, f.copyPeople); err != nil {
		return fmt.Errorf("generating patients: %w", err)
	}
	if err := f.parallel(ctx, o.Studies, studiesAtOnce, f.copyStudies); err != nil {
		return fmt.Errorf("generating studies: %w", err)
	}
	// What queries are planned by, and what lets them read indexes alone.
	_, err = pool.Exec(ctx, `VACUUM (ANALYZE) facility, patient, study, series, pack, instance`)
	return err
}

type filler struct {
	Options
	pool       *pgxpool.Pool
	calendar   calendar
	facilities []int64
	// Row numbers before the first of ours.
	firstPatient, firstStudy, firstSeries, firstPack int64

	done  atomic.Int64
	total int
	tell  sync.Mutex
}

// prepare makes the facilities and sets row numbers aside.
func (f *filler) prepare(ctx context.Context) error {
	return pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		for n := range f.Facilities {
			var id int64
			if err := tx.QueryRow(ctx, `INSERT INTO facility (code, name) VALUES ($1, $2) ON CONFLICT (code) DO UPDATE SET name = EXCLUDED.name RETURNING id`,
				facilityCode(n), fmt.Sprintf("Synthetic hospital %d", n+1)).Scan(&id); err != nil {
				return err
			}
			f.facilities = append(f.facilities, id)
		}
		// Nobody draws a number while they are moved on.
		if _, err := tx.Exec(ctx, `LOCK TABLE patient, study, series, pack IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		for _, table := range []struct {
			name  string
			first *int64
			count int
		}{
			{"patient", &f.firstPatient, patientsBy(f.Studies - 1)},
			{"study", &f.firstStudy, f.Studies},
			{"series", &f.firstSeries, f.Studies * mostSeries},
			{"pack", &f.firstPack, f.Studies * mostSeries},
		} {
			sequence := fmt.Sprintf("pg_get_serial_sequence('%s', 'id')", table.name)
			if err := tx.QueryRow(ctx, `SELECT nextval(`+sequence+`)`).Scan(table.first); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `SELECT setval(`+sequence+`, $1)`, *table.first+int64(table.count)); err != nil {
				return err
			}
		}
		return nil
	})
}

// parallel has several connections work through n things, some at a time.
func (f *filler) parallel(ctx context.Context, n, atOnce int, copyRows func(ctx context.Context, tx pgx.Tx, from, to int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(max(runtime.GOMAXPROCS(0), 2), 8) {
		workers.Go(func() {
			if err := f.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
				restore, err := hurry(ctx, c.Conn())
				if err != nil {
					return err
				}
				defer restore()
				for {
					from := int(next.Add(int64(atOnce))) - atOnce
					if from >= n {
						return nil
					}
					to := min(from+atOnce, n)
					if err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return copyRows(ctx, tx, from, to) }); err != nil {
						return err
					}
					f.report(to - from)
				}
			}); err != nil {
				cancel(err)
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (f *filler) report(n int) {
	f.tell.Lock()
	defer f.tell.Unlock()
	if done := f.done.Add(int64(n)); f.Progress != nil {
		f.Progress(int(done), f.total)
	}
}

// hurry makes a connection write faster than is right for what can't be made
// again, and returns what makes it an ordinary one.
func hurry(ctx context.Context, c *pgx.Conn) (restore func(), err error) {
	settings := []string{"synchronous_commit = off", "session_replication_role = replica", "gin_pending_list_limit = '32MB'"}
	for _, setting := range settings {
		_, err := c.Exec(ctx, "SET "+setting)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && strings.HasPrefix(refused.Code, "42") {
			continue // not allowed: slower then
		}
		if err != nil {
			return nil, err
		}
	}
	return func() {
		for _, setting := range settings {
			name, _, _ := strings.Cut(setting, " ")
			if _, err := c.Exec(context.WithoutCancel(ctx), "RESET "+name); err != nil {
				_ = c.Close(context.WithoutCancel(ctx)) // the pool makes a new one
				return
			}
		}
	}, nil
}

// rows is a pgx.CopyFromSource of what make returns for from, from+1 … to-1.
func rows(from, to int, make func(n int) []any) pgx.CopyFromSource {
	return pgx.CopyFromFunc(func() ([]any, error) {
		if from >= to {
			return nil, nil
		}
		row := make(from)
		from++
		return row, nil
	})
}

func (f *filler) copyPeople(ctx context.Context, tx pgx.Tx, from, to int) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"patient"},
		[]string{"id", "facility_row", "issuer", "patient_id", "name", "name_fold", "sex", "birth_date", "pinfl"},
		rows(from, to, func(n int) []any {
			p := f.person(n)
			return []any{f.firstPatient + int64(n), f.facilities[p.facility], p.Issuer, p.PatientID, p.Name, p.fold, p.Sex, p.BirthDate, p.PINFL}
		}))
	return err
}

// made is a study with its UIDs and row numbers, and of its series.
type made struct {
	study
	n      int
	row    int64
	uid    string
	series []madeSeries
}

type madeSeries struct {
	row, pack int64
	uid, key  string
	number    int
	count     int
	uids      []string
}

func (f *filler) make(n int) made {
	m := made{study: f.Options.study(&f.calendar, n), n: n, row: f.firstStudy + int64(n)}
	next := f.uids(n)
	m.uid = next()
	for i, count := range m.study.series {
		at := int64(n*mostSeries + i)
		e := madeSeries{row: f.firstSeries + at, pack: f.firstPack + at, uid: next(), number: i + 1, count: count}
		e.key = index.SyntheticPrefix + m.uid + "/" + e.uid + ".zip"
		for range count {
			e.uids = append(e.uids, next())
		}
		m.series = append(m.series, e)
	}
	return m
}

// copyStudies writes studies with all that is under them.
func (f *filler) copyStudies(ctx context.Context, tx pgx.Tx, from, to int) error {
	all := make([]made, 0, to-from)
	for n := from; n < to; n++ {
		all = append(all, f.make(n))
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"study"},
		[]string{
			"id", "study_uid", "patient_row", "facility_row", "study_date", "study_time", "accession_number", "study_id", "description",
			"referring_physician", "modalities", "body_parts", "series_count", "instance_count", "bytes", "received_at", "updated_at",
			"completed_at", "completions", "merged", "attributes",
		},
		rows(0, len(all), func(i int) []any {
			m := &all[i]
			return []any{
				m.row, m.uid, f.firstPatient + int64(m.patient), f.facilities[m.home], m.at.Format("20060102"), m.at.Format("150405"),
				m.accession, fmt.Sprint(m.n%100_000 + 1), m.text, m.referring, m.modalities(),
				[]string{m.body},
				len(m.series), m.instances(),
				int64(m.instances()) * m.size, m.received, m.received, m.received.Add(time.Minute), 1, 1, m.attributes,
			}
		})); err != nil {
		return err
	}
	type place struct {
		*made
		*madeSeries
		index int
	}
	var series, instances []place
	for i := range all {
		for j := range all[i].series {
			e := &all[i].series[j]
			series = append(series, place{&all[i], e, j})
			for k := range e.uids {
				instances = append(instances, place{&all[i], e, k})
			}
		}
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"series"},
		[]string{"id", "study_row", "series_uid", "modality", "number", "description", "body_part", "instance_count", "has_pixels"},
		rows(0, len(series), func(i int) []any {
			p := &series[i]
			return []any{p.madeSeries.row, p.made.row, p.madeSeries.uid, p.modalityOf(p.index), p.number, p.examination.series[p.index], p.body, p.count, true}
		})); err != nil {
		return err
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"pack"},
		[]string{"id", "key", "series_row", "bytes", "meta_offset", "meta_length", "described", "created_at"},
		rows(0, len(series), func(i int) []any {
			p := &series[i]
			return []any{p.pack, p.key, p.madeSeries.row, int64(p.count)*p.size + 1000, int64(p.count) * p.size, 700, p.count, p.received}
		})); err != nil {
		return err
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"instance"},
		[]string{
			"study_row", "series_row", "sop_uid", "version", "sop_class", "transfer_syntax", "number", "rows", "columns", "frames", "sha256",
			"pack_row", "pack_offset", "length", "dataset_offset", "sender", "channel", "received_at",
		},
		rows(0, len(instances), func(i int) []any {
			p := &instances[i]
			uid := p.uids[p.index]
			sum := sha256.Sum256([]byte(uid))
			return []any{
				p.made.row, p.madeSeries.row, uid, 1, p.class, p.syntax, p.index + 1, p.examination.rows, p.examination.rows, 1, sum[:],
				p.pack, int64(p.index) * p.size, p.size, 300, facilityCode(p.home)[4:] + p.modality, string(pacs.ChannelDIMSE), p.received,
			}
		}))
	return err
}
