package forward

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
)

// storescp runs dcmtk's provider; shelf is where it puts what it gets.
func storescp(t *testing.T, options ...string) (address, shelf string) {
	t.Helper()
	binary := peertest.Path(t, "storescp")
	shelf = t.TempDir()
	addresses, _ := peertest.Serve(t, 1, func(ports []string) *exec.Cmd {
		return exec.Command(binary, append(append([]string{"-od", shelf}, options...), ports[0])...)
	})
	return addresses[0], shelf
}

// shelved are the transfer syntaxes of what storescp has got.
func shelved(t *testing.T, shelf string) (syntaxes []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shelf, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		syntaxes = append(syntaxes, h.Declared)
	}
	return syntaxes
}

// A peer that takes one transfer syntax gets it; so does one for which the rule
// names another.
func TestForwardInWhatIsTaken(t *testing.T) {
	a := newArchive(t)
	implicit, shelf := storescp(t, "+xi")
	any, chosen := storescp(t, "+xa")
	a.device("IMPLICIT", implicit)
	a.device("ANY", any)
	a.rule("IMPLICIT")
	a.rule("ANY", func(r *Rule) { r.TransferSyntaxes = []string{dicom.ImplicitVRLittleEndian} })
	a.receive(images("1.2.3", 3)...) // explicit
	a.completed("1.2.3")
	a.until("both have it", func() bool { return len(a.items(ItemFilter{States: []State{Sent}})) == 2 })
	for _, list := range [][]string{shelved(t, shelf), shelved(t, chosen)} {
		if len(list) != 3 || strings.Count(strings.Join(list, " "), dicom.ImplicitVRLittleEndian) != 3 {
			t.Errorf("got %v", list)
		}
	}
}

// A peer that refuses associations, and one that breaks them off, is left alone for
// a while and tried again, and nothing of what it did not answer counts as sent.
func TestForwardToPeersThatBreakOff(t *testing.T) {
	a := newArchive(t)
	refusing, _ := storescp(t, "--refuse")
	during, shelf := storescp(t, "--abort-during")
	a.device("REFUSES", refusing)
	a.device("ABORTS", during, func(d *access.Device) { d.MaxAssociationsTo = 1 })
	a.rule("REFUSES")
	a.rule("ABORTS")
	a.receive(images("1.2.3", 12)...)
	a.completed("1.2.3")
	for range 2 {
		a.until("both were tried", func() bool {
			list := a.items(ItemFilter{States: []State{Waiting}})
			return len(list) == 2 && list[0].Attempts > 0 && list[1].Attempts > 0 && list[0].NextAt.After(a.clock.Now()) && list[1].NextAt.After(a.clock.Now())
		})
		for _, i := range a.items(ItemFilter{}) {
			if i.Sent != 0 || i.Total != 12 || i.LastError == "" {
				t.Errorf("%+v", i)
			}
		}
		a.pass(time.Hour)
	}
	if got := shelved(t, shelf); len(got) != 0 {
		t.Errorf("%d were kept", len(got))
	}
}

// What a peer takes in no way has failed for good, in plain words.
func TestForwardWhatIsNotTaken(t *testing.T) {
	a := newArchive(t)
	address, _ := storescp(t, "+xi")
	a.device("WS", address)
	a.rule("WS")
	a.receive(image{study: "1.2.3", syntax: dicom.JPEG2000Lossless}, image{study: "1.2.3", number: 2})
	a.completed("1.2.3")
	i := a.comes("1.2.3", Failed)
	if i.Sent != 1 || i.Failed != 1 || !strings.Contains(i.LastError, "no transfer syntax") {
		t.Errorf("%+v", i)
	}
}
