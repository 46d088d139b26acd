package main

import (
	"bytes"
	"errors"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
)

// smallDisk mounts a file system of some megabytes as the archive's folder,
// for the test.
func smallDisk(t *testing.T, dir, size string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("mounting is not allowed here")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
}

// fill takes space on a disk until at most left bytes are free, whoever else
// writes there, and returns the file that holds it.
func fill(t *testing.T, dir string, left uint64) (name string) {
	t.Helper()
	name = filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	chunk := make([]byte, 256<<10)
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if st.Bavail*uint64(st.Bsize) <= left { //nolint:unconvert // the width differs between architectures
			return name
		}
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return name
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// The data folder's disk fills up under load: senders are told to come back
// later, by C-STORE and by STOW-RS, the archive says that it is not ready, what
// was acknowledged is unharmed, and when there is space again receiving goes on
// by itself.
func TestDiskFull(t *testing.T) {
	database := indextest.New(t, nil)
	dir, err := os.MkdirTemp("", "tasvir-test-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	smallDisk(t, dir, "700m")
	a := startArchive(t, []string{"TASVIR_DATABASE=" + database}, "--unknown-ae", "park", "--trusted-loopback", "--data", filepath.Join(dir, "data"))

	l := newLoad(t)
	l.strict = true
	var refused atomic.Int64
	l.refused = func(status dimse.Status) {
		refused.Add(1)
		if status.Code != dimse.OutOfResources {
			t.Errorf("a full disk was answered with %s", status)
		}
	}
	l.to(a)
	l.start(1, 2)
	l.more(100)

	for _, left := range []uint64{0, 3 << 20} { // at once, and in the middle of something
		filler := fill(t, dir, left)
		before := refused.Load()
		eventually(t, "senders are refused", func() bool { return refused.Load() >= before+20 })
		p := parcel{sender: 99}
		if code := stowStatus(t, a, p); code != http.StatusInsufficientStorage {
			t.Errorf("STOW-RS answered %d on a full disk, want 507", code)
		}
		if code := readiness(t, a); code != http.StatusServiceUnavailable {
			t.Errorf("/readyz answers %d on a full disk", code)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		l.more(100)
		eventually(t, "the archive is ready again", func() bool { return readiness(t, a) == http.StatusOK })
	}

	// A power cut on a full disk: what was acknowledged before survives it.
	fill(t, dir, 1<<20)
	before := refused.Load()
	eventually(t, "senders are refused", func() bool { return refused.Load() >= before+20 })
	l.stop()
	a.kill()
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	a.start()
	l.arrived(a, database)
	packsInPlace(t, database, filepath.Join(dir, "data", "store"))
	t.Logf("%d instances were acknowledged, %d refused", l.count(), refused.Load())
	a.stop()
}

func readiness(t *testing.T, a *archive) int {
	t.Helper()
	answer, err := http.Get(a.web + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// stowStatus sends a parcel by STOW-RS and returns the HTTP status.
func stowStatus(t *testing.T, a *archive, p parcel) int {
	t.Helper()
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	part, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
	if err != nil {
		t.Fatal(err)
	}
	file := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: p.sop(), TransferSyntaxUID: dicom.ExplicitVRLittleEndian})
	if _, err := part.Write(append(file, p.dataset()...)); err != nil {
		t.Fatal(err)
	}
	if err := parts.Close(); err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(a.web+"/dicom-web/studies", `multipart/related; type="application/dicom"; boundary=`+parts.Boundary(), &body)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}
