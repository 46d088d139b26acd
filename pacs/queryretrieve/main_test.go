package queryretrieve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func TestMain(m *testing.M) {
	if pixeltest.Serve() {
		return
	}
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.startBound.func1"))
}

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	ix.Close()
	return nil
}

// archive is journal, publisher, index and packs, with a DICOM server that
// answers what the provider does.
type archive struct {
	t        testing.TB
	index    *index.Index
	journal  *journal.Journal
	store    *file.Store
	provider *Provider
	stations *stations
	address  string
	received int
}

// callers are who may ask, by calling AE title. URGUT_WS sees its facility only.
func callers(ix *index.Index) func(info *dimse.AssociationInfo) Caller {
	return func(info *dimse.AssociationInfo) Caller {
		c := Caller{Scope: pacs.System("test"), Query: true, Retrieve: true}
		switch info.CallingAE {
		case "URGUT_WS":
			var id int64
			_ = ix.Pool().QueryRow(context.Background(), `SELECT id FROM facility WHERE code = 'URGUT'`).Scan(&id)
			c.Scope = pacs.Scope{Who: "ae:URGUT_WS", FacilityIDs: []int64{id}}
		case "ASCII_WS":
			c.AnswerCharset = "ISO_IR 6"
		case "CYRILLIC_WS":
			c.Charset = "windows-1251"
		case "NOBODY":
			c = Caller{}
		}
		return c
	}
}

func newArchive(t testing.TB, change ...func(*Provider)) *archive {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ix, err := index.Open(ctx, indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	store, err := file.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{Dir: filepath.Join(t.TempDir(), "journal"), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	publisher := publish.New(publish.Options{
		Journal: j, Index: ix, Store: store,
		InTransaction: func(context.Context, pgx.Tx, string, index.Added) error { return nil },
		Observer: publish.Observer{
			Held: func(err error) { t.Errorf("held back: %v", err) }, Failed: func(err error) { t.Errorf("not published: %v", err) },
		},
	})
	a := &archive{t: t, index: ix, journal: j, store: store, provider: &Provider{
		Index: ix, Files: &publish.Packs{Index: ix, Store: store}, AETitle: "TASVIR", Caller: callers(ix),
	}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.address = listener.Addr().String()
	var running sync.WaitGroup
	running.Go(func() { _ = publisher.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	a.stations = &stations{}
	a.provider.Destinations = a.stations
	for _, f := range change {
		f(a.provider)
	}
	server := &dimse.Server{Services: a.provider.Services(), DrainTimeout: time.Second}
	running.Go(func() {
		if err := server.Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	return a
}

// image is an instance to receive; zero fields have defaults.
type image struct {
	facility, patient, name, study, series string
	number                                 int
	modality, date                         string
	pixels                                 int // bytes
	syntax                                 string
	more                                   func(ds *dicom.Dataset)
}

func (i image) sop() string { return i.series + "." + strconv.Itoa(i.number) }

func (i image) withDefaults() image {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&i.facility, "URGUT")
	set(&i.patient, "P1")
	set(&i.name, "Каримов^Али")
	set(&i.study, "1.2.3")
	set(&i.series, i.study+".1")
	set(&i.modality, "CT")
	set(&i.date, "20260302")
	set(&i.syntax, dicom.ExplicitVRLittleEndian)
	if i.number == 0 {
		i.number = 1
	}
	return i
}

// encoded is the image's data set.
func (i image) encoded(t testing.TB) []byte {
	t.Helper()
	ds := new(dicom.Dataset)
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, dicom.CTImageStorage)
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, i.sop())
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, i.study).SetString(dicom.TagSeriesInstanceUID, dicom.UI, i.series)
	ds.SetString(dicom.TagPatientID, dicom.LO, i.patient).SetString(dicom.TagPatientName, dicom.PN, i.name)
	ds.SetString(dicom.TagPatientSex, dicom.CS, "M").SetString(dicom.TagPatientBirthDate, dicom.DA, "19700101")
	ds.SetString(dicom.TagStudyDate, dicom.DA, i.date).SetString(dicom.TagStudyTime, dicom.TM, "101530")
	ds.SetString(dicom.TagAccessionNumber, dicom.SH, "A-"+i.study).SetString(dicom.TagStudyID, dicom.SH, "7")
	ds.SetString(dicom.TagModality, dicom.CS, i.modality).SetString(dicom.TagSeriesNumber, dicom.IS, "4")
	ds.SetString(dicom.TagSeriesDescription, dicom.LO, "Axial").SetString(dicom.TagInstanceNumber, dicom.IS, strconv.Itoa(i.number))
	if i.pixels > 0 {
		rows := max(1, i.pixels/2/64)
		ds.SetInts(dicom.TagRows, dicom.US, rows).SetInts(dicom.TagColumns, dicom.US, 64).SetInts(dicom.TagBitsAllocated, dicom.US, 16)
		ds.SetInts(dicom.TagBitsStored, dicom.US, 16).SetInts(dicom.TagHighBit, dicom.US, 15).SetInts(dicom.TagPixelRepresentation, dicom.US, 0)
		ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1).SetString(dicom.TagPhotometricInterpretation, dicom.CS, "MONOCHROME2")
		pixels := make([]byte, rows*64*2)
		for n := range pixels {
			pixels[n] = byte(n*7 + i.number)
		}
		ds.SetBytes(dicom.TagPixelData, dicom.OW, pixels)
	}
	if i.more != nil {
		i.more(ds)
	}
	b, err := dicom.AppendDataset(nil, ds, i.syntax)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receive takes in images and waits until they are published.
func (a *archive) receive(images ...image) {
	a.t.Helper()
	for _, i := range images {
		i = i.withDefaults()
		a.take(i.facility, i.syntax, dicom.CTImageStorage, i.sop(), bytes.NewReader(i.encoded(a.t)))
	}
	a.settled()
}

func (a *archive) take(facility, syntax, class, sop string, data io.Reader) {
	a.t.Helper()
	receipt, err := a.journal.Receive(a.t.Context(), pacs.Incoming{
		Data: data, TransferSyntaxUID: syntax, SOPClassUID: class, SOPInstanceUID: sop,
		Channel: pacs.ChannelDIMSE, Facility: facility, Sender: "CT1",
	})
	if err != nil || receipt.Unfit != "" {
		a.t.Fatalf("%s: %v %s", sop, err, receipt.Problem)
	}
	a.received++
}

func (a *archive) settled() {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		totals := 0
		if err := a.index.Pool().QueryRow(a.t.Context(), `SELECT count(*) FROM instance`).Scan(&totals); err != nil {
			a.t.Fatal(err)
		}
		if totals >= a.received {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("%d of %d published", totals, a.received)
		}
	}
}

// dial associates for the services.
func (a *archive) dial(calling string, extended []byte, classes ...string) *dimse.Client {
	a.t.Helper()
	d := dimse.Dialer{CallingAE: calling, CalledAE: "TASVIR"}
	for i, class := range classes {
		d.Contexts = append(d.Contexts, dimse.ServiceContext(byte(2*i+1), class))
		if extended != nil {
			d.Extended = append(d.Extended, ul.ExtendedNegotiation{SOPClassUID: class, Info: extended})
		}
	}
	c, err := dimse.Dial(a.t.Context(), a.address, d)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(c.Close)
	return c
}

// identifier makes an identifier of keys: level, then tag and value in turn.
func identifier(level string, pairs ...any) *dicom.Dataset {
	ds := new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, level)
	for i := 0; i < len(pairs); i += 2 {
		tag := pairs[i].(dicom.Tag)
		switch v := pairs[i+1].(type) {
		case string:
			ds.SetString(tag, dicom.LookupVR(tag, false), v)
		case []string:
			ds.SetString(tag, dicom.LookupVR(tag, false), v...)
		case *dicom.Dataset:
			ds.SetSequence(tag, v)
		default:
			panic(fmt.Sprintf("%T", v))
		}
	}
	return ds
}
