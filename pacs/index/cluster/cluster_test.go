package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
)

// The test binary doubles as an owner that gets killed: with CLUSTER_OWN it
// starts (or attaches to) a cluster, says so, and waits.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CLUSTER_OWN"); dir != "" {
		own(dir)
		return
	}
	os.Exit(m.Run())
}

func own(dir string) {
	c, err := cluster.Start(context.Background(), cluster.Options{Dir: dir})
	if err != nil {
		fmt.Println("ERROR", err)
		return
	}
	fmt.Println("UP", c.PID())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	_ = c.Stop(context.Background())
}

// newDir is an empty folder that the user postgres can reach, in memory if
// possible: nobody pulls the plug in these tests.
func newDir(t *testing.T) string {
	t.Helper()
	parent := "/tmp"
	var st syscall.Statfs_t
	if syscall.Statfs("/dev/shm", &st) == nil && st.Bavail*uint64(st.Bsize) > 1<<30 {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "tasvir-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func options(t *testing.T, dir string) cluster.Options {
	return cluster.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func start(t *testing.T, dir string) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), options(t, dir))
	if pacs.CodeOf(err) == pacs.Unavailable && strings.Contains(err.Error(), "not installed") && os.Getenv("TASVIR_TEST_REQUIRE") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c) })
	return c
}

func stop(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if err := c.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func query[T any](t *testing.T, c *cluster.Cluster, sql string) (result T) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL(cluster.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, sql).Scan(&result); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return result
}

func execute(t *testing.T, c *cluster.Cluster, sql string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL(cluster.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func alive(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(state), ") Z ")
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func TestStartStopStart(t *testing.T) {
	dir := filepath.Join(newDir(t), "made", "on", "demand")
	c := start(t, dir)
	execute(t, c, `CREATE TABLE study (name text)`)
	execute(t, c, `INSERT INTO study VALUES ('Каримов')`)
	pid := c.PID()
	stop(t, c)
	waitGone(t, pid)
	select {
	case <-c.Done():
	default:
		t.Error("Done is not closed after Stop")
	}

	c = start(t, dir)
	if got := query[string](t, c, `SELECT name FROM study`); got != "Каримов" {
		t.Errorf("got %q after a restart", got)
	}
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
		"listen_addresses": "", "server_encoding": "UTF8", "TimeZone": "UTC", "log_error_verbosity": "terse",
	} {
		if got := query[string](t, c, `SHOW `+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	compression := "pglz" // before PostgreSQL 15 it is called "on"
	if query[string](t, c, `SELECT vartype FROM pg_settings WHERE name = 'wal_compression'`) == "bool" {
		compression = "on"
	} else if query[bool](t, c, `SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'wal_compression'`) {
		compression = "lz4"
	}
	if got := query[string](t, c, `SHOW wal_compression`); got != compression {
		t.Errorf("wal_compression is %q, and the server knows %q", got, compression)
	}
}

// Nobody but the account itself and root may reach the socket, and root's own
// server does not run as root.
func TestIsPrivate(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	c := start(t, dir)
	for name, want := range map[string]os.FileMode{"": 0o700, ".s.PGSQL.5432": 0o700, "data": 0o700, "postgres.log": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d", c.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 {
		t.Error("PostgreSQL runs as root")
	}
}

// The server's log must not repeat what was in a statement.
func TestLogHoldsNoData(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	c := start(t, dir)
	execute(t, c, `CREATE TABLE patient (id text PRIMARY KEY)`)
	execute(t, c, `INSERT INTO patient VALUES ('Karimov12345')`)
	conn, err := pgx.Connect(t.Context(), c.URL(cluster.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), `INSERT INTO patient VALUES ('Karimov12345')`); err == nil {
		t.Fatal("the duplicate was taken")
	}
	log, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "duplicate key") || strings.Contains(string(log), "Karimov") {
		t.Errorf("the log says:\n%s", log)
	}
}

// A second owner is refused; Attach works beside the owner and leaves it alone.
func TestOneOwner(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	c := start(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := cluster.Start(ctx, options(t, dir))
	if pacs.CodeOf(err) != pacs.Conflict || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("a second owner got: %v", err)
	}
	attached, err := cluster.Attach(t.Context(), options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if attached.PID() != c.PID() {
		t.Errorf("attached to process %d, want %d", attached.PID(), c.PID())
	}
	if got := query[int](t, attached, `SELECT 1`); got != 1 {
		t.Errorf("got %d", got)
	}
	stop(t, attached)
	if got := query[int](t, c, `SELECT 1`); got != 1 {
		t.Errorf("got %d after the attached one was stopped", got)
	}
}

func TestAttachWithoutOwner(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	if _, err := cluster.Attach(t.Context(), options(t, dir)); pacs.CodeOf(err) != pacs.NotFound {
		t.Fatalf("Attach where nothing is: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Attach has made a folder (%v)", err)
	}
	stop(t, start(t, dir))
	c, err := cluster.Attach(t.Context(), options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	pid := c.PID()
	if got := query[int](t, c, `SELECT 1`); got != 1 {
		t.Errorf("got %d", got)
	}
	stop(t, c)
	waitGone(t, pid)
}

// owner starts another process that owns the cluster in dir.
func owner(t *testing.T, dir string) (cmd *exec.Cmd, postmaster int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), "CLUSTER_OWN="+dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if n, err := fmt.Sscanf(line, "UP %d", &postmaster); n != 1 {
		t.Fatalf("the owner says %q (%v)", line, err)
	}
	return cmd, postmaster
}

// kill -9 of the owner, in the middle of a transaction: what was committed is
// there, the server is gone, and the next start works at once.
func TestOwnerKilled(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	stop(t, start(t, dir))
	cmd, postmaster := owner(t, dir)
	c, err := cluster.Attach(t.Context(), options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	execute(t, c, `CREATE TABLE t (n int)`)
	execute(t, c, `INSERT INTO t SELECT generate_series(1, 1000)`)
	conn, err := pgx.Connect(t.Context(), c.URL(cluster.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), `BEGIN; INSERT INTO t VALUES (0)`); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	c = start(t, dir) // while the old server may still be going down
	if got := query[int](t, c, `SELECT count(*)::int FROM t`); got != 1000 {
		t.Errorf("%d rows, want 1000", got)
	}
	waitGone(t, postmaster)
}

// The postmaster itself is killed, with its pid file left and sessions open.
func TestPostmasterKilled(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	c := start(t, dir)
	execute(t, c, `CREATE TABLE t (n int)`)
	execute(t, c, `INSERT INTO t VALUES (42)`)
	if err := syscall.Kill(c.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	stop(t, c) // releases the lock
	c = start(t, dir)
	if got := query[int](t, c, `SELECT n FROM t`); got != 42 {
		t.Errorf("got %d after a crash", got)
	}
}

// A server that nobody owns, such as one that was started by hand, is stopped
// and replaced.
func TestOrphanIsReplaced(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	c := start(t, dir)
	execute(t, c, `CREATE TABLE t AS SELECT 42 AS n`)
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.PID()))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	stop(t, c)

	orphan := exec.Command(program, "-D", filepath.Join(dir, "data"), "-c", "listen_addresses=", "-k", dir)
	orphan.Dir = "/"
	if os.Geteuid() == 0 {
		st := info.Sys().(*syscall.Stat_t)
		orphan.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if text, _ := os.ReadFile(pidFile); strings.Contains(string(text), "ready") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the orphan does not start")
		}
	}
	c = start(t, dir)
	if err := <-ended; err != nil {
		t.Errorf("the orphan was not shut down in order: %v", err)
	}
	if got := query[int](t, c, `SELECT n FROM t`); got != 42 {
		t.Errorf("got %d", got)
	}
}

// A stale pid file whose number belongs to another living process, as after a
// container's restart, does not stop the start. Nor does half an initdb.
func TestLeftoversDoNotMatter(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	stop(t, start(t, dir))
	data := filepath.Join(dir, "data")
	stale := fmt.Sprintf("%d\n%s\n1700000000\n5432\n%s\n\n  1 2\nready   \n", os.Getppid(), data, dir)
	if err := os.WriteFile(filepath.Join(data, "postmaster.pid"), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, dir))

	if err := os.Rename(data, filepath.Join(dir, "data.new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "data.new", "PG_VERSION")); err != nil {
		t.Fatal(err)
	}
	start(t, dir)
}

func TestVersionMismatch(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	stop(t, start(t, dir))
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Start(t.Context(), options(t, dir))
	if pacs.CodeOf(err) != pacs.Conflict || !strings.Contains(err.Error(), "made by PostgreSQL 9") || !strings.Contains(err.Error(), "install postgresql-9") {
		t.Errorf("got %v", err)
	}
}

func TestDamagedConfigurationIsReported(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	stop(t, start(t, dir))
	if err := os.WriteFile(filepath.Join(dir, "data", "postgresql.conf"), []byte("what = is this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Start(t.Context(), options(t, dir))
	if pacs.CodeOf(err) != pacs.Unavailable || !strings.Contains(err.Error(), "postgres.log") || !strings.Contains(err.Error(), "configuration file") {
		t.Errorf("got %v", err)
	}
}

func TestNoPostgreSQL(t *testing.T) {
	t.Setenv("TASVIR_PG_BIN", t.TempDir())
	_, err := cluster.Start(t.Context(), options(t, filepath.Join(newDir(t), "pg")))
	if pacs.CodeOf(err) != pacs.Unavailable || !strings.Contains(err.Error(), "TASVIR_PG_BIN") {
		t.Errorf("got %v", err)
	}
}

func TestFolderThatPostgresMayNotEnter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root changes to another user")
	}
	closed := filepath.Join(newDir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Start(t.Context(), options(t, filepath.Join(closed, "pg")))
	if pacs.CodeOf(err) != pacs.Forbidden || !strings.Contains(err.Error(), "chmod o+x "+closed) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

// The path of a socket is limited to some hundred bytes.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(newDir(t), strings.Repeat("long/", 30), "pg")
	c := start(t, dir)
	if got := query[int](t, c, `SELECT 1`); got != 1 {
		t.Errorf("got %d", got)
	}
	attached, err := cluster.Attach(t.Context(), options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, attached, `SELECT 1`); got != 1 {
		t.Errorf("got %d", got)
	}
}

// A session that hangs can't hold up Stop, even when the patience is over.
func TestStopWithOpenTransaction(t *testing.T) {
	dir := filepath.Join(newDir(t), "pg")
	c := start(t, dir)
	execute(t, c, `CREATE TABLE t AS SELECT 42 AS n`)
	conn, err := pgx.Connect(t.Context(), c.URL(cluster.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), `BEGIN; UPDATE t SET n = 1`); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Stop(ended); err != nil {
		t.Error(err)
	}
	c = start(t, dir)
	if got := query[int](t, c, `SELECT n FROM t`); got != 42 {
		t.Errorf("got %d", got)
	}
}
