package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/dimse/peertest"
)

func otherPeer(address string) peerFlags {
	return peerFlags{Address: address, AET: "TASVIR", Called: "OTHER", Timeout: 30 * time.Second}
}

func quietProgress() *sendProgress {
	return &sendProgress{line: statusLine{w: io.Discard, terminal: true}}
}

// study writes a study of two series with n instances each and returns its UID.
func writeStudy(t *testing.T, dir, study, patient, name string, n int) map[string]string {
	t.Helper()
	bodies := map[string]string{}
	for s := range 2 {
		for i := range n {
			uid := fmt.Sprintf("%s.%d.%d", study, s+1, i+1)
			ds := new(dicom.Dataset)
			ds.SetString(dicom.TagSOPClassUID, dicom.UI, dicom.CTImageStorage)
			ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, uid)
			ds.SetString(dicom.TagStudyDate, dicom.DA, "20260312")
			ds.SetString(dicom.TagModality, dicom.CS, "CT")
			ds.SetString(dicom.TagPatientName, dicom.PN, name)
			ds.SetString(dicom.TagPatientID, dicom.LO, patient)
			ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, study)
			ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, fmt.Sprintf("%s.%d", study, s+1))
			ds.SetString(dicom.TagStudyID, dicom.SH, "1")
			ds.SetString(dicom.TagSeriesNumber, dicom.IS, fmt.Sprint(s+1))
			ds.SetString(dicom.TagInstanceNumber, dicom.IS, fmt.Sprint(i+1))
			body, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
			if err != nil {
				t.Fatal(err)
			}
			head := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: dicom.CTImageStorage, SOPInstanceUID: uid, TransferSyntaxUID: dicom.ExplicitVRLittleEndian})
			if err := os.WriteFile(filepath.Join(dir, uid), append(head, body...), 0o600); err != nil {
				t.Fatal(err)
			}
			bodies[uid] = string(body)
		}
	}
	return bodies
}

// TestQueryAndRetrieveFromDcmtk stores two studies in dcmtk's archive with one
// command and has the others find, fetch and move them.
func TestQueryAndRetrieveFromDcmtk(t *testing.T) {
	node := &storeNode{}
	address := peertest.Dcmqrscp(t, "OTHER", map[string]string{"NODE": startNode(t, &dimse.Server{}, node)})
	files := t.TempDir()
	const study = "1.2.826.0.1.3680043.10.99.1"
	bodies := writeStudy(t, files, study, "P-1", "KARIMOV^BAHODIR", 3)
	writeStudy(t, files, "1.2.826.0.1.3680043.10.99.2", "P-2", "YUSUPOVA^NODIRA", 1)
	store := &StoreCmd{peerFlags: otherPeer(address), Paths: []string{files}, Jobs: 1}
	if r, err := store.run(t.Context(), io.Discard, quietProgress()); err != nil || r.Stored != 8 {
		t.Fatalf("stored %d: %v", r.Stored, err)
	}

	t.Run("find", func(t *testing.T) {
		find := func(edit func(*FindCmd)) (string, string, error) {
			c := &FindCmd{peerFlags: otherPeer(address), Level: "study", Model: "study"}
			edit(c)
			var out, remarks strings.Builder
			err := c.run(t.Context(), &out, &remarks)
			return out.String(), remarks.String(), err
		}
		out, _, err := find(func(c *FindCmd) { c.Key = []string{"PatientName=KARIM*"} })
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "PatientName\tStudyDate\t") ||
			!strings.HasPrefix(lines[1], "KARIMOV^BAHODIR\t20260312\t") || !strings.HasSuffix(lines[1], "\t"+study) {
			t.Errorf("%q, %v", out, err)
		}
		out, _, err = find(func(c *FindCmd) {
			c.Level, c.JSON, c.Key = "image", true, []string{"StudyInstanceUID=" + study, "SeriesInstanceUID=" + study + ".1"}
		})
		var matches []map[string]struct{ Value []any }
		if e := json.Unmarshal([]byte(out), &matches); e != nil || err != nil || len(matches) != 3 || matches[0]["00080018"].Value[0] == "" {
			t.Errorf("%s: %v, %v", out, e, err)
		}
		out, _, err = find(func(c *FindCmd) { c.Limit, c.JSON = 1, true })
		if e := json.Unmarshal([]byte(out), &matches); e != nil || err != nil || len(matches) != 1 {
			t.Errorf("limit 1: %s, %v", out, err)
		}
		out, remarks, err := find(func(c *FindCmd) { c.Key = []string{"PatientID=NOBODY"}; c.Fuzzy = true })
		if err != nil || out != "" || !strings.Contains(remarks, "nothing matches") || !strings.Contains(remarks, "no fuzzy matching") {
			t.Errorf("nobody: %q, %q, %v", out, remarks, err)
		}
		if _, _, err = find(func(c *FindCmd) { c.Level = "worklist" }); err == nil || !strings.Contains(err.Error(), "does not offer") {
			t.Errorf("worklist: %v", err)
		}
	})

	t.Run("get", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "new")
		c := &GetCmd{peerFlags: otherPeer(address), Dir: dir, JSON: true}
		c.Study = []string{study}
		var out bytes.Buffer
		err := c.run(t.Context(), &out, quietProgress())
		var r retrieveResult
		if e := json.Unmarshal(out.Bytes(), &r); e != nil || err != nil || r.Completed != 6 || r.Failed != 0 || r.Status != "0000" {
			t.Fatalf("%s: %v, %v", out.String(), e, err)
		}
		var n int
		for uid, body := range bodies {
			raw, err := os.ReadFile(filepath.Join(dir, study, strings.TrimSuffix(uid, uid[strings.LastIndex(uid, "."):]), uid+".dcm"))
			if err != nil || !bytes.HasSuffix(raw, []byte(body)) {
				t.Errorf("%s: %d bytes, %v", uid, len(raw), err)
			}
			n++
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".part-*")); n != 6 || len(left) != 0 {
			t.Errorf("%d instances, %v left over", n, left)
		}
		c.Study = []string{"1.2.3.4.5"}
		if err := c.run(t.Context(), io.Discard, quietProgress()); err == nil || !strings.Contains(err.Error(), "has nothing of this") {
			t.Errorf("a study that is not there: %v", err)
		}
	})

	t.Run("move", func(t *testing.T) {
		c := &MoveCmd{peerFlags: otherPeer(address), To: "NODE"}
		c.Study, c.Series = []string{study}, []string{study + ".2"}
		var out strings.Builder
		if err := c.run(t.Context(), &out, quietProgress()); err != nil || !strings.HasPrefix(out.String(), "3 instances sent to NODE") {
			t.Errorf("%q, %v", out.String(), err)
		}
		for i := range 3 {
			uid := fmt.Sprintf("%s.2.%d", study, i+1)
			if _, body, _ := strings.Cut(node.got[uid], "|"); body != bodies[uid] {
				t.Errorf("%s arrived with %d bytes", uid, len(body))
			}
		}
		c.To = "NOWHERE"
		if err := c.run(t.Context(), io.Discard, quietProgress()); err == nil || !strings.Contains(err.Error(), "move destination unknown") {
			t.Errorf("unknown destination: %v", err)
		}
	})
}

// TestGetRefusesWhatItCannotWrite has a node that sends an instance whose UIDs
// are a path.
func TestGetRefusesWhatItCannotWrite(t *testing.T) {
	for _, tt := range []struct{ name, study, instance, want string }{
		{"path as UID", "1.2.3", "../../evil", "without valid study"},
		{"no study", "", "1.2.3.1", "without valid study"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ds := new(dicom.Dataset).SetString(dicom.TagSOPClassUID, dicom.UI, dicom.CTImageStorage).
				SetString(dicom.TagSOPInstanceUID, dicom.UI, tt.instance).SetString(dicom.TagStudyInstanceUID, dicom.UI, tt.study).
				SetString(dicom.TagSeriesInstanceUID, dicom.UI, "1.2.3.4")
			body, err := dicom.AppendDataset(nil, ds, dicom.ExplicitVRLittleEndian)
			if err != nil {
				t.Fatal(err)
			}
			var answered dimse.Status
			address := startNode(t, &dimse.Server{Services: []dimse.Service{{
				SOPClasses: []string{dicom.StudyRootGetSOPClass},
				Get: func(_ context.Context, _ *dimse.Request, out *dimse.Getter) dimse.Retrieved {
					var err error
					answered, err = out.Store(dimse.StoreItem{
						SOPClassUID: dicom.CTImageStorage, SOPInstanceUID: tt.instance,
						TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Data: bytes.NewReader(body),
					})
					if err != nil || !answered.OK() {
						return dimse.Retrieved{Status: dimse.Status{Code: dimse.SomeSuboperationsFailed}, Suboperations: dimse.Suboperations{Failed: 1}}
					}
					return dimse.Retrieved{Suboperations: dimse.Suboperations{Completed: 1}}
				},
			}}}, &storeNode{})
			dir := t.TempDir()
			c := &GetCmd{peerFlags: otherPeer(address), Dir: filepath.Join(dir, "in")}
			c.Called, c.Study = "NODE", []string{"1.2.3"}
			err = c.run(t.Context(), io.Discard, quietProgress())
			if err == nil || !strings.Contains(err.Error(), tt.want) || answered.Code != dimse.CannotUnderstand {
				t.Errorf("%v, answered %s", err, answered)
			}
			if files, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(files) != 0 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}

// TestFindAsksToCancelWhenInterrupted interrupts a query without end.
func TestFindAsksToCancelWhenInterrupted(t *testing.T) {
	cancelled := make(chan error, 1)
	address := startNode(t, &dimse.Server{Services: []dimse.Service{{
		SOPClasses: []string{dicom.StudyRootFindSOPClass},
		Find: func(ctx context.Context, _ *dimse.Request, out *dimse.Matches) dimse.Status {
			for {
				if err := out.Send(new(dicom.Dataset).SetString(dicom.TagStudyInstanceUID, dicom.UI, "1.2.3")); err != nil {
					cancelled <- context.Cause(ctx)
					return dimse.Status{Code: dimse.Cancelled}
				}
			}
		},
	}}}, &storeNode{})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	c := &FindCmd{peerFlags: otherPeer(address), Level: "study", Model: "study"}
	c.Called = "NODE"
	lines := 0
	err := c.run(ctx, writerFunc(func(p []byte) (int, error) {
		if lines++; lines == 100 {
			interrupt()
		}
		return len(p), nil
	}), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "interrupted after") {
		t.Errorf("error %v", err)
	}
	if cause := <-cancelled; !errors.Is(cause, dimse.ErrCancelled) {
		t.Errorf("the node was told %v", cause)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestIdentifierFromKeys(t *testing.T) {
	id, err := newIdentifier(worklistLevel, []string{"ScheduledProcedureStepSequence.Modality=CT", "PatientName=Каримов*", "00100020=7"})
	if err != nil {
		t.Fatal(err)
	}
	if err := id.ask(returned[worklistLevel]); err != nil {
		t.Fatal(err)
	}
	step := id.dataset.Item(dicom.TagScheduledProcedureStepSequence)
	if step.String(dicom.TagModality) != "CT" || !step.Has(dicom.TagScheduledStationAETitle) || len(id.dataset.Items(dicom.TagScheduledProcedureStepSequence)) != 1 {
		t.Errorf("step %+v", step)
	}
	if got := id.dataset.String(dicom.TagPatientName); got != "Каримов*" || id.dataset.String(dicom.TagSpecificCharacterSet) != "ISO_IR 192" {
		t.Errorf("name %q in %q", got, id.dataset.String(dicom.TagSpecificCharacterSet))
	}
	if id.dataset.Has(dicom.TagQueryRetrieveLevel) {
		t.Error("a worklist has no level")
	}
	for key, want := range map[string]string{
		"NoSuchThing=1": "is no attribute", "Modality.PatientID=1": "is no sequence", "Rows=x": "is a number",
		"PixelData=1": "binary", "RequestAttributesSequence=1": "is a sequence",
	} {
		if _, err := newIdentifier(studyLevel, []string{key}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", key, err, want)
		}
	}
}

func TestSelection(t *testing.T) {
	for _, tt := range []struct {
		name  string
		f     selectFlags
		level string
		root  bool
		err   string
	}{
		{name: "studies", f: selectFlags{Study: []string{"1.2", "1.3"}}, level: "STUDY"},
		{name: "series", f: selectFlags{Study: []string{"1.2"}, Series: []string{"1.2.1", "1.2.2"}}, level: "SERIES"},
		{name: "instance", f: selectFlags{Study: []string{"1.2"}, Series: []string{"1.2.1"}, Instance: []string{"1.2.1.1"}}, level: "IMAGE"},
		{name: "patient", f: selectFlags{Patient: "P"}, level: "PATIENT", root: true},
		{name: "a patient's study", f: selectFlags{Patient: "P", Study: []string{"1.2"}}, level: "STUDY", root: true},
		{name: "nothing", err: "say what to retrieve"},
		{name: "series of nowhere", f: selectFlags{Series: []string{"1.2"}}, err: "say what to retrieve"},
		{name: "series of two", f: selectFlags{Study: []string{"1.2", "1.3"}, Series: []string{"1.2.1"}}, err: "the one --study"},
		{name: "instances of two", f: selectFlags{Study: []string{"1.2"}, Series: []string{"1.2.1", "1.2.2"}, Instance: []string{"1.4"}}, err: "the one --series"},
		{name: "no UID", f: selectFlags{Study: []string{"1.2*"}}, err: "is no UID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ds, root, err := tt.f.identifier()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || root != tt.root || ds.String(dicom.TagQueryRetrieveLevel) != tt.level {
				t.Errorf("level %q, root %v, %v", ds.String(dicom.TagQueryRetrieveLevel), root, err)
			}
		})
	}
}

func TestGetContexts(t *testing.T) {
	contexts, roles := getContexts(dicom.StudyRootGetSOPClass, nil)
	if len(contexts) != dimse.MaxContexts || len(roles) != dimse.MaxContexts-1 || len(contexts[1].TransferSyntaxes) != len(takenSyntaxes) {
		t.Errorf("unknown classes: %d contexts, %d roles", len(contexts), len(roles))
	}
	contexts, roles = getContexts(dicom.StudyRootGetSOPClass, []string{dicom.CTImageStorage, dicom.SecondaryCaptureStorage})
	if len(contexts) != 1+2*len(takenSyntaxes) || len(roles) != 2 || len(contexts[1].TransferSyntaxes) != 1 {
		t.Errorf("two classes: %d contexts, %d roles", len(contexts), len(roles))
	}
	ids := map[byte]bool{}
	for _, pc := range contexts {
		if pc.ID%2 != 1 || ids[pc.ID] {
			t.Errorf("context ID %d", pc.ID)
		}
		ids[pc.ID] = true
	}
}

// TestEchoPrintsItsSteps checks the JSON of an echo that goes well and of one
// that doesn't: its exit must say so, too.
func TestEchoPrintsItsSteps(t *testing.T) {
	address := startNode(t, &dimse.Server{}, &storeNode{})
	c := &EchoCmd{peerFlags: otherPeer(address), JSON: true, Trial: true}
	echo := func() (r echoResult, err error) {
		var out bytes.Buffer
		err = c.run(t.Context(), &out)
		if e := json.Unmarshal(out.Bytes(), &r); e != nil {
			t.Errorf("printed %s: %v", out.String(), e)
		}
		return r, err
	}
	if r, err := echo(); err == nil || r.OK || r.Steps[len(r.Steps)-1].Code != "called_ae_title" {
		t.Errorf("wrong name: %+v, %v", r, err)
	}
	c.Called = "NODE"
	if r, err := echo(); err != nil || !r.OK || len(r.Classes) == 0 || len(r.Syntaxes) == 0 || r.RoundTrip <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
