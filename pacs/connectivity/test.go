package connectivity

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Tester tests remote AEs. The zero value works.
type Tester struct {
	// CallingAE is our AE title; "" for TASVIR.
	CallingAE string
	// TLS gives the authorities we trust and our certificate as they are now, see
	// access.Device.ClientTLS; nil for the system's and none.
	TLS func() *tls.Config
	// Patience bounds each step; 0 for 6 s.
	Patience time.Duration
	// AtOnce bounds the tests that run at a time; 0 for 4.
	AtOnce int
	// NoTrial ends the test after the echo.
	NoTrial bool
	// Observe, when set, is told of each association that was tried.
	Observe func(*dimse.Outgoing)

	mu      sync.Mutex
	running map[string]bool // addresses that are being tested
}

// Report is what a test found.
type Report struct {
	// OK: every step that was made went well, or ended in a warning.
	OK    bool
	Steps []Step
	// RoundTrip is the time of the C-ECHO, 0 if there was none.
	RoundTrip time.Duration
	// Software is what the peer says it is.
	Software string
	// MaxPDU is the longest P-DATA body it takes, in bytes; 0 is no limit.
	MaxPDU uint32
	// Classes are the storage classes that were proposed and TransferSyntaxes
	// those that were proposed one by one, and whether it takes them.
	Classes, TransferSyntaxes []Taken
}

// Taken says of a UID whether the peer takes it.
type Taken struct {
	UID, Name string
	Taken     bool
}

const (
	defaultPatience = 6 * time.Second
	defaultAtOnce   = 4
	farewell        = 200 * time.Millisecond
)

// Test goes through the steps with a remote AE. That something is wrong with
// the peer is in the report, not an error.
//
//	Conflict     this AE is being tested just now
//	Unavailable  too many tests run
func (t *Tester) Test(ctx context.Context, d access.Device) (*Report, error) {
	release, err := t.enter(d.AETitle + " " + d.Address())
	if err != nil {
		return nil, err
	}
	defer release()
	var base *tls.Config
	if t.TLS != nil {
		base = t.TLS()
	}
	run := &run{
		tester: t, device: d, calling: cmp.Or(t.CallingAE, "TASVIR"),
		patience: cmp.Or(max(t.Patience, 0), defaultPatience), config: d.ClientTLS(base), report: &Report{},
	}
	run.noticeRequest()
	run.all(ctx)
	run.report.OK = !slices.ContainsFunc(run.report.Steps, func(s Step) bool { return !s.OK() && !s.Warning })
	return run.report, nil
}

func (t *Tester) enter(key string) (release func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.running[key]:
		return nil, pacs.Errorf(pacs.Conflict, "This AE is being tested just now. Wait for that test to end").WithReason("test_running", "")
	case len(t.running) >= cmp.Or(max(t.AtOnce, 0), defaultAtOnce):
		return nil, pacs.Errorf(pacs.Unavailable, "Too many tests run at a time. Try again in some seconds").WithReason("test_running", "")
	}
	if t.running == nil {
		t.running = map[string]bool{}
	}
	t.running[key] = true
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.running, key)
	}, nil
}

// run is one test.
type run struct {
	tester   *Tester
	device   access.Device
	calling  string
	patience time.Duration
	config   *tls.Config // nil: plain
	asked    atomic.Bool // the peer asked for our certificate
	report   *Report
}

// noticeRequest has us notice whether the peer asks for a certificate, which
// tells a refusal of ours from other failures.
func (r *run) noticeRequest() {
	if r.config == nil {
		return
	}
	choose := r.config.GetClientCertificate
	certificates := r.config.Certificates
	r.config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		r.asked.Store(true)
		if choose != nil {
			return choose(info)
		}
		for i := range certificates {
			if info.SupportsCertificate(&certificates[i]) == nil {
				return &certificates[i], nil
			}
		}
		return new(tls.Certificate), nil // none
	}
}

func (r *run) all(ctx context.Context) {
	addresses, ok := r.resolve(ctx)
	if !ok {
		return
	}
	nc, ok := r.connect(ctx, addresses)
	if !ok {
		return
	}
	address := nc.RemoteAddr().String()
	if nc, ok = r.secure(ctx, nc); !ok {
		return
	}
	if !r.echo(ctx, nc, address) || r.tester.NoTrial {
		return
	}
	r.trial(ctx, address)
}

// step notes what came of a stage.
func (r *run) step(stage Stage, code Code, began time.Time, detail string) {
	r.report.Steps = append(r.report.Steps, Step{Stage: stage, Code: code, Detail: shorten(detail), Took: time.Since(began).Seconds()})
}

// shorten keeps what a hostile peer says within bounds.
func shorten(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func (r *run) resolve(ctx context.Context) ([]netip.Addr, bool) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	if r.device.Host == "" {
		r.step(Resolve, NoAddress, began, "")
		return nil, false
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", r.device.Host)
	if err != nil || len(found) == 0 {
		r.step(Resolve, resolveCode(err), began, r.device.Host)
		return nil, false
	}
	found = found[:min(len(found), 4)]
	names := make([]string, len(found))
	for i, addr := range found {
		found[i] = addr.Unmap()
		names[i] = found[i].String()
	}
	r.step(Resolve, OK, began, strings.Join(names, ", "))
	return found, true
}

// connect tries the addresses one after the other; together they get the
// patience of one step.
func (r *run) connect(ctx context.Context, addresses []netip.Addr) (net.Conn, bool) {
	began := time.Now()
	deadline := began.Add(r.patience)
	var first error
	for i, addr := range addresses {
		share := time.Until(deadline) / time.Duration(len(addresses)-i)
		nc, err := r.dial(ctx, netip.AddrPortFrom(addr, uint16(r.device.Port)).String(), share)
		if err == nil {
			r.step(Connect, OK, began, nc.RemoteAddr().String())
			return nc, true
		}
		if first == nil {
			first = err
		}
	}
	r.step(Connect, connectCode(ctx, first), began, cause(first))
	return nil, false
}

func (r *run) dial(ctx context.Context, address string, patience time.Duration) (net.Conn, error) {
	return (&net.Dialer{Timeout: max(patience, time.Millisecond)}).DialContext(ctx, "tcp", address)
}

// secure makes the connection a TLS one if the device wants that.
func (r *run) secure(ctx context.Context, nc net.Conn) (net.Conn, bool) {
	if r.config == nil {
		return nc, true
	}
	began := time.Now()
	secured, err := r.handshake(ctx, nc)
	if err != nil {
		r.step(TLS, r.tlsCode(ctx, err), began, dicomtls.Explain(err))
		return nil, false
	}
	state := secured.ConnectionState()
	r.step(TLS, OK, began, tls.VersionName(state.Version)+", "+state.PeerCertificates[0].Subject.String())
	return secured, true
}

// handshake closes the connection when it fails.
func (r *run) handshake(ctx context.Context, nc net.Conn) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	secured := tls.Client(nc, r.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return secured, nil
}

// associate opens an association over a connection.
func (r *run) associate(ctx context.Context, nc net.Conn, contexts []ul.ProposedContext) (*dimse.Client, error) {
	heard := &listening{Conn: nc}
	// A peer that was silent need not be given the time to say farewell.
	hurry, done := context.WithTimeout(ctx, r.patience+farewell)
	defer done()
	stop := context.AfterFunc(hurry, func() { _ = nc.Close() })
	defer stop()
	client, err := dimse.Dial(ctx, r.device.Address(), dimse.Dialer{
		CallingAE: r.calling, CalledAE: r.device.AETitle, Contexts: contexts,
		Timeouts:    ul.Timeouts{ARTIM: r.patience, Progress: r.patience, Idle: r.patience},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return heard.asConn(), nil },
		Observe:     r.tester.Observe,
	})
	if err != nil {
		return nil, &associateError{err: err, heard: heard.first()}
	}
	return client, nil
}

// echo associates for verification alone, asks, and releases.
func (r *run) echo(ctx context.Context, nc net.Conn, address string) bool {
	began := time.Now()
	client, err := r.associate(ctx, nc, []ul.ProposedContext{dimse.VerificationContext(1)})
	if err != nil {
		stage, code, why := Associate, r.associateCode(ctx, err, address), cause(err)
		if code == OurCertificateRefused { // TLS 1.3: learnt after the handshake
			r.report.Steps = slices.DeleteFunc(r.report.Steps, func(s Step) bool { return s.Stage == TLS })
			stage, why = TLS, dicomtls.Explain(err)
		}
		r.step(stage, code, began, why)
		return false
	}
	defer client.Close()
	peer := client.Peer()
	r.report.MaxPDU, r.report.Software = peer.MaxPDU, cmp.Or(peer.ImplementationVersion, peer.ImplementationClassUID)
	if !client.Accepts(dicom.VerificationSOPClass, dicom.ImplicitVRLittleEndian) {
		r.step(Associate, VerificationNotTaken, began, "")
		_ = client.Release(ctx)
		return false
	}
	r.step(Associate, OK, began, "")
	began = time.Now()
	status, err := client.Echo(ctx)
	r.report.RoundTrip = time.Since(began)
	if err != nil {
		r.step(Echo, r.associateCode(ctx, err, address), began, cause(err))
		return false
	}
	_ = client.Release(ctx)
	if status.Code != dimse.Success {
		r.step(Echo, EchoFailed, began, status.String())
		return false
	}
	r.step(Echo, OK, began, "")
	return true
}

// trial proposes what we might send.
func (r *run) trial(ctx context.Context, address string) {
	began := time.Now()
	failed := func(code Code, detail string) {
		r.step(Trial, code, began, detail)
		// Only what images are to be sent to must take them.
		r.report.Steps[len(r.report.Steps)-1].Warning = !r.device.Destination
	}
	nc, err := r.dial(ctx, address, r.patience)
	if err != nil {
		failed(connectCode(ctx, err), cause(err))
		return
	}
	if r.config != nil {
		if nc, err = r.handshake(ctx, nc); err != nil {
			failed(r.tlsCode(ctx, err), cause(err))
			return
		}
	}
	client, err := r.associate(ctx, nc, trialContexts())
	if err != nil {
		failed(r.associateCode(ctx, err, address), cause(err))
		return
	}
	defer client.Close()
	r.weigh(client)
	_ = client.Release(ctx)
	switch refused := r.refusedSyntax(); {
	case !slices.ContainsFunc(r.report.Classes, func(c Taken) bool { return c.Taken }):
		failed(StorageNotTaken, "")
	case refused != "":
		failed(TransferSyntaxNotTaken, refused)
	default:
		r.step(Trial, OK, began, "")
	}
}

// refusedSyntax is a transfer syntax that the device is said to take and does
// not.
func (r *run) refusedSyntax() string {
	for _, ts := range r.report.TransferSyntaxes {
		if !ts.Taken && slices.Contains(r.device.TransferSyntaxes, ts.UID) {
			return fmt.Sprintf("%s, %s", ts.Name, ts.UID)
		}
	}
	return ""
}

// weigh fills in what the peer takes.
func (r *run) weigh(client *dimse.Client) {
	accepted := map[byte]bool{}
	for _, pc := range client.Contexts() {
		accepted[pc.ID] = true
	}
	for _, pc := range trialContexts() {
		taken := accepted[pc.ID]
		switch {
		case pc.AbstractSyntax == dicom.VerificationSOPClass:
		case len(pc.TransferSyntaxes) == 1:
			ts, _ := dicom.LookupTransferSyntax(pc.TransferSyntaxes[0])
			r.report.TransferSyntaxes = append(r.report.TransferSyntaxes, Taken{ts.UID, ts.Name, taken})
		default:
			r.report.Classes = append(r.report.Classes, Taken{pc.AbstractSyntax, dicom.SOPClassName(pc.AbstractSyntax), taken})
		}
	}
}

// associateError is why there was no association, with the first bytes that
// were heard from the peer.
type associateError struct {
	err   error
	heard []byte
}

func (e *associateError) Error() string { return e.err.Error() }
func (e *associateError) Unwrap() error { return e.err }

// listening remembers the first bytes that come in.
type listening struct {
	net.Conn
	mu    sync.Mutex
	heard []byte
}

func (l *listening) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := 8 - len(l.heard); room > 0 {
		l.heard = append(l.heard, p[:min(n, room)]...)
	}
	return n, err
}

// asConn keeps it visible that a connection is a TLS one.
func (l *listening) asConn() net.Conn {
	if secured, ok := l.Conn.(*tls.Conn); ok {
		return listeningTLS{l, secured}
	}
	return l
}

type listeningTLS struct {
	*listening
	secured *tls.Conn
}

func (l listeningTLS) ConnectionState() tls.ConnectionState { return l.secured.ConnectionState() }

func (l *listening) first() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}
