package retention

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/file"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

func TestMain(m *testing.M) {
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.startBound.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).watchCtx"))
}

var cheap = access.Settings{Password: access.Argon2{MemoryKiB: 64, Passes: 1, Lanes: 1}}

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	defer ix.Close()
	if _, err := access.Open(ctx, ix, cheap); err != nil {
		return err
	}
	_, err = Open(ctx, Options{Index: ix})
	return err
}

// site is an archive with the hospitals A and B, at noon of 21 November 2026.
type site struct {
	testing.TB
	*Retention
	ix        *index.Index
	hot, cold storage.Store
	admin     *access.Identity
	passes    int
	studies   int
	busyWith  map[int64]bool
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func openSite(t testing.TB, change ...func(*Options)) *site {
	t.Helper()
	s := &site{TB: t, admin: access.System("admin"), busyWith: map[int64]bool{}}
	var err error
	if s.ix, err = index.Open(t.Context(), indextest.New(t, migrate)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.ix.Close)
	people, err := access.Open(t.Context(), s.ix, cheap)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"A", "B"} {
		if _, err := people.AddFacility(t.Context(), s.admin, pacs.Facility{Code: code, Name: "Hospital " + code}); err != nil {
			t.Fatal(err)
		}
	}
	s.hot, s.cold = folder(t), folder(t)
	o := Options{Index: s.ix, Store: tiered.New(s.hot, s.cold), Cold: true, Busy: func(_ context.Context, _ pgx.Tx, ids []int64, _ bool) (map[int64]bool, error) {
		return s.busyWith, nil
	}}
	for _, f := range change {
		f(&o)
	}
	if s.Retention, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return noon }
	return s
}

func folder(t testing.TB) storage.Store {
	t.Helper()
	s, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) exec(sql string, args ...any) {
	s.Helper()
	if _, err := s.pool.Exec(s.Context(), sql, args...); err != nil {
		s.Fatal(err)
	}
}

// query collects the first column as text.
func (s *site) query(sql string, args ...any) []string {
	s.Helper()
	rows, err := s.pool.Query(s.Context(), sql, args...)
	if err != nil {
		s.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.Fatal(err)
	}
	return list
}

// row is a study in the index whose packs are not in storage.
type row struct {
	facility   string
	date       string
	received   int // days ago
	changed    int // days ago; 0: as received
	modalities []string
	incomplete bool
}

func (s *site) add(r row) pacs.Study {
	s.Helper()
	s.studies++
	uid := fmt.Sprintf("1.2.826.0.1.3680043.10.78.%d", s.studies)
	received := noon.AddDate(0, 0, -r.received)
	for n, modality := range r.modalities {
		series := fmt.Sprintf("%s.%d", uid, n+1)
		sum := sha256.Sum256([]byte(series))
		a := index.Addition{
			Facility: r.facility,
			Patient:  pacs.Patient{Issuer: r.facility, PatientID: fmt.Sprintf("P%d", s.studies), Name: "Каримов^Али"},
			Study:    pacs.Study{StudyInstanceUID: uid, Date: r.date, ReceivedAt: received},
			Series:   pacs.Series{SeriesInstanceUID: series, Modality: modality},
			Pack:     index.Pack{Key: "packs/" + uid + "/" + series + "/p.zip", Bytes: 1100},
			Instances: []index.NewInstance{{Instance: pacs.Instance{
				SOPInstanceUID: series + ".1", SOPClassUID: "1.2.840.10008.5.1.4.1.1.2", TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
				FrameCount: 1, SHA256: sum[:], Version: 1, ReceivedAt: received, Location: pacs.Location{Length: 1000},
			}, Channel: "dimse"}},
		}
		if err := s.ix.Add(s.Context(), a, nil); err != nil {
			s.Fatal(err)
		}
	}
	changed := r.changed
	if changed == 0 {
		changed = r.received
	}
	s.exec(`UPDATE study SET received_at = $2, updated_at = $3, completed_at = CASE WHEN $4 THEN NULL ELSE $3::timestamptz END WHERE study_uid = $1`,
		uid, received, noon.AddDate(0, 0, -changed), r.incomplete)
	return s.study(uid)
}

func (s *site) study(uid string) pacs.Study {
	s.Helper()
	study, err := s.ix.Study(s.Context(), pacs.System("test"), uid)
	if err != nil {
		s.Fatal(err)
	}
	return study
}

// age makes a study look as if it had been received so many days ago.
func (s *site) age(uid string, days int) {
	s.Helper()
	s.exec(`UPDATE study SET received_at = $2, updated_at = $2, completed_at = $2, study_date = to_char($2::timestamptz, 'YYYYMMDD') WHERE study_uid = $1`, uid, noon.AddDate(0, 0, -days))
}

func (s *site) policy(p Policy) Policy {
	s.Helper()
	if p.Name == "" {
		p.Name = "Policy"
	}
	if p.Position == 0 {
		p.Position = Unplaced
	}
	added, err := s.AddPolicy(s.Context(), s.admin, p)
	if err != nil {
		s.Fatal(err)
	}
	return added
}

func (s *site) preview(p Policy) Preview {
	s.Helper()
	preview, err := s.Preview(s.Context(), s.admin, p.ID)
	if err != nil {
		s.Fatal(err)
	}
	return preview
}

// enabled adds a policy and enables it.
func (s *site) enabled(p Policy) Policy {
	s.Helper()
	p = s.policy(p)
	s.preview(p)
	p.Enabled = true
	p, err := s.ChangePolicy(s.Context(), s.admin, p)
	if err != nil {
		s.Fatal(err)
	}
	if !p.Enabled {
		s.Fatal("the policy is not enabled")
	}
	return p
}

func (s *site) pass() {
	s.Helper()
	s.passes++
	if err := s.Pass(s.Context(), fmt.Sprint("pass ", s.passes), s.now().Add(time.Hour)); err != nil {
		s.Fatal(err)
	}
}

// deleted are the UIDs of the studies that are tombstones.
func (s *site) deleted() []string {
	s.Helper()
	return s.query(`SELECT study_uid FROM study WHERE deleted_at IS NOT NULL ORDER BY id`)
}

// audited is who did an action to what, in order.
func (s *site) audited(action string) []string {
	s.Helper()
	return s.query(`SELECT who || ' ' || object FROM audit_event WHERE action = $1 ORDER BY id`, action)
}

func (s *site) wantAudited(action string, want ...string) {
	s.Helper()
	if got := s.audited(action); !slices.Equal(got, want) {
		s.Errorf("the audit trail has %q of %s, want %q", got, action, want)
	}
}

func wantCode(t testing.TB, err error, code pacs.Code, reason string) {
	t.Helper()
	got, _ := pacs.ReasonOf(err)
	if pacs.CodeOf(err) != code || got != reason {
		t.Errorf("got %q %q (%v), want %q %q", pacs.CodeOf(err), got, err, code, reason)
	}
}

// image is an instance to receive.
type image struct {
	study, series, sop string
	modality           string
	number             int
	pixels             []byte // nil: none
	syntax             string
	more               func(*dicom.Dataset)
}

func (i image) encoded(t testing.TB) []byte {
	t.Helper()
	ds := &dicom.Dataset{}
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.2")
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, i.sop)
	ds.SetString(dicom.TagStudyDate, dicom.DA, "20200302")
	ds.SetString(dicom.TagModality, dicom.CS, i.modality)
	ds.SetString(dicom.TagPatientName, dicom.PN, "Karimov^Ali")
	ds.SetString(dicom.TagPatientID, dicom.LO, "P1")
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, i.study)
	ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, i.series)
	ds.SetString(dicom.TagInstanceNumber, dicom.IS, fmt.Sprint(i.number))
	if i.pixels != nil {
		ds.SetInts(dicom.TagRows, dicom.US, 32)
		ds.SetInts(dicom.TagColumns, dicom.US, len(i.pixels)/64)
		ds.SetInts(dicom.TagBitsAllocated, dicom.US, 16)
		ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
		ds.SetBytes(dicom.TagPixelData, dicom.OW, i.pixels)
	}
	if i.more != nil {
		i.more(ds)
	}
	syntax := i.syntax
	if syntax == "" {
		syntax = dicom.ExplicitVRLittleEndian
	}
	deflated := syntax == dicom.DeflatedExplicitVRLittleEndian
	if deflated {
		syntax = dicom.ExplicitVRLittleEndian
	}
	b, err := dicom.AppendDataset(nil, ds, syntax)
	if err != nil {
		t.Fatal(err)
	}
	if deflated {
		var out bytes.Buffer
		z, _ := flate.NewWriter(&out, flate.DefaultCompression)
		_, _ = z.Write(b) // to memory
		_ = z.Close()
		b = out.Bytes()
	}
	return b
}

// receive takes images through journal and publisher into storage and index.
func (s *site) receive(images ...image) {
	s.Helper()
	var in []pacs.Incoming
	for _, i := range images {
		syntax := i.syntax
		if syntax == "" {
			syntax = dicom.ExplicitVRLittleEndian
		}
		in = append(in, pacs.Incoming{Data: bytes.NewReader(i.encoded(s)), TransferSyntaxUID: syntax, Channel: pacs.ChannelDIMSE, Facility: "A", Sender: "CT1"})
	}
	s.receiveAll(in...)
}

func (s *site) receiveAll(in ...pacs.Incoming) {
	s.Helper()
	j, err := journal.Open(journal.Options{Dir: filepath.Join(s.TempDir(), "journal"), MinFree: 1})
	if err != nil {
		s.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			s.Error(err)
		}
	}()
	for _, one := range in {
		if _, err := j.Receive(s.Context(), one); err != nil {
			s.Fatal(err)
		}
	}
	done := make(chan int, len(in)+1)
	p := publish.New(publish.Options{
		Journal: j, Index: s.ix, Store: s.o.Store, Quiet: 5 * time.Millisecond, Patience: 20 * time.Millisecond,
		Observer: publish.Observer{
			Published: func(n int, _ int64, _ time.Duration) { done <- n },
			Held:      func(err error) { s.Error(err); done <- 1 },
			Failed:    func(err error) { s.Error(err) },
		},
	})
	ctx, stop := context.WithCancel(s.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Run(ctx) }()
	for n := 0; n < len(in); {
		select {
		case k := <-done:
			n += k
		case <-time.After(time.Minute):
			s.Fatal("publishing takes too long")
		}
	}
	stop()
	<-ended
}

func (s *site) instances(study string) map[string]pacs.Instance {
	s.Helper()
	f := pacs.InstanceFilter{}
	f.Series.Study.StudyInstanceUIDs = []string{study}
	list, _, err := s.ix.Instances(s.Context(), pacs.System("test"), f)
	if err != nil {
		s.Fatal(err)
	}
	byUID := map[string]pacs.Instance{}
	for _, i := range list {
		byUID[i.SOPInstanceUID] = i
	}
	return byUID
}

// file is an instance's PS3.10 file as it is served.
func (s *site) file(i pacs.Instance) []byte {
	s.Helper()
	body, err := s.packs.Open(s.Context(), i.Location, 0, -1)
	if err != nil {
		s.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		s.Fatal(err)
	}
	return b
}

// keys are the objects of a store under a prefix.
func keys(t testing.TB, store storage.Store, prefix string) (list []string) {
	t.Helper()
	for info, err := range store.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, info.Key)
	}
	return list
}

func unzipJSON(t testing.TB, body io.Reader) (objects []map[string]json.RawMessage) {
	t.Helper()
	z, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&objects); err != nil {
		t.Fatal(err)
	}
	return objects
}
