package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

// exitCode runs a command of the binary and returns how it ended.
func (a *archive) exitCode(args ...string) (code int, out string) {
	a.t.Helper()
	bin, err := builtBinary()
	if err != nil {
		a.t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(append(os.Environ(), "TASVIR_DATA="+filepath.Join(a.dir, "data")), a.env...)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		a.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// TestLostDatabase: the database is gone, storage is not. tasvir reindex
// brings the studies back, with versions and facilities, as they were.
func TestLostDatabase(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	studies := []*phantom.Study{phantom.Small(phantom.HeadCT, 2), phantom.Small(phantom.BrainMR, 3)}
	h.send("URGUT_CT1", studies[0])
	h.expect(studies[0], 2)
	dir := filepath.Join(a.dir, "files")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	count := len(writeFiles(t, dir, studies[1]))
	a.tasvir("", "import", dir, "--facility", "NUKUS", "--quiet", "1s")
	h.expect(studies[1], count)
	list := func() (answers []any) {
		t.Helper()
		for _, path := range []string{"/dicom-web/studies?includefield=all", "/dicom-web/series?includefield=all", "/dicom-web/instances?includefield=all"} {
			var answer []map[string]any
			h.admin.must(http.StatusOK, h.admin.call("GET", path, nil, &answer))
			for _, object := range answer {
				delete(object, "00081190") // retrieve URL: the port is another
			}
			answers = append(answers, answer)
		}
		return answers
	}
	before := list()
	facilities := a.tasvir("", "facility", "list")
	a.stop()

	if code, out := a.exitCode("reindex"); code != 1 || !strings.Contains(out, "--add") {
		t.Errorf("reindexing a filled index ended with %d: %s", code, out)
	}
	if err := os.Rename(filepath.Join(a.dir, "data", "postgres"), filepath.Join(a.dir, "lost")); err != nil {
		t.Fatal(err)
	}
	out := a.tasvir("", "reindex")
	if !strings.Contains(out, "Back PostgreSQL up too") {
		t.Errorf("reindex said: %s", out)
	}
	if again := a.tasvir("", "facility", "list"); again != facilities {
		t.Errorf("facilities were\n%s\nand are\n%s", facilities, again)
	}
	a.start()
	h.admin = a.signIn("admin", adminPassword)
	if diff := cmp.Diff(before, list()); diff != "" {
		t.Error(diff)
	}
	for _, study := range studies {
		h.admin.must(http.StatusOK, h.admin.call("GET", "/dicom-web/studies/"+study.StudyInstanceUID(), nil, new([]byte)))
	}
	a.stop()

	// A copy of the store, and then a flipped bit.
	store, copied := filepath.Join(a.dir, "data", "store"), filepath.Join(a.dir, "copy")
	if err := os.CopyFS(copied, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	if code, out := a.exitCode("verify"); code != 0 {
		t.Errorf("verify of sound packs ended with %d: %s", code, out)
	}
	for _, name := range packsIn(t, store) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[bytes.Index(b, []byte("DICM"))+200] ^= 1
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := a.exitCode("verify"); code != 3 || !strings.Contains(out, "damaged_instance") {
		t.Errorf("verify of damaged packs ended with %d: %s", code, out)
	}
	if code, out := a.exitCode("verify", "--repair", "--copy", copied); code != 0 {
		t.Errorf("repairing from a copy ended with %d: %s", code, out)
	}
	if code, out := a.exitCode("verify", "--json"); code != 0 || !strings.Contains(out, `"problems": []`) {
		t.Errorf("verify after the repair ended with %d: %s", code, out)
	}
}

// packsIn are the files of all packs.
func packsIn(t *testing.T, store string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(store, "packs"), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil || len(names) == 0 {
		t.Fatalf("no packs: %v", err)
	}
	return names
}
