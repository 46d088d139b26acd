package forward

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
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
	"github.com/tasvir-pacs/tasvir/pacs/queryretrieve"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func TestMain(m *testing.M) {
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.startBound.func1"))
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
	return Migrate(ctx, ix)
}

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// forwarded is an archive that forwards: journal, publisher, index, packs, and two
// hospitals, URGUT and NUKUS.
type forwarded struct {
	*Forwarding
	t        testing.TB
	index    *index.Index
	access   *access.Access
	journal  *journal.Journal
	clock    *clock
	admin    *access.Identity
	received int
}

// where are the addresses of registered devices.
type where struct{ access *access.Access }

func (w where) Destination(ctx context.Context, aeTitle string) (queryretrieve.Destination, error) {
	d, err := w.access.Remote(ctx, aeTitle)
	if err != nil {
		return queryretrieve.Destination{}, err
	}
	return queryretrieve.Destination{AETitle: d.AETitle, Address: d.Address(), TransferSyntaxes: d.TransferSyntaxes, Associations: d.MaxAssociationsTo}, nil
}

// newArchive makes an archive, at noon of 2 March 2026 in Tashkent, and runs its
// queue.
func newArchive(t testing.TB, change ...func(*Options)) *forwarded {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	a := &forwarded{t: t, index: ix, admin: access.System("test"), clock: &clock{now: time.Date(2026, 3, 2, 7, 0, 0, 0, time.UTC)}}
	if a.access, err = access.Open(t.Context(), ix, access.Settings{}); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"URGUT", "NUKUS"} {
		if _, err := a.access.AddFacility(t.Context(), a.admin, pacs.Facility{Code: code, Name: code}); err != nil {
			t.Fatal(err)
		}
	}
	store, err := file.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	if a.journal, err = journal.Open(journal.Options{Dir: filepath.Join(t.TempDir(), "journal"), MinFree: 1}); err != nil {
		t.Fatal(err)
	}
	publisher := publish.New(publish.Options{
		Journal: a.journal, Index: ix, Store: store,
		InTransaction: func(ctx context.Context, tx pgx.Tx, studyUID string, _ index.Added) error {
			return Rejected(ctx, tx, studyUID)
		},
		Observer: publish.Observer{
			Held: func(err error) { t.Errorf("held back: %v", err) }, Failed: func(err error) { t.Errorf("not published: %v", err) },
		},
	})
	o := Options{
		Index: ix, Files: &publish.Packs{Index: ix, Store: store}, Devices: a.access, Destinations: where{a.access}, AETitle: "TASVIR", Now: a.clock.Now,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&o)
	}
	if a.Forwarding, err = New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = publisher.Run(ctx) })
	running.Go(func() { _ = a.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := a.journal.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// pass moves the clock.
func (a *forwarded) pass(d time.Duration) {
	a.clock.mu.Lock()
	a.clock.now = a.clock.now.Add(d)
	a.clock.mu.Unlock()
	a.Nudge()
}

// image is an instance to receive; empty fields have defaults.
type image struct {
	facility, patient, pinfl, study, series string
	number                                  int
	modality, date, body, sender, syntax    string
	marker                                  string // makes another version
}

func (i image) sop() string { return i.series + "." + strconv.Itoa(i.number) }

func (i image) withDefaults() image {
	for _, d := range []struct {
		to    *string
		value string
	}{
		{&i.facility, "URGUT"},
		{&i.patient, "P1"},
		{&i.study, "1.2.3"},
		{&i.modality, "CT"},
		{&i.date, "20260302"},
		{&i.body, "HEAD"},
		{&i.sender, "CT1"},
		{&i.syntax, dicom.ExplicitVRLittleEndian},
		{&i.marker, "A"},
	} {
		if *d.to == "" {
			*d.to = d.value
		}
	}
	if i.series == "" {
		i.series = i.study + ".1"
	}
	i.number = max(i.number, 1)
	return i
}

// receive takes in images and waits until they are published.
func (a *forwarded) receive(images ...image) {
	a.t.Helper()
	for _, i := range images {
		i = i.withDefaults()
		ds := new(dicom.Dataset)
		ds.SetString(dicom.TagSOPClassUID, dicom.UI, dicom.CTImageStorage).SetString(dicom.TagSOPInstanceUID, dicom.UI, i.sop())
		ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, i.study).SetString(dicom.TagSeriesInstanceUID, dicom.UI, i.series)
		ds.SetString(dicom.TagPatientID, dicom.LO, i.patient).SetString(dicom.TagPatientName, dicom.PN, "Karimov^Ali^"+i.patient)
		ds.SetString(dicom.TagPatientSex, dicom.CS, "M").SetString(dicom.TagPatientBirthDate, dicom.DA, "19700101")
		ds.SetString(dicom.TagStudyDate, dicom.DA, i.date).SetString(dicom.TagStudyTime, dicom.TM, "101530")
		ds.SetString(dicom.TagModality, dicom.CS, i.modality).SetString(dicom.TagBodyPartExamined, dicom.CS, i.body)
		ds.SetString(dicom.TagSeriesDescription, dicom.LO, "Series "+i.series).SetString(dicom.TagInstanceNumber, dicom.IS, strconv.Itoa(i.number))
		ds.SetString(dicom.TagImageComments, dicom.LT, i.marker)
		encoding := i.syntax
		if i.syntax == dicom.JPEG2000Lossless {
			encoding = dicom.ExplicitVRLittleEndian
		}
		b, err := dicom.AppendDataset(nil, ds, encoding)
		if err != nil {
			a.t.Fatal(err)
		}
		if i.syntax == dicom.JPEG2000Lossless { // a fragment that nobody decodes, PS3.5 A.4
			b = append(b, "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\x00\x00\x00\x00\xFE\xFF\x00\xE0\x04\x00\x00\x00\xFF\x4F\xFF\x51\xFE\xFF\xDD\xE0\x00\x00\x00\x00"...)
		}
		receipt, err := a.journal.Receive(a.t.Context(), pacs.Incoming{
			Data: bytes.NewReader(b), TransferSyntaxUID: i.syntax, SOPClassUID: dicom.CTImageStorage, SOPInstanceUID: i.sop(),
			Channel: pacs.ChannelDIMSE, Facility: i.facility, Sender: i.sender,
		})
		if err != nil || receipt.Unfit != "" {
			a.t.Fatalf("%s: %v %s", i.sop(), err, receipt.Problem)
		}
		a.received++
	}
	a.until("everything is published", func() bool { return a.number(`SELECT count(*) FROM instance`) >= a.received })
	for _, i := range images {
		if i.pinfl != "" {
			i = i.withDefaults()
			a.exec(`UPDATE patient SET pinfl = $1 WHERE patient_id = $2`, i.pinfl, i.patient)
		}
	}
}

func (a *forwarded) exec(sql string, args ...any) {
	a.t.Helper()
	if _, err := a.pool.Exec(a.t.Context(), sql, args...); err != nil {
		a.t.Fatal(err)
	}
}

func (a *forwarded) number(sql string, args ...any) (n int) {
	a.t.Helper()
	if err := a.pool.QueryRow(a.t.Context(), sql, args...).Scan(&n); err != nil {
		a.t.Fatal(err)
	}
	return n
}

// until waits for something that others bring about.
func (a *forwarded) until(what string, happened func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("not so after a minute: %s; the queue: %s", what, a.describeQueue())
		}
	}
}

func (a *forwarded) describeQueue() (text string) {
	for _, i := range a.items(ItemFilter{}) {
		text += fmt.Sprintf("\n%s %s %s %d/%d/%d %q %s", i.Target.Title(), i.StudyUID, i.State, i.Sent, i.Failed, i.Total, i.LastError, i.NextAt)
	}
	return text
}

func (a *forwarded) items(q ItemFilter) []Item {
	a.t.Helper()
	list, _, err := a.Items(a.t.Context(), a.admin, q)
	if err != nil {
		a.t.Fatal(err)
	}
	return list
}

// item is the only item of a study.
func (a *forwarded) item(study string) Item {
	a.t.Helper()
	list := a.items(ItemFilter{StudyUID: study})
	if len(list) != 1 {
		a.t.Fatalf("%d items of %s", len(list), study)
	}
	return list[0]
}

// comes waits until the item of a study is in a state.
func (a *forwarded) comes(study string, state State) (i Item) {
	a.t.Helper()
	a.until(study+" is "+string(state), func() bool {
		list := a.items(ItemFilter{StudyUID: study})
		if len(list) != 1 || list[0].State != state {
			return false
		}
		i = list[0]
		return true
	})
	return i
}

func (a *forwarded) studyID(uid string) int64 {
	return int64(a.number(`SELECT id FROM study WHERE study_uid = $1`, uid))
}

// completed has the rules asked about a study that is complete.
func (a *forwarded) completed(uid string) {
	a.t.Helper()
	if err := a.Decide(a.t.Context(), Args{Occasion: OnComplete, StudyID: a.studyID(uid)}); err != nil {
		a.t.Fatal(err)
	}
}

// device registers where images may be sent to.
func (a *forwarded) device(aeTitle, address string, change ...func(*access.Device)) {
	a.t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		a.t.Fatal(err)
	}
	d := access.Device{AETitle: aeTitle, FacilityCode: "URGUT", Host: host, Destination: true}
	d.Port, _ = strconv.Atoi(port)
	for _, f := range change {
		f(&d)
	}
	if _, err := a.access.AddDevice(a.t.Context(), a.admin, d); err != nil {
		a.t.Fatal(err)
	}
}

// rule adds a rule that sends complete studies to a device.
func (a *forwarded) rule(aeTitle string, change ...func(*Rule)) Rule {
	a.t.Helper()
	r := Rule{
		Name: "To " + aeTitle, Enabled: true, Occasion: OnComplete, Level: StudyLevel, Target: Target{AETitle: aeTitle}, Priority: Normal, Retries: 24 * time.Hour,
	}
	for _, f := range change {
		f(&r)
	}
	r, err := a.AddRule(a.t.Context(), a.admin, r)
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

// station is a workstation of ours that takes images, as it is told.
type station struct {
	mu      sync.Mutex
	got     []string // SOP Instance UIDs, as they came
	answer  func(sop string) dimse.Status
	address string
	stop    func()
}

func newStation(t testing.TB, answer func(sop string) dimse.Status) *station {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &station{address: ln.Addr().String(), answer: answer}
	s.serve(t, ln)
	return s
}

func (s *station) serve(t testing.TB, ln net.Listener) {
	server := &dimse.Server{DrainTimeout: time.Second, Store: dimse.StoreHandlerFunc(func(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
		if _, err := io.Copy(io.Discard, rq.Data); err != nil {
			return dimse.Status{Code: dimse.ProcessingFailure}
		}
		status := dimse.Status{}
		if s.answer != nil {
			status = s.answer(rq.SOPInstanceUID)
		}
		if status.OK() {
			s.mu.Lock()
			s.got = append(s.got, rq.SOPInstanceUID)
			s.mu.Unlock()
		}
		return status
	})}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(s.stop)
}

// again listens where the station was before it was stopped.
func (s *station) again(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, ln)
}

func (s *station) images() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}
