package publish

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

// TestReindexOfTheSampleFiles: what real devices wrote, sent by two hospitals,
// comes back as it was, loose and merged.
func TestReindexOfTheSampleFiles(t *testing.T) {
	const dir = "../../../shared/dicom"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	a := newArchive(t, func(o *Options) { o.Workers, o.Quiet = 1, 50*time.Millisecond })
	a.start()
	a.receiveSamples(dir)
	for _, merged := range []bool{false, true} {
		if merged {
			a.mergeSome(rand.New(rand.NewPCG(1, 2)), nil)
		}
		want := contents(t, a.index)
		ix := emptyIndex(t)
		if report := (Reindex{Store: a.store, Index: ix}).mustRun(t); len(report.Bad) > 0 {
			t.Errorf("%+v", report.Bad)
		}
		if diff := gocmp.Diff(want, contents(t, ix)); diff != "" {
			t.Errorf("merged %v: %s", merged, diff)
		}
	}
}

// receiveSamples receives the sample files from two hospitals, which have half
// of them each, and waits until they are published.
func (a *archive) receiveSamples(dir string) {
	t := a.t
	t.Helper()
	received, done := 0, 0
	a.mu.Lock()
	done = a.published + len(a.held)
	a.mu.Unlock()
	for number, facility := range []string{"TMA", "NUKUS"} {
		file := 0
		err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			if file++; file%2 != number {
				return nil // each hospital has half of the files
			}
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := a.journal.Receive(t.Context(), pacs.Incoming{Data: f, Channel: pacs.ChannelImport, Facility: facility, Sender: "import", Charset: "windows-1251"}); err == nil {
				received++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		a.settled(done + received)
	}
	t.Logf("%d files were received, %d are held", received, len(a.held))
	if received < 300 {
		t.Errorf("only %d files were received", received)
	}
}

// TestSampleFilesCompressed: of what real devices wrote, everything that is
// compressed has its pixels and its attributes, and the archive is as it was:
// nothing new when all is sent again, and the same index when it is rebuilt.
func TestSampleFilesCompressed(t *testing.T) {
	const dir = "../../../shared/dicom"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	m := newMerging(t).compressing()
	m.start()
	m.receiveSamples(dir)
	received := m.versions()
	counted := m.count(`SELECT count(*) FROM instance`)
	var before, after int64
	m.merger.Observer.Compressed = func(_ int, b, a int64) { before, after = before+b, after+a }
	m.merger.Observer.NotCompressed = func(err error) { t.Error(err) }
	var studies []int64
	m.row(`SELECT array_agg(id ORDER BY id) FROM study`, nil, &studies)
	for _, id := range studies {
		if err := m.merger.Study(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.damaged) > 0 {
		t.Errorf("damaged: %v", m.damaged)
	}
	compressed := map[string]bool{}
	rows, err := m.index.Pool().Query(t.Context(), `SELECT sop_uid || ' ' || version FROM instance WHERE compressed IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		compressed[name] = true
	}
	for name, file := range m.versions() {
		switch {
		case compressed[name]:
			pixeltest.Check(t, name, []byte(received[name]), []byte(file))
		case file != received[name]:
			t.Errorf("%s is not as it was", name)
		}
	}
	t.Logf("%d of %d instances were compressed, from %d bytes to %d", len(names), counted, before, after)
	if len(names) < 100 {
		t.Errorf("only %d instances were compressed", len(names))
	}
	m.checkSound()
	want := contents(t, m.index)
	m.receiveSamples(dir)
	if diff := gocmp.Diff(want, contents(t, m.index)); diff != "" {
		t.Error("sent again:", diff)
	}
	ix := emptyIndex(t)
	if report := (Reindex{Store: m.store, Index: ix}).mustRun(t); len(report.Bad) > 0 {
		t.Errorf("%+v", report.Bad)
	}
	if diff := gocmp.Diff(want, contents(t, ix)); diff != "" {
		t.Error("reindexed:", diff)
	}
}
