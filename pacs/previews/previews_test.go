package previews

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
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
	migrator, err := rivermigrate.New(riverpgxv5.New(ix.Pool()), nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	_, err = New(ctx, Options{Index: ix})
	return err
}

// site is an archive whose publisher enqueues previews; the tests run the jobs.
type site struct {
	*testing.T
	*Previews
	ix    *index.Index
	store storage.Store
	jobs  *river.Client[pgx.Tx]
	made  []error
}

func open(t *testing.T) *site {
	t.Helper()
	s := &site{T: t}
	var err error
	if s.ix, err = index.Open(t.Context(), indextest.New(t, migrate)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.ix.Close)
	if _, err := s.ix.Pool().Exec(t.Context(), `INSERT INTO facility (code, name) VALUES ('A', 'Hospital A'), ('B', 'Hospital B')`); err != nil {
		t.Fatal(err)
	}
	if s.store, err = file.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if s.jobs, err = river.NewClient(riverpgxv5.New(s.ix.Pool()), &river.Config{}); err != nil {
		t.Fatal(err)
	}
	s.Previews, err = New(t.Context(), Options{
		Index: s.ix, Store: s.store, Packs: &publish.Packs{Index: s.ix, Store: s.store}, Codecs: &pixel.Codecs{},
		Made: func(err error) { s.made = append(s.made, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// picture is an instance of columns by rows pixels that all have one value; gray
// in a window from 0 to 200.
type picture struct {
	study, series string
	number        int
	columns, rows int
	value         byte
	edit          func(*dicom.Dataset)
}

func (p picture) sop() string { return fmt.Sprint(p.series, ".", p.number) }

func (p picture) encoded(t *testing.T) []byte {
	t.Helper()
	ds := &dicom.Dataset{}
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.2")
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, p.sop())
	ds.SetString(dicom.TagModality, dicom.CS, "CT")
	ds.SetString(dicom.TagPatientID, dicom.LO, "P1")
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, p.study)
	ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, p.series)
	ds.SetInts(dicom.TagInstanceNumber, dicom.IS, p.number)
	ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
	ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, "MONOCHROME2")
	ds.SetInts(dicom.TagRows, dicom.US, p.rows)
	ds.SetInts(dicom.TagColumns, dicom.US, p.columns)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 8)
	ds.SetInts(dicom.TagBitsStored, dicom.US, 8)
	ds.SetInts(dicom.TagHighBit, dicom.US, 7)
	ds.SetInts(dicom.TagPixelRepresentation, dicom.US, 0)
	ds.SetString(dicom.TagWindowCenter, dicom.DS, "100")
	ds.SetString(dicom.TagWindowWidth, dicom.DS, "201")
	ds.SetBytes(dicom.TagPixelData, dicom.OB, bytes.Repeat([]byte{p.value}, p.columns*p.rows))
	if p.edit != nil {
		p.edit(ds)
	}
	b, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receive publishes pictures, with the jobs that follow.
func (s *site) receive(pictures ...picture) {
	s.Helper()
	j, err := journal.Open(journal.Options{Dir: filepath.Join(s.TempDir(), "journal"), MinFree: 1})
	if err != nil {
		s.Fatal(err)
	}
	defer j.Close()
	ctx, stop := context.WithCancel(s.Context())
	published, ended := make(chan int, 100), make(chan error, 1)
	publisher := publish.New(publish.Options{
		Journal: j, Index: s.ix, Store: s.store, Quiet: 20 * time.Millisecond,
		InTransaction: func(ctx context.Context, tx pgx.Tx, _ string, added index.Added) error {
			return Enqueue(ctx, s.jobs, tx, added.StudyID, added.Completions)
		},
		Observer: publish.Observer{Published: func(instances int, _ int64, _ time.Duration) { published <- instances }},
	})
	go func() { ended <- publisher.Run(ctx) }()
	for _, p := range pictures {
		_, err := j.Receive(ctx, pacs.Incoming{
			Data: bytes.NewReader(p.encoded(s.T)), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Channel: pacs.ChannelDIMSE, Facility: "A", Sender: "CT1",
		})
		if err != nil {
			s.Fatal(err)
		}
	}
	for n := 0; n < len(pictures); n += <-published {
	}
	stop()
	<-ended
}

// work runs the jobs that wait, and returns how many there were.
func (s *site) work() int {
	s.Helper()
	rows, err := s.ix.Pool().Query(s.Context(), `DELETE FROM river_job WHERE kind = 'make_previews' RETURNING (args->>'study')::bigint`)
	if err != nil {
		s.Fatal(err)
	}
	studies, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		s.Fatal(err)
	}
	for _, id := range studies {
		if err := s.Study(s.Context(), id); err != nil {
			s.Fatal(err)
		}
	}
	return len(studies)
}

func (s *site) complete(study string) int64 {
	s.Helper()
	var id int64
	err := s.ix.Pool().QueryRow(s.Context(), `UPDATE study SET completed_at = clock_timestamp(), completions = completions + 1 WHERE study_uid = $1 RETURNING id`, study).Scan(&id)
	if err != nil {
		s.Fatal(err)
	}
	err = pgx.BeginFunc(s.Context(), s.ix.Pool(), func(tx pgx.Tx) error { return EnqueueCompleted(s.Context(), s.jobs, tx, id) })
	if err != nil {
		s.Fatal(err)
	}
	return id
}

func (s *site) objects() (keys []string) {
	s.Helper()
	for o, err := range s.store.List(s.Context(), Prefix) {
		if err != nil {
			s.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// shown is the picture of a size that is kept; nil when there is none.
func (s *site) shown(study, series string, size int) (image.Image, string) {
	s.Helper()
	b, etag, err := s.Thumbnail(s.Context(), pacs.System("test"), study, series, size)
	if pacs.CodeOf(err) == pacs.NotFound {
		return nil, ""
	}
	if err != nil {
		s.Fatal(err)
	}
	im, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		s.Fatal(err)
	}
	return im, etag
}

// level is how bright the middle of a picture is, 0 to 255.
func level(im image.Image) int {
	b := im.Bounds()
	r, _, _, _ := im.At(b.Dx()/2, b.Dy()/2).RGBA()
	return int(r >> 8)
}

func about(got, want int) bool { return got > want-4 && got < want+4 }

func TestPreviewsOfAStudy(t *testing.T) {
	s := open(t)
	var ct []picture
	for n := range 5 {
		ct = append(ct, picture{study: "1.2", series: "1.2.1", number: n + 1, columns: 640, rows: 320, value: byte(20 * (n + 1))})
	}
	s.receive(append(ct, picture{study: "1.2", series: "1.2.2", number: 1, columns: 100, rows: 50, value: 200})...)
	if n := s.work(); n != 1 {
		t.Errorf("%d jobs for one study", n)
	}
	im, small := s.shown("1.2", "1.2.1", 160)
	if im == nil || im.Bounds().Size() != image.Pt(160, 80) || !about(level(im), 60*255/200) {
		t.Fatalf("the small picture of the middle: %v", im)
	}
	im, large := s.shown("1.2", "1.2.1", 512)
	if im == nil || im.Bounds().Size() != image.Pt(512, 256) || small == large {
		t.Errorf("the large one: %v, %s %s", im.Bounds(), small, large)
	}
	if im, _ := s.shown("1.2", "1.2.2", 512); im == nil || im.Bounds().Size() != image.Pt(100, 50) || !about(level(im), 255) {
		t.Errorf("of what is small: %v", im.Bounds())
	}
	for size, want := range map[int]bool{100: false, 159: false, 160: true, 256: true, 319: true, 320: false, 511: false, 512: true, 1024: true, 1025: false} {
		if im, _ := s.shown("1.2", "1.2.1", size); (im != nil) != want {
			t.Errorf("size %d: %v", size, im != nil)
		}
	}
	if n := len(s.objects()); n != 2 {
		t.Errorf("%d objects", n)
	}

	// Not for those who may not see the study.
	if _, _, err := s.Thumbnail(t.Context(), pacs.Scope{FacilityIDs: []int64{-1}}, "1.2", "1.2.1", 160); pacs.CodeOf(err) != pacs.NotFound {
		t.Errorf("out of scope: %v", err)
	}

	// One more changes nothing yet; once the study is complete the middle counts.
	s.receive(picture{study: "1.2", series: "1.2.1", number: 6, columns: 640, rows: 320, value: 160}, picture{study: "1.2", series: "1.2.1", number: 7, columns: 640, rows: 320, value: 160})
	s.work()
	if _, tag := s.shown("1.2", "1.2.1", 160); tag != small {
		t.Error("made anew for a little")
	}
	s.complete("1.2")
	s.work()
	im, tag := s.shown("1.2", "1.2.1", 160)
	if tag == small || !about(level(im), 80*255/200) {
		t.Errorf("the middle of the complete series: %d", level(im))
	}
	if made := len(s.made); made != 3 {
		t.Errorf("%d times pictures were made", made)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(s.objects()); n != 2 {
		t.Errorf("%d objects after the sweep", n)
	}
	if im, _ := s.shown("1.2", "1.2.1", 160); im == nil {
		t.Error("the sweep took what is needed")
	}
}

// A series that has grown to twice its size shows another middle while it still
// arrives.
func TestPreviewsOfAGrowingSeries(t *testing.T) {
	s := open(t)
	add := func(from, to int) {
		var all []picture
		for n := from; n <= to; n++ {
			all = append(all, picture{study: "1.2", series: "1.2.1", number: n, columns: 16, rows: 16, value: byte(20 * n)})
		}
		s.receive(all...)
		s.work()
	}
	add(1, 1)
	if im, _ := s.shown("1.2", "1.2.1", 160); !about(level(im), 20*255/200) {
		t.Errorf("the first: %d", level(im))
	}
	add(2, 5)
	if im, _ := s.shown("1.2", "1.2.1", 160); !about(level(im), 60*255/200) {
		t.Errorf("of five: %d", level(im))
	}
}

// Pictures go with what they show: at once from sight, with the next sweep from
// the store.
func TestPreviewsGoWithTheirPixels(t *testing.T) {
	s := open(t)
	s.receive(picture{study: "1.2", series: "1.2.1", number: 1, columns: 16, rows: 16}, picture{study: "1.3", series: "1.3.1", number: 1, columns: 16, rows: 16})
	s.work()
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := s.ix.Pool().Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.objects()) != 2 {
		t.Fatal(s.objects())
	}
	exec(`UPDATE series SET has_pixels = false WHERE series_uid = '1.2.1'`) // as index.DeletePixels does
	var id int64
	if err := s.ix.Pool().QueryRow(t.Context(), `SELECT id FROM study WHERE study_uid = '1.3'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if err := pgx.BeginFunc(t.Context(), s.ix.Pool(), func(tx pgx.Tx) error { return index.DeleteStudy(t.Context(), tx, id) }); err != nil {
		t.Fatal(err)
	}
	for _, study := range []string{"1.2", "1.3"} {
		if im, _ := s.shown(study, study+".1", 160); im != nil {
			t.Errorf("%s is still shown", study)
		}
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := s.objects(); len(left) != 0 {
		t.Errorf("left in the store: %s", left)
	}
	// A job that was under way when the pixels went leaves nothing behind.
	if err := s.note(t.Context(), id, due{series: 987654}, "x", place{key: Prefix + "aa/b/c.jpg"}, ""); err != nil {
		t.Fatal(err)
	}
	var garbage int
	if err := s.ix.Pool().QueryRow(t.Context(), `SELECT count(*) FROM preview_garbage`).Scan(&garbage); err != nil || garbage != 1 {
		t.Errorf("%d, %v", garbage, err)
	}
}

// What can't be shown is noted and not tried again and again, and keeps no other
// series from its pictures.
func TestPreviewsOfWhatCannotBeShown(t *testing.T) {
	s := open(t)
	s.receive(
		picture{study: "1.2", series: "1.2.1", number: 1, columns: 16, rows: 16, edit: func(ds *dicom.Dataset) { ds.SetInts(dicom.TagBitsAllocated, dicom.US, 7) }},
		picture{study: "1.2", series: "1.2.2", number: 1, columns: 16, rows: 16},
	)
	s.work()
	if im, _ := s.shown("1.2", "1.2.2", 160); im == nil {
		t.Error("the other series has none")
	}
	if im, _ := s.shown("1.2", "1.2.1", 160); im != nil {
		t.Error("a picture of pixels with 7 bits")
	}
	attempts := len(s.made)
	s.complete("1.2")
	s.work()
	if len(s.made) != attempts {
		t.Error("tried again")
	}
}

// A series without a row, as in an index that was rebuilt, is found; an object
// without one goes.
func TestPreviewsAfterARebuild(t *testing.T) {
	s := open(t)
	s.receive(picture{study: "1.2", series: "1.2.1", number: 1, columns: 16, rows: 16})
	s.work()
	old := s.objects()
	if _, err := s.ix.Pool().Exec(t.Context(), `DELETE FROM preview`); err != nil {
		t.Fatal(err)
	}
	if more, err := s.walk(t.Context(), s.jobs); more || err != nil {
		t.Fatal(more, err)
	}
	if n := s.work(); n != 1 {
		t.Fatalf("%d jobs", n)
	}
	if _, err := s.walk(t.Context(), s.jobs); err != nil {
		t.Fatal(err)
	}
	if n := s.work(); n != 0 {
		t.Errorf("walked in circles: %d jobs", n)
	}
	if im, _ := s.shown("1.2", "1.2.1", 160); im == nil {
		t.Error("no picture")
	}
	if err := s.Orphans(t.Context(), time.Hour); err != nil || len(s.objects()) != 2 {
		t.Errorf("young objects: %v, %s", err, s.objects())
	}
	if err := s.Orphans(t.Context(), -time.Hour); err != nil {
		t.Fatal(err)
	}
	if left := s.objects(); len(left) != 1 || left[0] == old[0] {
		t.Errorf("%s", left)
	}
}

// Only one frame is read of a long instance, and it is the one in the middle.
func TestPreviewOfMultiframe(t *testing.T) {
	s := open(t)
	const frames, side = 1000, 32
	p := picture{study: "1.2", series: "1.2.1", number: 1, columns: side, rows: side, edit: func(ds *dicom.Dataset) {
		ds.SetInts(dicom.TagNumberOfFrames, dicom.IS, frames)
		pixels := make([]byte, 0, frames*side*side)
		for n := range frames {
			pixels = append(pixels, bytes.Repeat([]byte{byte(n / 5)}, side*side)...)
		}
		ds.SetBytes(dicom.TagPixelData, dicom.OB, pixels)
	}}
	s.receive(p)
	counted := &countedPacks{Packs: s.o.Packs}
	s.o.Packs = counted
	s.work()
	im, _ := s.shown("1.2", "1.2.1", 160)
	if im == nil || !about(level(im), 99*255/200) {
		t.Fatalf("%v", im)
	}
	if counted.bytes > 8<<10 {
		t.Errorf("%d bytes were read", counted.bytes)
	}
	if !strings.HasPrefix(s.objects()[0], "previews/") {
		t.Error(s.objects())
	}
}

type countedPacks struct {
	Packs
	bytes int64
}

func (c *countedPacks) Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error) {
	c.bytes += length
	return c.Packs.Open(ctx, loc, offset, length)
}
