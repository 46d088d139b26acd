package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

// kill -9 at random points under load: while it starts and recovers, receives,
// publishes, completes studies and merges. Every acknowledged instance is there
// afterwards, once, byte for byte, and nothing else.
// TASVIR_CRASH_ROUNDS says how often; the usual number is for "make test".
func TestKilledUnderLoad(t *testing.T) {
	rounds := 10
	if text := os.Getenv("TASVIR_CRASH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	database := indextest.New(t, nil) // stays up
	a := startArchive(t, []string{"TASVIR_DATABASE=" + database}, "--unknown-ae", "park", "--trusted-loopback")
	store := filepath.Join(a.dir, "data", "store")
	l := newLoad(t)
	l.pause = 25 * time.Millisecond
	l.to(a)
	l.start(1, 2, 3)
	sweeping := startSweeping(t, database, store)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	began := time.Now()
	for round := range rounds {
		l.more(1 + random.IntN(60))
		if round%5 == 4 { // what the rounds before have left waiting is published, completed and merged meanwhile
			l.published(database)
		}
		time.Sleep(time.Duration(random.IntN(700)) * time.Millisecond) // into whatever is going on then
		a.kill()
		sweeping.kill()
		if round%4 == 3 { // once more while it starts
			a.killedWhileStarting(time.Duration(random.IntN(400)) * time.Millisecond)
		}
		a.start()
		l.to(a)
		sweeping = startSweeping(t, database, store)
		if round%25 == 24 {
			t.Logf("%d rounds, %d instances, %s", round+1, l.count(), time.Since(began).Round(time.Second))
		}
	}
	l.more(1)
	l.stop()
	l.arrived(a, database)
	sweeping.kill()
	a.stop()
	orphans := packsInPlace(t, database, store)
	t.Logf("%d rounds: %d instances acknowledged, no answer took longer than %s; %d objects were not needed", rounds, l.count(), l.slowest.Round(time.Millisecond), orphans)

	// What the kills left over is swept, and all is still there.
	sweep, done := sweeperOf(t, database, store)
	defer done()
	if err := sweep.Orphans(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := sweep.Retired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if orphans := packsInPlace(t, database, store); orphans > 0 {
		t.Errorf("%d objects belong to no pack after sweeping", orphans)
	}
	a.start()
	l.compare(a)
	a.stop()
}

// sweeperOf is one that waits for nobody.
func sweeperOf(t testing.TB, database, store string) (sweep *publish.Sweeper, done func()) {
	ctx := context.Background()
	ix, err := index.Open(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := file.Open(store)
	if err != nil {
		t.Fatal(err)
	}
	return &publish.Sweeper{
		Index: ix, Store: objects, Grace: time.Millisecond, SafeAge: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Orphan: func(_ context.Context, key string, _ int64, err error) error {
			t.Errorf("%s is in the store, belongs to no pack, and the archive lacks what is in it (%v)", key, err)
			return nil
		},
	}, ix.Close
}

// sweeping is a process that sweeps retired packs without end, to be killed.
type sweeping struct{ cmd *exec.Cmd }

const sweepingDatabase, sweepingStore = "TASVIR_TEST_SWEEP_DATABASE", "TASVIR_TEST_SWEEP_STORE"

func startSweeping(t *testing.T, database, store string) *sweeping {
	t.Helper()
	s := &sweeping{exec.Command(os.Args[0], "-test.run=^TestSweepUntilKilled$")}
	s.cmd.Env = append(os.Environ(), sweepingDatabase+"="+database, sweepingStore+"="+store)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	return s
}

func (s *sweeping) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// TestSweepUntilKilled is the process of TestKilledUnderLoad that sweeps.
func TestSweepUntilKilled(t *testing.T) {
	database := os.Getenv(sweepingDatabase)
	if database == "" {
		return // it is of use to TestKilledUnderLoad only
	}
	sweep, done := sweeperOf(t, database, os.Getenv(sweepingStore))
	defer done()
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); {
		if _, err := sweep.Retired(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// killedWhileStarting starts the server and kills it soon after.
func (a *archive) killedWhileStarting(after time.Duration) {
	a.t.Helper()
	cmd := a.command()
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	time.Sleep(after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// The private PostgreSQL is killed: the modality notices nothing, the database
// comes back by itself, and what came in meanwhile is published.
func TestDatabaseKilled(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	before := phantom.Small(phantom.HeadCT, 3)
	h.send("URGUT_CT1", before)
	h.expect(before, 3)
	pidFile, err := os.ReadFile(filepath.Join(a.dir, "data", "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(pidFile), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	meanwhile := phantom.Small(phantom.BrainMR, 3)
	h.send("NUKUS_MR1", meanwhile)
	eventually(t, "the archive is ready again", func() bool {
		answer, err := http.Get(a.web + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	h.expect(before, 3)
	h.expect(meanwhile, meanwhile.Count())
	a.stop()
}

// Settings that would show themselves as wrong much later are refused at once,
// in one line that says what to do.
func TestWrongSettings(t *testing.T) {
	bin, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"--fhir=not-a-url":           "--fhir",
		"--fhir-namespace=x":         "--fhir-namespace",
		"--aet=A_TITLE_THAT_IS_LONG": "AE title",
		"--quiet=0s":                 "--quiet",
		"--compress=zip":             "--compress",
		"--ack=sometimes":            "--ack",
		"--unknown-flag":             "unknown flag",
	} {
		out, err := exec.Command(bin, "serve", "--data", filepath.Join(t.TempDir(), "data"), flag).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || strings.Count(strings.TrimSpace(string(out)), "\n") > 0 {
			t.Errorf("%s: %v\n%s", flag, err, out)
		}
	}
}
