package dimse

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
)

// The tests in this file talk to other people's software: dcmtk and GDCM. Their
// tools may exit with 0 after a failure and otherwise after success, so what
// counts is what arrived.

func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, peertest.Path(t, name), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v", name, err)
	}
	return string(out)
}

// sample is a file of the shared collection.
type sample struct {
	path                         string
	sopClass, instance, ts, body string // body is the data set
}

// sent is what Client.Store makes of the body: itself, but for the padding that
// a deflated file may lack. PS3.5 Annex A.5.
func (s sample) sent() string {
	if s.ts == dicom.DeflatedExplicitVRLittleEndian && len(s.body)%2 != 0 {
		return s.body + "\x00"
	}
	return s.body
}

// samples returns up to perSyntax files for each transfer syntax that dcmtk and
// our scanner read, with different SOP Instance UIDs.
func samples(t *testing.T, perSyntax int) []sample {
	t.Helper()
	root := filepath.Join("..", "..", "..", "shared", "dicom")
	rows := tsv(t, filepath.Join(root, "MANIFEST.tsv"))
	oracle := map[string]string{}
	for _, r := range tsv(t, filepath.Join(root, "ORACLE.tsv"))[1:] {
		oracle[r[0]] = r[1]
	}
	var out []sample
	perTS, seen := map[string]int{}, map[string]bool{}
	for _, r := range rows[1:] {
		file, ts := r[0], r[7]
		if oracle[file] != "0" || perTS[ts] == perSyntax {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{})
		if err != nil || h.Meta == nil || h.TransferSyntax != h.Declared || h.TransferSyntax != ts {
			continue
		}
		s := sample{
			path: filepath.Join(root, file), sopClass: h.Dataset.String(dicom.TagSOPClassUID),
			instance: h.Dataset.String(dicom.TagSOPInstanceUID), ts: ts, body: string(raw[h.DatasetOffset:]),
		}
		if seen[s.instance] || !dicom.IsStorageSOPClass(s.sopClass) || dicom.ValidUID(s.instance) != nil || len(s.body) > 20<<20 {
			continue
		}
		seen[s.instance] = true
		perTS[ts]++
		out = append(out, s)
	}
	return out
}

func tsv(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is absent: the shared DICOM collection belongs beside the repository", path)
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// copies puts the samples into a folder of their own, for tools that take one.
func copies(t *testing.T, list []sample) string {
	t.Helper()
	dir := t.TempDir()
	for i, s := range list {
		raw, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i/26))+string(rune('a'+i%26))+".dcm"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// storescp runs dcmtk's provider, which writes what it receives as it is. The
// result is what it got, by instance, once stop was called.
func storescp(t *testing.T, args ...string) (addr string, stop func() map[string]shelved) {
	t.Helper()
	dir := t.TempDir()
	binary := peertest.Path(t, "storescp")
	addresses, end := peertest.Serve(t, 1, func(ports []string) *exec.Cmd {
		return exec.Command(binary, append([]string{"-od", dir, "+B"}, append(args, ports[0])...)...)
	})
	return addresses[0], func() map[string]shelved {
		end()
		got := map[string]shelved{}
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{})
			if err != nil {
				t.Errorf("%s: %v", f, err)
				continue
			}
			got[h.Dataset.String(dicom.TagSOPInstanceUID)] = shelved{transferSyntax: h.Declared, data: raw[h.DatasetOffset:]}
		}
		return got
	}
}

func TestInteropEchoscu(t *testing.T) {
	echoed := make(chan *AssociationInfo, 10)
	addr, _ := start(t, &Server{AETitle: "TASVIR", Observer: Observer{Echoed: func(i *AssociationInfo) { echoed <- i }}})
	host, port, _ := net.SplitHostPort(addr)
	out := run(t, nil, "echoscu", "-v", "-aet", "CT01", "-aec", "TASVIR", "--repeat", "3", host, port)
	if len(echoed) != 3 {
		t.Errorf("%d echoes arrived:\n%s", len(echoed), out)
	} else if info := <-echoed; info.CallingAE != "CT01" || info.CalledAE != "TASVIR" || !strings.HasPrefix(info.ImplementationString, "OFFIS_DCMTK") {
		t.Errorf("%+v", info)
	}
	out = run(t, nil, "echoscu", "-v", "-aec", "WRONG", host, port)
	if !strings.Contains(out, "Called AE Title Not Recognized") {
		t.Errorf("a wrong called AE title:\n%s", out)
	}
}

func TestInteropGdcmEcho(t *testing.T) {
	echoed := make(chan *AssociationInfo, 10)
	addr, _ := start(t, &Server{Observer: Observer{Echoed: func(i *AssociationInfo) { echoed <- i }}})
	host, port, _ := net.SplitHostPort(addr)
	out := run(t, nil, "gdcmscu", "--echo", "--aetitle", "GDCM", "--call", "TASVIR", host, port)
	if len(echoed) != 1 {
		t.Errorf("%d echoes arrived:\n%s", len(echoed), out)
	}
}

// What a sender sends us is, byte for byte, what it sends dcmtk's storescp in
// the same transfer syntax.
func TestInteropReceive(t *testing.T) {
	all := samples(t, 3)
	var plain []sample
	for _, s := range all {
		if s.ts == dicom.ExplicitVRLittleEndian || s.ts == dicom.ImplicitVRLittleEndian {
			plain = append(plain, s)
		}
	}
	known := slices.DeleteFunc(slices.Clone(all), func(s sample) bool { return !dcmtkKnows(s.ts) })
	withSyntax := func(ts string) (list []sample) {
		for _, s := range all {
			if s.ts == ts {
				list = append(list, s)
			}
		}
		return list
	}
	tests := []struct {
		name    string
		samples []sample
		command func(dir, host, port string) []string
		env     []string
	}{
		{"storescu with Nagle", plain, func(dir, host, port string) []string {
			return []string{"storescu", "-aec", "TASVIR", "+sd", host, port, dir}
		}, nil},
		{"storescu without Nagle", plain, func(dir, host, port string) []string {
			return []string{"storescu", "-aec", "TASVIR", "+sd", "-pdu", "131072", host, port, dir}
		}, []string{"TCP_NODELAY=1"}},
		{"storescu, JPEG lossless", withSyntax(dicom.JPEGLosslessSV1), func(dir, host, port string) []string {
			return []string{"storescu", "-xs", "-aec", "TASVIR", "+sd", host, port, dir}
		}, nil},
		{"storescu, JPEG 2000 lossless", withSyntax(dicom.JPEG2000Lossless), func(dir, host, port string) []string {
			return []string{"storescu", "-xv", "-aec", "TASVIR", "+sd", host, port, dir}
		}, nil},
		{"storescu, JPEG lossy", withSyntax(dicom.JPEGBaseline8Bit), func(dir, host, port string) []string {
			return []string{"storescu", "-xy", "-aec", "TASVIR", "+sd", host, port, dir}
		}, nil},
		{"storescu, RLE", withSyntax(dicom.RLELossless), func(dir, host, port string) []string {
			return []string{"storescu", "-xr", "-aec", "TASVIR", "+sd", host, port, dir}
		}, nil},
		{"dcmsend, everything", known, func(dir, host, port string) []string {
			return []string{"dcmsend", "-dn", "+ma", "-aec", "TASVIR", "+sd", host, port, dir}
		}, nil},
		{"gdcmscu", plain[:1], func(dir, host, port string) []string {
			return []string{"gdcmscu", "--store", "-r", "--call", "TASVIR", "-i", dir, host, port}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.samples) == 0 {
				t.Skip("no samples")
			}
			dir := copies(t, tt.samples)
			var handler shelf
			addr, stop := start(t, &Server{AETitle: "TASVIR", Store: &handler})
			host, port, _ := net.SplitHostPort(addr)
			command := tt.command(dir, host, port)
			out := run(t, tt.env, command[0], command[1:]...)
			if err := stop(); err != nil {
				t.Error(err)
			}
			reference, stopReference := storescp(t, "+xa")
			host, port, _ = net.SplitHostPort(reference)
			command = tt.command(dir, host, port)
			run(t, tt.env, command[0], command[1:]...)
			want := stopReference()

			if len(handler.items) < len(want) || len(handler.items) == 0 {
				t.Errorf("%d instances arrived, %d at storescp, of %d sent:\n%s", len(handler.items), len(want), len(tt.samples), out)
			}
			compared := 0
			for uid, w := range want {
				got, ok := handler.items[uid]
				switch {
				case !ok:
					t.Errorf("%s did not arrive", uid)
				case got.transferSyntax == w.transferSyntax:
					compared++
					if !bytes.Equal(got.data, w.data) {
						t.Errorf("%s: %d bytes differ from storescp's %d", uid, len(got.data), len(w.data))
					}
				}
			}
			if compared == 0 {
				t.Errorf("nothing to compare with storescp")
			}
			t.Logf("%d sent, %d arrived, %d at storescp, %d compared", len(tt.samples), len(handler.items), len(want), compared)
		})
	}
}

// dcmtkKnows says whether dcmtk 3.6.7 knows the transfer syntax.
func dcmtkKnows(ts string) bool {
	return !slices.Contains([]string{dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL, dicom.HTJ2K, "1.2.840.10008.1.2.8.1"}, ts)
}

// What we send arrives at storescp byte for byte as it is in the file.
func TestInteropSend(t *testing.T) {
	list := samples(t, 4)
	tests := []struct {
		name string
		args []string
		ok   func(ts string) bool
	}{
		{"large PDUs, anything", []string{"+xa", "-pdu", "131072"}, func(ts string) bool {
			return dcmtkKnows(ts) && ts != "1.2.840.10008.1.2.4.53" // retired, known but not taken
		}},
		{"small PDUs, uncompressed", []string{"-pdu", "4096"}, func(ts string) bool {
			return ts == dicom.ExplicitVRLittleEndian || ts == dicom.ImplicitVRLittleEndian || ts == dicom.ExplicitVRBigEndian
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr, stop := storescp(t, tt.args...)
			var kinds []Kind
			want := map[string]sample{}
			for _, s := range list {
				kinds = append(kinds, Kind{s.sopClass, s.ts})
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			for _, group := range GroupContexts(kinds) {
				c, err := Dial(ctx, addr, Dialer{CallingAE: "TASVIR", CalledAE: "ANY-SCP", Contexts: group.Contexts})
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range list {
					if !slices.Contains(group.Kinds, Kind{s.sopClass, s.ts}) {
						continue
					}
					status, err := c.Store(ctx, StoreItem{
						SOPClassUID: s.sopClass, SOPInstanceUID: s.instance, TransferSyntaxUID: s.ts,
						Data: strings.NewReader(s.body),
					})
					switch {
					case errors.Is(err, ErrNotAccepted):
						if tt.ok(s.ts) && dicom.SOPClassName(s.sopClass) != "" {
							t.Logf("%s in %s is not accepted", dicom.SOPClassName(s.sopClass), s.ts)
						}
					case err != nil || !status.OK():
						t.Fatalf("%s: %s, %v", s.path, status, err)
					default:
						want[s.instance] = s
					}
				}
				if err := c.Release(ctx); err != nil {
					t.Error(err)
				}
			}
			got := stop()
			syntaxes := map[string]bool{}
			for uid, s := range want {
				if g := got[uid]; string(g.data) != s.sent() || g.transferSyntax != s.ts {
					t.Errorf("%s (%s): %d bytes in %s arrived as %d in %s", s.path, uid, len(s.body), s.ts, len(g.data), g.transferSyntax)
				}
				syntaxes[s.ts] = true
			}
			for _, s := range list {
				if tt.ok(s.ts) && !syntaxes[s.ts] {
					t.Errorf("nothing was sent in %s", s.ts)
				}
			}
			t.Logf("%d of %d instances in %v", len(want), len(list), slices.Sorted(maps.Keys(syntaxes)))
		})
	}
}

// From us to us: everything, byte for byte.
func TestSendToOurselves(t *testing.T) {
	list := samples(t, 3)
	var handler shelf
	addr, _ := start(t, &Server{Store: &handler})
	var kinds []Kind
	for _, s := range list {
		kinds = append(kinds, Kind{s.sopClass, s.ts})
	}
	for _, group := range GroupContexts(kinds) {
		c, err := Dial(context.Background(), addr, Dialer{CallingAE: "A", CalledAE: "B", Contexts: group.Contexts})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if status, err := c.Store(context.Background(), StoreItem{
				SOPClassUID: s.sopClass, SOPInstanceUID: s.instance,
				TransferSyntaxUID: s.ts, Data: strings.NewReader(s.body),
			}); err != nil || !status.OK() {
				t.Errorf("%s in %s: %s, %v", s.path, s.ts, status, err)
			}
		}
		if err := c.Release(context.Background()); err != nil {
			t.Error(err)
		}
	}
	for _, s := range list {
		if g := handler.items[s.instance]; string(g.data) != s.sent() || g.transferSyntax != s.ts {
			t.Errorf("%s: %d bytes in %s arrived as %d in %s", s.path, len(s.body), s.ts, len(g.data), g.transferSyntax)
		}
	}
}
