package queryretrieve

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// ct is a study of 250 slices of half a megabyte.
func ct() []image {
	var slices []image
	for n := range 250 {
		slices = append(slices, image{number: n + 1, pixels: 512 << 10})
	}
	return slices
}

// BenchmarkGet is a C-GET of a CT of 250 slices.
func BenchmarkGet(b *testing.B) {
	a := newArchive(b)
	a.receive(ct()...)
	c := a.getClient("WS1", dicom.ExplicitVRLittleEndian)
	nowhere := dimse.StoreHandlerFunc(func(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
		_, _ = io.Copy(io.Discard, rq.Data)
		return dimse.Status{}
	})
	b.SetBytes(250 * 512 << 10)
	for b.Loop() {
		r, err := c.Get(b.Context(), studyGet, identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), nowhere, nil)
		if err != nil || r.Completed != 250 {
			b.Fatalf("%+v, %v", r, err)
		}
	}
}

// BenchmarkMove is a C-MOVE of it, to a station that throws it away.
func BenchmarkMove(b *testing.B) {
	a := newArchive(b)
	a.receive(ct()...)
	s := &station{discard: true}
	s.listen(b)
	a.stations.set(directory{"WS2": {Address: s.address}})
	c := a.dial("WS1", nil, studyMove)
	b.SetBytes(250 * 512 << 10)
	for b.Loop() {
		r, err := c.Move(b.Context(), studyMove, "WS2", identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), nil)
		if err != nil || r.Completed != 250 {
			b.Fatalf("%+v, %v", r, err)
		}
	}
}

// BenchmarkFind is a C-FIND that finds 1,000 studies.
func BenchmarkFind(b *testing.B) {
	a := newArchive(b)
	var images []image
	for n := range 1000 {
		images = append(images, image{study: fmt.Sprintf("1.3.%d", n), patient: fmt.Sprintf("P%d", n), name: fmt.Sprintf("Каримов^Али^%d", n)})
	}
	a.receive(images...)
	c := a.dial("WS1", nil, studyFind)
	q := identifier("STUDY", dicom.TagStudyInstanceUID, "", dicom.TagPatientName, "", dicom.TagPatientID, "", dicom.TagStudyDate, "",
		dicom.TagModalitiesInStudy, "", dicom.TagNumberOfStudyRelatedInstances, "")
	for b.Loop() {
		n := 0
		status, err := c.Find(b.Context(), studyFind, q, func(*dicom.Dataset, bool) error { n++; return nil })
		if err != nil || !status.OK() || n != 1000 {
			b.Fatalf("%s, %v, %d", status, err, n)
		}
	}
}
