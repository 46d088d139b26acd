package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

const (
	// Database is the database that Start creates.
	Database = "tasvir"

	superuser = "tasvir"
	port      = "5432" // only a part of the socket's name

	// lockPatience is how long Start waits for another process that is about
	// to let go of the cluster: a server shutting down, a short command.
	lockPatience = 5 * time.Second
	// orphanPatience is how long a server left behind may take to shut down
	// before it is told to drop everything and leave recovery to us.
	orphanPatience = 30 * time.Second
	// attachPatience is how long Attach waits for a server that is starting.
	attachPatience = time.Minute
)

// Options say where and how the cluster runs.
type Options struct {
	// Dir is the cluster's folder. It is made if absent; it must hold nothing
	// else. Started as root, the folders above it must be passable for the
	// user postgres.
	Dir string
	// Log gets what happens to the server; nil for slog.Default.
	Log *slog.Logger
	// Unsafe trades durability for speed: a power cut destroys the cluster.
	// For tests only.
	Unsafe bool
}

// Cluster is a running PostgreSQL server.
type Cluster struct {
	dir     string
	sockets string // the socket's folder
	log     *slog.Logger
	lock    *lock   // nil when attached
	server  *server // nil when attached
}

// Start starts the cluster in o.Dir and returns when it accepts connections
// and has the database Database. A cluster that does not exist is created,
// which takes some seconds; one that crashed recovers first, however long that
// takes. ctx limits the starting only: the cluster runs until Stop, or until
// this process ends.
//
// Errors: Unavailable if PostgreSQL isn't installed or doesn't start, Conflict
// if another process owns the cluster or it was made by another version,
// Forbidden if a folder can't be used by the account that PostgreSQL needs.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c, err := prepare(o)
	if err != nil {
		return nil, err
	}
	account, err := accountFor(c.dir)
	if err != nil {
		return nil, err
	}
	if err := account.makeDir(c.dir); err != nil {
		return nil, err
	}
	if c.lock, err = c.acquire(ctx); err != nil {
		return nil, err
	}
	if err := c.start(ctx, o, account); err != nil {
		c.lock.release()
		return nil, err
	}
	return c, nil
}

// Attach returns the cluster in o.Dir: that of the process that runs it now,
// or, if none does, started by us until Stop. It never creates one: NotFound
// if there is none. Other errors are those of Start.
func Attach(ctx context.Context, o Options) (*Cluster, error) {
	c, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(c.dataDir(), "PG_VERSION")); err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, forbidden(err, c.dir)
		}
		return nil, pacs.Wrap(pacs.NotFound, err, fmt.Sprintf("there is no database in %s: check --data, or run tasvir serve first", c.dir))
	}
	free, err := c.ownerless()
	if err != nil {
		return nil, err
	}
	if free {
		return Start(ctx, o)
	}
	ctx, cancel := context.WithTimeout(ctx, attachPatience)
	defer cancel()
	for { // the owner may still be starting, or recovering
		file := readPIDFile(c.dataDir())
		c.sockets = file.sockets
		if file.ready {
			err = c.ensureDatabase(ctx)
		} else {
			err = pacs.Errorf(pacs.Unavailable, "the running Tasvir has not finished starting its database")
		}
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pollPause):
		}
	}
}

func prepare(o Options) (*Cluster, error) {
	if o.Dir == "" {
		return nil, pacs.Errorf(pacs.Invalid, "the database needs a folder")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	// PostgreSQL resolves links, and we recognise its processes by the path.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	c := &Cluster{dir: dir, log: o.Log}
	if c.log == nil {
		c.log = slog.Default()
	}
	return c, nil
}

func (c *Cluster) dataDir() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) start(ctx context.Context, o Options, account account) error {
	programs, err := findPrograms(c.dataDir())
	if err != nil {
		return err
	}
	if c.sockets, err = socketDir(c.dir, account); err != nil {
		return err
	}
	if !exists(c.dataDir()) {
		began := time.Now()
		c.log.Info("creating the database", "dir", c.dir)
		if err := initialise(ctx, programs, account, c.dir, o.Unsafe); err != nil {
			return err
		}
		c.log.Info("created the database", "took", time.Since(began).Round(time.Millisecond))
	} else if err := c.stopOrphans(ctx); err != nil {
		return err
	}
	settings := settings(c.sockets, o.Unsafe)
	if !o.Unsafe && programs.take(account, c.dir, "wal_compression", "lz4") {
		// Whole pages go into the log when they change for the first time after a
		// checkpoint or are vacuumed; the usual method takes several times as long.
		settings["wal_compression"] = "lz4"
	}
	c.server, err = startServer(programs, account, c.dir, c.sockets, settings, o.Unsafe)
	if err != nil {
		return err
	}
	if err = c.server.waitReady(ctx, c.dataDir(), c.log); err == nil {
		err = c.ensureDatabase(ctx)
	}
	if err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), orphanPatience)
		defer cancel()
		return errors.Join(err, c.server.stop(stopCtx))
	}
	return nil
}

// ensureDatabase creates Database if it isn't there.
func (c *Cluster) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "the database does not answer; see "+c.logFile())
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, Database).Scan(&there); err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, `CREATE DATABASE `+pgx.Identifier{Database}.Sanitize())
	return err
}

// URL returns the address of database db, for pgx and for psql.
func (c *Cluster) URL(db string) string {
	u := url.URL{
		Scheme:   "postgres",
		Path:     "/" + db,
		RawQuery: url.Values{"host": {c.sockets}, "port": {port}, "user": {superuser}}.Encode(),
	}
	return u.String()
}

// PID is the process id of the PostgreSQL server.
func (c *Cluster) PID() int {
	if c.server != nil {
		return c.server.pid()
	}
	return readPIDFile(c.dataDir()).pid
}

// Done is closed when a server that this process has started ends, for
// whatever reason. It is nil, and so never ready, for a cluster that belongs
// to another process.
func (c *Cluster) Done() <-chan struct{} {
	if c.server == nil {
		return nil
	}
	return c.server.done
}

// Stop shuts the server down: open transactions are rolled back, everything
// committed is written to its place. When ctx ends first, the server is told
// to exit at once; the next Start then recovers from the log and nothing is
// lost. A cluster that belongs to another process is left alone.
func (c *Cluster) Stop(ctx context.Context) error {
	if c.server == nil {
		return nil
	}
	err := c.server.stop(ctx)
	if c.sockets != c.dir {
		_ = os.Remove(c.sockets) // the short folder of socketDir, empty now
	}
	c.lock.release()
	return err
}

func (c *Cluster) logFile() string { return filepath.Join(c.dir, logName) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
