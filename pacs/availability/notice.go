package availability

import (
	"context"
	"embed"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Step is a modality performed procedure step and the instances it names.
type Step struct {
	SOPClassUID, SOPInstanceUID string
	Instances                   []string // SOP Instance UIDs
}

// Options are what Notices needs.
type Options struct {
	Index *index.Index
	// AETitle is where the instances can be retrieved.
	AETitle string
	// Device finds a device that can be called.
	//
	//	NotFound  it is not known any more, or has no address
	Device func(ctx context.Context, aeTitle string) (access.Device, error)
	// Dial opens an association to a device at its registered address; errors as
	// of Device.
	Dial func(ctx context.Context, aeTitle string, how dimse.Dialer) (*dimse.Client, error)
	// Steps finds the performed procedure steps of a study; nil: there are none.
	Steps func(ctx context.Context, studyUID string) ([]Step, error)
	// Enqueue adds the job of a notice (Args) in the transaction that keeps it.
	Enqueue func(ctx context.Context, tx pgx.Tx, id int64) error
	// Told, when set, is told of each notice that has arrived or was given up.
	Told func(ok bool)
	Log  *slog.Logger
}

// Notices keeps what devices are to be told, and tells them. Safe for concurrent
// use, also by several nodes.
type Notices struct {
	o    Options
	pool *pgxpool.Pool
}

// Open brings the tables up to date. Those of packages index and access must be
// there.
func Open(ctx context.Context, o Options) (*Notices, error) {
	if o.Told == nil {
		o.Told = func(bool) {}
	}
	if err := index.Migrate(ctx, o.Index.Pool(), "availability", migrations); err != nil {
		return nil, err
	}
	return &Notices{o: o, pool: o.Index.Pool()}, nil
}

// Changed notes, in the transaction in which it happens, that a study is
// complete, or that its instances are somewhere else or without their pixel
// data: devices are told when the transaction has committed.
func (n *Notices) Changed(ctx context.Context, tx pgx.Tx, studyID int64) error {
	rows, err := tx.Query(ctx, `
		INSERT INTO availability_notice (ae_title, study_row)
		SELECT d.ae_title, s.id FROM study s JOIN device d ON d.notify AND (d.all_facilities OR d.facility_row = s.facility_row)
		WHERE s.id = $1 ORDER BY d.ae_title
		ON CONFLICT (ae_title, study_row) DO UPDATE SET generation = availability_notice.generation + 1, state = 'waiting',
			asked_at = clock_timestamp(), ended_at = NULL, refusals = 0, next_at = '-infinity', last_error = ''
		RETURNING id`, studyID)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := n.o.Enqueue(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// Deleted is Changed for a study that the transaction will delete whole. It is
// called while its instances are still in the index.
func (n *Notices) Deleted(ctx context.Context, tx pgx.Tx, studyID int64) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO availability_deleted (study_row, series_uid, sop_class, sop_uid)
		SELECT i.study_row, e.series_uid, i.sop_class, i.sop_uid FROM instance i JOIN series e ON e.id = i.series_row
		WHERE i.study_row = $1 AND i.current AND EXISTS (
			SELECT FROM study s JOIN device d ON d.notify AND (d.all_facilities OR d.facility_row = s.facility_row) WHERE s.id = $1)
		ON CONFLICT (study_row, sop_uid) DO UPDATE SET series_uid = excluded.series_uid, sop_class = excluded.sop_class, deleted_at = excluded.deleted_at`, studyID)
	if err != nil {
		return err
	}
	return n.Changed(ctx, tx, studyID)
}

// forget deletes what was settled long ago.
func (n *Notices) forget(ctx context.Context) error {
	for _, statement := range []string{
		`DELETE FROM availability_notice WHERE ended_at < now() - interval '30 days'`,
		`DELETE FROM availability_deleted WHERE deleted_at < now() - interval '30 days'`,
	} {
		if _, err := n.pool.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
