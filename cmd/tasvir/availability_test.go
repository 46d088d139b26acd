package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// noticed is what an instance availability notification says.
type noticed struct {
	study, step string
	instances   []string // with their availability
}

func readNotice(ds *dicom.Dataset) (n noticed) {
	n.study = ds.String(dicom.TagStudyInstanceUID)
	if step := ds.Item(dicom.TagReferencedPerformedProcedureStepSequence); step != nil {
		n.step = step.String(dicom.TagReferencedSOPInstanceUID)
	}
	for _, series := range ds.Items(dicom.TagReferencedSeriesSequence) {
		for _, i := range series.Items(dicom.TagReferencedSOPSequence) {
			n.instances = append(n.instances, i.String(dicom.TagReferencedSOPInstanceUID)+" "+i.String(dicom.TagInstanceAvailability)+" "+i.String(dicom.TagRetrieveAETitle))
		}
	}
	return n
}

// listenToNotices serves the device at address.
func listenToNotices(t *testing.T, address string, notices chan<- noticed) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &dimse.Server{AETitle: "NODE", Services: []dimse.Service{{
		SOPClasses: []string{dicom.InstanceAvailabilityNotificationSOPClass},
		NCreate: func(_ context.Context, rq *dimse.Request) dimse.NResponse {
			notices <- readNotice(rq.DataSet)
			return dimse.NResponse{}
		},
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// A device reports a step, and its images come; it is off when the study is
// complete, and the archive is killed meanwhile. When both are there again the
// device is told what is available, and once more of images that come late.
func TestAvailabilityNotification(t *testing.T) {
	a := startArchive(t, nil)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "facility", "add", "NUKUS", "Nukus hospital")
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := held.Addr().String()
	_ = held.Close()
	a.tasvir("", "device", "add", "NODE", "URGUT", "--address", address, "--service", "store,mpps", "--notify")
	a.tasvir("", "device", "add", "OTHER", "NUKUS", "--address", address, "--notify")
	eventually(t, "the devices are known", func() bool { return a.echo("OTHER") == nil })

	const study = "1.2.826.0.1.3680043.10.96.1"
	client, err := dimse.Dial(t.Context(), a.dicom, dimse.Dialer{CallingAE: "NODE", CalledAE: "TASVIR", Contexts: []ul.ProposedContext{
		dimse.ServiceContext(1, dicom.ModalityPerformedProcedureStepSOPClass),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	step := dimse.NRequest{SOPClassUID: dicom.ModalityPerformedProcedureStepSOPClass, SOPInstanceUID: study + ".9"}
	step.DataSet = new(dicom.Dataset).SetString(dicom.TagModality, dicom.CS, "CT").SetString(dicom.TagPerformedProcedureStepID, dicom.SH, "PPS1").
		SetString(dicom.TagPerformedStationAETitle, dicom.AE, "NODE").SetString(dicom.TagPerformedProcedureStepStartDate, dicom.DA, "20261122").
		SetString(dicom.TagPerformedProcedureStepStartTime, dicom.TM, "0935").SetString(dicom.TagPerformedProcedureStepStatus, dicom.CS, "IN PROGRESS").
		SetSequence(dicom.TagScheduledStepAttributesSequence, new(dicom.Dataset).SetString(dicom.TagStudyInstanceUID, dicom.UI, study))
	if rsp, err := client.NCreate(t.Context(), step); err != nil || rsp.Code != dimse.Success {
		t.Fatalf("%s, %v", rsp.Status, err)
	}
	var images []*dicom.Dataset
	for _, uid := range []string{study + ".1.1", study + ".1.2"} {
		images = append(images, new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, ctClass).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, uid))
	}
	step.DataSet = new(dicom.Dataset).SetString(dicom.TagPerformedProcedureStepStatus, dicom.CS, "COMPLETED").
		SetString(dicom.TagPerformedProcedureStepEndDate, dicom.DA, "20261122").SetString(dicom.TagPerformedProcedureStepEndTime, dicom.TM, "0945").
		SetSequence(dicom.TagPerformedSeriesSequence, new(dicom.Dataset).SetString(dicom.TagSeriesInstanceUID, dicom.UI, study+".1").SetSequence(dicom.TagReferencedImageSequence, images...))
	if rsp, err := client.NSet(t.Context(), step); err != nil || rsp.Code != dimse.Success {
		t.Fatalf("%s, %v", rsp.Status, err)
	}

	send := func(study string, n int) {
		t.Helper()
		files := t.TempDir()
		writeStudy(t, files, study, "P-1", "KARIMOV^BAHODIR", n)
		store := &StoreCmd{peerFlags: peerFlags{Address: a.dicom, AET: "NODE", Called: "TASVIR", Timeout: patience}, Paths: []string{files}, Jobs: 1}
		if r, err := store.run(t.Context(), io.Discard, quietProgress()); err != nil || r.Stored != 2*n {
			t.Fatalf("stored %d: %v", r.Stored, err)
		}
	}
	send(study, 2)
	admin := a.signIn("admin", adminPassword)
	calls := func() (failed, told int) {
		var page struct {
			Associations []struct{ ID, Outcome string }
		}
		admin.must(http.StatusOK, admin.call("GET", "/api/admin/associations?limit=200&ae=NODE&direction=out", nil, &page))
		for _, entry := range page.Associations {
			var detail struct{ Messages map[string]int }
			admin.must(http.StatusOK, admin.call("GET", "/api/admin/associations/"+entry.ID, nil, &detail))
			if entry.Outcome == "failed" {
				failed++
			}
			told += detail.Messages["N-CREATE-RQ"]
		}
		return failed, told
	}
	eventually(t, "the log says that the device does not answer", func() bool {
		failed, _ := calls()
		return failed > 0
	})
	a.kill()

	notices := make(chan noticed, 100)
	listenToNotices(t, address, notices)
	a.start()
	next := func(what string, wanted ...noticed) {
		t.Helper()
		for len(wanted) > 0 {
			select {
			case got := <-notices:
				slices.Sort(got.instances)
				at := slices.IndexFunc(wanted, func(w noticed) bool {
					return w.study == got.study && w.step == got.step && slices.Equal(w.instances, got.instances)
				})
				if at < 0 {
					t.Logf("%s: also %+v", what, got) // when completed before all were published
					continue
				}
				wanted = slices.Delete(wanted, at, at+1)
			case <-time.After(patience):
				t.Fatalf("%s: never told %+v", what, wanted)
			}
		}
	}
	online := func(uids ...string) (list []string) {
		for _, uid := range uids {
			list = append(list, study+uid+" ONLINE TASVIR")
		}
		return list
	}
	next("when both are there again", noticed{study, study + ".9", online(".1.1", ".1.2")}, noticed{study, "", online(".2.1", ".2.2")})
	admin = a.signIn("admin", adminPassword)
	eventually(t, "the log shows what was told", func() bool {
		_, told := calls()
		return told >= 2
	})

	send(study, 3) // the third of each series is new
	next("late images", noticed{study, study + ".9", online(".1.1", ".1.2")}, noticed{study, "", online(".1.3", ".2.1", ".2.2", ".2.3")})
	a.stop()
}
