// Package indextest gives each test a fresh PostgreSQL database of its own.
//
// The first call of [New] in a test process starts a throw-away cluster (about
// a second) and runs the migrations once, into a template; each further
// database is a copy of the template, which takes some 20 milliseconds. The
// cluster disappears with the test process, however that ends. It lives in
// memory (/dev/shm) where that is roomy, else, or if TMPDIR is set, in the
// folder for temporary files.
package indextest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
)

// Migrate brings the empty database at url to the state the tests want. It
// must close all its connections. It is called once per test process and
// function, so it must not be a closure over something that differs.
type Migrate func(ctx context.Context, url string) error

// New returns the URL of a new database, made by migrate (nil for an empty
// one). It is dropped when the test ends, connections left open or not.
//
// Where PostgreSQL is not installed the test is skipped; with
// TASVIR_TEST_REQUIRE=1 it fails.
func New(t testing.TB, migrate Migrate) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		if pacs.CodeOf(err) == pacs.Unavailable && os.Getenv("TASVIR_TEST_REQUIRE") != "1" {
			t.Skipf("no database: %v", err)
		}
		t.Fatalf("no database: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	template, err := c.template(ctx, migrate)
	if err != nil {
		t.Fatalf("the database can't be made: %v", err)
	}
	name := fmt.Sprintf("test_%d", c.count.Add(1))
	if err := c.create(ctx, name, template); err != nil {
		t.Fatalf("the database can't be made: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.exec(ctx, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	return c.URL(name)
}

type throwaway struct {
	*cluster.Cluster
	life  io.Closer // never closed: its end means our end
	count atomic.Int64

	mu        sync.Mutex
	templates map[uintptr]string
}

// shared is the one cluster of this process.
var shared = sync.OnceValues(func() (*throwaway, error) {
	dir, err := os.MkdirTemp(parent(), "tasvir-test-pg-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // the user postgres passes through
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{
		Dir: filepath.Join(dir, "pg"), Unsafe: true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	life, err := removeAfterUs(dir, c.PID())
	if err != nil {
		return nil, err
	}
	return &throwaway{Cluster: c, life: life, templates: map[uintptr]string{}}, nil
})

// parent is where the cluster's folder goes: copying a database in memory is
// ten times as fast as on a disk.
func parent() string {
	const memory, enough = "/dev/shm", 2 << 30
	var st syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(memory, &st) != nil || st.Bavail*uint64(st.Bsize) < enough {
		return ""
	}
	return memory
}

// removeAfterUs has a shell wait for the end of this process (the pipe closes,
// whatever the reason), then for the server's end, and remove the folder. Go
// has no hook that would run after a panic in a test or a timeout.
func removeAfterUs(dir string, pid int) (life io.Closer, err error) {
	const script = `cat >/dev/null
		kill -QUIT "$1" 2>/dev/null
		n=0
		while [ -e "$2/pg/data/postmaster.pid" ] && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.1; done
		rm -rf "$2"`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", strconv.Itoa(pid), dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is not for it
	if life, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return life, cmd.Start()
}

// template returns the database that migrate has made.
func (c *throwaway) template(ctx context.Context, migrate Migrate) (string, error) {
	if migrate == nil {
		return "template0", nil
	}
	key := reflect.ValueOf(migrate).Pointer()
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, ok := c.templates[key]; ok {
		return name, nil
	}
	name := fmt.Sprintf("template_%d", c.count.Add(1))
	if err := c.create(ctx, name, "template0"); err != nil {
		return "", err
	}
	if err := migrate(ctx, c.URL(name)); err != nil {
		return "", fmt.Errorf("migrations: %w", err)
	}
	// A connection to a template forbids copying it.
	if err := c.exec(ctx, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS false`); err != nil {
		return "", err
	}
	c.templates[key] = name
	return name, nil
}

func (c *throwaway) create(ctx context.Context, name, template string) error {
	return c.exec(ctx, `CREATE DATABASE `+name+` TEMPLATE `+template+` STRATEGY file_copy`)
}

func (c *throwaway) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}
