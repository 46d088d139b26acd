package access

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
)

func TestCheckAETitle(t *testing.T) {
	for title, want := range map[string]string{
		"CT1": "CT1", "  CT 1 ": "CT 1", "1234567890123456": "1234567890123456", "a!~": "a!~",
		"": "", "   ": "", "12345678901234567": "", `A\B`: "", "A\tB": "", "ТОМО": "", "A\x7f": "",
	} {
		got, err := CheckAETitle(title)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", title, got, err)
		}
	}
}

func TestDevices(t *testing.T) {
	a := open(t, Settings{})
	by := System("test")
	added, err := a.AddDevice(t.Context(), by, Device{AETitle: " CT1 ", FacilityCode: "A", Charset: "windows-1251"})
	if err != nil || added.AETitle != "CT1" {
		t.Fatal(added, err)
	}
	_, err = a.AddDevice(t.Context(), by, Device{AETitle: "CT1", FacilityCode: "B"})
	wantCode(t, err, pacs.Conflict)
	// Case matters (PS3.8 9.3.2): another device.
	if _, err = a.AddDevice(t.Context(), by, Device{AETitle: "ct1", FacilityCode: "B"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []Device{
		{AETitle: "", FacilityCode: "A"},
		{AETitle: `A\B`, FacilityCode: "A"},
		{AETitle: "X", FacilityCode: "NOWHERE"},
		{AETitle: "X"},
		{AETitle: "X", FacilityCode: "A", Charset: "no/such"},
		{AETitle: "X", FacilityCode: "A", Description: strings.Repeat("x", 201)},
	} {
		_, err := a.AddDevice(t.Context(), by, bad)
		wantCode(t, err, pacs.Invalid)
	}
	changed, err := a.UpdateDevice(t.Context(), by, "CT1", func(d *Device) error {
		*d = Device{AETitle: "ANOTHER", FacilityCode: "B", Description: "Ward 3"} // the title stays
		return nil
	})
	if err != nil || changed.FacilityCode != "B" || changed.Charset != "" {
		t.Errorf("%+v, %v", changed, err)
	}
	_, err = a.UpdateDevice(t.Context(), by, "NEVER", func(*Device) error { return nil })
	wantCode(t, err, pacs.NotFound)
	if err := a.RemoveDevice(t.Context(), by, "ct1"); err != nil {
		t.Error(err)
	}
	wantCode(t, a.RemoveDevice(t.Context(), by, "ct1"), pacs.NotFound)
	list, err := a.Devices(t.Context(), by)
	if diff := cmp.Diff([]Device{changed}, list); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func refresh(t *testing.T, ad *Admission, a *Access) {
	t.Helper()
	if err := ad.Refresh(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

func openAdmission(t *testing.T, path string) *Admission {
	t.Helper()
	ad, err := OpenAdmission(path)
	if err != nil {
		t.Fatal(err)
	}
	return ad
}

func TestAdmission(t *testing.T) {
	a := open(t, Settings{})
	by := System("test")
	path := filepath.Join(t.TempDir(), "new", "devices.json")
	ad := openAdmission(t, path)
	if _, ok := ad.Lookup("CT1"); ok {
		t.Error("known before anything was said")
	}
	refresh(t, ad, a)
	add := func(d Device) {
		t.Helper()
		if _, err := a.AddDevice(t.Context(), by, d); err != nil {
			t.Fatal(err)
		}
	}
	add(Device{AETitle: "CT1", FacilityCode: "A", Charset: "windows-1251"})
	refresh(t, ad, a)
	want, err := a.DeviceByTitle(t.Context(), by, "CT1")
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range []string{"CT1", "CT1             ", " CT1"} {
		if got, ok := ad.Lookup(title); !ok || cmp.Diff(want, got, cmpopts.EquateEmpty()) != "" {
			t.Errorf("%q: %+v, %v", title, got, ok)
		}
	}
	for _, title := range []string{"ct1", "CT", "CT11", "", "   "} {
		if got, ok := ad.Lookup(title); ok {
			t.Errorf("%q: %+v", title, got)
		}
	}

	// Nothing changed: the file stays as it is, though the device was seen.
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	refresh(t, ad, a)
	refresh(t, ad, a)
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("written again without need (%v)", err)
	}
	list, err := a.Devices(t.Context(), by)
	if err != nil || time.Since(list[0].LastSeenAt) > time.Minute {
		t.Errorf("not noted as seen: %+v, %v", list, err)
	}

	// Every kind of change arrives, also on another node's disk.
	other := openAdmission(t, filepath.Join(t.TempDir(), "devices.json"))
	add(Device{AETitle: "MR1", FacilityCode: "B"})
	if _, err := a.UpdateDevice(t.Context(), by, "CT1", func(d *Device) error { d.FacilityCode, d.Charset = "B", ""; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, node := range []*Admission{ad, other} {
		refresh(t, node, a)
		if d, ok := node.Lookup("CT1"); !ok || d.FacilityCode != "B" || d.Charset != "" || node.Len() != 2 {
			t.Errorf("%+v, %v, %d devices", d, ok, node.Len())
		}
	}
	if err := a.RemoveDevice(t.Context(), by, "CT1"); err != nil {
		t.Fatal(err)
	}
	refresh(t, ad, a)
	if _, ok := ad.Lookup("CT1"); ok {
		t.Error("a removed device is still known")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("leftovers beside the file: %v, %v", entries, err)
	}
}

func TestAdmissionDamaged(t *testing.T) {
	for name, content := range map[string]string{
		"cut off": `{"format":1,"version":3,"devices":[{"ae_ti`, "empty": "", "of another format": `{"format":99,"version":3,"devices":[]}`,
	} {
		path := filepath.Join(t.TempDir(), "devices.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		ad := openAdmission(t, path)
		if ad.Len() != 0 {
			t.Errorf("%s: %d devices", name, ad.Len())
		}
		if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != content {
			t.Errorf("%s: not set aside: %q, %v", name, kept, err)
		}
	}
}

// A full disk keeps nobody from being known; the file follows when it can.
func TestAdmissionDiskFull(t *testing.T) {
	a := open(t, Settings{})
	folder := filepath.Join(t.TempDir(), "journal")
	ad := openAdmission(t, filepath.Join(folder, "devices.json"))
	if _, err := a.AddDevice(t.Context(), System("test"), Device{AETitle: "CT1", FacilityCode: "A"}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	wantCode(t, ad.Refresh(t.Context(), a), pacs.OutOfResources)
	if _, ok := ad.Lookup("CT1"); !ok {
		t.Error("not known although the database said so")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	refresh(t, ad, a)
	if openAdmission(t, ad.path).Len() != 1 {
		t.Error("the file did not follow")
	}
}

// The database is killed: senders stay known, over a restart too; what was
// seen meanwhile is written when it is back.
func TestAdmissionWithoutDatabase(t *testing.T) {
	folder, err := os.MkdirTemp("", "tasvir-admission-") // the database's account must reach it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o711); err != nil {
		t.Fatal(err)
	}
	options := cluster.Options{Dir: filepath.Join(folder, "pg"), Log: slog.New(slog.DiscardHandler)}
	pg, err := cluster.Start(t.Context(), options)
	if err != nil {
		if pacs.CodeOf(err) == pacs.Unavailable && os.Getenv("TASVIR_TEST_REQUIRE") != "1" {
			t.Skipf("no database: %v", err)
		}
		t.Fatal(err)
	}
	stop := func(pg *cluster.Cluster) {
		now, cancel := context.WithCancel(context.Background())
		cancel() // at once: the hard way
		_ = pg.Stop(now)
	}
	ix, err := index.Open(t.Context(), pg.URL(cluster.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	a, err := Open(t.Context(), ix, cheap)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddFacility(t.Context(), System("test"), pacs.Facility{Code: "A", Name: "A"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddDevice(t.Context(), System("test"), Device{AETitle: "CT1", FacilityCode: "A"}); err != nil {
		t.Fatal(err)
	}
	user := a.person(t, "ali", pacs.Clinician, "A")
	token, _ := a.signedIn(t, user)
	path := filepath.Join(folder, "devices.json")
	refresh(t, openAdmission(t, path), a)

	stop(pg)
	<-pg.Done()
	ad := openAdmission(t, path) // a node that starts now
	if d, ok := ad.Lookup("CT1"); !ok || d.FacilityCode != "A" {
		t.Fatalf("%+v, %v", d, ok)
	}
	for range 3 { // whatever state the pool's connections are in
		wantCode(t, ad.Refresh(t.Context(), a), pacs.Unavailable)
	}
	if _, ok := ad.Lookup("CT1"); !ok {
		t.Error("forgotten because the database is down")
	}
	// A session is not declared ended by a database that is down.
	a.forgetRecent()
	_, err = a.SessionByToken(t.Context(), token)
	wantCode(t, err, pacs.Unavailable)
	_, err = a.Authenticate(t.Context(), "ali", testPassword, "192.0.2.1")
	wantCode(t, err, pacs.Unavailable)

	// Run says once that it fails and once that it works again.
	var log bytes.Buffer
	running, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ad.Run(running, a, 10*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	pg, err = cluster.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(pg)
	seen := func() bool {
		list, err := a.Devices(t.Context(), System("test"))
		return err == nil && len(list) == 1 && !list[0].LastSeenAt.IsZero()
	}
	for deadline := time.Now().Add(30 * time.Second); !seen(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			list, err := a.Devices(t.Context(), System("test"))
			t.Fatalf("not noted as seen after the database was back: %v, %v", list, err)
		}
	}
	cancel()
	<-done
	if n := strings.Count(log.String(), "level=WARN"); n > 1 {
		t.Errorf("%d warnings for one failure:\n%s", n, log.String())
	}
}
