package publish

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
	"github.com/tasvir-pacs/tasvir/storage/s3"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
)

// wantJSON is the metadata of images as dicom.AppendJSON writes it.
func wantJSON(t testing.TB, images ...image) string {
	t.Helper()
	all := []byte{'['}
	for i, want := range images {
		if i > 0 {
			all = append(all, ',')
		}
		meta := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: want.withDefaults().sop, TransferSyntaxUID: dicom.ExplicitVRLittleEndian, SourceAETitle: "CT1"})
		h, err := dicom.Scan(bytes.NewReader(append(meta, want.encoded(t)...)), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all = dicom.AppendJSON(all, h.Dataset, dicom.JSONOptions{BulkURI: bulkURI(h, nil)})
	}
	return string(append(all, ']'))
}

func (a *archive) metadata(study, series string) (text, tag string) {
	a.t.Helper()
	m, err := a.packs.Metadata(a.t.Context(), pacs.System("test"), study, series)
	if err != nil {
		a.t.Fatal(err)
	}
	defer m.Body.Close()
	packed, err := io.ReadAll(m.Body)
	if err != nil || int64(len(packed)) != m.Length {
		a.t.Fatalf("%d bytes, announced %d: %v", len(packed), m.Length, err)
	}
	text, err = gunzip(packed)
	if err != nil {
		a.t.Fatal(err)
	}
	return text, m.ETag
}

func gunzip(packed []byte) (string, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", err
	}
	unzip.Multistream(false) // browsers read one member
	b, err := io.ReadAll(unzip)
	return string(b), err
}

func TestMetadata(t *testing.T) {
	a := newArchive(t)
	a.start()
	check := func(images ...image) (tag string) {
		t.Helper()
		got, tag := a.metadata("1.2.3", "1.2.3.1")
		if diff := cmp.Diff(wantJSON(t, images...), got); diff != "" {
			t.Error(diff)
		}
		if _, again := a.metadata("1.2.3", "1.2.3.1"); again != tag {
			t.Error("the tag changes by itself")
		}
		return tag
	}
	a.receive(image{number: 10}, image{number: 2})
	a.settled(2)
	tags := []string{check(image{number: 2}, image{number: 10})}
	// A second pack, whose instances belong between and around the first's.
	a.receive(image{number: 11}, image{number: 1}, image{number: 5})
	a.settled(5)
	tags = append(tags, check(image{number: 1}, image{number: 2}, image{number: 5}, image{number: 10}, image{number: 11}))
	// A third replaces one.
	corrected := image{number: 5, more: func(ds *dicom.Dataset) { ds.SetString(dicom.TagSeriesDescription, dicom.LO, "Қайта") }}
	a.receive(corrected)
	a.settled(6)
	tags = append(tags, check(image{number: 1}, image{number: 2}, corrected, image{number: 10}, image{number: 11}))
	if tags[0] == tags[1] || tags[1] == tags[2] {
		t.Errorf("the tag did not change with the series: %v", tags)
	}
	// Another series of the study is not in it.
	a.receive(image{number: 7, series: "1.2.3.2"})
	a.settled(7)
	if tag := check(image{number: 1}, image{number: 2}, corrected, image{number: 10}, image{number: 11}); tag != tags[2] {
		t.Error("the tag changes with another series")
	}
}

// TestMetadataOfManyPacks: a series that came slowly.
func TestMetadataOfManyPacks(t *testing.T) {
	const packs = 30
	a := newArchive(t)
	a.start()
	var all []image
	for n := range packs {
		all = append(all, image{number: n + 1})
	}
	for n := range packs { // the other way round
		a.receive(all[packs-1-n])
		a.settled(n + 1)
	}
	if n := len(a.keys()); n != packs {
		t.Fatalf("%d packs, want %d", n, packs)
	}
	got, _ := a.metadata("1.2.3", "1.2.3.1")
	if diff := cmp.Diff(wantJSON(t, all...), got); diff != "" {
		t.Error(diff)
	}
}

// TestMetadataWithOddAttributes: instance numbers that are none, and UIDs with
// the VR of a number, must not keep a joined series from being shown.
func TestMetadataWithOddAttributes(t *testing.T) {
	odd := []image{
		{sop: "1.5", number: 1, more: func(ds *dicom.Dataset) { ds.SetBytes(dicom.TagInstanceNumber, dicom.LO, []byte("first ")) }},
		{sop: "1.6", number: 2, more: func(ds *dicom.Dataset) {
			ds.SetBytes(dicom.TagInstanceNumber, dicom.IS, []byte("999999999999999999999999"))
		}},
		{sop: "17", number: 3, more: func(ds *dicom.Dataset) { ds.SetBytes(dicom.TagSOPInstanceUID, dicom.IS, []byte("17")) }},
		{sop: "1.8", number: 4, more: func(ds *dicom.Dataset) { ds.Delete(dicom.TagInstanceNumber) }},
		{sop: "1.9", number: 5, more: func(ds *dicom.Dataset) { ds.SetBytes(dicom.TagInstanceNumber, dicom.OB, []byte{1, 2}) }},
		{sop: "1.10", number: 6, more: func(ds *dicom.Dataset) { ds.SetSequence(dicom.TagInstanceNumber, &dicom.Dataset{}) }},
	}
	a := newArchive(t)
	a.start()
	for i, in := range odd { // a pack each
		in.series = "1.2.3.1"
		a.receive(in)
		a.settled(i + 1)
	}
	text, _ := a.metadata("1.2.3", "1.2.3.1")
	var objects []map[string]any
	if err := json.Unmarshal([]byte(text), &objects); err != nil || len(objects) != len(odd) {
		t.Errorf("%d of %d instances, %v", len(objects), len(odd), err)
	}
	if len(a.held) != 0 {
		t.Error(a.held)
	}
}

func TestMetadataErrors(t *testing.T) {
	a := newArchive(t)
	a.start()
	a.receive(image{number: 1})
	a.settled(1)
	for _, c := range []struct {
		name   string
		scope  pacs.Scope
		study  string
		series string
	}{
		{"no such study", pacs.System("test"), "1.9", "1.2.3.1"},
		{"no such series", pacs.System("test"), "1.2.3", "1.9"},
		{"a series of another study", pacs.System("test"), "1.2", "1.2.3.1"},
		{"out of scope", pacs.Scope{FacilityIDs: []int64{1 << 40}}, "1.2.3", "1.2.3.1"},
		{"no scope", pacs.Scope{}, "1.2.3", "1.2.3.1"},
	} {
		if _, err := a.packs.Metadata(t.Context(), c.scope, c.study, c.series); pacs.CodeOf(err) != pacs.NotFound {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// The object is gone: an outage of the store, not an empty series.
	for _, key := range a.keys() {
		if err := a.store.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.packs.Metadata(t.Context(), pacs.System("test"), "1.2.3", "1.2.3.1"); pacs.CodeOf(err) != pacs.Unavailable {
		t.Error(err)
	}
	if _, err := a.packs.Open(t.Context(), a.instances(pacs.InstanceFilter{})[0].Location, 0, -1); pacs.CodeOf(err) != pacs.Unavailable {
		t.Error(err)
	}
}

func TestOpenRanges(t *testing.T) {
	a := newArchive(t)
	a.start()
	a.receive(image{number: 1}, image{number: 2}, image{number: 3})
	a.settled(3)
	loc := a.instances(pacs.InstanceFilter{})[1].Location // with a neighbour on either side
	body, err := a.packs.Open(t.Context(), loc, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(body)
	_ = body.Close()
	if err != nil || int64(len(whole)) != loc.Length || string(whole[128:132]) != "DICM" {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	n := loc.Length
	for _, c := range []struct {
		offset, length int64
		ok             bool
	}{
		{0, n, true},
		{0, 0, true},
		{n, 0, true},
		{n, -1, true},
		{n - 1, 1, true},
		{10, 20, true},
		{10, -1, true},
		{0, n + 1, false},
		{n, 1, false},
		{n + 1, 0, false},
		{n + 1, -1, false},
		{-1, 1, false},
		{-1, -1, false},
		{1, 1<<63 - 1, false},
		{1<<63 - 1, 1, false},
	} {
		body, err := a.packs.Open(t.Context(), loc, c.offset, c.length)
		if !c.ok {
			if pacs.CodeOf(err) != pacs.Invalid {
				t.Errorf("%d bytes from %d: %v", c.length, c.offset, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d bytes from %d: %v", c.length, c.offset, err)
			continue
		}
		got, err := io.ReadAll(body)
		_ = body.Close()
		end := c.offset + c.length
		if c.length < 0 {
			end = n
		}
		if err != nil || !bytes.Equal(got, whole[c.offset:end]) {
			t.Errorf("%d bytes from %d: got %d, %v", c.length, c.offset, len(got), err)
		}
	}
}

// TestPackTellsAll: manifest and metadata in a pack are enough to rebuild its
// rows.
func TestPackTellsAll(t *testing.T) {
	a := newArchive(t)
	a.start()
	a.receive(image{number: 1}, image{number: 2})
	a.settled(2)
	r, err := zip.OpenReader(filepath.Join(a.dir, "store", a.keys()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{"1.2.3.1.1.dcm", "1.2.3.1.2.dcm", "metadata.json.gz", "manifest.json.gz"}, names); diff != "" {
		t.Fatal(diff)
	}
	packed, err := r.Open("manifest.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	text, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	var m Manifest
	if err := json.NewDecoder(text).Decode(&m); err != nil {
		t.Fatal(err)
	}
	want := Manifest{Format: 1, Facility: "TMA", Study: "1.2.3", Series: "1.2.3.1"}
	for _, i := range a.instances(pacs.InstanceFilter{}) {
		want.Instances = append(want.Instances, ManifestEntry{
			SOPInstanceUID: i.SOPInstanceUID, Version: 1, SHA256: hex.EncodeToString(i.SHA256), Sender: "CT1", Channel: "dimse", Charset: dicom.FallbackCyrillic, ReceivedAt: m.Instances[len(want.Instances)].ReceivedAt,
		})
		if i.ReceivedAt.Sub(m.Instances[len(want.Instances)-1].ReceivedAt).Abs().Microseconds() > 1 { // what PostgreSQL keeps
			t.Errorf("%v is %v in the manifest", i.ReceivedAt, m.Instances[len(want.Instances)-1].ReceivedAt)
		}
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	in, err := r.Open("metadata.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	unzip, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(unzip)
	if diff := cmp.Diff(wantJSON(t, image{number: 1}, image{number: 2}), string(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestPublishToMinIO publishes a study of the phantom to a real object store,
// through an outage of it.
func TestPublishToMinIO(t *testing.T) {
	t.Parallel()
	server := miniotest.Start(t)
	store, err := s3.Open(t.Context(), server.Config("tasvir-publish"))
	if err != nil {
		t.Fatal(err)
	}
	a := newArchive(t)
	a.store.Store = store
	var sent [][]byte
	send := func(seed, n int) {
		study := phantom.Small(phantom.HeadCT, n)
		study.Seed = uint64(seed)
		for in, err := range study.Instances() {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.journal.Receive(t.Context(), pacs.Incoming{
				Data: bytes.NewReader(in.Dataset()), TransferSyntaxUID: in.TransferSyntaxUID, SOPClassUID: in.SOPClassUID,
				SOPInstanceUID: in.SOPInstanceUID, Channel: pacs.ChannelDIMSE, Facility: "TMA",
			}); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, in.Dataset())
		}
	}
	a.start()
	send(1, 20)
	a.settled(20)
	server.Stop()
	send(2, 10)
	a.until("a failure is seen", func() bool { return len(a.failures) > 0 })
	server.Restart()
	a.settled(30)
	if len(a.held) > 0 {
		t.Error(a.held)
	}
	kept := map[string]bool{}
	for _, in := range a.instances(pacs.InstanceFilter{}) {
		kept[string(a.read(in))] = true
	}
	for i, dataset := range sent {
		if !kept[string(dataset)] {
			t.Errorf("instance %d is not kept as it was sent", i)
		}
	}
}

// TestGigabyteInstance: memory must not grow with the instance.
func TestGigabyteInstance(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 1 GiB twice")
	}
	const pixels, frames = 1 << 30, 2048
	head := image{number: 1, pixels: -1, more: func(ds *dicom.Dataset) {
		ds.SetInts(dicom.TagRows, dicom.US, 512)
		ds.SetInts(dicom.TagColumns, dicom.US, 512)
		ds.SetInts(dicom.TagBitsAllocated, dicom.US, 16)
		ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
		ds.SetString(dicom.TagNumberOfFrames, dicom.IS, fmt.Sprint(frames))
	}}.encoded(t)
	head = append(head, 0xE0, 0x7F, 0x10, 0, 'O', 'W', 0, 0, 0, 0, 0, 0x40) // Pixel Data of 1 GiB
	a := newArchive(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := a.journal.Receive(t.Context(), pacs.Incoming{
		Data: io.MultiReader(bytes.NewReader(head), io.LimitReader(ramp{}, pixels)), TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
		SOPClassUID: ctImageStorage, SOPInstanceUID: "1.2.3.1.1", Channel: pacs.ChannelDIMSE, Facility: "TMA",
	}); err != nil {
		t.Fatal(err)
	}
	a.start()
	a.settled(1)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
		t.Errorf("1 GiB took %d MiB of memory", grown>>20)
	}
	in := a.instances(pacs.InstanceFilter{})[0]
	if in.FrameCount != frames || in.Location.PixelData.FrameLength != 512*512*2 {
		t.Errorf("%d frames of %d bytes", in.FrameCount, in.Location.PixelData.FrameLength)
	}
}

// ramp gives bytes that count.
type ramp struct{}

func (ramp) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}
