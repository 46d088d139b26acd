package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

// receiving is an archive into which tests send.
type receiving struct {
	*webtest.Archive
	store     *file.Store
	journal   *journal.Journal
	published chan int
}

func openReceiving(t *testing.T) *receiving {
	r := &receiving{published: make(chan int, 100)}
	dir := t.TempDir()
	var err error
	if r.store, err = file.Open(filepath.Join(dir, "store")); err != nil {
		t.Fatal(err)
	}
	if r.journal, err = journal.Open(journal.Options{Dir: filepath.Join(dir, "journal"), MinFree: 1}); err != nil {
		t.Fatal(err)
	}
	r.Archive = webtest.OpenArchive(t, nil, func(a *webtest.Archive, server *web.Server) {
		(&archive.API{Index: a.Index, Files: &publish.Packs{Index: a.Index, Store: r.store}}).Register(server.API())
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	publisher := publish.New(publish.Options{
		Journal: r.journal, Index: r.Index, Store: r.store, Quiet: time.Millisecond,
		Observer: publish.Observer{Published: func(n int, _ int64, _ time.Duration) { r.published <- n }},
	})
	go func() { ended <- publisher.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if err := r.journal.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// receive sends one instance to a facility and returns the file that is kept.
func (r *receiving) receive(facility, study string, number int, description string, more ...func(*dicom.Dataset)) []byte {
	r.Helper()
	sop := fmt.Sprintf("%s.1.%d", study, number)
	ds := &dicom.Dataset{}
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.2")
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, sop)
	ds.SetString(dicom.TagModality, dicom.CS, "CT")
	ds.SetString(dicom.TagSeriesDescription, dicom.LO, description)
	ds.SetString(dicom.TagPatientID, dicom.LO, "P1")
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, study)
	ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, study+".1")
	ds.SetString(dicom.TagInstanceNumber, dicom.IS, fmt.Sprint(number))
	for _, change := range more {
		change(ds)
	}
	b, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		r.Fatal(err)
	}
	in := pacs.Incoming{
		Data: bytes.NewReader(b), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, SOPClassUID: ds.String(dicom.TagSOPClassUID), SOPInstanceUID: sop,
		Channel: pacs.ChannelDIMSE, Facility: facility, Sender: "CT1",
	}
	if _, err := r.journal.Receive(r.Context(), in); err != nil {
		r.Fatal(err)
	}
	<-r.published
	meta := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: in.SOPClassUID, SOPInstanceUID: sop, TransferSyntaxUID: in.TransferSyntaxUID, SourceAETitle: "CT1"})
	return append(meta, b...)
}

// TestVersions: what came under one UID with other bytes is listed and given
// exactly as it came, before and after the packs are merged.
func TestVersions(t *testing.T) {
	r := openReceiving(t)
	var files [][]byte
	for _, description := range []string{"first", "second", "the third one"} {
		files = append(files, r.receive("A", "1.2.3", 7, description))
	}
	r.receive("A", "1.2.3", 8, "only once")
	r.receive("B", "4.5.6", 1, "elsewhere")
	boss, admin := r.Person("boss", pacs.Administrator), r.Person("admin-a", pacs.FacilityAdministrator, "A")
	check := func() {
		t.Helper()
		list := admin.Do("GET", "/api/admin/studies/1.2.3/versions", nil).Want(http.StatusOK)
		if list.Length("instances") != 1 || list.Field("instances.0.sop_uid") != "1.2.3.1.7" || list.Field("instances.0.series_uid") != "1.2.3.1" || list.Length("instances.0.versions") != 3 {
			t.Fatalf("%s", list.Body)
		}
		for i, want := range files {
			at := fmt.Sprintf("instances.0.versions.%d.", i)
			if list.Field(at+"version") != fmt.Sprint(i+1) || list.Field(at+"current") != fmt.Sprint(i == 2) || list.Field(at+"bytes") != fmt.Sprint(len(want)) ||
				list.Field(at+"sender") != "CT1" || list.Field(at+"channel") != "dimse" || len(list.Field(at+"sha256")) != 64 {
				t.Errorf("version %d: %s", i+1, list.Body)
			}
			got := admin.Do("GET", fmt.Sprintf("/api/admin/studies/1.2.3/instances/1.2.3.1.7/versions/%d", i+1), nil).Want(http.StatusOK)
			if !bytes.Equal(got.Body, want) {
				t.Errorf("version %d has %d bytes, want %d", i+1, len(got.Body), len(want))
			}
			if got.Header.Get("Content-Disposition") != fmt.Sprintf(`attachment; filename="1.2.3.1.7.v%d.dcm"`, i+1) {
				t.Errorf("%v", got.Header)
			}
		}
	}
	check()
	study, err := r.Index.Study(t.Context(), pacs.System("test"), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&publish.Merger{Index: r.Index, Store: r.store, Dir: t.TempDir()}).Study(t.Context(), study.ID); err != nil {
		t.Fatal(err)
	}
	packs, err := r.Index.PacksOf(t.Context(), pacs.System("test"), "1.2.3", "1.2.3.1")
	if err != nil || len(packs) != 1 || packs[0].Total != 4 || packs[0].Described != 2 {
		t.Fatalf("%+v, %v", packs, err)
	}
	check()

	if empty := boss.Do("GET", "/api/admin/studies/4.5.6/versions", nil).Want(http.StatusOK); empty.Length("instances") != 0 {
		t.Errorf("%s", empty.Body)
	}
	const file = "/api/admin/studies/1.2.3/instances/1.2.3.1.7/versions/"
	for _, path := range []string{
		"/api/admin/studies/9.9/versions", file + "4", file + "0", file + "x", file + "99999999999999999999", file + "-1",
		"/api/admin/studies/1.2.3/instances/9.9/versions/1", "/api/admin/studies/4.5.6/instances/1.2.3.1.7/versions/1", "/api/admin/studies/%00/versions",
	} {
		boss.Do("GET", path, nil).Problem(http.StatusNotFound, pacs.NotFound, "")
	}
	// Another facility's study is not there.
	for _, path := range []string{"/api/admin/studies/4.5.6/versions", "/api/admin/studies/4.5.6/instances/4.5.6.1.1/versions/1"} {
		admin.Do("GET", path, nil).Problem(http.StatusNotFound, pacs.NotFound, "")
	}
	for _, role := range []pacs.Role{pacs.Radiologist, pacs.Clinician, pacs.Technician} {
		c := r.Person(string(role), role, "A")
		c.Do("GET", "/api/admin/studies/1.2.3/versions", nil).Problem(http.StatusForbidden, pacs.Forbidden, "")
		c.Do("GET", file+"1", nil).Problem(http.StatusForbidden, pacs.Forbidden, "")
	}
	// Who has taken a file is on record.
	var n int
	if err := r.Index.Pool().QueryRow(t.Context(), `SELECT count(*) FROM audit_event WHERE action = 'version.download' AND object = 'instance:1.2.3.1.7:1' AND who = 'admin-a'`).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d records, %v", n, err)
	}
}

// TestVersionThatWasCompressed: the list says how it is kept and how it came,
// and what is given is what is kept.
func TestVersionThatWasCompressed(t *testing.T) {
	r := openReceiving(t)
	first := r.receive("A", "1.2.3", 7, "first")
	second := r.receive("A", "1.2.3", 7, "second", pictured)
	study, err := r.Index.Study(t.Context(), pacs.System("test"), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&publish.Merger{Index: r.Index, Store: r.store, Dir: t.TempDir(), Compressor: pixeltest.Compressor(t)}).Study(t.Context(), study.ID); err != nil {
		t.Fatal(err)
	}
	admin := r.Person("admin-a", pacs.FacilityAdministrator, "A")
	list := admin.Do("GET", "/api/admin/studies/1.2.3/versions", nil).Want(http.StatusOK)
	kept := admin.Do("GET", "/api/admin/studies/1.2.3/instances/1.2.3.1.7/versions/2", nil).Want(http.StatusOK).Body
	pixeltest.Check(t, "version 2", second, kept)
	for field, want := range map[string]string{
		"0.bytes": fmt.Sprint(len(first)), "0.transfer_syntax": dicom.ExplicitVRLittleEndian,
		"1.bytes": fmt.Sprint(len(kept)), "1.transfer_syntax": dicom.JPEGLSLossless,
		"1.received_as.bytes": fmt.Sprint(len(second)), "1.received_as.transfer_syntax": dicom.ExplicitVRLittleEndian,
	} {
		if got := list.Field("instances.0.versions." + field); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	if was := list.Field("instances.0.versions.1.received_as.sha256"); len(was) != 64 || was == list.Field("instances.0.versions.1.sha256") {
		t.Errorf("%s", list.Body)
	}
	if bytes.Contains(list.Body[:bytes.Index(list.Body, []byte(`"version":2`))], []byte("received_as")) {
		t.Errorf("the first version was not compressed: %s", list.Body)
	}
}

// pictured gives an instance an image.
func pictured(ds *dicom.Dataset) {
	for tag, n := range map[dicom.Tag]int{
		dicom.TagSamplesPerPixel: 1, dicom.TagRows: 64, dicom.TagColumns: 64, dicom.TagBitsAllocated: 16, dicom.TagBitsStored: 12,
		dicom.TagHighBit: 11, dicom.TagPixelRepresentation: 0,
	} {
		ds.SetInts(tag, dicom.US, n)
	}
	ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, "MONOCHROME2")
	ds.SetBytes(dicom.TagPixelData, dicom.OW, bytes.Repeat([]byte{1, 2}, 64*64))
}
