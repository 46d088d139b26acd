package dicomtls

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// The tests in this file talk to dcmtk. Its tools may exit with 0 after a
// failure, so what counts is what arrived.

func tool(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path := peertest.Path(t, name)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, args...)
}

// archive is a DICOM server with TLS that counts what it gets and knows nobody
// but by the name in the certificate.
type archive struct {
	addr, port                 string
	echoes, instances, refused atomic.Int64
}

func startArchive(t *testing.T, s Server) *archive {
	t.Helper()
	a := &archive{}
	server := &dimse.Server{
		AETitle: "TASVIR",
		Admit: func(_ context.Context, caller dimse.Caller) (dimse.Admission, error) {
			if caller.TLS == nil {
				t.Error("an association without TLS")
				return dimse.Admission{}, &ul.RejectCallingAE
			}
			if len(caller.TLS.PeerCertificates) == 0 {
				return dimse.Admission{}, nil // only if the handshake allows it
			}
			if err := CheckName(caller.Request.CallingAE, caller.TLS.PeerCertificates[0]); err != nil {
				t.Log(err)
				return dimse.Admission{}, &ul.RejectCallingAE
			}
			return dimse.Admission{}, nil
		},
		Store: dimse.StoreHandlerFunc(func(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
			if _, err := io.Copy(io.Discard, rq.Data); err != nil {
				return dimse.Statusf(dimse.ProcessingFailure, "%v", err)
			}
			a.instances.Add(1)
			return dimse.Status{}
		}),
		Observer: dimse.Observer{
			Echoed:              func(*dimse.AssociationInfo) { a.echoes.Add(1) },
			AssociationRejected: func(_ *ul.AssociateRequest, _ net.Addr, err error) { a.refused.Add(1); t.Log(err) },
		},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.addr = ln.Addr().String()
	_, a.port, _ = net.SplitHostPort(a.addr)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(ctx, s.Listener(ln)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return a
}

// sampleFile is an image of the shared collection.
func sampleFile(t *testing.T) string {
	t.Helper()
	files, _ := filepath.Glob("../../../shared/dicom/*/CT_small.dcm")
	more, _ := filepath.Glob("../../../shared/dicom/*/*/CT_small.dcm")
	files = append(files, more...)
	if len(files) == 0 {
		t.Skip("../shared/dicom is absent: the shared DICOM collection belongs beside the repository")
	}
	return files[0]
}

func TestDcmtkUsersOverTLS(t *testing.T) {
	ours, others := tlstest.New(t, "Hospital"), tlstest.New(t, "Somebody")
	image := sampleFile(t)
	own := load(t, ours.Issue("TASVIR", tlstest.RSAKey(t, 2048), tlstest.Local))
	past := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	good := ours.Issue("CT01", tlstest.RSAKey(t, 2048), nil)
	elliptic := ours.Issue("CT01", nil, nil)
	expired, stranger := ours.Issue("CT01", nil, past), others.Issue("CT01", nil, nil)
	tests := []struct {
		name, calling string
		cert          tlstest.Files
		args          []string // besides
		anonymous     bool
		ok            bool
	}{
		{"good", "CT01", good, nil, false, true},
		{"good elliptic curve", "CT01", elliptic, nil, false, true},
		{"BCP 195", "CT01", good, []string{"--profile-bcp195"}, false, true},
		{"non-downgrading", "CT01", good, []string{"--profile-bcp195-nd"}, false, true},
		{"extended", "CT01", good, []string{"--profile-bcp195-ex"}, false, true},
		{"retired AES profile", "CT01", good, []string{"--profile-aes", "--cipher", "TLS_RSA_WITH_AES_128_CBC_SHA"}, false, false}, // no forward secrecy
		{"expired", "CT01", expired, nil, false, false},
		{"of another authority", "CT01", stranger, nil, false, false},
		{"of another AE", "CT02", good, nil, false, false},
		{"none", "CT01", tlstest.Files{}, nil, false, false},
		{"none, allowed", "CT01", tlstest.Files{}, nil, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := startArchive(t, Server{Credentials: own, Anonymous: tt.anonymous})
			args := append([]string{"-v", "-aet", tt.calling, "-aec", "TASVIR"}, tt.args...)
			if tt.cert.Cert == "" {
				args = append(args, "+tla")
			} else {
				args = append(args, "+tls", tt.cert.Key, tt.cert.Cert)
			}
			args = append(args, "+cf", ours.File, "localhost", a.port)
			echo, _ := tool(t, "echoscu", args...).CombinedOutput()
			store, _ := tool(t, "storescu", append(args, image)...).CombinedOutput()
			want := int64(0)
			if tt.ok {
				want = 1
			}
			if a.echoes.Load() != want || a.instances.Load() != want {
				t.Errorf("%d echoes and %d instances arrived, want %d\n%s\n%s", a.echoes.Load(), a.instances.Load(), want, echo, store)
			}
			if refused := a.refused.Load(); (refused == 0) != tt.ok {
				t.Errorf("%d connections refused", refused)
			}
		})
	}
}

func TestPlainPeersOnTheTLSPort(t *testing.T) {
	ours := tlstest.New(t, "Hospital")
	a := startArchive(t, Server{Credentials: load(t, ours.Issue("TASVIR", nil, tlstest.Local))})
	_, err := dimse.Dial(context.Background(), a.addr, dimse.Dialer{CallingAE: "CT01", CalledAE: "TASVIR"})
	if err == nil || a.echoes.Load() != 0 {
		t.Errorf("got %v", err)
	}
}

func TestDcmtkProviderOverTLS(t *testing.T) {
	ours, others := tlstest.New(t, "Hospital"), tlstest.New(t, "Somebody")
	theirs := ours.Issue("STORESCP", tlstest.RSAKey(t, 2048), func(c *x509.Certificate) { c.DNSNames = []string{"storescp.example.uz"} })
	mine, strange := ours.Issue("TASVIR", nil, nil), others.Issue("TASVIR", nil, nil)
	strange.CA = ours.File
	out := t.TempDir()
	addresses, _ := peertest.Serve(t, 1, func(ports []string) *exec.Cmd {
		return tool(t, "storescp", "-od", out, "+tls", theirs.Key, theirs.Cert, "+cf", ours.File, ports[0])
	})
	addr := addresses[0]
	raw, err := os.ReadFile(sampleFile(t))
	if err != nil {
		t.Fatal(err)
	}
	h, err := dicom.Scan(strings.NewReader(string(raw)), dicom.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kind := dimse.Kind{SOPClassUID: h.Dataset.String(dicom.TagSOPClassUID), TransferSyntaxUID: h.TransferSyntax}
	send := func(f tlstest.Files, name string) error {
		cfg := load(t, f).ClientConfig(BCP195)
		cfg.ServerName = name
		c, err := dimse.Dial(context.Background(), addr, dimse.Dialer{
			CallingAE: "TASVIR", CalledAE: "STORESCP", Contexts: dimse.GroupContexts([]dimse.Kind{kind})[0].Contexts,
			DialContext: Dialer{Config: cfg}.DialContext,
		})
		if err != nil {
			return err
		}
		defer c.Close()
		status, err := c.Store(context.Background(), dimse.StoreItem{
			SOPClassUID: kind.SOPClassUID, TransferSyntaxUID: kind.TransferSyntaxUID, SOPInstanceUID: h.Dataset.String(dicom.TagSOPInstanceUID),
			Data: strings.NewReader(string(raw[h.DatasetOffset:])),
		})
		if err == nil && !status.OK() {
			err = fmt.Errorf("answered %s", status)
		}
		if err != nil {
			return err
		}
		return c.Release(context.Background())
	}
	for _, tt := range []struct {
		name  string
		files tlstest.Files
		host  string
		ok    bool
	}{
		{"good", mine, "storescp.example.uz", true},
		{"its name is not what we dialed", mine, "", false},
		{"our certificate is of another authority", strange, "storescp.example.uz", false},
		{"we show none", tlstest.Files{CA: ours.File}, "storescp.example.uz", false},
		{"good again", mine, "storescp.example.uz", true},
	} {
		if err := send(tt.files, tt.host); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		} else if err != nil {
			t.Logf("%s: %v", tt.name, err)
		}
		stored, _ := filepath.Glob(filepath.Join(out, "*"))
		if (len(stored) == 1) != tt.ok {
			t.Errorf("%s: %d files stored", tt.name, len(stored))
		}
		for _, f := range stored {
			_ = os.Remove(f)
		}
	}
}
