package publish

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func TestMain(m *testing.M) {
	if pixeltest.Serve() {
		return
	}
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
	migrator, err := rivermigrate.New(riverpgxv5.New(ix.Pool()), nil)
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

const ctImageStorage = "1.2.840.10008.5.1.4.1.1.2"

// image is an instance as a test wants it. Zero fields get defaults.
type image struct {
	facility, issuer, patient, study, series, sop string
	number                                        int
	pixels                                        int // bytes, -1 for none
	more                                          func(*dicom.Dataset)
}

func (i image) withDefaults() image {
	i.facility = cmp.Or(i.facility, "TMA")
	i.patient = cmp.Or(i.patient, "P1")
	i.study = cmp.Or(i.study, "1.2.3")
	i.series = cmp.Or(i.series, i.study+".1")
	i.sop = cmp.Or(i.sop, fmt.Sprint(i.series, ".", i.number))
	if i.pixels == 0 {
		i.pixels = 64 * 64 * 2
	}
	return i
}

func (i image) dataset() *dicom.Dataset {
	i = i.withDefaults()
	ds := &dicom.Dataset{}
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, ctImageStorage)
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, i.sop)
	ds.SetString(dicom.TagStudyDate, dicom.DA, "20260302")
	ds.SetString(dicom.TagStudyTime, dicom.TM, "101530.5")
	ds.SetString(dicom.TagAccessionNumber, dicom.SH, "A-1")
	ds.SetString(dicom.TagModality, dicom.CS, "CT")
	ds.SetString(dicom.TagPatientName, dicom.PN, "Karimov^Ali")
	ds.SetString(dicom.TagPatientID, dicom.LO, i.patient)
	if i.issuer != "" {
		ds.SetString(dicom.TagIssuerOfPatientID, dicom.LO, i.issuer)
	}
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, i.study)
	ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, i.series)
	ds.SetString(dicom.TagInstanceNumber, dicom.IS, fmt.Sprint(i.number))
	if i.pixels > 0 {
		ds.SetInts(dicom.TagRows, dicom.US, 64)
		ds.SetInts(dicom.TagColumns, dicom.US, i.pixels/128)
		ds.SetInts(dicom.TagBitsAllocated, dicom.US, 16)
		ds.SetInts(dicom.TagBitsStored, dicom.US, 12)
		ds.SetInts(dicom.TagHighBit, dicom.US, 11)
		ds.SetInts(dicom.TagPixelRepresentation, dicom.US, 0)
		ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
		ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, "MONOCHROME2")
		ds.SetBytes(dicom.TagPixelData, dicom.OW, bytes.Repeat([]byte{byte(i.number), 1}, i.pixels/2))
	}
	if i.more != nil {
		i.more(ds)
	}
	return ds
}

func (i image) encoded(t testing.TB) []byte {
	t.Helper()
	b, err := dicom.AppendDataset(nil, i.dataset(), dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// archive is journal, publisher, index and store, put together for a test.
type archive struct {
	t       testing.TB
	dir     string
	url     string
	options Options
	journal *journal.Journal
	index   *index.Index
	store   *faulty
	packs   *Packs

	mu        sync.Mutex
	changed   *sync.Cond
	published int
	held      []error
	failures  []error

	stop    context.CancelFunc
	running sync.WaitGroup
}

func newArchive(t testing.TB, change ...func(*Options)) *archive {
	t.Helper()
	return openArchive(t, indextest.New(t, migrate), t.TempDir(), change...)
}

func openArchive(t testing.TB, url, dir string, change ...func(*Options)) *archive {
	t.Helper()
	a := &archive{t: t, dir: dir, url: url}
	a.changed = sync.NewCond(&a.mu)
	var err error
	if a.index, err = index.Open(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	objects, err := file.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	a.store = &faulty{Store: objects}
	a.journal, err = journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	a.packs = &Packs{Index: a.index, Store: a.store}
	a.options = Options{
		Journal: a.journal, Index: a.index, Store: a.store, Quiet: 10 * time.Millisecond, Patience: 50 * time.Millisecond,
		Observer: Observer{
			Published: func(n int, _ int64, _ time.Duration) { a.note(func() { a.published += n }) },
			Held:      func(err error) { a.note(func() { a.held = append(a.held, err) }) },
			Failed:    func(err error) { a.note(func() { a.failures = append(a.failures, err) }) },
		},
	}
	for _, f := range change {
		f(&a.options)
	}
	t.Cleanup(a.close)
	return a
}

func (a *archive) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.changed.Broadcast()
}

// start runs the publisher.
func (a *archive) start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	p := New(a.options)
	a.running.Go(func() { _ = p.Run(ctx) })
}

func (a *archive) close() {
	if a.journal == nil {
		return
	}
	if a.stop != nil {
		a.stop()
	}
	a.running.Wait()
	if err := a.journal.Close(); err != nil {
		a.t.Error(err)
	}
	a.index.Close()
	a.journal = nil
}

func (a *archive) receive(images ...image) {
	a.t.Helper()
	for _, i := range images {
		i = i.withDefaults()
		if _, err := a.journal.Receive(a.t.Context(), pacs.Incoming{
			Data: bytes.NewReader(i.encoded(a.t)), TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
			SOPClassUID: ctImageStorage, SOPInstanceUID: i.sop, Channel: pacs.ChannelDIMSE, Facility: i.facility, Sender: "CT1",
		}); err != nil {
			a.t.Fatal(err)
		}
	}
}

// until waits for a condition on what the observer counted.
func (a *archive) until(what string, f func() bool) {
	a.t.Helper()
	timer := time.AfterFunc(time.Minute, func() { a.note(func() { a.failures = append(a.failures, errTimeout) }) })
	defer timer.Stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for !f() {
		if slices.Contains(a.failures, errTimeout) {
			a.t.Fatalf("%s: published %d, held %d, failures %v", what, a.published, len(a.held), a.failures)
		}
		a.changed.Wait()
	}
}

var errTimeout = errors.New("waited for too long")

// settled waits until n records are published (again) or held.
func (a *archive) settled(n int) {
	a.t.Helper()
	a.until(fmt.Sprintf("waiting for %d", n), func() bool { return a.published+len(a.held) >= n })
}

// row scans one row of the database.
func (a *archive) row(sql string, args []any, into ...any) {
	a.t.Helper()
	if err := a.index.Pool().QueryRow(a.t.Context(), sql, args...).Scan(into...); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archive) count(sql string, args ...any) (n int) {
	a.t.Helper()
	a.row(sql, args, &n)
	return n
}

func (a *archive) wantCount(want int, sql string, args ...any) {
	a.t.Helper()
	if n := a.count(sql, args...); n != want {
		a.t.Errorf("%s: %d, want %d", sql, n, want)
	}
}

func (a *archive) instances(f pacs.InstanceFilter) []pacs.Instance {
	a.t.Helper()
	all, _, err := a.index.Instances(a.t.Context(), pacs.System("test"), f)
	if err != nil {
		a.t.Fatal(err)
	}
	return all
}

// read is the data set of an instance as it is kept.
func (a *archive) read(in pacs.Instance) []byte {
	a.t.Helper()
	body, err := a.packs.Open(a.t.Context(), in.Location, in.Location.DatasetOffset, -1)
	if err != nil {
		a.t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// keys are the objects in the store.
func (a *archive) keys() (keys []string) {
	a.t.Helper()
	for info, err := range a.store.List(a.t.Context(), "") {
		if err != nil {
			a.t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// checkPacks opens every object in the store with other tools.
func (a *archive) checkPacks() {
	a.t.Helper()
	for _, key := range a.keys() {
		if !strings.HasPrefix(key, "packs/") {
			a.t.Errorf("an object %s", key)
		}
		if t, ok := a.t.(*testing.T); ok {
			checkWithTools(t, filepath.Join(a.dir, "store", key))
		}
	}
}

// faulty is a store that fails when it is told to.
type faulty struct {
	storage.Store
	mu     sync.Mutex
	before func(key string) error // instead of the Put
	after  func(key string) error // of a Put that was done
	puts   []string
	gets   []string // "KEY OFFSET+LENGTH"
	// When failIn is not 0, that many Gets from now getErr is the answer, or the
	// body breaks off.
	failIn int
	getErr error
}

func (f *faulty) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	f.mu.Lock()
	f.gets = append(f.gets, fmt.Sprintf("%s %d+%d", key, offset, length))
	now := f.failIn == 1
	if f.failIn > 0 {
		f.failIn--
	}
	getErr := f.getErr
	f.mu.Unlock()
	if now && getErr != nil {
		return nil, getErr
	}
	body, err := f.Store.Get(ctx, key, offset, length)
	if err == nil && now {
		body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(body, 10), iotest.ErrReader(errors.New("connection reset"))), body}
	}
	return body, err
}

func (f *faulty) setGet(in int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failIn, f.getErr = in, err
}

func (f *faulty) setCut(in int) { f.setGet(in, nil) }

func (f *faulty) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	f.mu.Lock()
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil {
		if err := before(key); err != nil {
			return err
		}
	}
	if err := f.Store.Put(ctx, key, size, body); err != nil {
		return err
	}
	f.mu.Lock()
	f.puts = append(f.puts, key)
	f.mu.Unlock()
	if after != nil {
		return after(key)
	}
	return nil
}

func (f *faulty) set(before, after func(string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// once fails the first time only.
func once(err error) func(string) error {
	var done sync.Once
	return func(string) (out error) {
		done.Do(func() { out = err })
		return out
	}
}
