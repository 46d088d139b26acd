package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist/ups"
)

// dcmjs-dimse pushes a unified procedure step, finds, subscribes to, claims,
// changes and completes it, and is told of each, over the association that it has
// open and at its own port.
func TestDcmjsDimseWorksOnSteps(t *testing.T) {
	d := needDcmjs(t)
	a := startArchive(t, nil)
	station, heard := d.serve(nil)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "device", "add", "JS", "URGUT", "--address", station, "--service", "ups")
	eventually(t, "the device is known", func() bool {
		r := d.request(a.dicom, "JS", nil, 0, js{"operation": "echo"})
		return r.Error == "" && len(r.Answers) == 1 && r.Answers[0].Status != nil
	})

	const uid = "1.2.826.0.1.3680043.10.95.21"
	step := func(operation, context string, more js) js {
		rq := js{"operation": operation, "sopClass": ups.PushSOPClass, "sopInstance": uid, "context": context}
		for name, value := range more {
			rq[name] = value
		}
		return rq
	}
	code := func(value, scheme, meaning string) []js {
		return []js{{"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}}
	}
	create := step("create", ups.PushSOPClass, js{"elements": js{
		"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Каримов^Али", "PatientID": "K-1", "ProcedureStepState": "SCHEDULED",
		"ScheduledProcedureStepPriority": "HIGH", "ProcedureStepLabel": "Lung CAD", "WorklistLabel": "CAD", "InputReadinessState": "READY",
		"ScheduledProcedureStepStartDateTime": "20261122093000", "ScheduledWorkitemCodeSequence": code("110004", "DCM", "Computer Aided Detection"),
	}})
	subscribe := step("action", ups.WatchSOPClass, js{"action": 3, "elements": js{"ReceivingAE": "JS", "DeletionLock": "FALSE"}})
	change := func(state, transaction string) js {
		return step("action", ups.PullSOPClass, js{"action": 1, "elements": js{"ProcedureStepState": state, "TransactionUID": transaction}})
	}
	const ours, theirs = "1.2.826.0.1.3680043.10.95.22", "1.2.826.0.1.3680043.10.95.23"
	statuses := func(r jsResult) (codes []dimse.Code) {
		for _, answer := range r.Answers {
			if answer.Status == nil {
				t.Fatalf("%+v", r)
			}
			codes = append(codes, dimse.Code(*answer.Status))
		}
		return codes
	}
	want := func(r jsResult, codes ...dimse.Code) {
		t.Helper()
		if got := statuses(r); r.Error != "" || !slices.Equal(got, codes) {
			t.Fatalf("%s, want %s: %+v", got, codes, r)
		}
	}

	// Pushed, and subscribed to over an association that stays: the first event
	// comes there.
	r := d.converse(a.dicom, "JS", nil, 3*time.Second, []string{ups.EventSOPClass}, []js{create, create, subscribe})
	want(r, dimse.Success, dimse.DuplicateInstance, dimse.Success)
	told := append(r.Received, heard("NEventReport")...)
	if len(told) == 0 {
		eventually(t, "it is told that the step is scheduled", func() bool {
			told = heard("NEventReport")
			return len(told) > 0
		})
	}
	if first := told[0]; first.Event != 1 || first.SOPInstance != uid || text(first.Elements["ProcedureStepState"]) != `"SCHEDULED"` {
		t.Errorf("the first event: %+v", first)
	}

	// Found, by state and name, and got, all but the lock.
	found, _ := d.one(a.dicom, "JS", dimse.Success, js{"operation": "find", "sopClass": ups.PullSOPClass, "elements": js{
		"SpecificCharacterSet": "ISO_IR 192", "SOPInstanceUID": "", "PatientName": "KARIMOV*", "ProcedureStepState": "SCHEDULED", "ProcedureStepLabel": "", "WorklistLabel": "CAD",
	}})
	if len(found.Matches) != 1 || found.Matches[0]["SOPInstanceUID"] != uid || found.Matches[0]["ProcedureStepLabel"] != "Lung CAD" || !strings.Contains(text(found.Matches[0]["PatientName"]), "Каримов^Али") {
		t.Fatalf("found %+v", found)
	}
	got, _ := d.one(a.dicom, "JS", ups.OptionalIgnored, step("attributes", ups.PullSOPClass, js{"attributes": []string{"ProcedureStepState", "ScheduledProcedureStepPriority", "TransactionUID"}}))
	if got.Elements["ProcedureStepState"] != "SCHEDULED" || got.Elements["ScheduledProcedureStepPriority"] != "HIGH" || got.Elements["TransactionUID"] != nil {
		t.Fatalf("got %+v", got)
	}

	// Claimed once, changed by who holds it, called off and completed.
	done := js{"UnifiedProcedureStepPerformedProcedureSequence": []js{{
		"PerformedStationNameCodeSequence": code("CAD1", "99TEST", "CAD server"), "PerformedWorkitemCodeSequence": code("110004", "DCM", "Computer Aided Detection"),
		"PerformedProcedureStepStartDateTime": "20261122093100", "PerformedProcedureStepEndDateTime": "20261122093200", "OutputInformationSequence": []js{},
	}}}
	set := func(transaction string, elements js) js {
		elements["TransactionUID"] = transaction
		return step("set", ups.PullSOPClass, js{"elements": elements})
	}
	want(d.request(a.dicom, "JS", nil, 0, change("IN PROGRESS", ours)), dimse.Success)
	want(d.request(a.dicom, "JS", nil, 0, change("IN PROGRESS", theirs)), ups.WrongTransaction)
	want(d.request(a.dicom, "JS", nil, 0, set(theirs, js{"WorklistLabel": "X"})), ups.WrongTransaction)
	want(d.request(a.dicom, "JS", nil, 0, set(ours, js{"ProcedureStepProgressInformationSequence": []js{{"ProcedureStepProgress": "40"}}})), dimse.Success)
	want(d.request(a.dicom, "JS", nil, 0, step("action", ups.WatchSOPClass, js{"action": 2, "elements": js{"ReasonForCancellation": "too late"}})), dimse.Success)
	want(d.request(a.dicom, "JS", nil, 0, change("COMPLETED", ours)), ups.NotFinal)
	want(d.request(a.dicom, "JS", nil, 0, set(ours, done)), dimse.Success)
	want(d.request(a.dicom, "JS", nil, 0, change("COMPLETED", ours)), dimse.Success)
	want(d.request(a.dicom, "JS", nil, 0, change("CANCELED", ours)), ups.NoLongerUpdated)

	// It was told of all that, in order, at its own port.
	var events []string
	eventually(t, "all events have come", func() bool {
		events = nil
		for _, e := range heard("NEventReport") {
			line := []string{text(e.Event)}
			for _, name := range []string{"ProcedureStepState", "ReasonForCancellation", "RequestingAE"} {
				if v, ok := e.Elements[name].(string); ok {
					line = append(line, v)
				}
			}
			if strings.Contains(text(e.Elements["ProcedureStepProgressInformationSequence"]), "40") {
				line = append(line, "40 %")
			}
			events = append(events, strings.Join(line, " "))
		}
		return len(events) > 0 && strings.HasSuffix(events[len(events)-1], "COMPLETED")
	})
	at := 0
	for _, event := range []string{"1 IN PROGRESS", "3 40 %", "2 too late JS", "1 COMPLETED"} {
		i := slices.Index(events[at:], event)
		if i < 0 {
			t.Fatalf("told %q: no %q, or not in order", events, event)
		}
		at += i + 1
	}

	// Another machine's step is no business of a device without the service.
	a.tasvir("", "device", "add", "JSCT", "URGUT", "--service", "store")
	if r := d.request(a.dicom, "JSCT", nil, 0, create); len(r.Answers) == 1 && r.Answers[0].Status != nil && *r.Answers[0].Status == int(dimse.DuplicateInstance) {
		t.Errorf("a device without the service pushes: %+v", r)
	}
}
