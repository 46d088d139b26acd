package associations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	defer ix.Close()
	if _, err := access.Open(ctx, ix, access.Settings{}); err != nil {
		return err
	}
	_, err = Open(ctx, ix, Options{})
	return err
}

// open returns a log over a fresh database with two hospitals, each with a
// device.
func open(t *testing.T) (*Log, *access.Access) {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	people, err := access.Open(t.Context(), ix, access.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"A", "B"} {
		if _, err := people.AddFacility(t.Context(), access.System("test"), pacs.Facility{Code: code, Name: code}); err != nil {
			t.Fatal(err)
		}
		if _, err := people.AddDevice(t.Context(), access.System("test"), access.Device{AETitle: "CT_" + code, FacilityCode: code}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Open(t.Context(), ix, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l, people
}

// flush writes what waits.
func (l *Log) flushed(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func (l *Log) all(t *testing.T) []Entry {
	t.Helper()
	list, _, err := l.List(t.Context(), access.System("test"), Filter{Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// boss manages facility A.
func boss(t *testing.T, people *access.Access) *access.Identity {
	t.Helper()
	user, err := people.CreateUser(t.Context(), access.System("test"), access.NewUser{
		Login: "boss", Name: "Boss", Password: "correct horse", Roles: []pacs.Role{pacs.FacilityAdministrator}, Facilities: []string{"A"},
	})
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := people.StartSession(t.Context(), user, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	identity, err := people.SessionByToken(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// A real server and clients over a socket: both ends are logged, as they were.
func TestBothEnds(t *testing.T) {
	l, people := open(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	server := &dimse.Server{
		AETitle: "TASVIR", DrainTimeout: time.Millisecond, Observer: dimse.Observer{}.And(l.Observer()),
		SOPClasses: dimse.SOPClasses{Only: []string{dicom.CTImageStorage}},
		Store: dimse.StoreHandlerFunc(func(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
			_, _ = io.Copy(io.Discard, rq.Data)
			if rq.SOPInstanceUID == "1.2.3" {
				return dimse.Statusf(dimse.OutOfResources, "no")
			}
			return dimse.Status{}
		}),
	}
	done := make(chan error)
	go func() { done <- server.Serve(ctx, ln) }()
	dial := func(calling, called string) (*dimse.Client, error) {
		return dimse.Dial(t.Context(), ln.Addr().String(), dimse.Dialer{
			CallingAE: calling, CalledAE: called, Observe: l.Outgoing,
			Identity: &ul.UserIdentity{Type: ul.IdentityUsernamePasscode, Primary: []byte("karimov"), Secondary: []byte("secret-word")},
			Contexts: []ul.ProposedContext{
				dimse.VerificationContext(1),
				{ID: 3, AbstractSyntax: dicom.CTImageStorage, TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian}},
				{ID: 5, AbstractSyntax: dicom.MRImageStorage, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian}},
			},
		})
	}
	client, err := dial("CT_A", "TASVIR")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Echo(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"1.2.1", "1.2.2", "1.2.3"} {
		if _, err := client.Store(t.Context(), dimse.StoreItem{
			SOPClassUID: dicom.CTImageStorage, SOPInstanceUID: uid, TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Data: strings.NewReader(strings.Repeat("x", 100)),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if client, err = dial("CT_B", "TASVIR"); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if _, err = dial("CT_A", "OTHER"); err == nil {
		t.Fatal("accepted under another's name")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.flushed(t)

	found := map[string]Entry{}
	for _, e := range l.all(t) {
		found[string(e.Direction)+" "+e.Calling+" "+e.Called] = e
	}
	if len(found) != 6 {
		t.Fatalf("%+v", found)
	}
	in, out := found["in CT_A TASVIR"], found["out CT_A TASVIR"]
	if in.Outcome != Released || in.Instances != 2 || in.Failed != 1 || in.Bytes != 200 || in.Facility != "A" || !strings.HasPrefix(in.Address, "127.0.0.1:") {
		t.Errorf("%+v", in)
	}
	if out.Outcome != Released || out.Instances != 2 || out.Failed != 1 || out.Bytes != 300 || out.Facility != "" || out.Address != ln.Addr().String() {
		t.Errorf("%+v", out)
	}
	if in.Detail.User != "karimov" || in.Detail.Software != dicom.ImplementationVersionName || in.Detail.MaxPDU == 0 ||
		in.Detail.Messages["C-STORE-RQ"] != 3 || in.Detail.Messages["C-ECHO-RQ"] != 1 || out.Detail.Messages["C-STORE-RQ"] != 3 {
		t.Errorf("%+v, %+v", in.Detail, out.Detail.Messages)
	}
	for _, d := range []Detail{in.Detail, out.Detail} {
		if len(d.Contexts) != 3 || d.Contexts[1].Accepted != dicom.ExplicitVRLittleEndian || d.Contexts[1].Name != "CT Image Storage" ||
			len(d.Contexts[1].Proposed) != 2 || d.Contexts[2].Accepted != "" {
			t.Errorf("%+v", d.Contexts)
		}
	}
	if in.Detail.Contexts[2].Result == "" {
		t.Error("why a context was refused is not said")
	}
	if e := found["in CT_B TASVIR"]; e.Outcome != AbortedByPeer && e.Outcome != Closed {
		t.Errorf("%+v", e)
	}
	for _, way := range []string{"in", "out"} {
		if e := found[way+" CT_A OTHER"]; e.Outcome != Rejected || e.Code != "called_ae_title" || e.Reason == "" {
			t.Errorf("%+v", e)
		}
	}
	var secrets int
	if err := l.pool.QueryRow(t.Context(), `SELECT count(*) FROM association a WHERE a::text LIKE '%secret-word%'`).Scan(&secrets); err != nil || secrets != 0 {
		t.Errorf("a passcode is in the log (%v)", err)
	}

	// Each facility sees its own, and nobody without the right sees any.
	by := boss(t, people)
	list, _, err := l.List(t.Context(), by, Filter{})
	if err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := l.Entry(t.Context(), by, in.ID); err != nil {
		t.Error(err)
	}
	for _, id := range []string{found["in CT_B TASVIR"].ID, out.ID, "x", "-1"} {
		if _, err := l.Entry(t.Context(), by, id); pacs.CodeOf(err) != pacs.NotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, _, err := l.List(t.Context(), access.Loopback(), Filter{}); pacs.CodeOf(err) != pacs.Forbidden {
		t.Error(err)
	}
}

func TestFilterAndPages(t *testing.T) {
	l, _ := open(t)
	began := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for i := range 30 {
		e := Entry{Began: began.Add(time.Duration(i) * time.Minute), Direction: In, Calling: "CT_A", Called: "TASVIR", Address: "10.0.0.1:1", Outcome: Released}
		switch i % 3 {
		case 1:
			e.Calling, e.Outcome = "CT_B", TimedOut
		case 2:
			e.Direction, e.Calling, e.Called = Out, "TASVIR", "WS%1"
		}
		l.put(&e)
	}
	l.flushed(t)
	by := access.System("test")
	var seen []string
	after := ""
	for page := 0; ; page++ {
		list, next, err := l.List(t.Context(), by, Filter{Limit: 7, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			seen = append(seen, e.ID)
		}
		if after = next; next == "" {
			break
		}
		if page > 5 || len(list) != 7 {
			t.Fatalf("page %d has %d", page, len(list))
		}
	}
	if len(seen) != 30 {
		t.Errorf("%d seen", len(seen))
	}
	for name, c := range map[string]struct {
		filter Filter
		want   int
	}{
		"by title":         {Filter{AETitle: "CT_A"}, 10},
		"by its beginning": {Filter{AETitle: "CT"}, 20},
		"no wildcards":     {Filter{AETitle: "CT%A"}, 0},
		"a sign of them":   {Filter{AETitle: "WS%"}, 10},
		"direction":        {Filter{Direction: Out}, 10},
		"outcome":          {Filter{Outcome: TimedOut}, 10},
		"facility":         {Filter{Facility: "B"}, 10},
		"time":             {Filter{From: began.Add(5 * time.Minute), To: began.Add(8 * time.Minute)}, 3},
	} {
		list, _, err := l.List(t.Context(), by, c.filter)
		if err != nil || len(list) != c.want {
			t.Errorf("%s: %d, %v, want %d", name, len(list), err, c.want)
		}
	}
	for _, bad := range []Filter{{Direction: "up"}, {Outcome: "x"}, {After: "x"}} {
		if _, _, err := l.List(t.Context(), by, bad); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}

	// What is too old goes.
	l.keep = time.Since(began.Add(10 * time.Minute))
	if err := l.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(l.all(t)); n < 19 || n > 20 {
		t.Errorf("%d are left of 20", n)
	}
}

// Whoever knocks at the door a thousand times gets a few rows, and one for the
// rest that says how many.
func TestStrangersDontFillTheTable(t *testing.T) {
	l, _ := open(t)
	knock := func(host string, n int) {
		for i := range n {
			l.rejected(&ul.AssociateRequest{CallingAE: fmt.Sprintf("X%d", i), CalledAE: "TASVIR"}, &net.TCPAddr{IP: net.ParseIP(host), Port: i + 1}, &ul.RejectCallingAE)
		}
	}
	knock("10.0.0.1", 1000)
	l.rejected(nil, &net.TCPAddr{IP: net.ParseIP("10.0.0.2"), Port: 1}, ul.ErrClosed) // a port check
	l.rejected(nil, &net.TCPAddr{IP: net.ParseIP("10.0.0.3"), Port: 1}, errors.New("nonsense"))
	l.flushed(t)
	rows, times := 0, 0
	for _, e := range l.all(t) {
		if strings.HasPrefix(e.Address, "10.0.0.1:") {
			rows++
			times += e.Times
		} else if e.Outcome != Failed || !strings.HasPrefix(e.Address, "10.0.0.3:") {
			t.Errorf("%+v", e)
		}
	}
	if rows != refusalsOfHost+1 || times != 1000 {
		t.Errorf("%d rows for %d knocks", rows, times)
	}
	for i := range 200 { // a net of hosts
		knock(fmt.Sprintf("10.1.0.%d", i), 3)
	}
	l.flushed(t)
	if n := len(l.all(t)); n > 2*refusalsOfAll+refusalsFolding+10 || l.Dropped() == 0 {
		t.Errorf("%d rows, %d dropped", n, l.Dropped())
	}
}

// The database is away: nobody waits, what there is room for is written when it
// is back, and the rest is counted.
func TestDatabaseAway(t *testing.T) {
	l, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	locked, err := l.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locked.Exec(t.Context(), `LOCK TABLE association IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	const n = queueLength + 3*batchRows
	for range n {
		l.put(&Entry{Began: time.Now(), Direction: In, Calling: "CT_A", Called: "TASVIR", Outcome: Released})
	}
	go func() { done <- l.Run(ctx) }()
	if l.Dropped() == 0 {
		t.Error("the queue has no bound")
	}
	if err := locked.Rollback(t.Context()); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var rows int64
		if err := l.pool.QueryRow(t.Context(), `SELECT count(*) FROM association`).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		if rows+l.Dropped() == n {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d rows and %d dropped of %d", rows, l.Dropped(), n)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if l.waiting.bytes.Load() != 0 {
		t.Errorf("%d bytes are thought to wait", l.waiting.bytes.Load())
	}
}

// A row that the database will never take doesn't hold up the others.
func TestUnfitRow(t *testing.T) {
	l, _ := open(t)
	l.waiting.rows <- json.RawMessage(`{"began":"never"}`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	for deadline := time.Now().Add(30 * time.Second); l.Dropped() != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it waits for ever")
		}
	}
	l.put(&Entry{Began: time.Now(), Direction: In, Calling: "CT_A", Called: "TASVIR", Outcome: Released})
	cancel()
	if err := <-done; err != nil || len(l.all(t)) != 1 {
		t.Errorf("%v, %d rows", err, len(l.all(t)))
	}
}

// What a hostile peer says is kept short.
func TestBoundsOfAnEntry(t *testing.T) {
	l, _ := open(t)
	long := strings.Repeat("1.2", 5000)
	rq := &ul.AssociateRequest{CallingAE: "EVIL\x00", CalledAE: "TASVIR"}
	for i := range 128 {
		p := ul.ProposedContext{ID: byte(2*i + 1), AbstractSyntax: long}
		for range 1000 {
			p.TransferSyntaxes = append(p.TransferSyntaxes, long)
		}
		rq.Contexts = append(rq.Contexts, p)
	}
	l.rejected(rq, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, &ul.RejectCallingAE)
	encoded := <-l.waiting.rows
	if !json.Valid(encoded) || len(encoded) > 1<<20 {
		t.Errorf("%d bytes", len(encoded))
	}
	l.waiting.rows <- encoded
	l.flushed(t)
	if list := l.all(t); len(list) != 1 || list[0].Calling != "EVIL" || l.Dropped() != 0 {
		t.Errorf("%d, dropped %d", len(list), l.Dropped())
	}
}
