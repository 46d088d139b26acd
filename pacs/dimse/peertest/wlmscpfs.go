package peertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// TwoWorklistItems are worklist files for Wlmscpfs: of the patients P1, KARIMOV^ALI,
// and P2, YUSUPOVA^NODIRA, both at CT1 on 2026-11-22, accession numbers A-P1 and
// A-P2.
func TwoWorklistItems(t testing.TB) map[string][]byte {
	t.Helper()
	items := map[string][]byte{}
	for id, name := range map[string]string{"P1": "KARIMOV^ALI", "P2": "YUSUPOVA^NODIRA"} {
		item := new(dicom.Dataset).SetString(dicom.TagAccessionNumber, dicom.SH, "A-"+id).SetString(dicom.TagPatientName, dicom.PN, name).
			SetString(dicom.TagPatientID, dicom.LO, id).SetString(dicom.TagPatientBirthDate, dicom.DA, "19700101").SetString(dicom.TagPatientSex, dicom.CS, "M").
			SetString(dicom.TagStudyInstanceUID, dicom.UI, "1.2.3."+id[1:]).SetString(dicom.TagRequestedProcedureDescription, dicom.LO, "CT").
			SetSequence(dicom.TagScheduledProcedureStepSequence, new(dicom.Dataset).SetString(dicom.TagModality, dicom.CS, "CT").
				SetString(dicom.TagScheduledStationAETitle, dicom.AE, "CT1").SetString(dicom.TagScheduledProcedureStepStartDate, dicom.DA, "20261122").
				SetString(dicom.TagScheduledProcedureStepStartTime, dicom.TM, "0930").SetString(dicom.TagScheduledProcedureStepDescription, dicom.LO, "CT").
				SetString(dicom.TagScheduledProcedureStepID, dicom.SH, "S-"+id)).
			SetString(dicom.TagRequestedProcedureID, dicom.SH, "R-"+id)
		head := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: dicom.ModalityWorklistFindSOPClass, SOPInstanceUID: "1.2.3.9." + id[1:], TransferSyntaxUID: dicom.ExplicitVRLittleEndian})
		body, err := dicom.AppendDataset(head, item, dicom.ExplicitVRLittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		items[id] = body
	}
	return items
}

// Wlmscpfs runs dcmtk's worklist server, which answers to the AE title WLM with
// those of its worklist files, by name, that match.
func Wlmscpfs(t testing.TB, items map[string][]byte) (address string) {
	t.Helper()
	binary := Path(t, "wlmscpfs")
	root := t.TempDir()
	dir := filepath.Join(root, "WLM")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("lockfile", nil)
	for name, content := range items {
		write(name+".wl", content)
	}
	addresses, _ := Serve(t, 1, func(ports []string) *exec.Cmd { return exec.Command(binary, "-dfp", root, ports[0]) })
	return addresses[0]
}
