package quarantine_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func TestMain(m *testing.M) {
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"),
		goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.startBound.func1"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).watchCtx"))
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
	if _, err := quarantine.Open(ctx, quarantine.Options{Index: ix}); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(ix.Pool()), nil)
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// archive is all that an image passes, put together for a test: journal,
// publisher, quarantine, index and store. reopen starts it anew on what is on
// disk, as after an end of the process.
type archive struct {
	testing.TB
	dir, url string
	options  quarantine.Options
	store    *killable
	journal  *journal.Journal
	index    *index.Index
	ward     *quarantine.Quarantine
	packs    *publish.Packs
	people   *access.Access
	a, b     pacs.Facility
	admin    *access.Identity

	publisher *publish.Publisher
	stop      context.CancelFunc
	running   sync.WaitGroup
}

func newArchive(t testing.TB, change ...func(*quarantine.Options)) *archive {
	t.Helper()
	store, err := file.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return newArchiveOn(t, store, change...)
}

func newArchiveOn(t testing.TB, store storage.Store, change ...func(*quarantine.Options)) *archive {
	t.Helper()
	a := &archive{TB: t, dir: t.TempDir(), url: indextest.New(t, migrate), store: &killable{Store: store}, admin: access.System("test")}
	for _, f := range change {
		f(&a.options)
	}
	a.open()
	t.Cleanup(a.close)
	for code, to := range map[string]*pacs.Facility{"A": &a.a, "B": &a.b} {
		var err error
		if *to, err = a.people.AddFacility(t.Context(), a.admin, pacs.Facility{Code: code, Name: "Hospital " + code}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func (a *archive) open() {
	a.Helper()
	ctx := context.Background()
	var err error
	if a.index, err = index.Open(ctx, a.url); err != nil {
		a.Fatal(err)
	}
	if a.people, err = access.Open(ctx, a.index, access.Settings{}); err != nil {
		a.Fatal(err)
	}
	if a.journal, err = journal.Open(journal.Options{Dir: filepath.Join(a.dir, "journal"), MinFree: 1}); err != nil {
		a.Fatal(err)
	}
	o := a.options
	o.Index, o.Store, o.Receiver = a.index, a.store, a.journal
	o.Freed = func() { a.publisher.RetryHeld() }
	a.packs = &publish.Packs{Index: a.index, Store: a.store}
	a.publisher = publish.New(publish.Options{}) // for a Freed while the quarantine opens
	if a.ward, err = quarantine.Open(ctx, o); err != nil {
		a.Fatal(err)
	}
	a.journal.QuarantineRoom(a.ward.Room)
	a.publisher = publish.New(publish.Options{
		Journal: a.journal, Index: a.index, Store: a.store, Quiet: 5 * time.Millisecond, Patience: 20 * time.Millisecond, Quarantine: a.ward,
	})
	run, stop := context.WithCancel(ctx)
	a.stop = stop
	a.running.Go(func() { _ = a.publisher.Run(run) })
}

func (a *archive) close() {
	if a.journal == nil {
		return
	}
	a.stop()
	a.running.Wait()
	if err := a.journal.Close(); err != nil {
		a.Error(err)
	}
	a.index.Close()
	a.journal = nil
}

func (a *archive) reopen() {
	a.close()
	a.store.revive()
	a.open()
}

// look runs what looks after the quarantine until the function it returns is
// called.
func (a *archive) look() func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.ward.Run(ctx) }()
	return func() { cancel(); <-done }
}

// idle waits until nothing waits in the journal but what is held.
func (a *archive) idle() {
	a.Helper()
	a.eventually("the journal is empty", func() bool { return a.journal.Stats().Records == 0 })
}

func (a *archive) eventually(what string, f func() bool) {
	a.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.Fatalf("%s: not within a minute; the journal has %+v", what, a.journal.Stats())
		}
	}
}

// list is all items that an administrator sees.
func (a *archive) list() []quarantine.Listed {
	a.Helper()
	items, next, total, err := a.ward.List(context.Background(), a.admin.Scope, quarantine.Filter{Limit: 200})
	if err != nil || next != "" || int(total) != len(items) {
		a.Fatalf("%d of %d items, next %q, %v", len(items), total, next, err)
	}
	return items
}

func (a *archive) only() quarantine.Listed {
	a.Helper()
	items := a.list()
	if len(items) != 1 {
		a.Fatalf("%d items in quarantine, want 1: %+v", len(items), items)
	}
	return items[0]
}

// file is what an administrator downloads.
func (a *archive) file(id string) []byte {
	a.Helper()
	body, size, err := a.ward.Bytes(a.Context(), a.admin, id)
	if err != nil {
		a.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil || int64(len(b)) != size {
		a.Fatalf("%d of %d bytes, %v", len(b), size, err)
	}
	return b
}

// release wants all to be released.
func (a *archive) release(c quarantine.Correction, ids ...string) {
	a.Helper()
	released, refused, err := a.ward.Release(a.Context(), a.admin, ids, c)
	if err != nil || len(refused) > 0 || len(released) != len(ids) {
		a.Fatalf("released %v, refused %v, %v", released, refused, err)
	}
	a.idle()
}

// refused wants one not to be released and returns why.
func (a *archive) refused(c quarantine.Correction, id string) string {
	a.Helper()
	released, refused, err := a.ward.Release(a.Context(), a.admin, []string{id}, c)
	if err != nil || len(released) > 0 || len(refused) != 1 || refused[0].ID != id {
		a.Fatalf("released %v, refused %v, %v", released, refused, err)
	}
	a.idle()
	return refused[0].Message
}

func (a *archive) study(uid string) pacs.Study {
	a.Helper()
	s, err := a.index.Study(context.Background(), pacs.System("test"), uid)
	if err != nil {
		a.Fatalf("study %s: %v", uid, err)
	}
	return s
}

func (a *archive) studies() []pacs.Study {
	a.Helper()
	s, _, err := a.index.Studies(context.Background(), pacs.System("test"), pacs.StudyFilter{})
	if err != nil {
		a.Fatal(err)
	}
	return s
}

// stored is the PS3.10 file of an instance as packs and index give it.
func (a *archive) stored(study, sop string) []byte {
	a.Helper()
	ctx := context.Background()
	instances, _, err := a.index.Instances(ctx, pacs.System("test"), pacs.InstanceFilter{SOPInstanceUIDs: []string{sop}})
	if err != nil || len(instances) != 1 {
		a.Fatalf("%d instances %s, %v", len(instances), sop, err)
	}
	at := instances[0].Location
	body, err := a.store.Get(ctx, at.PackKey, at.Offset, at.Length)
	if err != nil {
		a.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		a.Fatal(err)
	}
	return b
}

func (a *archive) count(sql string, args ...any) (n int) {
	a.Helper()
	if err := a.index.Pool().QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		a.Fatal(err)
	}
	return n
}

// objects are the keys in the store with a prefix.
func (a *archive) objects(prefix string) (keys []string) {
	a.Helper()
	for info, err := range a.store.Store.List(context.Background(), prefix) {
		if err != nil {
			a.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

const ctImageStorage = "1.2.840.10008.5.1.4.1.1.2"

// image is an instance as a test wants it. Zero fields get defaults; "-" is an
// absent attribute.
type image struct {
	facility, patient, name, study, series, sop, class string
	more                                               func(*dicom.Dataset)
}

func (i image) dataset() *dicom.Dataset {
	ds := &dicom.Dataset{}
	set := func(tag dicom.Tag, vr dicom.VR, value, otherwise string) {
		if value = cmp.Or(value, otherwise); value != "-" {
			ds.SetString(tag, vr, value)
		}
	}
	set(dicom.TagSOPClassUID, dicom.UI, i.class, ctImageStorage)
	set(dicom.TagSOPInstanceUID, dicom.UI, i.sop, "1.2.3.1.1")
	set(dicom.TagStudyDate, dicom.DA, "", "20260302")
	set(dicom.TagAccessionNumber, dicom.SH, "", "A-1")
	set(dicom.TagModality, dicom.CS, "", "CT")
	set(dicom.TagStudyDescription, dicom.LO, "", "Head")
	set(dicom.TagPatientName, dicom.PN, i.name, "Karimov^Ali")
	set(dicom.TagPatientID, dicom.LO, i.patient, "P1")
	set(dicom.TagStudyInstanceUID, dicom.UI, i.study, "1.2.3")
	set(dicom.TagSeriesInstanceUID, dicom.UI, i.series, "1.2.3.1")
	ds.SetInts(dicom.TagRows, dicom.US, 8)
	ds.SetInts(dicom.TagColumns, dicom.US, 8)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 16)
	ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
	ds.SetBytes(dicom.TagPixelData, dicom.OW, bytes.Repeat([]byte{1, 2}, 64))
	if i.more != nil {
		i.more(ds)
	}
	return ds
}

// encoded is the bare data set.
func (i image) encoded(t testing.TB) []byte {
	t.Helper()
	b, err := dicom.AppendDataset(nil, i.dataset(), dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// incoming is the image as C-STORE brings it.
func (i image) incoming(t testing.TB) pacs.Incoming {
	return pacs.Incoming{
		Data: bytes.NewReader(i.encoded(t)), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, SOPClassUID: ctImageStorage, SOPInstanceUID: cmp.Or(i.sop, "1.2.3.1.1"),
		Channel: pacs.ChannelDIMSE, Facility: cmp.Or(i.facility, "A"), Sender: "CT1", Remote: "10.0.0.1:104",
	}
}

// send wants an image to be acknowledged.
func (a *archive) send(images ...image) {
	a.Helper()
	for _, i := range images {
		if _, err := a.journal.Receive(context.Background(), i.incoming(a)); err != nil {
			a.Fatal(err)
		}
	}
	a.idle()
}

var errKilled = errors.New("killed")

// killable is a store whose process dies at the n-th call from now: that call
// and all later ones do nothing.
type killable struct {
	storage.Store
	mu   sync.Mutex
	left int // calls that are still made; -1 without end
	on   bool
}

func (k *killable) dieAfter(n int) { k.mu.Lock(); defer k.mu.Unlock(); k.on, k.left = true, n }
func (k *killable) revive()        { k.mu.Lock(); defer k.mu.Unlock(); k.on = false }

func (k *killable) call() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.on {
		return nil
	}
	if k.left--; k.left < 0 {
		return fmt.Errorf("%w on purpose", errKilled)
	}
	return nil
}

func (k *killable) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	if err := k.call(); err != nil {
		return err
	}
	return k.Store.Put(ctx, key, size, body)
}

func (k *killable) Delete(ctx context.Context, key string) error {
	if err := k.call(); err != nil {
		return err
	}
	return k.Store.Delete(ctx, key)
}
