package patrol

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
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
	_, err = New(ctx, Options{Index: ix})
	return err
}

// kept is an archive with something in it.
type kept struct {
	testing.TB
	index  *index.Index
	store  storage.Store
	copied storage.Store
	bytes  map[string][]byte // data sets by SOP Instance UID and version
}

func folder(t testing.TB) storage.Store {
	t.Helper()
	s, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newKept(t testing.TB, store, copied storage.Store) *kept {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	return &kept{TB: t, index: ix, store: store, copied: copied, bytes: map[string][]byte{}}
}

const ctImageStorage = "1.2.840.10008.5.1.4.1.1.2"

// image is the data set of an instance.
func image(study, series string, number int, comment string) (sop string, data []byte) {
	sop = fmt.Sprint(series, ".", number)
	ds := &dicom.Dataset{}
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, ctImageStorage)
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, sop)
	ds.SetString(dicom.TagModality, dicom.CS, "CT")
	ds.SetString(dicom.TagPatientName, dicom.PN, "Karimov^Ali")
	ds.SetString(dicom.TagPatientID, dicom.LO, "P1")
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, study)
	ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, series)
	ds.SetString(dicom.TagInstanceNumber, dicom.IS, fmt.Sprint(number))
	ds.SetString(dicom.TagImageComments, dicom.LT, comment)
	ds.SetInts(dicom.TagRows, dicom.US, 16)
	ds.SetInts(dicom.TagColumns, dicom.US, 16)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 16)
	ds.SetInts(dicom.TagBitsStored, dicom.US, 12)
	ds.SetInts(dicom.TagHighBit, dicom.US, 11)
	ds.SetInts(dicom.TagPixelRepresentation, dicom.US, 0)
	ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, "MONOCHROME2")
	ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
	ds.SetBytes(dicom.TagPixelData, dicom.OW, bytes.Repeat([]byte{byte(number), 7}, 256))
	data, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		panic(err)
	}
	return sop, data
}

// pack publishes images 1 to n of a series as one pack and returns its key.
func (k *kept) pack(study, series string, comment string, numbers ...int) string {
	k.Helper()
	before := k.keys()
	j, err := journal.Open(journal.Options{Dir: k.TempDir(), MinFree: 1})
	if err != nil {
		k.Fatal(err)
	}
	for _, n := range numbers {
		sop, data := image(study, series, n, comment)
		if _, err := j.Receive(k.Context(), pacs.Incoming{
			Data: bytes.NewReader(data), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, SOPClassUID: ctImageStorage, SOPInstanceUID: sop,
			Channel: pacs.ChannelDIMSE, Facility: "TMA", Sender: "CT1",
		}); err != nil {
			k.Fatal(err)
		}
		k.bytes[sop+comment] = data
	}
	ctx, stop := context.WithCancel(context.Background())
	var done atomic.Int64
	p := publish.New(publish.Options{
		Journal: j, Index: k.index, Store: k.store, Quiet: 5 * time.Millisecond,
		Observer: publish.Observer{Published: func(n int, _ int64, _ time.Duration) {
			if done.Add(int64(n)) == int64(len(numbers)) {
				stop()
			}
		}, Held: func(err error) { k.Error(err); stop() }},
	})
	_ = p.Run(ctx)
	stop()
	if err := j.Close(); err != nil {
		k.Fatal(err)
	}
	for key := range k.keys() {
		if !before[key] {
			return key
		}
	}
	k.Fatal("nothing was published")
	return ""
}

// keys are the packs in use.
func (k *kept) keys() map[string]bool {
	k.Helper()
	rows, err := k.index.Pool().Query(context.Background(), `SELECT key FROM pack WHERE retired_at IS NULL`)
	if err != nil {
		k.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		k.Fatal(err)
	}
	keys := map[string]bool{}
	for _, key := range list {
		keys[key] = true
	}
	return keys
}

func read(t testing.TB, s storage.Store, key string) []byte {
	t.Helper()
	body, err := s.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, s storage.Store, key string, b []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
}

// mirror copies every object.
func (k *kept) mirror() {
	k.Helper()
	for info, err := range k.store.List(k.Context(), "packs/") {
		if err != nil {
			k.Fatal(err)
		}
		write(k, k.copied, info.Key, read(k, k.store, info.Key))
	}
}

func (k *kept) patrol(change func(*Options)) *Patrol {
	k.Helper()
	o := Options{Index: k.index, Store: k.store, Copy: k.copied}
	if change != nil {
		change(&o)
	}
	p, err := New(k.Context(), o)
	if err != nil {
		k.Fatal(err)
	}
	return p
}

// pass verifies all packs; repair says whether to repair.
func (k *kept) pass(repair bool) []Problem {
	k.Helper()
	problems, err := k.patrol(func(o *Options) { o.Repair, o.AddOrphans = repair, repair }).Pass(k.Context(), "", nil)
	if err != nil {
		k.Fatal(err)
	}
	return problems
}

// wantSound checks that each instance that was received is served, byte for
// byte, from where the index says, but for those in without.
func (k *kept) wantSound(without ...string) {
	k.Helper()
	rows, err := k.index.Pool().Query(k.Context(), `
		SELECT i.sop_uid, k.key, i.pack_offset + i.dataset_offset, i.length - i.dataset_offset FROM instance i JOIN pack k ON k.id = i.pack_row WHERE k.retired_at IS NULL`)
	if err != nil {
		k.Fatal(err)
	}
	type place struct {
		SOP, Key       string
		Offset, Length int64
	}
	places, err := pgx.CollectRows(rows, pgx.RowToStructByPos[place])
	if err != nil {
		k.Fatal(err)
	}
	if len(places) != len(k.bytes) {
		k.Errorf("%d instances, %d were received", len(places), len(k.bytes))
	}
	all := map[string]bool{}
	for _, b := range k.bytes {
		all[string(b)] = true
	}
	for _, in := range places {
		if contains(without, in.SOP) {
			continue
		}
		body, err := k.store.Get(k.Context(), in.Key, in.Offset, in.Length)
		if err != nil {
			k.Errorf("%s: %v", in.SOP, err)
			continue
		}
		b, err := io.ReadAll(body)
		body.Close()
		if err != nil || !all[string(b)] {
			k.Errorf("%s is not served as it was received: %v", in.SOP, err)
		}
		delete(all, string(b))
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
