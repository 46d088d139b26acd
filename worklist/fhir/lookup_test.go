package fhir_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/fhir/sandboxtest"
)

type object = map[string]any

func practitioner(id, pinfl string, active bool) object {
	return object{
		"resourceType": "Practitioner", "id": id, "active": active,
		"meta":       object{"profile": []string{"https://dhp.uz/fhir/core/StructureDefinition/uz-core-practitioner"}},
		"identifier": []object{{"system": "https://dhp.uz/fhir/core/sid/pid/uz/ni", "value": pinfl}},
	}
}

func role(id, practitioner, code string, active bool) object {
	return object{
		"resourceType": "PractitionerRole", "id": id, "active": active,
		"meta":         object{"profile": []string{"https://dhp.uz/fhir/core/StructureDefinition/uz-core-practitioner-role"}},
		"practitioner": object{"reference": "Practitioner/" + practitioner},
		"code":         []object{{"coding": []object{{"system": "https://terminology.dhp.uz/fhir/core/CodeSystem/position-and-profession-cs", "code": code}}}},
	}
}

func patient(id string, active bool, identifiers ...object) object {
	return object{
		"resourceType": "Patient", "id": id, "active": active,
		"meta":       object{"profile": []string{"https://dhp.uz/fhir/core/StructureDefinition/uz-core-patient"}},
		"identifier": identifiers,
	}
}

func born(patient object, date string) object {
	patient["birthDate"] = date
	return patient
}

func pinfl(value string) object {
	return object{
		"use": "official", "system": "https://dhp.uz/fhir/core/sid/pid/uz/ni", "value": value,
		"type": object{"coding": []object{{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "NI"}}},
	}
}

func local(issuer, value string) object {
	return object{"system": namespace + "/patient/" + issuer, "value": value}
}

func TestWhoIsWho(t *testing.T) {
	s := sandboxtest.Start(t)
	c := client(s)
	s.AddResources(
		practitioner("surgeon-too", "30000000000001", true),
		role("a-surgeon", "surgeon-too", "2212.55", true),
		role("b-radiologist", "surgeon-too", "2212.102", true),
		role("a-retired", "surgeon-too", "2212.101", false),
		practitioner("without-role", "30000000000002", true),
		practitioner("twin-1", "30000000000003", true),
		practitioner("twin-2", "30000000000003", true),
		practitioner("left", "30000000000004", false),
		patient("known", true, pinfl("40000000000001"), local("URGUT", "1")),
		patient("merged", false, pinfl("40000000000001")),
		patient("no-pinfl", true, local("URGUT", "2")),
		born(patient("older", true, local("URGUT", "5")), "1950-01-01"),
		born(patient("younger", true, local("URGUT", "5")), "1990-01-01"),
		patient("double-1", true, pinfl("40000000000003")),
		patient("double-2", true, pinfl("40000000000003")),
	)
	for name, test := range map[string]struct {
		change  func(r *fhir.Report)
		patient string // the id that must be used, "new", or "" with an error
		role    string
		words   string // in the error
	}{
		"radiologist by PINFL, in the radiological role": {
			change: func(r *fhir.Report) { r.Radiologist.ArgosID, r.Radiologist.PINFL = "", "30000000000001" },
			role:   "b-radiologist",
		},
		"radiologist by Argos id before PINFL": {
			change: func(r *fhir.Report) { r.Radiologist.PINFL = "30000000000001" },
			role:   "demo-role-1",
		},
		"radiologist unknown": {
			change: func(r *fhir.Report) { r.Radiologist.ArgosID, r.Radiologist.PINFL = "X-1", "39999999999999" },
			words:  "does not know the radiologist Karimova Nilufar Rustamovna",
		},
		"radiologist without position": {
			change: func(r *fhir.Report) { r.Radiologist.ArgosID, r.Radiologist.PINFL = "", "30000000000002" },
			words:  "no position",
		},
		"two radiologists of one number": {
			change: func(r *fhir.Report) { r.Radiologist.ArgosID, r.Radiologist.PINFL = "", "30000000000003" },
			words:  "knows 2 radiologists",
		},
		"radiologist who has left": {
			change: func(r *fhir.Report) { r.Radiologist.ArgosID, r.Radiologist.PINFL = "", "30000000000004" },
			words:  "does not know",
		},
		"radiologist without numbers": {
			change: func(r *fhir.Report) { r.Radiologist.ArgosID, r.Radiologist.PINFL = "", "" },
			words:  "neither an Argos id nor a PINFL",
		},
		"patient by PINFL, not the merged one": {
			change:  func(r *fhir.Report) { r.Patient.PINFL, r.Patient.IDs = "40000000000001", nil },
			patient: "known",
		},
		"patient by the hospital's number": {
			change: func(r *fhir.Report) {
				r.Patient.PINFL, r.Patient.IDs = "", []fhir.PatientID{{Issuer: "URGUT", Value: "1"}}
			},
			patient: "known",
		},
		"another hospital's equal number is another person": {
			change: func(r *fhir.Report) {
				r.Patient.PINFL, r.Patient.IDs = "", []fhir.PatientID{{Issuer: "NUKUS", Value: "1"}}
			},
			patient: "new",
		},
		"patient whose PINFL the platform does not know yet": {
			change: func(r *fhir.Report) {
				r.Patient.PINFL, r.Patient.IDs = "40000000000002", []fhir.PatientID{{Issuer: "URGUT", Value: "2"}}
			},
			patient: "no-pinfl",
		},
		"a number given to two people": {
			change: func(r *fhir.Report) {
				r.Patient.PINFL, r.Patient.IDs = "40000000000009", []fhir.PatientID{{Issuer: "URGUT", Value: "1"}}
			},
			words: "belongs to a person with another PINFL",
		},
		"one person held twice": {
			change:  func(r *fhir.Report) { r.Patient.PINFL = "40000000000003" },
			patient: "double-1",
		},
		"two people held under one number": {
			change: func(r *fhir.Report) {
				r.Patient.PINFL, r.Patient.IDs = "", []fhir.PatientID{{Issuer: "URGUT", Value: "5"}}
			},
			words: "2 patients of different birth dates",
		},
		"patient without any number": {
			change: func(r *fhir.Report) {
				r.Patient.PINFL, r.Patient.IDs = "", []fhir.PatientID{{Issuer: "URGUT", Value: " "}}
			},
			words: "neither a PINFL nor a patient ID",
		},
		"a PINFL that is none": {
			change: func(r *fhir.Report) { r.Patient.PINFL = "123" },
			words:  "14 digits",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := another()
			test.change(r)
			known := len(s.Search("Patient?_count=200"))
			receipt, err := c.Deliver(context.Background(), r, nil)
			if test.words != "" {
				refused := deliveryError(t, err)
				if !refused.Permanent || !strings.Contains(refused.Message, test.words) || !strings.Contains(refused.Message, "send again") {
					t.Errorf("got %+v, want %q and what to do", refused, test.words)
				}
				if len(held(t, s, r)) != 0 || len(s.Search("Patient?_count=200")) != known {
					t.Error("something was written all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			dr := heldOnce(t, s, r, receipt)
			if test.role != "" && at(t, dr, "performer", 0, "reference") != "PractitionerRole/"+test.role {
				t.Errorf("signed as %v", at(t, dr, "performer", 0, "reference"))
			}
			made := len(s.Search("Patient?_count=200")) - known
			switch test.patient {
			case "":
			case "new":
				if made != 1 {
					t.Errorf("%d patients made", made)
				}
			default:
				if made != 0 || receipt.PatientID != test.patient {
					t.Errorf("%d patients made, report is on %s", made, receipt.PatientID)
				}
			}
		})
	}
}

func TestTwoReportsShareStudyPatientAndEndpoint(t *testing.T) {
	s := sandboxtest.Start(t)
	c := client(s)
	r := another()
	first := deliver(t, c, r, nil)
	second := *r
	second.ID = uuid.NewString()
	if got := deliver(t, c, &second, nil); got.PatientID != first.PatientID || got.ImagingStudyID != first.ImagingStudyID || got.DiagnosticReportID == first.DiagnosticReportID {
		t.Errorf("first %+v, second %+v", first, got)
	}
	other := another()
	deliver(t, c, other, nil)
	if n := len(s.Search("Endpoint")); n != 1 {
		t.Errorf("%d endpoints for one archive", n)
	}
}

// Reports on one new patient, sent at once through one client, share what they
// create even where the platform doesn't help.
func TestReportsAtOnceShareTheNewPatient(t *testing.T) {
	s := sandboxtest.Start(t, "--no-conditional-create")
	c := client(s)
	template := another()
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			r := *template
			r.ID = uuid.NewString()
			if _, err := c.Deliver(context.Background(), &r, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		all.Go(func() {
			if _, err := c.Deliver(context.Background(), another(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for resourceType, want := range map[string]int{"DiagnosticReport": 9, "Patient": 4, "ImagingStudy": 4, "Endpoint": 1} {
		if n := len(s.Search(resourceType)); n != want {
			t.Errorf("%d of %s, want %d", n, resourceType, want)
		}
	}
}
