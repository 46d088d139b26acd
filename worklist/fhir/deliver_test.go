package fhir_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/fhir/sandboxtest"
)

const namespace = "https://tasvir.example.uz/fhir/sid"

var tashkent = time.FixedZone("+05", 5*60*60)

func sample() *fhir.Report {
	return &fhir.Report{
		ID:       "5f0c1f9e-8a3b-4c62-9d0e-7a1b2c3d4e5f",
		Version:  1,
		Kind:     fhir.Final,
		Language: "uz",
		Sections: fhir.Sections{
			Indication: "Toʻsatdan boshlangan bosh ogʻrigʻi",
			Technique:  "Bosh miya KT, kontrastsiz.",
			Findings:   "Qon quyilishi belgilari yoʻq.\n\nOʻrta chiziq siljimagan; oʻlcham 5 < 7 mm & normal.",
			Impression: "Patologiya aniqlanmadi.",
		},
		SignedAt:    time.Date(2026, 11, 21, 14, 5, 6, 0, tashkent),
		Radiologist: fhir.Radiologist{Name: fhir.PersonName{Family: "Karimova", Given: "Nilufar", Patronymic: "Rustamovna"}, PINFL: "30101800000011", ArgosID: "DEMO-0001"},
		Patient: fhir.Patient{
			Name:      fhir.PersonName{Family: "Ғуломов", Given: "Ўктам", Patronymic: "Ҳасанович"},
			DICOMName: "Ғуломов^Ўктам^Ҳасанович",
			IDs:       []fhir.PatientID{{Issuer: "URGUT", Value: "A-12345"}},
			PINFL:     "31203680000044",
			Sex:       "M",
			BirthDate: "1968-03-12",
		},
		Facility: fhir.Facility{Code: "URGUT", Name: "Urgut tuman shifoxonasi", TaxID: "300000002"},
		Study: fhir.Study{
			UID: "1.2.826.0.1.3680043.10.1.1", Accession: "ACC-77", Description: "KT bosh miya",
			Started: time.Date(2026, 11, 21, 13, 30, 0, 0, tashkent), Modalities: []string{"CT"},
			Series: []fhir.Series{{
				UID: "1.2.826.0.1.3680043.10.1.1.1", Number: 2, Modality: "CT", Description: "Bosh 1.0", BodyPart: "HEAD", InstanceCount: 2,
				Instances: []fhir.Instance{
					{UID: "1.2.826.0.1.3680043.10.1.1.1.1", SOPClass: "1.2.840.10008.5.1.4.1.1.2", Number: 1},
					{UID: "1.2.826.0.1.3680043.10.1.1.1.2", SOPClass: "1.2.840.10008.5.1.4.1.1.2", Number: 2},
				},
			}},
		},
		PDF: []byte("%PDF-1.4 sample"),
	}
}

func client(s *sandboxtest.Sandbox) *fhir.Client {
	return &fhir.Client{BaseURL: s.URL, Builder: fhir.Builder{Namespace: namespace, WADORoot: "https://tasvir.example.uz/dicom-web"}}
}

func deliver(t *testing.T, c *fhir.Client, r *fhir.Report, previous *fhir.Receipt) fhir.Receipt {
	t.Helper()
	receipt, err := c.Deliver(context.Background(), r, previous)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// onlyReport returns the one DiagnosticReport on the platform.
func onlyReport(t *testing.T, s *sandboxtest.Sandbox) map[string]any {
	t.Helper()
	reports := s.Search("DiagnosticReport")
	if len(reports) != 1 {
		t.Fatalf("the platform holds %d DiagnosticReports, not one", len(reports))
	}
	return reports[0]
}

// at walks into decoded JSON: names and list indexes.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

func TestDeliverFinalReport(t *testing.T) {
	s := sandboxtest.Start(t)
	r := sample()
	receipt := deliver(t, client(s), r, nil)
	dr := onlyReport(t, s)
	if dr["id"] != receipt.DiagnosticReportID || receipt.VersionETag != `W/"1"` || receipt.Version != 1 || receipt.PatientID == "" || receipt.ImagingStudyID == "" {
		t.Errorf("receipt %+v for report %v", receipt, dr["id"])
	}
	for _, want := range []struct {
		value any
		path  []any
	}{
		{"final", []any{"status"}},
		{"uz", []any{"language"}},
		{r.ID, []any{"identifier", 0, "value"}},
		{"https://dhp.uz/fhir/core/StructureDefinition/uz-core-diagnostic-report", []any{"meta", "profile", 0}},
		{"IMG", []any{"category", 0, "coding", 0, "code"}},
		{"CT", []any{"category", 1, "coding", 0, "code"}},
		{"18748-4", []any{"code", "coding", 0, "code"}},
		{"KT bosh miya", []any{"code", "text"}},
		{"Patient/" + receipt.PatientID, []any{"subject", "reference"}},
		{"ImagingStudy/" + receipt.ImagingStudyID, []any{"study", 0, "reference"}},
		{"PractitionerRole/demo-role-1", []any{"performer", 0, "reference"}},
		{"PractitionerRole/demo-role-1", []any{"resultsInterpreter", 0, "reference"}},
		{"2026-11-21T13:30:00+05:00", []any{"effectiveDateTime"}},
		{"2026-11-21T14:05:06.000+05:00", []any{"issued"}},
		{"Patologiya aniqlanmadi.", []any{"conclusion"}},
		{"application/pdf", []any{"presentedForm", 0, "contentType"}},
		{base64.StdEncoding.EncodeToString(r.PDF), []any{"presentedForm", 0, "data"}},
		{"15", []any{"presentedForm", 0, "size"}},
	} {
		if got := at(t, dr, want.path...); got != want.value {
			t.Errorf("%v is %v, want %v", want.path, got, want.value)
		}
	}
	div, _ := at(t, dr, "text", "div").(string)
	if !strings.Contains(div, "5 &lt; 7 mm &amp; normal") || !strings.Contains(div, "<h3>Xulosa</h3>") {
		t.Errorf("narrative: %s", div)
	}

	patient := s.Get("Patient/" + receipt.PatientID)
	for _, want := range []struct {
		value any
		path  []any
	}{
		{"31203680000044", []any{"identifier", 0, "value"}},
		{"NI", []any{"identifier", 0, "type", "coding", 0, "code"}},
		{namespace + "/patient/URGUT", []any{"identifier", 1, "system"}},
		{"A-12345", []any{"identifier", 1, "value"}},
		{"Organization/demo-hospital-urgut", []any{"identifier", 1, "assigner", "reference"}},
		{"Ғуломов", []any{"name", 0, "family"}},
		{"Ўктам", []any{"name", 0, "given", 0}},
		{"Ҳасанович", []any{"name", 0, "suffix", 0}},
		{"male", []any{"gender"}},
		{"1968-03-12", []any{"birthDate"}},
	} {
		if got := at(t, patient, want.path...); got != want.value {
			t.Errorf("Patient %v is %v, want %v", want.path, got, want.value)
		}
	}

	study := s.Get("ImagingStudy/" + receipt.ImagingStudyID)
	for _, want := range []struct {
		value any
		path  []any
	}{
		{"urn:oid:" + r.Study.UID, []any{"identifier", 0, "value"}},
		{"ACC-77", []any{"identifier", 1, "value"}},
		{namespace + "/accession/300000002", []any{"identifier", 1, "system"}},
		{"CT", []any{"modality", 0, "coding", 0, "code"}},
		{2.0, []any{"numberOfInstances"}},
		{"urn:oid:1.2.840.10008.5.1.4.1.1.2", []any{"series", 0, "instance", 1, "sopClass", "code"}},
		{"HEAD", []any{"series", 0, "bodySite", "concept", "text"}},
	} {
		if got := at(t, study, want.path...); got != want.value {
			t.Errorf("ImagingStudy %v is %v, want %v", want.path, got, want.value)
		}
	}
	endpoints := s.Search("Endpoint")
	if len(endpoints) != 1 || endpoints[0]["address"] != "https://tasvir.example.uz/dicom-web" {
		t.Errorf("endpoints %v", endpoints)
	}
}

func deliveryError(t *testing.T, err error) *fhir.DeliveryError {
	t.Helper()
	var refused *fhir.DeliveryError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v, want a DeliveryError", err)
	}
	return refused
}
