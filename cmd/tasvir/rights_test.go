package main

import (
	"slices"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// Every service that the archive offers needs a leave of its own: a device with
// none negotiates none of them, one with all of them all.
func TestEveryServiceNeedsALeave(t *testing.T) {
	source, err := (&ConformanceCmd{AET: "A"}).source()
	if err != nil {
		t.Fatal(err)
	}
	all, none := access.Device{Services: access.Services}, access.Device{Services: []access.Service{}}
	n := 0
	for _, svc := range source.Server.Services {
		for _, class := range svc.SOPClasses {
			n++
			if mayNegotiate(none, class) || !mayNegotiate(all, class) {
				t.Errorf("%s: without leaves %v, with all %v", dicom.SOPClassName(class), mayNegotiate(none, class), mayNegotiate(all, class))
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d classes", n)
	}
}

// What a device is allowed is what its presentation contexts are accepted for.
func TestRightsAtNegotiation(t *testing.T) {
	a := startArchive(t, nil)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	classes := map[string]access.Service{
		dicom.StudyRootFindSOPClass: access.Query, dicom.StudyRootMoveSOPClass: access.Retrieve, dicom.PatientRootGetSOPClass: access.Retrieve,
		dicom.ModalityWorklistFindSOPClass: access.Worklist, dicom.ModalityPerformedProcedureStepSOPClass: access.MPPS,
		dicom.StorageCommitmentPushModelSOPClass: access.Commitment, dicom.VerificationSOPClass: "", dicom.CTImageStorage: "",
	}
	tests := map[string]access.Service{"ONLYSTORE": access.Store, "FINDS": access.Query, "MOVES": access.Retrieve, "LISTS": access.Worklist, "STEPS": access.MPPS, "COMMITS": access.Commitment}
	for ae, service := range tests {
		a.tasvir("", "device", "add", ae, "URGUT", "--service", string(service))
	}
	for ae, service := range tests {
		eventually(t, ae+" is known", func() bool { return a.echo(ae) == nil })
		d := dimse.Dialer{CallingAE: ae, CalledAE: "TASVIR"}
		var want, got []string
		for class, needed := range classes {
			d.Contexts = append(d.Contexts, dimse.ServiceContext(byte(2*len(d.Contexts)+1), class))
			if needed == "" || needed == service {
				want = append(want, class)
			}
		}
		c, err := dimse.Dial(t.Context(), a.dicom, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, pc := range c.Contexts() {
			got = append(got, pc.AbstractSyntax)
		}
		slices.Sort(want)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s, which may %s, has %q, want %q", ae, service, got, want)
		}
		_ = c.Release(t.Context())
		c.Close()
	}
}
