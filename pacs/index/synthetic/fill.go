package synthetic

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Options say what to make.
type Options struct {
	Studies    int
	Facilities int       // default 200
	Instances  int       // in a usual series; default 2
	Seed       uint64    // another seed gives other studies
	Until      time.Time // day of the last study; default today
	// Progress is told how far it is: what it is about ("rows" are those of
	// patients and studies), and how many of all are done. May be nil.
	Progress func(what string, done, total int)
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
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
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

// Things that are sent at once.
const (
	peopleAtOnce  = 10_000
	studiesAtOnce = 5_000
)

// Fill adds o.Studies synthetic studies: to those of an earlier run, if any.
//
// An empty index is filled in one transaction, which puts the secondary
// indexes aside, copies the rows in and builds the indexes over all of them at
// the end: several times as fast as keeping them up to date. Whoever else uses
// the tables waits until it ends. Interrupted, nothing has changed.
//
// An index that has studies is added to by several connections, with all
// indexes in place and everybody at work; each part of some thousand studies
// is a transaction of its own, and Remove takes out what is there after a
// failure.
//
// Where the account may, triggers and foreign keys rest meanwhile (the rows
// are right by construction) so that what follows real studies does not follow
// these.
func Fill(ctx context.Context, pool *pgxpool.Pool, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	f := filler{Options: o, pool: pool, calendar: newCalendar(o.Until)}
	empty, err := f.fillEmpty(ctx)
	if err == nil && !empty {
		err = f.add(ctx)
	}
	if err != nil {
		return fmt.Errorf("generating: %w", err)
	}
	o.Progress("vacuum", 0, 1)
	defer o.Progress("vacuum", 1, 1)
	return tidy(ctx, pool)
}

// tidy writes down what queries are planned by, and what lets them read
// indexes alone.
func tidy(ctx context.Context, pool *pgxpool.Pool) error {
	failed := make(chan error)
	halves := []string{`VACUUM (ANALYZE) instance`, `VACUUM (ANALYZE) facility, patient, study, series, pack`}
	for _, half := range halves {
		go func() {
			_, err := pool.Exec(ctx, half)
			failed <- err
		}()
	}
	var all error
	for range halves {
		all = errors.Join(all, <-failed)
	}
	return all
}

type filler struct {
	Options
	pool       *pgxpool.Pool
	calendar   calendar
	facilities []int64
	// first is the number of our first patient and our first study: they are
	// counted on from those of earlier runs.
	first numbers
	// Row numbers of the first of ours.
	firstPatient, firstStudy, firstSeries, firstPack int64

	tell        sync.Mutex
	done, total int
}

func (f *filler) patientRow(n int) int64 { return f.firstPatient + int64(n-f.first.patient) }

// last is behind the last of our numbers.
func (f *filler) last() numbers {
	study := f.first.study + f.Studies
	return numbers{patient: patientsBy(study - 1), study: study}
}

// prepare makes the facilities, finds out what numbers are free and sets row
// numbers aside.
func (f *filler) prepare(ctx context.Context, tx pgx.Tx) error {
	f.facilities = nil
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
	ids := [2]string{}
	if err := tx.QueryRow(ctx, `
		SELECT coalesce(max(patient_id) FILTER (WHERE length(patient_id) = 7), ''), coalesce(max(patient_id) FILTER (WHERE length(patient_id) = 9), '')
		FROM patient p JOIN facility f ON f.id = p.facility_row
		WHERE f.code LIKE '`+facilityPrefix+`%' AND patient_id ~ '^([0-9]{7}|[0-9]{9})$'`).Scan(&ids[0], &ids[1]); err != nil {
		return err
	}
	f.first = numbersAfter(ids[0], ids[1])
	last := f.last()
	if last.study > maxStudies {
		return pacs.Errorf(pacs.Invalid, "only %d more studies can be generated here, there are numbers for %d altogether; remove some first (tasvir generate --remove)", max(0, maxStudies-f.first.study), maxStudies)
	}
	for _, table := range []struct {
		name  string
		first *int64
		count int
	}{
		{"patient", &f.firstPatient, last.patient - f.first.patient},
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
	f.done, f.total = 0, last.patient-f.first.patient+f.Studies
	return nil
}

// write makes everything and has it sent, patients before studies.
func (f *filler) write(ctx context.Context, send func(context.Context, <-chan *part) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last, workers := f.last(), max(runtime.GOMAXPROCS(0), 2)
	if err := send(ctx, makeParts(ctx, workers, f.first.patient, last.patient, peopleAtOnce, f.people)); err != nil {
		return err
	}
	if err := send(ctx, makeParts(ctx, workers, f.first.study, last.study, studiesAtOnce, f.studies)); err != nil {
		return err
	}
	return ctx.Err()
}

// add fills an index that has studies.
func (f *filler) add(ctx context.Context) error {
	if err := pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error { return f.prepare(ctx, tx) }); err != nil {
		return err
	}
	return f.write(ctx, func(ctx context.Context, parts <-chan *part) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var senders sync.WaitGroup
		for range min(max(runtime.GOMAXPROCS(0), 2), 8) {
			senders.Go(func() {
				if err := f.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
					restore, err := hurry(ctx, c.Conn(), "SET", "gin_pending_list_limit = '32MB'")
					if err != nil {
						return err
					}
					defer restore()
					for p := range parts {
						if err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return p.send(ctx, tx.Conn()) }); err != nil {
							return err
						}
						f.written(p.things)
					}
					return nil
				}); err != nil {
					cancel(err)
				}
			})
		}
		senders.Wait()
		return context.Cause(ctx)
	})
}

func (f *filler) written(n int) {
	f.tell.Lock()
	defer f.tell.Unlock()
	f.done += n
	f.Progress("rows", f.done, f.total)
}

// hurry makes a connection write faster than is right for what can't be made
// again, and returns what makes it an ordinary one.
func hurry(ctx context.Context, c *pgx.Conn, set string, more ...string) (restore func(), err error) {
	settings := append([]string{"synchronous_commit = off", "session_replication_role = replica"}, more...)
	for _, setting := range settings {
		name, _, _ := strings.Cut(setting, " ")
		var may bool
		// What only a superuser may set is no error in a transaction.
		if err := c.QueryRow(ctx, `SELECT context = 'user' OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) FROM pg_settings WHERE name = $1`, name).Scan(&may); err != nil {
			return nil, err
		}
		if !may {
			continue // slower then
		}
		if _, err := c.Exec(ctx, set+" "+setting); err != nil {
			return nil, err
		}
	}
	return func() {
		for _, setting := range settings {
			name, _, _ := strings.Cut(setting, " ")
			if _, err := c.Exec(context.WithoutCancel(ctx), "RESET "+name); err != nil && !refused(err) {
				_ = c.Close(context.WithoutCancel(ctx)) // the pool makes a new one
				return
			}
		}
	}, nil
}

// refused says that the account may not do something.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "42501"
}
