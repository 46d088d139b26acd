package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
)

func TestPublish(t *testing.T) {
	a := newArchive(t)
	images := []image{{number: 3}, {number: 1}, {number: 2}}
	a.receive(images...)
	a.start()
	a.settled(3)
	a.checkPacks()
	got := a.instances(pacs.InstanceFilter{})
	if len(got) != 3 || len(a.keys()) != 1 {
		t.Fatalf("%d instances in %d packs, want 3 in 1", len(got), len(a.keys()))
	}
	for i, in := range got {
		want := image{number: i + 1}
		if *in.Number != i+1 || in.Version != 1 || in.Rows != 64 || in.Columns != 64 || in.FrameCount != 1 {
			t.Errorf("instance %d: %+v", i, in)
		}
		if !bytes.Equal(a.read(in), want.encoded(t)) {
			t.Errorf("instance %d is not what was sent", i+1)
		}
		body, err := a.packs.Open(t.Context(), in.Location, in.Location.PixelData.Offset, in.Location.PixelData.FrameLength)
		if err != nil {
			t.Fatal(err)
		}
		var frame bytes.Buffer
		if _, err := frame.ReadFrom(body); err != nil || !bytes.Equal(frame.Bytes(), bytes.Repeat([]byte{byte(i + 1), 1}, 64*64)) {
			t.Errorf("frame of instance %d: %d bytes, %v", i+1, frame.Len(), err)
		}
		_ = body.Close()
	}
	study, err := a.index.Study(t.Context(), pacs.System("test"), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if study.InstanceCount != 3 || study.SeriesCount != 1 || study.Patient.Issuer != "TMA" || study.Patient.PatientID != "P1" || study.Date != "20260302" || study.Time != "101530.5" {
		t.Errorf("%+v", study)
	}
	if st := a.journal.Stats(); st.Records != 0 || st.Bytes != 0 {
		t.Errorf("left in the journal: %+v", st)
	}
}

func TestDuplicates(t *testing.T) {
	a := newArchive(t)
	a.start()
	a.receive(image{number: 1}, image{number: 1}) // twice at once
	a.settled(2)
	a.receive(image{number: 1}) // and later
	a.settled(3)
	a.wantCount(1, `SELECT count(*) FROM instance`)
	a.wantCount(1, `SELECT count(*) FROM pack`)
	a.wantCount(1, `SELECT instance_count FROM study`)
	if n := len(a.keys()); n != 1 {
		t.Errorf("%d packs stored", n)
	}
}

// TestOtherBytesUnderTheSameUID: the new ones are shown, the old ones kept.
func TestOtherBytesUnderTheSameUID(t *testing.T) {
	corrected := func(number int) image {
		return image{number: number, more: func(ds *dicom.Dataset) { ds.SetString(dicom.TagSeriesDescription, dicom.LO, "corrected") }}
	}
	check := func(a *archive) {
		t.Helper()
		current := a.instances(pacs.InstanceFilter{})
		if len(current) != 1 || current[0].Version != 2 || !bytes.Equal(a.read(current[0]), corrected(1).encoded(t)) {
			t.Fatalf("%+v", current)
		}
		old := pacs.Instance{}
		a.row(`SELECT k.key, i.pack_offset, i.length, i.dataset_offset FROM instance i JOIN pack k ON k.id = i.pack_row WHERE version = 1 AND NOT current`,
			nil, &old.Location.PackKey, &old.Location.Offset, &old.Location.Length, &old.Location.DatasetOffset)
		if !bytes.Equal(a.read(old), image{number: 1}.encoded(t)) {
			t.Error("the first version is not what was sent")
		}
		a.wantCount(1, `SELECT instance_count FROM study`)
		a.wantCount(1, `SELECT instance_count FROM series`)
	}
	t.Run("later", func(t *testing.T) {
		a := newArchive(t)
		a.start()
		a.receive(image{number: 1})
		a.settled(1)
		a.receive(corrected(1))
		a.settled(2)
		check(a)
	})
	t.Run("at once", func(t *testing.T) {
		a := newArchive(t)
		a.receive(image{number: 1}, corrected(1))
		a.start()
		a.settled(2)
		check(a)
	})
	t.Run("under another series", func(t *testing.T) {
		a := newArchive(t)
		a.start()
		a.receive(image{number: 1}, image{number: 2})
		a.settled(2)
		a.receive(image{number: 1, series: "1.2.3.9", sop: "1.2.3.1.1"})
		a.settled(3)
		a.wantCount(1, `SELECT instance_count FROM series WHERE series_uid = '1.2.3.1'`)
		a.wantCount(1, `SELECT instance_count FROM series WHERE series_uid = '1.2.3.9'`)
		a.wantCount(2, `SELECT instance_count FROM study`)
	})
}

// TestContradictions: an instance whose study belongs to another patient or
// facility is held, whether the index knows the study or the two arrive
// together; the others of its series are published.
func TestContradictions(t *testing.T) {
	for _, c := range []struct {
		name   string
		wrong  image
		issuer string
	}{
		{"another patient", image{number: 2, patient: "P2"}, "TMA"},
		{"another issuer", image{number: 2, issuer: "SAM"}, "SAM"},
		{"another facility", image{number: 2, facility: "SAM", issuer: "TMA"}, "TMA"},
	} {
		for _, together := range []bool{true, false} {
			if together && c.wrong.facility != "" {
				continue // which of two groups comes first is open
			}
			t.Run(fmt.Sprintf("%s, together=%v", c.name, together), func(t *testing.T) {
				a := newArchive(t)
				a.receive(image{number: 1})
				if !together {
					a.start()
					a.settled(1)
				}
				a.receive(c.wrong, image{number: 3})
				if together {
					a.start()
				}
				a.settled(3)
				if len(a.held) != 1 || !errors.Is(a.held[0], index.ErrContradiction) || len(a.failures) > 0 {
					t.Fatalf("held %v, failures %v", a.held, a.failures)
				}
				var numbers []int
				for _, in := range a.instances(pacs.InstanceFilter{}) {
					numbers = append(numbers, *in.Number)
				}
				if diff := cmp.Diff([]int{1, 3}, numbers); diff != "" {
					t.Error(diff)
				}
				a.wantCount(1, `SELECT count(*) FROM patient`)
				if st := a.journal.Stats(); st.Held != 1 || st.Records != 0 {
					t.Errorf("%+v", st)
				}
				// It is offered again with the next start, when somebody has put
				// the study right. What was published stays published.
				a.close()
				again := openArchive(t, a.url, a.dir)
				if _, err := again.index.Pool().Exec(t.Context(), `
					INSERT INTO facility (code, name) VALUES ('SAM', 'Samarkand');
					UPDATE patient SET patient_id = '`+c.wrong.withDefaults().patient+`', issuer = '`+c.issuer+`',
						facility_row = (SELECT id FROM facility WHERE code = '`+c.wrong.withDefaults().facility+`');
					UPDATE study SET facility_row = (SELECT id FROM facility WHERE code = '`+c.wrong.withDefaults().facility+`')`); err != nil {
					t.Fatal(err)
				}
				again.start()
				again.settled(3)
				again.wantCount(1, `SELECT count(*) FROM instance WHERE number = 2`)
				again.wantCount(3, `SELECT count(*) FROM instance`)
			})
		}
	}
}

// TestHostileText: what PostgreSQL can't hold or index must not keep an
// instance from being published.
func TestHostileText(t *testing.T) {
	texts := []dicom.Tag{
		dicom.TagPatientName, dicom.TagPatientID, dicom.TagIssuerOfPatientID, dicom.TagAccessionNumber, dicom.TagStudyID, dicom.TagStudyDate,
		dicom.TagStudyTime, dicom.TagStudyDescription, dicom.TagReferringPhysicianName, dicom.TagModality, dicom.TagSeriesDescription,
		dicom.TagBodyPartExamined, dicom.TagInstitutionName, dicom.TagProtocolName, dicom.TagReasonForTheRequestedProcedure,
	}
	long := string(bytes.Repeat([]byte("long"), 10_000))
	a := newArchive(t)
	hostile := func(number int, more func(*dicom.Dataset)) {
		a.receive(image{study: fmt.Sprintf("1.2.%d", number), number: number, more: more})
	}
	hostile(1, func(ds *dicom.Dataset) {
		for _, tag := range texts {
			ds.SetBytes(tag, dicom.LO, []byte("a\x00b\xff\xfe'; DROP TABLE study; --\\u0000 "))
		}
		ds.SetBytes(dicom.TagSpecificCharacterSet, dicom.CS, []byte("ISO_IR 192"))
	})
	hostile(2, func(ds *dicom.Dataset) {
		for _, tag := range texts {
			ds.SetBytes(tag, dicom.LO, []byte(long))
		}
	})
	hostile(3, func(ds *dicom.Dataset) {
		ds.SetBytes(dicom.TagRows, dicom.UL, []byte{0xFF, 0xFF, 0xFF, 0xFF})
		ds.SetBytes(dicom.TagColumns, dicom.SL, []byte{0, 0, 0, 0x80})
		ds.SetBytes(dicom.TagInstanceNumber, dicom.LO, []byte("99999999999999999999"))
		ds.SetBytes(dicom.TagNumberOfFrames, dicom.LO, []byte("-7"))
		ds.SetBytes(dicom.TagSeriesNumber, dicom.LO, []byte("many"))
	})
	hostile(4, func(ds *dicom.Dataset) {
		item := &dicom.Dataset{}
		item.SetString(dicom.TagPatientID, dicom.LO, long)
		ds.SetSequence(dicom.TagOtherPatientIDsSequence, item, item, item, item, item, item)
	})
	a.start()
	a.settled(4)
	if len(a.held) > 0 || len(a.failures) > 0 {
		t.Fatalf("held %v, failures %v", a.held, a.failures)
	}
	a.wantCount(4, `SELECT count(*) FROM instance`)
	for _, in := range a.instances(pacs.InstanceFilter{}) {
		if _, err := a.packs.Metadata(t.Context(), pacs.System("test"), in.StudyInstanceUID, in.SeriesInstanceUID); err != nil {
			t.Error(err)
		}
	}
	// Patients whose IDs are too long and begin alike stay apart.
	a.receive(image{study: "1.2.9", number: 9, more: func(ds *dicom.Dataset) { ds.SetBytes(dicom.TagPatientID, dicom.LO, []byte(long+"2")) }},
		image{study: "1.2.10", number: 10, more: func(ds *dicom.Dataset) { ds.SetBytes(dicom.TagPatientID, dicom.LO, []byte(long+"3")) }})
	a.settled(6)
	a.wantCount(2, `SELECT count(DISTINCT patient_row) FROM study WHERE study_uid IN ('1.2.9', '1.2.10')`)
}

// TestEachStepFailsOnce: whatever fails is repeated, with the same key and
// without anything twice.
func TestEachStepFailsOnce(t *testing.T) {
	broken := errors.New("broken on purpose")
	for _, c := range []struct {
		name  string
		fault func(*archive)
	}{
		{"before the object is stored", func(a *archive) { a.store.set(once(broken), nil) }},
		{"the answer of the store is lost", func(a *archive) { a.store.set(nil, once(broken)) }},
		{"between Put and the commit", func(a *archive) {
			var failed atomic.Bool
			a.options.InTransaction = func(context.Context, pgx.Tx, string, index.Added) error {
				if !failed.Swap(true) {
					return broken
				}
				return nil
			}
		}},
		{"the database connection breaks in the transaction", func(a *archive) {
			var failed atomic.Bool
			a.options.InTransaction = func(ctx context.Context, tx pgx.Tx, _ string, _ index.Added) error {
				if failed.Swap(true) {
					return nil
				}
				_, err := tx.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
				return err
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newArchive(t)
			c.fault(a)
			a.receive(image{number: 1}, image{number: 2})
			a.start()
			a.settled(2)
			if len(a.failures) != 1 || len(a.held) != 0 {
				t.Errorf("failures %v, held %v", a.failures, a.held)
			}
			a.wantCount(2, `SELECT count(*) FROM instance`)
			a.wantCount(2, `SELECT instance_count FROM study`)
			a.wantCount(1, `SELECT count(*) FROM pack`)
			if n := len(a.keys()); n != 1 {
				t.Errorf("%d objects, want 1: %v", n, a.keys())
			}
			a.checkPacks()
		})
	}
}

// TestKilledBeforeDrop publishes what a process that was killed had published
// already but not dropped.
func TestKilledBeforeDrop(t *testing.T) {
	a := newArchive(t)
	a.receive(image{number: 1}, image{number: 2}, image{number: 1, more: func(ds *dicom.Dataset) { ds.SetString(dicom.TagStudyID, dicom.SH, "2") }})
	second := t.TempDir()
	if err := os.CopyFS(filepath.Join(second, "journal"), os.DirFS(filepath.Join(a.dir, "journal"))); err != nil {
		t.Fatal(err)
	}
	a.start()
	a.settled(3)
	a.close()
	if err := os.Rename(filepath.Join(a.dir, "store"), filepath.Join(second, "store")); err != nil {
		t.Fatal(err)
	}
	again := openArchive(t, a.url, second)
	before := again.keys()
	again.start()
	again.settled(3)
	again.wantCount(3, `SELECT count(*) FROM instance`)
	again.wantCount(2, `SELECT count(*) FROM instance WHERE current`)
	again.wantCount(2, `SELECT instance_count FROM study`)
	if diff := cmp.Diff(before, again.keys()); diff != "" {
		t.Error(diff)
	}
}

// TestSameKeyAfterARestart: a process killed between Put and the commit leaves
// an object that its successor overwrites.
func TestSameKeyAfterARestart(t *testing.T) {
	a := newArchive(t)
	killed, kill := context.WithCancel(t.Context())
	a.options.InTransaction = func(ctx context.Context, _ pgx.Tx, _ string, _ index.Added) error {
		kill()
		<-ctx.Done() // never commits
		return ctx.Err()
	}
	a.receive(image{number: 1}, image{number: 2})
	a.start()
	<-killed.Done()
	a.close()
	again := openArchive(t, a.url, a.dir)
	again.wantCount(0, `SELECT count(*) FROM instance`)
	before := again.keys()
	again.start()
	again.settled(2)
	again.wantCount(2, `SELECT count(*) FROM instance`)
	if diff := cmp.Diff(before, again.keys()); diff != "" || len(before) != 1 {
		t.Errorf("objects before and after: %s", diff)
	}
}

// TestBadRecordAmongOthers: the journal's disk has changed one record, after it
// was acknowledged; it is held and the others are published.
func TestBadRecordAmongOthers(t *testing.T) {
	for what, bad := range map[string][]byte{
		"pixels": bytes.Repeat([]byte{5, 1}, 64), // of the fifth
		"header": []byte("1.2.3.1.5\x00"),
	} {
		t.Run(what, func(t *testing.T) {
			a := newArchive(t)
			for n := range 7 {
				a.receive(image{number: n + 1})
			}
			names, err := filepath.Glob(filepath.Join(a.dir, "journal", "*.segment"))
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			f, err := os.OpenFile(names[0], os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			content, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte{'7'}, int64(bytes.Index(content, bad)+4)); err != nil {
				t.Fatal(err)
			}
			a.start()
			a.settled(7)
			if len(a.held) != 1 || !errors.Is(a.held[0], journal.ErrDamaged) || len(a.failures) != 0 {
				t.Fatalf("held %v, failures %v", a.held, a.failures)
			}
			a.wantCount(6, `SELECT count(*) FROM instance`)
			a.wantCount(0, `SELECT count(*) FROM instance WHERE number = 5`)
			a.checkPacks()
		})
	}
}

// TestRefusedByTheDatabase: what is held for its values does not keep others.
func TestRefusedByTheDatabase(t *testing.T) {
	a := newArchive(t)
	if _, err := a.index.Pool().Exec(t.Context(), `ALTER TABLE instance ADD CHECK (number <> 3)`); err != nil {
		t.Fatal(err)
	}
	a.receive(image{number: 1}, image{number: 2}, image{number: 3}, image{number: 4}, image{number: 5})
	a.start()
	a.settled(5)
	if len(a.held) != 1 || !errors.Is(a.held[0], index.ErrUnfit) || len(a.failures) != 0 {
		t.Errorf("held %v, failures %v", a.held, a.failures)
	}
	a.wantCount(4, `SELECT count(*) FROM instance`)
	a.wantCount(4, `SELECT instance_count FROM study`)
}

// TestHeavyHeaders: packs of instances with huge headers are made smaller, so
// that describing them does not take a thousand times their size.
func TestHeavyHeaders(t *testing.T) {
	const elements = 150_000 // 1.2 MB, some 4 MB as JSON
	a := newArchive(t)
	for n := range 10 {
		in := image{number: n + 1, pixels: -1}.withDefaults()
		data := in.encoded(t)
		for range elements {
			data = append(data, 0x29, 0, 0x10, 0x10, 'L', 'O', 0, 0)
		}
		for i := range elements { // tags must differ to be shown
			copy(data[len(data)-8*(elements-i):], []byte{byte(0x31 + i>>16<<1), 0, byte(i), byte(i >> 8)})
		}
		if _, err := a.journal.Receive(t.Context(), pacs.Incoming{
			Data: bytes.NewReader(data), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, SOPClassUID: ctImageStorage,
			SOPInstanceUID: in.sop, Channel: pacs.ChannelDIMSE, Facility: "TMA",
		}); err != nil {
			t.Fatal(err)
		}
	}
	a.start()
	a.settled(10)
	if len(a.held) != 0 || len(a.failures) != 0 {
		t.Errorf("held %v, failures %v", a.held, a.failures)
	}
	a.wantCount(10, `SELECT count(*) FROM instance`)
	if n := len(a.keys()); n < 2 || n > 5 {
		t.Errorf("%d packs, want few but not one", n)
	}
}

// TestStoreDown: the object store is away while images arrive.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	down := errors.New("connection refused")
	a.store.set(func(string) error { return down }, nil)
	a.start()
	for n := range 60 {
		a.receive(image{number: n + 1, study: fmt.Sprintf("1.2.%d", n%3)})
	}
	a.until("several attempts have failed", func() bool { return len(a.failures) >= 3 })
	if st := a.journal.Stats(); st.Records != 60 || st.Oldest.IsZero() {
		t.Errorf("%+v", st)
	}
	a.wantCount(0, `SELECT count(*) FROM instance`)
	a.store.set(nil, nil)
	a.settled(60)
	a.wantCount(60, `SELECT count(*) FROM instance WHERE current AND version = 1`)
	if len(a.held) != 0 {
		t.Errorf("held %v", a.held)
	}
	a.checkPacks()
}

// TestDatabaseDown stops PostgreSQL while images arrive.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "tasvir-down-") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	begin := func() *cluster.Cluster {
		c, err := cluster.Start(t.Context(), cluster.Options{Dir: filepath.Join(dir, "pg"), Unsafe: true, Log: slog.New(slog.DiscardHandler)})
		if pacs.CodeOf(err) == pacs.Unavailable && os.Getenv("TASVIR_TEST_REQUIRE") != "1" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := begin()
	defer func() { _ = c.Stop(context.Background()) }()
	a := openArchive(t, c.URL(cluster.Database), t.TempDir())
	defer a.close()
	a.start()
	for n := range 90 {
		if n == 30 {
			if err := c.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		a.receive(image{number: n + 1, study: fmt.Sprintf("1.2.%d", n%5)})
	}
	a.until("a failure is seen", func() bool { return len(a.failures) > 0 })
	for _, err := range a.failures {
		if pacs.CodeOf(err) != pacs.Unavailable {
			t.Errorf("%v", err)
		}
	}
	c = begin()
	a.settled(90)
	a.wantCount(90, `SELECT count(*) FROM instance WHERE current AND version = 1`)
	if len(a.held) != 0 {
		t.Errorf("held %v", a.held)
	}
}

// TestUnreachableDatabaseHoldsNothing: a connection that times out must look
// like an outage, not like bad content.
func TestUnreachableDatabaseHoldsNothing(t *testing.T) {
	a := newArchive(t)
	var failed atomic.Bool
	a.options.InTransaction = func(context.Context, pgx.Tx, string, index.Added) error {
		if failed.Swap(true) {
			return nil
		}
		return context.DeadlineExceeded
	}
	a.receive(image{number: 1})
	a.start()
	a.settled(1)
	if len(a.held) != 0 || a.published != 1 {
		t.Errorf("published %d, held %v", a.published, a.held)
	}
}

// TestManyStudiesAtOnce publishes with several workers.
func TestManyStudiesAtOnce(t *testing.T) {
	a := newArchive(t, func(o *Options) { o.Workers = 4; o.PackSize = 64 << 10 })
	a.start()
	const studies, each = 20, 12
	for n := range each {
		for s := range studies {
			a.receive(image{study: fmt.Sprintf("1.2.%d", s+1), patient: fmt.Sprint("P", s%5), number: n + 1})
		}
	}
	a.settled(studies * each)
	if len(a.failures) != 0 || len(a.held) != 0 {
		t.Errorf("failures %v, held %v", a.failures, a.held)
	}
	a.wantCount(studies*each, `SELECT count(*) FROM instance`)
	a.wantCount(studies, `SELECT count(*) FROM study WHERE instance_count = $1`, each)
	a.wantCount(5, `SELECT count(*) FROM patient`)
	for _, in := range a.instances(pacs.InstanceFilter{}) {
		want := image{study: in.StudyInstanceUID, number: *in.Number}
		want.patient = "P" + fmt.Sprint((mustAtoi(in.StudyInstanceUID[4:])-1)%5)
		if !bytes.Equal(a.read(in), want.encoded(t)) {
			t.Fatalf("%s is not what was sent", in.SOPInstanceUID)
		}
	}
}

func mustAtoi(s string) (n int) {
	if _, err := fmt.Sscan(s, &n); err != nil {
		panic(err)
	}
	return n
}
