package availability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func TestMain(m *testing.M) {
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.startBound.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).watchCtx"))
}

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	defer ix.Close()
	if _, err := access.Open(ctx, ix, access.Settings{}); err != nil {
		return err
	}
	_, err = Open(ctx, Options{Index: ix})
	return err
}

// site is an archive with the hospitals A and B, whose jobs are done by hand.
type site struct {
	testing.TB
	*Notices
	ix      *index.Index
	access  *access.Access
	store   storage.Store
	jobs    []int64
	outcome []bool
}

func openSite(t testing.TB) *site {
	t.Helper()
	s := &site{TB: t}
	var err error
	if s.ix, err = index.Open(t.Context(), indextest.New(t, migrate)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.ix.Close)
	if s.access, err = access.Open(t.Context(), s.ix, access.Settings{}); err != nil {
		t.Fatal(err)
	}
	if s.store, err = file.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"A", "B"} {
		if _, err := s.access.AddFacility(t.Context(), access.System("test"), pacs.Facility{Code: code, Name: "Hospital " + code}); err != nil {
			t.Fatal(err)
		}
	}
	s.Notices, err = Open(t.Context(), Options{
		Index: s.ix, AETitle: "TASVIR", Device: s.access.Remote, Log: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, ae string, how dimse.Dialer) (*dimse.Client, error) {
			d, err := s.access.Remote(ctx, ae)
			if err != nil {
				return nil, err
			}
			how.CallingAE, how.CalledAE = "TASVIR", ae
			return dimse.Dial(ctx, d.Address(), how)
		},
		Enqueue: func(_ context.Context, _ pgx.Tx, id int64) error {
			s.jobs = append(s.jobs, id)
			return nil
		},
		Told: func(ok bool) { s.outcome = append(s.outcome, ok) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) device(ae, facility, address string, change ...func(*access.Device)) {
	s.Helper()
	d := access.Device{AETitle: ae, FacilityCode: facility, Notify: true}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		s.Fatal(err)
	}
	d.Host = host
	if _, err := fmt.Sscan(port, &d.Port); err != nil {
		s.Fatal(err)
	}
	for _, f := range change {
		f(&d)
	}
	if _, err := s.access.AddDevice(s.Context(), access.System("test"), d); err != nil {
		s.Fatal(err)
	}
}

const ctImageStorage = "1.2.840.10008.5.1.4.1.1.2"

// publish puts images 1 to n of a series into the archive; their UIDs are the
// series' and the number.
func (s *site) publish(facility, study, series string, n int) (studyID int64) {
	s.Helper()
	j, err := journal.Open(journal.Options{Dir: s.TempDir(), MinFree: 1})
	if err != nil {
		s.Fatal(err)
	}
	for i := range n {
		sop := fmt.Sprint(series, ".", i+1)
		data, err := dicom.AppendDataset(nil, new(dicom.Dataset).SetString(dicom.TagSOPClassUID, dicom.UI, ctImageStorage).
			SetString(dicom.TagSOPInstanceUID, dicom.UI, sop).SetString(dicom.TagModality, dicom.CS, "CT").
			SetString(dicom.TagPatientName, dicom.PN, "Karimov^Ali").SetString(dicom.TagPatientID, dicom.LO, "P1").
			SetString(dicom.TagStudyInstanceUID, dicom.UI, study).SetString(dicom.TagSeriesInstanceUID, dicom.UI, series).
			SetString(dicom.TagInstanceNumber, dicom.IS, fmt.Sprint(i+1)), dicom.ExplicitVRLittleEndian)
		if err != nil {
			s.Fatal(err)
		}
		if _, err := j.Receive(s.Context(), pacs.Incoming{
			Data: bytes.NewReader(data), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, SOPClassUID: ctImageStorage, SOPInstanceUID: sop,
			Channel: pacs.ChannelDIMSE, Facility: facility, Sender: "CT1",
		}); err != nil {
			s.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	var done atomic.Int64
	p := publish.New(publish.Options{
		Journal: j, Index: s.ix, Store: s.store, Quiet: 5 * time.Millisecond,
		Observer: publish.Observer{Published: func(k int, _ int64, _ time.Duration) {
			if done.Add(int64(k)) == int64(n) {
				stop()
			}
		}, Held: func(err error) { s.Error(err); stop() }},
	})
	_ = p.Run(ctx)
	stop()
	if err := j.Close(); err != nil {
		s.Fatal(err)
	}
	if err := s.ix.Pool().QueryRow(s.Context(), `SELECT id FROM study WHERE study_uid = $1`, study).Scan(&studyID); err != nil {
		s.Fatal(err)
	}
	return studyID
}

func (s *site) exec(sql string, args ...any) {
	s.Helper()
	if _, err := s.ix.Pool().Exec(s.Context(), sql, args...); err != nil {
		s.Fatal(err)
	}
}

func (s *site) inTx(f func(tx pgx.Tx) error) {
	s.Helper()
	if err := pgx.BeginFunc(s.Context(), s.ix.Pool(), f); err != nil {
		s.Fatal(err)
	}
}

func (s *site) changed(studyID int64) {
	s.Helper()
	s.inTx(func(tx pgx.Tx) error { return s.Changed(s.Context(), tx, studyID) })
}

// work does each job that was enqueued once, and says how long each wants to
// wait.
func (s *site) work() (waits []time.Duration) {
	s.Helper()
	for _, id := range s.jobs {
		wait, err := s.process(s.Context(), id)
		if err != nil {
			s.Fatal(err)
		}
		waits = append(waits, wait)
	}
	return waits
}

// states are the notices, as device, study, state and refusals.
func (s *site) states() (list []string) {
	s.Helper()
	rows, err := s.ix.Pool().Query(s.Context(), `SELECT ae_title || ' ' || study_uid || ' ' || state || ' ' || refusals FROM availability_notice n JOIN study s ON s.id = n.study_row ORDER BY 1`)
	if err != nil {
		s.Fatal(err)
	}
	if list, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		s.Fatal(err)
	}
	return list
}

// station is a device that is told.
type station struct {
	mu           sync.Mutex
	got          []string
	uids         []string // of the notifications
	associations int
	answer       func(rq *dimse.Request) dimse.NResponse
}

// told are the notifications so far, one line of words each.
func (s *station) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

func (s *station) nCreate(_ context.Context, rq *dimse.Request) dimse.NResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil {
		if rsp := s.answer(rq); !rsp.OK() {
			return rsp
		}
	}
	s.got = append(s.got, line(rq.DataSet))
	s.uids = append(s.uids, rq.SOPInstanceUID)
	return dimse.NResponse{}
}

// line is what a notification says.
func line(ds *dicom.Dataset) string {
	var b strings.Builder
	b.WriteString(ds.String(dicom.TagStudyInstanceUID))
	for _, step := range ds.Items(dicom.TagReferencedPerformedProcedureStepSequence) {
		fmt.Fprintf(&b, " step=%s", step.String(dicom.TagReferencedSOPInstanceUID))
	}
	for _, series := range ds.Items(dicom.TagReferencedSeriesSequence) {
		fmt.Fprintf(&b, " %s:", series.String(dicom.TagSeriesInstanceUID))
		for _, i := range series.Items(dicom.TagReferencedSOPSequence) {
			uid := i.String(dicom.TagReferencedSOPInstanceUID)
			fmt.Fprintf(&b, " %s=%s@%s", uid[strings.LastIndex(uid, ".")+1:], i.String(dicom.TagInstanceAvailability), i.String(dicom.TagRetrieveAETitle))
		}
	}
	return b.String()
}

// listen serves a station until the test ends, or stop is called.
func listen(t testing.TB, ae string, s *station, address string) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &dimse.Server{AETitle: ae, Services: []dimse.Service{{SOPClasses: []string{dicom.InstanceAvailabilityNotificationSOPClass}, NCreate: s.nCreate}}}
	server.Admit = func(context.Context, dimse.Caller) (dimse.Admission, error) {
		s.mu.Lock()
		s.associations++
		s.mu.Unlock()
		return dimse.Admission{}, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func want(t testing.TB, what string, got []string, lines ...string) {
	t.Helper()
	if !slices.Equal(got, lines) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}
