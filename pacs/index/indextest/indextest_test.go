package indextest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
)

var migrations atomic.Int32

func migrate(ctx context.Context, url string) error {
	migrations.Add(1)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, `CREATE TABLE study (uid text PRIMARY KEY)`)
	return err
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestEachTestHasItsOwnDatabase(t *testing.T) {
	for i := range 5 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			conn := connect(t, indextest.New(t, migrate)) // left open on purpose
			if _, err := conn.Exec(t.Context(), `INSERT INTO study VALUES ('1.2')`); err != nil {
				t.Error(err)
			}
			var n int
			if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM study`).Scan(&n); err != nil || n != 1 {
				t.Errorf("%d studies, %v", n, err)
			}
		})
	}
	t.Cleanup(func() {
		if n := migrations.Load(); n != 1 {
			t.Errorf("the migrations ran %d times", n)
		}
	})
}

func TestEmptyDatabaseIsUTF8AndBytewise(t *testing.T) {
	conn := connect(t, indextest.New(t, nil))
	var encoding, sorted string
	err := conn.QueryRow(t.Context(), `SELECT getdatabaseencoding(),
		(SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['a', 'B', 'я', '_', 'А']) x)`).Scan(&encoding, &sorted)
	if err != nil || encoding != "UTF8" || sorted != "B_aАя" {
		t.Errorf("encoding %s, order %s, %v", encoding, sorted, err)
	}
}

// TestNothingIsLeftAfterAPanic runs this test binary once more, to die.
func TestNothingIsLeftAfterAPanic(t *testing.T) {
	if os.Getenv("INDEXTEST_PANIC") == "1" {
		fmt.Println("URL", indextest.New(t, nil))
		panic("on purpose")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	indextest.New(t, nil) // skips where there is no PostgreSQL
	temp := t.TempDir()
	if err := os.Chmod(filepath.Dir(temp), 0o711); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestNothingIsLeftAfterAPanic$")
	cmd.Env = append(os.Environ(), "INDEXTEST_PANIC=1", "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "URL postgres://") || !strings.Contains(string(out), "on purpose") {
		t.Fatalf("the other process did not die as wanted: %v\n%s", err, out)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		left, err := os.ReadDir(temp)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", left)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		indextest.New(b, migrate)
	}
}
