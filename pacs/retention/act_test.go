package retention

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

const one = "1.2.826.0.1.3680043.10.79.1"

// pictures is a study with a series of two pictures, one of a deflated one, one
// whose pixel data are in fragments, and a document.
func pictures() []image {
	pixels := func(n byte) []byte { return bytes.Repeat([]byte{n, 1}, 1024) }
	return []image{
		{study: one, series: one + ".1", sop: one + ".1.1", modality: "CT", number: 1, pixels: pixels(1)},
		{study: one, series: one + ".1", sop: one + ".1.2", modality: "CT", number: 2, pixels: pixels(2), more: func(ds *dicom.Dataset) {
			ds.SetBytes(dicom.NewTag(0xFFFC, 0xFFFC), dicom.OB, make([]byte, 6)) // trailing padding
		}},
		{study: one, series: one + ".2", sop: one + ".2.1", modality: "CT", number: 1, pixels: pixels(3), syntax: dicom.DeflatedExplicitVRLittleEndian},
		{study: one, series: one + ".3", sop: one + ".3.1", modality: "CT", number: 1, pixels: pixels(4), syntax: dicom.ImplicitVRLittleEndian},
		{study: one, series: one + ".4", sop: one + ".4.1", modality: "CT", number: 1},
	}
}

func TestDeletePixels(t *testing.T) {
	s := openSite(t)
	s.receive(pictures()...)
	s.age(one, 400)
	before := s.instances(one)
	files := map[string][]byte{}
	for uid, i := range before {
		files[uid] = s.file(i)
	}
	was := s.study(one)
	s.enabled(Policy{Name: "Pictures go", Action: DeletePixels, Days: 365})
	s.pass()

	after := s.instances(one)
	if len(after) != len(before) {
		t.Fatalf("there are %d instances, there were %d", len(after), len(before))
	}
	var bytesLeft int64
	for uid, i := range after {
		bytesLeft += i.Location.Length
		file := s.file(i)
		if uid == one+".4.1" {
			if !bytes.Equal(file, files[uid]) || i.PixelsDeleted != nil || !bytes.Equal(i.SHA256, before[uid].SHA256) {
				t.Errorf("what has no pixel data has changed: %+v", i)
			}
			continue
		}
		if i.Location.PixelData != nil || i.FrameCount != 0 {
			t.Errorf("%s still has pixels: %+v", uid, i)
		}
		d := i.PixelsDeleted
		if d == nil || d.Policy != "Pictures go" || !d.At.Equal(noon) || d.SHA256 != hex.EncodeToString(before[uid].SHA256) {
			t.Errorf("%s says of its pixels %+v", uid, d)
		}
		h, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
		if err != nil {
			t.Fatalf("%s is no DICOM file: %v", uid, err)
		}
		if h.PixelData != nil || h.Dataset.String(dicom.TagSOPInstanceUID) != uid || h.Dataset.String(dicom.TagPatientName) != "Karimov^Ali" {
			t.Errorf("%s reads as %+v", uid, h.Dataset)
		}
		if !h.Deflated && !bytes.HasPrefix(files[uid], file) {
			t.Errorf("%s is not what was received up to the pixel data", uid)
		}
		if sum := sha256.Sum256(file[i.Location.DatasetOffset:]); !bytes.Equal(sum[:], i.SHA256) {
			t.Errorf("%s does not have its hash", uid)
		}
	}
	if now := s.study(one); now.Bytes != bytesLeft || now.InstanceCount != was.InstanceCount || now.SeriesCount != was.SeriesCount {
		t.Errorf("the study is %+v", now)
	}
	series, _, err := s.ix.Series(t.Context(), pacs.System("test"), pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{one}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range series {
		if e.HasPixels {
			t.Errorf("series %s is said to have pixels", e.SeriesInstanceUID)
		}
	}
	s.wantMetadata(one+".1", one+".1.1", one+".1.2")
	s.wantSoundPacks()
	s.wantAudited("retention.delete_pixels", "system:retention study:"+one)
	if got := s.query(`SELECT kind || ' ' || instances FROM change WHERE kind LIKE 'study.%deleted'`); !slices.Equal(got, []string{"study.pixels_deleted 4"}) {
		t.Errorf("the feed says %q", got)
	}
	runs, err := s.Runs(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Studies != 1 || runs[0].Failed != 0 || runs[0].Bytes != was.Bytes-bytesLeft || runs[0].FinishedAt.IsZero() {
		t.Errorf("the runs are %+v, %v", runs, err)
	}
	// The packs with the pixels are retired and still there, for who reads them.
	if n := len(s.query(`SELECT key FROM pack WHERE retired_at IS NOT NULL`)); n != 3 {
		t.Errorf("%d packs are retired, want 3", n)
	}

	// Nothing is left to do, also when the month of rest is over.
	s.age(one, 400)
	s.pass()
	if runs, _ := s.Runs(t.Context()); len(runs) != 1 {
		t.Errorf("there was something left to do: %+v", runs)
	}

	// The originals come back, as the instances they were.
	s.receive(pictures()[:3]...)
	restored := s.instances(one)
	for uid := range files {
		i := restored[uid]
		if strings.HasPrefix(uid, one+".3") || strings.HasPrefix(uid, one+".4") {
			continue
		}
		if i.PixelsDeleted != nil || i.Version != 1 || i.FrameCount != 1 || !bytes.Equal(s.file(i), files[uid]) {
			t.Errorf("%s was not restored: %+v", uid, i)
		}
	}
	if len(restored) != len(before) || restored[one+".3.1"].PixelsDeleted == nil {
		t.Errorf("the study has %d instances, one of them %+v", len(restored), restored[one+".3.1"])
	}
	if now := s.study(one); now.InstanceCount != was.InstanceCount || !now.CompletedAt.IsZero() {
		t.Errorf("the study is %+v", now)
	}
	if got := s.query(`SELECT kind FROM change WHERE kind = 'instance.superseded'`); len(got) != 0 {
		t.Errorf("the feed says %q", got)
	}
	s.wantMetadata(one+".1", one+".1.1", one+".1.2")
}

// wantMetadata fails the test unless the metadata of a series describe these
// instances, with pixel data exactly where there are some.
func (s *site) wantMetadata(series string, sops ...string) {
	s.Helper()
	m, err := s.packs.Metadata(s.Context(), pacs.System("test"), one, series)
	if err != nil {
		s.Fatal(err)
	}
	defer m.Body.Close()
	var got []string
	for _, object := range unzipJSON(s, m.Body) {
		var uid struct{ Value []string }
		if err := json.Unmarshal(object["00080018"], &uid); err != nil || len(uid.Value) != 1 {
			s.Fatalf("%v %v", uid, err)
		}
		got = append(got, uid.Value[0])
		if _, has := object["7FE00010"]; has != (s.instances(one)[uid.Value[0]].Location.PixelData != nil) {
			s.Errorf("the metadata of %s speak of pixel data: %v", uid.Value[0], has)
		}
	}
	if !slices.Equal(got, sops) {
		s.Errorf("the metadata describe %q, want %q", got, sops)
	}
}

// wantSoundPacks reads all packs in use as any ZIP tool would, and compares
// them with their manifests.
func (s *site) wantSoundPacks() {
	s.Helper()
	for _, key := range s.query(`SELECT key FROM pack WHERE retired_at IS NULL ORDER BY key`) {
		body, err := s.o.Store.Get(s.Context(), key, 0, -1)
		if err != nil {
			s.Fatal(err)
		}
		all, err := io.ReadAll(body)
		body.Close()
		if err != nil {
			s.Fatal(err)
		}
		z, err := zip.NewReader(bytes.NewReader(all), int64(len(all)))
		if err != nil {
			s.Fatal(err)
		}
		hashes := map[string]string{}
		var manifest publish.Manifest
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				s.Fatal(err)
			}
			content, err := io.ReadAll(r) // checks the CRC
			if err != nil {
				s.Fatalf("%s in %s: %v", f.Name, key, err)
			}
			if f.Name == "manifest.json.gz" {
				text, err := gzip.NewReader(bytes.NewReader(content))
				if err == nil {
					err = json.NewDecoder(text).Decode(&manifest)
				}
				if err != nil {
					s.Fatal(err)
				}
			}
			if sop, ok := strings.CutSuffix(f.Name, ".dcm"); ok {
				h, err := dicom.Scan(bytes.NewReader(content), dicom.ScanOptions{})
				if err != nil {
					s.Fatal(err)
				}
				sum := sha256.Sum256(content[h.DatasetOffset:])
				hashes[sop] = hex.EncodeToString(sum[:])
				if (h.PixelData == nil) != (s.instances(one)[sop].Location.PixelData == nil) {
					s.Errorf("%s in %s has pixel data, or has not", f.Name, key)
				}
			}
		}
		if len(manifest.Instances) != len(hashes) {
			s.Errorf("%s has %d instances and its manifest %d", key, len(hashes), len(manifest.Instances))
		}
		for _, e := range manifest.Instances {
			if hashes[e.SOPInstanceUID] != e.SHA256 {
				s.Errorf("%s in %s does not have the hash of the manifest", e.SOPInstanceUID, key)
			}
			if (e.PixelsDeleted == nil) != (s.instances(one)[e.SOPInstanceUID].PixelsDeleted == nil) {
				s.Errorf("the manifest of %s says of %s: %+v", key, e.SOPInstanceUID, e.PixelsDeleted)
			}
		}
	}
}

func TestDeleteAll(t *testing.T) {
	s := openSite(t)
	s.receive(pictures()...)
	s.age(one, 400)
	before := s.study(one)
	s.enabled(Policy{Name: "All goes", Action: DeleteAll, Days: 365})
	s.pass()

	// No read shows it, but what a report refers to by row.
	ctx, scope := t.Context(), pacs.System("test")
	wantGone := func(what string, n int, err error) {
		t.Helper()
		if err != nil && pacs.CodeOf(err) != pacs.NotFound || n != 0 {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	only := pacs.StudyFilter{StudyInstanceUIDs: []string{one}}
	_, err := s.ix.Study(ctx, scope, one)
	wantCode(t, err, pacs.NotFound, "")
	for what, f := range map[string]pacs.StudyFilter{
		"by UID": only, "all": {}, "by name": {PatientName: "Karimov*"}, "by text": {Text: "karimov"}, "by ID": {PatientID: "P1"},
		"by patient": {PatientRowID: before.Patient.ID}, "by arrival": {Sort: pacs.ByReceived}, "sorted by name": {Sort: pacs.ByName},
	} {
		studies, _, err := s.ix.Studies(ctx, scope, f)
		wantGone(what, len(studies), err)
	}
	series, _, err := s.ix.Series(ctx, scope, pacs.SeriesFilter{Study: only})
	wantGone("series", len(series), err)
	wantGone("instances", len(s.instances(one)), nil)
	packs, err := s.ix.PacksOf(ctx, scope, one, one+".1")
	wantGone("packs", len(packs), err)
	_, err = s.packs.Metadata(ctx, scope, one, one+".1")
	wantCode(t, err, pacs.NotFound, "")
	totals, err := s.ix.Totals(ctx, scope)
	wantGone("totals", int(totals.Studies), err)
	byID, err := s.ix.StudiesByID(ctx, scope, []int64{before.ID})
	if err != nil || byID[before.ID].StudyInstanceUID != one || byID[before.ID].Patient.Name != "Karimov^Ali" {
		t.Errorf("a report would find %+v, %v", byID, err)
	}
	// Its objects are swept when readers are gone, and not before.
	sweeper := &publish.Sweeper{Index: s.ix, Store: s.o.Store}
	if n, err := sweeper.Retired(ctx); n != 0 || err != nil {
		t.Errorf("%d were swept at once, %v", n, err)
	}
	s.exec(`UPDATE pack SET retired_at = retired_at - interval '2 hours' WHERE retired_at IS NOT NULL`)
	if n, err := sweeper.Retired(ctx); n != 4 || err != nil || len(keys(t, s.hot, "packs/")) != 0 {
		t.Errorf("%d were swept, %v; %q are left", n, err, keys(t, s.hot, "packs/"))
	}

	// Sent again, it is there again: the same row, as new.
	s.receive(pictures()...)
	now := s.study(one)
	if now.ID != before.ID || now.InstanceCount != before.InstanceCount || now.Bytes != before.Bytes || now.SeriesCount != 4 || !now.CompletedAt.IsZero() {
		t.Errorf("the study is %+v", now)
	}
	if now.ReceivedAt.Before(before.ReceivedAt) || noon.AddDate(0, 0, -399).After(now.ReceivedAt) {
		t.Errorf("it was received at %s", now.ReceivedAt)
	}
	for uid, i := range s.instances(one) {
		if i.Version != 1 || len(s.file(i)) == 0 {
			t.Errorf("%s is %+v", uid, i)
		}
	}
}

func TestMoveToCold(t *testing.T) {
	s := openSite(t)
	s.receive(pictures()...)
	s.age(one, 400)
	before := s.instances(one)
	files := map[string][]byte{}
	for uid, i := range before {
		files[uid] = s.file(i)
	}
	s.enabled(Policy{Name: "Cold", Action: MoveToCold, Days: 365})
	s.pass()
	wantServed := func() {
		t.Helper()
		for uid, i := range s.instances(one) {
			if !bytes.Equal(s.file(i), files[uid]) {
				t.Errorf("%s is served with other bytes", uid)
			}
		}
		s.wantMetadata(one+".1", one+".1.1", one+".1.2")
		s.wantSoundPacks()
	}
	for uid, i := range s.instances(one) {
		if !strings.HasPrefix(i.Location.PackKey, "cold/packs/") {
			t.Errorf("%s is in %s", uid, i.Location.PackKey)
		}
	}
	wantServed()
	if n := len(keys(t, s.cold, "cold/packs/")); n != 4 {
		t.Errorf("%d objects are in the cold store", n)
	}
	// Who has found the old place still reads there.
	for uid, i := range before {
		if !bytes.Equal(s.file(i), files[uid]) {
			t.Errorf("a reader of %s has fallen into a gap", uid)
		}
	}
	s.exec(`UPDATE pack SET retired_at = retired_at - interval '2 hours' WHERE retired_at IS NOT NULL`)
	if _, err := (&publish.Sweeper{Index: s.ix, Store: s.o.Store}).Retired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, s.hot, "packs/"); len(got) != 0 {
		t.Errorf("the hot store still has %q", got)
	}
	wantServed()
	s.wantAudited("retention.move_to_cold", "system:retention study:"+one)
	s.pass()
	if runs, err := s.Runs(t.Context()); err != nil || len(runs) != 1 || runs[0].Studies != 1 || runs[0].Bytes == 0 {
		t.Errorf("the runs are %+v, %v", runs, err)
	}

	// From there the pixel data can go, and stay cold.
	s.enabled(Policy{Name: "Pixels", Position: -1, Action: DeletePixels, Days: 365})
	s.pass()
	for uid, i := range s.instances(one) {
		if !strings.HasPrefix(i.Location.PackKey, "cold/packs/") || i.Location.PixelData != nil {
			t.Errorf("%s is in %s", uid, i.Location.PackKey)
		}
	}
	s.wantSoundPacks()
}

// Whatever call to the store fails or is the last before the process dies: the
// study is as it was, or all is done, and the next pass does what is left.
func TestEveryStepCanFail(t *testing.T) {
	for _, action := range []Action{DeletePixels, MoveToCold} {
		store := &failing{}
		s := openSite(t, func(o *Options) { store.Store = o.Store; o.Store = store })
		s.receive(pictures()...)
		s.age(one, 400)
		before := s.instances(one)
		s.enabled(Policy{Action: action, Days: 365})
		steps := 0
		for ; ; steps++ {
			store.after(steps)
			s.pass()
			if !store.failed() {
				break
			}
			for uid, i := range s.instances(one) {
				if i.Location.PackKey != before[uid].Location.PackKey || len(s.file(i)) == 0 {
					t.Fatalf("%s: step %d has changed %s", action, steps, uid)
				}
			}
		}
		s.wantSoundPacks()
		if steps < 8 {
			t.Errorf("%s: only %d steps", action, steps)
		}
		for uid, i := range s.instances(one) {
			if action == MoveToCold && !strings.HasPrefix(i.Location.PackKey, "cold/") || action == DeletePixels && i.Location.PixelData != nil {
				t.Errorf("%s: %s is in %s", action, uid, i.Location.PackKey)
			}
		}
		s.wantAudited("retention."+string(action), "system:retention study:"+one)
		// What the attempts have left is swept.
		s.exec(`UPDATE pack SET retired_at = now() - interval '2 hours' WHERE retired_at IS NOT NULL`)
		if _, err := (&publish.Sweeper{Index: s.ix, Store: store.Store}).Retired(t.Context()); err != nil {
			t.Fatal(err)
		}
		used := s.query(`SELECT key FROM pack WHERE retired_at IS NULL ORDER BY key`)
		if got := slices.Concat(keys(t, store.Store, "cold/packs/"), keys(t, store.Store, "packs/")); !slices.Equal(got, used) {
			t.Errorf("%s: the store has %q, used are %q", action, got, used)
		}
		s.wantSoundPacks()
	}
}

// failing is a store whose nth call to come fails, and those behind it.
type failing struct {
	storage.Store
	mu         sync.Mutex
	left, down int
	armed      bool
}

func (f *failing) after(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.left, f.down = true, n, 0
}

// failed says whether a call has failed, and mends the store.
func (f *failing) failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	return f.down > 0
}

func (f *failing) step() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed {
		return nil
	}
	if f.left--; f.left >= 0 {
		return nil
	}
	f.down++
	return errors.New("the store is down")
}

func (f *failing) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	if strings.HasPrefix(key, "deleted/") {
		return f.Store.Put(ctx, key, size, body) // TestAnIndexThatIsRebuilt is about this one
	}
	if err := f.step(); err != nil {
		return err
	}
	return f.Store.Put(ctx, key, size, body)
}

func (f *failing) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if strings.HasPrefix(key, "deleted/") {
		return f.Store.Get(ctx, key, offset, length)
	}
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.Store.Get(ctx, key, offset, length)
}

// Touching is called in the transaction, before the rows change; its error keeps
// them as they are.
func TestTouching(t *testing.T) {
	for _, action := range []Action{DeleteAll, DeletePixels, MoveToCold} {
		t.Run(string(action), func(t *testing.T) {
			var calls []string
			refuse := true
			s := openSite(t, func(o *Options) {
				o.Touching = func(ctx context.Context, tx pgx.Tx, studyID int64, action Action) error {
					var instances int
					if err := tx.QueryRow(ctx, `SELECT count(*) FROM instance WHERE study_row = $1 AND pixels_deleted IS NULL`, studyID).Scan(&instances); err != nil {
						return err
					}
					calls = append(calls, fmt.Sprint(action, " ", instances))
					if refuse {
						return errors.New("not now")
					}
					return nil
				}
			})
			s.receive(pictures()...)
			s.age(one, 400)
			s.enabled(Policy{Name: "Age", Action: action, Days: 365})
			before := s.instances(one)
			s.pass()
			if after := s.instances(one); len(after) != len(before) || after[one+".1.1"].Location.PackKey != before[one+".1.1"].Location.PackKey {
				t.Errorf("it was refused, and %d of %d instances are left, in %s", len(after), len(before), after[one+".1.1"].Location.PackKey)
			}
			refuse = false
			s.pass()
			if want := fmt.Sprint(action, " ", len(before)); !slices.Equal(calls, []string{want, want}) {
				t.Errorf("called %q, want twice %q", calls, want)
			}
		})
	}
}
