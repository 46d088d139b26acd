package publish

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
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
	received := 0
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
		a.settled(received)
	}
	t.Logf("%d files were received, %d are held", received, len(a.held))
	if received < 300 {
		t.Errorf("only %d files were received", received)
	}
	for _, merged := range []bool{false, true} {
		if merged {
			a.mergeSome(rand.New(rand.NewPCG(1, 2)))
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
