package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
)

// outage is how long what is down stays down: TASVIR_OUTAGE, such as 10m, or a
// few seconds.
func outage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("TASVIR_OUTAGE")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// killableDatabase is a PostgreSQL server of its own, as safe as in production.
type killableDatabase struct {
	t       *testing.T
	options cluster.Options
	cluster *cluster.Cluster
}

func startDatabase(t *testing.T) *killableDatabase {
	t.Helper()
	dir, err := os.MkdirTemp("", "tasvir-test-database-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the user postgres passes through
		t.Fatal(err)
	}
	d := &killableDatabase{t: t, options: cluster.Options{Dir: filepath.Join(dir, "postgres"), Log: slog.New(slog.DiscardHandler)}}
	t.Cleanup(func() {
		if d.cluster != nil {
			_ = d.cluster.Stop(t.Context())
		}
		_ = os.RemoveAll(dir)
	})
	d.start()
	return d
}

func (d *killableDatabase) start() {
	d.t.Helper()
	var err error
	if d.cluster, err = cluster.Start(d.t.Context(), d.options); err != nil {
		d.t.Fatal(err)
	}
}

// kill ends it as a power cut would.
func (d *killableDatabase) kill() {
	d.t.Helper()
	if err := syscall.Kill(d.cluster.PID(), syscall.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
	<-d.cluster.Done()
	_ = d.cluster.Stop(d.t.Context()) // lets go of the folder
	d.cluster = nil
}

func (d *killableDatabase) url() string { return d.cluster.URL(cluster.Database) }

// Database and object store are killed under load, one at a time and together,
// several times and for long: senders notice nothing, and all is published
// afterwards.
func TestDatabaseAndStoreKilledUnderLoad(t *testing.T) {
	database, minio := startDatabase(t), miniotest.Start(t)
	url := database.url()
	a := startArchive(t, append(minio.Env(), "TASVIR_DATABASE="+url, "TASVIR_STORE="+minio.URL("tasvir-outage")), "--unknown-ae", "park", "--trusted-loopback")
	l := newLoad(t)
	l.strict = true
	l.pause = 10 * time.Millisecond // so that ten minutes' worth fits on a disk
	l.to(a)
	l.start(1, 2)
	short := time.Second
	for _, down := range []struct {
		what            string
		database, store bool
		how             time.Duration
	}{
		{"PostgreSQL", true, false, short},
		{"MinIO", false, true, short},
		{"PostgreSQL", true, false, short},
		{"MinIO", false, true, short},
		{"both", true, true, outage(t)},
	} {
		l.more(50)
		if down.database {
			database.kill()
		}
		if down.store {
			minio.Stop()
		}
		before := l.count()
		time.Sleep(down.how)
		if l.count() == before {
			t.Errorf("nothing was acknowledged while %s was down", down.what)
		}
		t.Logf("%d instances were acknowledged while %s was down for %s", l.count()-before, down.what, down.how)
		if down.store {
			minio.Restart()
		}
		if down.database {
			database.start()
		}
	}
	l.more(50)
	l.stop()
	began := time.Now()
	l.arrived(a, url)
	t.Logf("%d instances, all there %s after the last; no answer took longer than %s", l.count(), time.Since(began).Round(time.Millisecond), l.slowest.Round(time.Millisecond))
	a.stop()
}
