package journal

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// written is the folder of a journal with three records in one segment, and
// their entries.
func written(t *testing.T) (dir string, entries []Entry) {
	dir = t.TempDir()
	j := open(t, Options{Dir: dir})
	receiveAll(t, j, sopUIDs(3)...)
	for _, r := range take(t, j, 3) {
		entries = append(entries, r.Entry)
	}
	if n := len(files(t, dir, "*.segment")); n != 1 {
		t.Fatalf("%d segments, want 1", n)
	}
	return dir, entries
}

func TestReopen(t *testing.T) {
	dir, entries := written(t)
	// The writing process is still there; a copy is what its crash would leave.
	dir = copyDir(t, dir)
	for range 2 { // reading changes nothing
		j := open(t, Options{Dir: dir})
		records := take(t, j, 3)
		for i, r := range records {
			checkRecord(t, r, entries[i].SOPInstanceUID, 0)
			if diff := cmp.Diff(entries[i], r.Entry); diff != "" {
				t.Error(diff)
			}
			if h, err := r.Header(); err != nil || h.Length != r.Length {
				t.Errorf("%s: %v", r.SOPInstanceUID, err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j := open(t, Options{Dir: dir})
	records := take(t, j, 3)
	j.Drop(records[:2]...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Dropping is not written down: publishing again is harmless.
	j = open(t, Options{Dir: dir})
	j.Drop(take(t, j, 3)...)
	if left := files(t, dir, "*.segment*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestTornTail cuts the segment at every byte of its last record.
func TestTornTail(t *testing.T) {
	source, entries := written(t)
	name := files(t, source, "*.segment")[0]
	at := places(t, name)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, filepath.Base(name))
	check := func(what string, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(Options{Dir: dir, MinFree: 1})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer j.Close()
		records := take(t, j, 2)
		for i, r := range records {
			checkRecord(t, r, entries[i].SOPInstanceUID, 0)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != at[2] {
			t.Errorf("%s: the file has %d bytes, want %d", what, info.Size(), at[2])
		}
		// What comes now goes elsewhere, and the old segment can go.
		receiveAll(t, j, "1.9")
		j.Drop(records...)
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s: the segment is still there: %v", what, err)
		}
		j.Drop(take(t, j, 1)...)
		if damaged := files(t, dir, "*.damaged"); len(damaged) != 0 {
			t.Errorf("%s: kept as damaged", what)
		}
	}
	for cut := at[2]; cut < at[3]; cut++ {
		check("cut", content[:cut])
	}
	// A crash may also leave the length without the header, or zeros.
	unsealed := bytes.Clone(content)
	clear(unsealed[at[2] : at[2]+headerLength])
	check("no header", unsealed)
	zeros := bytes.Clone(content)
	clear(zeros[at[2]:])
	check("zeros", zeros)
}

// TestPlantedRecord: the torn tail holds an image that has a sealed record
// inside, as a hostile sender would make it. It must not be published.
func TestPlantedRecord(t *testing.T) {
	source, _ := written(t)
	name := files(t, source, "*.segment")[0]
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	planted := slices.Concat(content, make([]byte, headerLength), content[:places(t, name)[1]])
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), planted, 0o600); err != nil {
		t.Fatal(err)
	}
	j := open(t, Options{Dir: dir})
	take(t, j, 3)
}

// TestDamagedDisk flips a byte in each part of each record: only that record
// may be lost, and the file is kept.
func TestDamagedDisk(t *testing.T) {
	source, entries := written(t)
	name := files(t, source, "*.segment")[0]
	at := places(t, name)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		byte int64
		lost int
	}{
		{"magic of the first", 0, 0},
		{"header of the first", at[0] + 20, 0},
		{"body of the first", at[0] + headerLength + 140, 0},
		{"trailer of the first", at[1] - 5, 0},
		{"body length of the second", at[1] + 12, 1},
		{"body of the second", at[1] + headerLength + 3, 1},
		{"trailer of the second", at[2] - 1, 1},
		{"body of the last", at[2] + headerLength + 3, 2},
		{"trailer of the last", at[3] - 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, filepath.Base(name))
			damaged := bytes.Clone(content)
			damaged[c.byte] ^= 0xFF
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			j := open(t, Options{Dir: dir})
			var want, got []string
			for i, e := range entries {
				if i != c.lost {
					want = append(want, e.SOPInstanceUID)
				}
			}
			records := take(t, j, 2)
			for _, r := range records {
				got = append(got, r.SOPInstanceUID)
				checkRecord(t, r, r.SOPInstanceUID, 0)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			j.Drop(records...)
			kept, err := os.ReadFile(path + ".damaged")
			if err != nil || !bytes.Equal(kept, damaged) {
				t.Errorf("the damaged file is not kept as it was: %v", err)
			}
			if left := files(t, dir, "*.segment"); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestStrangeFileInTheFolder(t *testing.T) {
	for _, name := range []string{"1.segment", "holiday.segment", "000000000001.segment"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), goldenBytes(t), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		// The failed Open has let go of the lock.
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		open(t, Options{Dir: dir})
	}
}

func TestNamesRiseAcrossRuns(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		j := open(t, Options{Dir: dir})
		receiveAll(t, j, "1.2")
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var numbers []uint64
	for _, name := range files(t, dir, "*.segment") {
		number, _, err := parseSegmentName(name)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, number)
	}
	if diff := cmp.Diff([]uint64{1, 2, 3}, numbers, cmpopts.SortSlices(func(a, b uint64) bool { return a < b })); diff != "" {
		t.Error(diff)
	}
}

// TestLock runs this test binary once more, which must not get the journal.
func TestLock(t *testing.T) {
	if dir := os.Getenv("JOURNAL_DIR"); dir != "" {
		j, err := Open(Options{Dir: dir})
		if err == nil {
			_ = j.Close()
			t.Fatal("a second process has opened the journal")
		}
		wantCode(t, err, pacs.Conflict)
		return
	}
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	second := func() error {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLock$", "-test.timeout="+time.Minute.String())
		cmd.Env = append(os.Environ(), "JOURNAL_DIR="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	}
	if err := second(); err != nil {
		t.Error(err)
	}
	if _, err := Open(Options{Dir: dir}); pacs.CodeOf(err) != pacs.Conflict {
		t.Errorf("opened twice in one process: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second(); err == nil {
		t.Error("a closed journal can't be opened by another process")
	}
}
