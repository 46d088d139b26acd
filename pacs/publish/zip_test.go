package publish

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestZIPAsDocumented(t *testing.T) {
	members := []member{inMemory("a.dcm", []byte("hello")), inMemory("b", nil)}
	size := layout(members)
	got, err := io.ReadAll(zipReader(members))
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, field := range []struct{ bytes, meaning string }{
		{"50 4b 03 04", "local file header of a.dcm"},
		{"14 00", "version needed: 2.0"},
		{"00 08", "flags: names are UTF-8"},
		{"00 00", "method: stored"},
		{"00 00 21 00", "time and date: 1980-01-01"},
		{"86 a6 10 36", "CRC-32 of hello"},
		{"05 00 00 00 05 00 00 00", "compressed and uncompressed size"},
		{"05 00 00 00", "name of 5 bytes, no extra field"},
		{"61 2e 64 63 6d", "a.dcm"},
		{"68 65 6c 6c 6f", "hello"},
		{"50 4b 03 04 14 00 00 08 00 00 00 00 21 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 62", "local file header of b, empty"},
		{"50 4b 01 02", "central directory: a.dcm"},
		{"2d 00 14 00 00 08 00 00 00 00 21 00", "made by 4.5, needs 2.0, as above"},
		{"86 a6 10 36 05 00 00 00 05 00 00 00", "CRC and sizes"},
		{"05 00 00 00 00 00", "name of 5 bytes, no extra field, no comment"},
		{"00 00 00 00 00 00 00 00", "disk 0, attributes"},
		{"00 00 00 00", "local header at 0"},
		{"61 2e 64 63 6d", "a.dcm"},
		{"50 4b 01 02 2d 00 14 00 00 08 00 00 00 00 21 00 00 00 00 00 00 00 00 00 00 00 00 00", "central directory: b"},
		{"01 00 00 00 00 00 00 00 00 00 00 00 00 00", "name of 1 byte"},
		{"28 00 00 00 62", "local header at 40; b"},
		{"50 4b 05 06 00 00 00 00", "end of central directory, disk 0"},
		{"02 00 02 00", "2 entries"},
		{"62 00 00 00 47 00 00 00", "98 bytes, at 71"},
		{"00 00", "no comment"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(field.bytes, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if have := got[min(at, len(got)):min(at+len(want), len(got))]; !bytes.Equal(have, want) {
			t.Errorf("%s at %d:\n% x, want\n% x", field.meaning, at, have, want)
		}
		at += len(want)
	}
	if at != len(got) || int64(at) != size {
		t.Errorf("%d bytes, layout says %d, want %d", len(got), size, at)
	}
	if members[0].offset != 35 || members[1].offset != 71 {
		t.Errorf("contents at %d and %d, want 35 and 71", members[0].offset, members[1].offset)
	}
}

// TestZIPOpensWithOtherTools: a pack must be readable without Tasvir.
func TestZIPOpensWithOtherTools(t *testing.T) {
	var members []member
	for i := range 20 {
		members = append(members, inMemory(fmt.Sprintf("1.2.%d.dcm", i), bytes.Repeat([]byte{byte(i)}, i*1000)))
	}
	size := layout(members)
	path := filepath.Join(t.TempDir(), "pack.zip")
	content, err := io.ReadAll(zipReader(members))
	if err != nil || int64(len(content)) != size {
		t.Fatalf("%d bytes, want %d: %v", len(content), size, err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	checkWithTools(t, path)
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, i*1000)) {
			t.Errorf("%s: %d bytes, %v", f.Name, len(got), err)
		}
		if offset, err := f.DataOffset(); err != nil || offset != members[i].offset {
			t.Errorf("%s is at %d, layout says %d: %v", f.Name, offset, members[i].offset, err)
		}
		if f.Method != zip.Store {
			t.Errorf("%s is compressed", f.Name)
		}
	}
}

// checkWithTools opens a ZIP with those of the usual tools that are installed.
func checkWithTools(t *testing.T, path string) {
	t.Helper()
	for _, tool := range [][]string{
		{"unzip", "-tqq", path},
		{"zipinfo", "-t", path},
		{"python3", "-c", "import sys, zipfile; sys.exit(zipfile.ZipFile(sys.argv[1]).testzip() is not None)", path},
	} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			t.Logf("%s is not installed", tool[0])
			continue
		}
		if out, err := exec.Command(tool[0], tool[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", tool[0], err, out)
		}
	}
}

// TestZIP64 lays out ZIPs beyond the limits of the old format and has
// archive/zip and Python read them. Contents are holes of a sparse file.
func TestZIP64(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		name  string
		sizes []int64
		zip64 bool // of the end of the directory
	}{
		{"below the limit", []int64{max32 - 1, 3}, true}, // the second member and the directory are beyond
		{"one below the limit", []int64{max32 - 1000}, false},
		{"a member at the limit", []int64{max32, 7}, true},
		{"a member beyond the limit", []int64{5 * gib, 7, 6 * gib, 0}, true},
		{"members beyond the limit together", []int64{3 * gib, 3 * gib, 3 * gib}, true},
		{"65534 members", make([]int64, 65534), false},
		{"65535 members", make([]int64, 65535), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			members := make([]member, len(c.sizes))
			for i, size := range c.sizes {
				members[i] = member{name: fmt.Sprintf("1.2.%d.dcm", i), size: size}
			}
			total := layout(members)
			path := filepath.Join(t.TempDir(), "pack.zip")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			end := int64(0)
			for i := range members {
				m := &members[i]
				if m.headerAt != end {
					t.Fatalf("%s begins at %d, the one before ends at %d", m.name, m.headerAt, end)
				}
				if _, err := f.WriteAt(m.localHeader(), m.headerAt); err != nil {
					t.Fatal(err)
				}
				end = m.offset + m.size
			}
			dir := directory(members, end)
			if _, err := f.WriteAt(dir, end); err != nil {
				t.Fatal(err)
			}
			if total != end+int64(len(dir)) {
				t.Errorf("layout says %d bytes, they are %d", total, end+int64(len(dir)))
			}
			if has := bytes.Contains(dir, []byte("PK\x06\x06")); has != c.zip64 {
				t.Errorf("ZIP64 end record %v, want %v", has, c.zip64)
			}
			r, err := zip.NewReader(f, total)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.File) != len(members) {
				t.Fatalf("%d members, want %d", len(r.File), len(members))
			}
			for i, got := range r.File {
				want := &members[i]
				offset, err := got.DataOffset()
				if err != nil || got.Name != want.name || got.UncompressedSize64 != uint64(want.size) || got.CompressedSize64 != uint64(want.size) || offset != want.offset {
					t.Fatalf("%s: %d bytes at %d (%v), want %s: %d bytes at %d", got.Name, got.UncompressedSize64, offset, err, want.name, want.size, want.offset)
				}
			}
			script := `import sys, zipfile
files = zipfile.ZipFile(sys.argv[1]).infolist()
print(len(files), sum(f.file_size for f in files), files[-1].header_offset)`
			if _, err := exec.LookPath("python3"); err == nil {
				out, err := exec.Command("python3", "-c", script, path).CombinedOutput()
				sum := int64(0)
				for _, size := range c.sizes {
					sum += size
				}
				if want := fmt.Sprintln(len(members), sum, members[len(members)-1].headerAt); err != nil || string(out) != want {
					t.Errorf("Python reads %swant %s%v", out, want, err)
				}
			}
			// Info-ZIP 3.0 stumbles over a member of exactly 2^32-1 bytes.
			if _, err := exec.LookPath("zipinfo"); err == nil && len(members) < 10 && c.sizes[0] != max32 {
				if out, err := exec.Command("zipinfo", path).CombinedOutput(); err != nil {
					t.Errorf("zipinfo: %v\n%s", err, out)
				}
			}
		})
	}
}

func TestZIPMemberThatEndsEarly(t *testing.T) {
	members := []member{{name: "a", size: 10, open: func() io.Reader { return strings.NewReader("only 9 ch") }}}
	layout(members)
	if _, err := io.ReadAll(zipReader(members)); err == nil || !strings.Contains(err.Error(), "1 bytes early") {
		t.Errorf("%v", err)
	}
}
