package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// commitmentReport is what an N-EVENT-REPORT says: the Failure Reason of each
// instance, 0 for a safe one.
type commitmentReport struct {
	transaction string
	event       uint16
	instances   map[string]int
}

func readReport(n dimse.NRequest) commitmentReport {
	r := commitmentReport{n.DataSet.String(dicom.TagTransactionUID), n.EventTypeID, map[string]int{}}
	for _, item := range n.DataSet.Items(dicom.TagReferencedSOPSequence) {
		r.instances[item.String(dicom.TagReferencedSOPInstanceUID)] = 0
	}
	for _, item := range n.DataSet.Items(dicom.TagFailedSOPSequence) {
		reason, _ := item.Int(dicom.TagFailureReason)
		r.instances[item.String(dicom.TagReferencedSOPInstanceUID)] = reason
	}
	return r
}

// asker asks an archive for storage commitment.
type asker struct {
	*dimse.Client
	t       *testing.T
	reports []commitmentReport
}

func askFrom(t *testing.T, a *archive, ae string) *asker {
	t.Helper()
	client, err := dimse.Dial(t.Context(), a.dicom, dimse.Dialer{
		CallingAE: ae, CalledAE: "TASVIR",
		Contexts: []ul.ProposedContext{dimse.ServiceContext(1, dicom.StorageCommitmentPushModelSOPClass)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	k := &asker{Client: client, t: t}
	client.OnEvent(func(_ context.Context, n dimse.NRequest) dimse.Status {
		k.reports = append(k.reports, readReport(n))
		return dimse.Status{}
	})
	return k
}

// ask names instances, by UID their SOP class, and returns the answer.
func (k *asker) ask(transaction string, instances map[string]string) dimse.Status {
	k.t.Helper()
	var items []*dicom.Dataset
	for uid, class := range instances {
		items = append(items, new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, class).
			SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, uid))
	}
	rsp, err := k.NAction(k.t.Context(), dimse.NRequest{
		SOPClassUID: dicom.StorageCommitmentPushModelSOPClass, SOPInstanceUID: dicom.StorageCommitmentPushModelSOPInstance, ActionTypeID: 1,
		DataSet: new(dicom.Dataset).SetString(dicom.TagTransactionUID, dicom.UI, transaction).SetSequence(dicom.TagReferencedSOPSequence, items...),
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return rsp.Status
}

// report waits for the next one on this association.
func (k *asker) report() commitmentReport {
	k.t.Helper()
	for len(k.reports) == 0 {
		ctx, cancel := context.WithTimeout(k.t.Context(), patience)
		err := k.AwaitEvent(ctx)
		cancel()
		if err != nil {
			k.t.Fatal(err)
		}
	}
	r := k.reports[0]
	k.reports = k.reports[1:]
	return r
}

// TestStorageCommitment asks for what is there, what is not, what is another
// class and what belongs to another facility; over the association that asks, a
// new one, and a new one after the archive was killed.
func TestStorageCommitment(t *testing.T) {
	reports := make(chan commitmentReport, 10)
	device := startNode(t, &dimse.Server{Services: []dimse.Service{{
		SOPClasses: []string{dicom.StorageCommitmentPushModelSOPClass}, PeerSCP: true,
		NEventReport: func(_ context.Context, rq *dimse.Request) dimse.NResponse {
			reports <- readReport(dimse.NRequest{EventTypeID: rq.EventTypeID, DataSet: rq.DataSet})
			return dimse.NResponse{}
		},
	}}}, &storeNode{})
	a := startArchive(t, nil, "--commitment-patience", "2s", "--verify-rate", "0")
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "facility", "add", "NUKUS", "Nukus hospital")
	a.tasvir("", "device", "add", "NODE", "URGUT", "--address", device)
	a.tasvir("", "device", "add", "OTHER", "NUKUS")
	a.tasvir("", "device", "add", "MUTE", "URGUT", "--service", "store")
	eventually(t, "the devices are known", func() bool { return a.echo("MUTE") == nil })

	files := t.TempDir()
	const study = "1.2.826.0.1.3680043.10.98.1"
	sent := map[string]string{}
	for uid := range writeStudy(t, files, study, "P-1", "KARIMOV^BAHODIR", 3) {
		sent[uid] = dicom.CTImageStorage
	}
	store := &StoreCmd{peerFlags: peerFlags{Address: a.dicom, AET: "NODE", Called: "TASVIR", Timeout: patience}, Paths: []string{files}, Jobs: 1}
	if r, err := store.run(t.Context(), io.Discard, quietProgress()); err != nil || r.Stored != 6 {
		t.Fatalf("stored %d: %v", r.Stored, err)
	}
	allSafe := map[string]int{}
	for uid := range sent {
		allSafe[uid] = 0
	}

	// At once after sending: what is not published yet is waited for.
	k := askFrom(t, a, "NODE")
	if status := k.ask("1.2.3.1", sent); status.Code != dimse.Success {
		t.Fatalf("asked: %s", status)
	}
	if r := k.report(); r.event != 1 || r.transaction != "1.2.3.1" || !maps.Equal(r.instances, allSafe) {
		t.Errorf("all sent: %+v", r)
	}
	// The same again is answered again; other instances under its UID are not.
	if status := k.ask("1.2.3.1", map[string]string{"1.2.3": dicom.CTImageStorage}); status.OK() {
		t.Errorf("other instances in the same transaction: %s", status)
	}
	mixed := maps.Clone(sent)
	mixed["1.2.3.4.5.6"] = dicom.CTImageStorage
	mixed[study+".1.1"] = dicom.MRImageStorage
	want := maps.Clone(allSafe)
	want["1.2.3.4.5.6"], want[study+".1.1"] = int(dimse.NoSuchInstance), int(dimse.ClassInstanceConflict)
	if status := k.ask("1.2.3.2", mixed); status.Code != dimse.Success {
		t.Fatalf("asked: %s", status)
	}
	if r := k.report(); r.event != 2 || !maps.Equal(r.instances, want) {
		t.Errorf("one unknown, one of another class: %+v", r)
	}
	// Another hospital's device learns nothing of them.
	other := askFrom(t, a, "OTHER")
	if status := other.ask("1.2.3.1", map[string]string{study + ".1.1": dicom.CTImageStorage}); status.Code != dimse.Success {
		t.Fatalf("asked: %s", status)
	}
	if r := other.report(); r.event != 2 || r.instances[study+".1.1"] != int(dimse.NoSuchInstance) {
		t.Errorf("another facility: %+v", r)
	}
	if got := askFrom(t, a, "MUTE").Contexts(); len(got) != 0 {
		t.Errorf("a device that may not ask: %+v", got)
	}

	// The device hangs up: it is called.
	k = askFrom(t, a, "NODE")
	if status := k.ask("1.2.3.3", sent); status.Code != dimse.Success {
		t.Fatalf("asked: %s", status)
	}
	if err := k.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect := func(transaction string, want map[string]int) {
		t.Helper()
		for {
			select {
			case r := <-reports:
				if r.transaction != transaction {
					t.Logf("once more: %+v", r) // at least once is what is promised
					continue
				}
				if !maps.Equal(r.instances, want) {
					t.Errorf("%s: %+v, want %v", transaction, r, want)
				}
				return
			case <-time.After(patience):
				t.Fatalf("%s is not reported", transaction)
			}
		}
	}
	expect("1.2.3.3", allSafe)

	// The archive is killed soon after it has promised an answer, most likely
	// while it waits for an instance that will never come.
	k = askFrom(t, a, "NODE")
	unknown := map[string]string{"1.2.3.4.5.7": dicom.CTImageStorage, study + ".1.2": dicom.CTImageStorage}
	asked := time.Now()
	if status := k.ask("1.2.3.4", unknown); status.Code != dimse.Success {
		t.Fatalf("asked: %s", status)
	}
	time.Sleep(time.Until(asked.Add(300 * time.Millisecond)))
	a.kill()
	a.start()
	expect("1.2.3.4", map[string]int{"1.2.3.4.5.7": int(dimse.NoSuchInstance), study + ".1.2": 0})

	// A byte on the disk changes: it is not safe any more. What was read before
	// is not read again, so it is another study's.
	const later = "1.2.826.0.1.3680043.10.98.2"
	more := t.TempDir()
	bodies := writeStudy(t, more, later, "P-2", "YUSUPOVA^NODIRA", 1)
	store.Address, store.Paths = a.dicom, []string{more}
	if r, err := store.run(t.Context(), io.Discard, quietProgress()); err != nil || r.Stored != 2 {
		t.Fatalf("stored %d: %v", r.Stored, err)
	}
	var damaged bool
	eventually(t, "the pack is there", func() bool {
		damaged = damageInstance(t, filepath.Join(a.dir, "data", "store", "packs"), bodies[later+".1.1"])
		return damaged
	})
	k = askFrom(t, a, "NODE")
	if status := k.ask("1.2.3.5", map[string]string{later + ".1.1": dicom.CTImageStorage, later + ".2.1": dicom.CTImageStorage}); status.Code != dimse.Success {
		t.Fatalf("asked: %s", status)
	}
	if r := k.report(); r.event != 2 || r.instances[later+".1.1"] != int(dimse.ProcessingFailure) || r.instances[later+".2.1"] != 0 {
		t.Errorf("a damaged instance: %+v", r)
	}
}

// damageInstance flips a byte of a data set in the packs; false while it is in
// none.
func damageInstance(t *testing.T, dir, body string) (done bool) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what is gone meanwhile is not it
		}
		raw, err := os.ReadFile(path)
		if at := bytes.Index(raw, []byte(body)); err == nil && at >= 0 {
			raw[at+len(body)-1] ^= 1
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			done = true
		}
		return nil
	})
	return done
}

// TestOrthancGetsStorageCommitment has Orthanc send a study and ask whether it
// is safe: an SCU that is not ours, which is called back on a new association.
func TestOrthancGetsStorageCommitment(t *testing.T) {
	a := startArchive(t, nil, "--commitment-patience", "5s")
	o := peertest.StartOrthanc(t, a.dicom)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "device", "add", "ORTHANC", "URGUT", "--address", o.DICOM)
	eventually(t, "the device is known", func() bool { return a.echo("ORTHANC") == nil })
	files := t.TempDir()
	writeStudy(t, files, "1.2.826.0.1.3680043.10.97.1", "P-1", "KARIMOV^BAHODIR", 2)
	list, err := filepath.Glob(filepath.Join(files, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range list {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		o.Upload(raw)
	}
	var studies []string
	o.Call("GET", "/studies", nil, &studies)
	var sent struct{ InstancesCount, FailedInstancesCount int }
	o.Call("POST", "/modalities/tasvir/store", map[string]any{"Resources": studies, "Synchronous": true, "StorageCommitment": false}, &sent)
	if sent.InstancesCount != 4 || sent.FailedInstancesCount != 0 {
		t.Fatalf("sent %+v", sent)
	}
	var asked struct{ ID string }
	o.Call("POST", "/modalities/tasvir/storage-commitment", map[string]any{"Resources": studies}, &asked)
	var result struct {
		Status  string
		Success []struct{ SOPInstanceUID string }
	}
	eventually(t, "Orthanc has its answer", func() bool {
		o.Call("GET", "/storage-commitment/"+asked.ID, nil, &result)
		return result.Status != "Pending"
	})
	if result.Status != "Success" || len(result.Success) != 4 {
		t.Errorf("result %+v", result)
	}
}
