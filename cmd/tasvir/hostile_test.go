package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

const ctImageStorage = "1.2.840.10008.5.1.4.1.1.2"

// badInput is a data set that can't be archived as it is.
type badInput struct {
	name    string
	dataset []byte     // explicit little endian, without file meta
	uid     string     // the SOP Instance UID the request names
	status  dimse.Code // what C-STORE answers
	refused uint16     // STOW-RS Failure Reason (0008,1197); 0 when it is kept all the same
}

// element is an explicit VR little endian data element with a short length.
func element(group, number uint16, vr, value string) []byte {
	if len(value)%2 == 1 {
		value += "\x00"
	}
	b := binary.LittleEndian.AppendUint16(nil, group)
	b = binary.LittleEndian.AppendUint16(b, number)
	b = append(b, vr...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// longElement is one with a 32-bit length field that says length, whatever
// follows.
func longElement(group, number uint16, vr string, length uint32, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, group)
	b = binary.LittleEndian.AppendUint16(b, number)
	b = append(b, vr...)
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, length)
	return append(b, value...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// identified is the beginning of a data set with these UIDs.
func identified(sop string) []byte {
	return join(
		element(0x0008, 0x0016, "UI", ctImageStorage), element(0x0008, 0x0018, "UI", sop), element(0x0008, 0x0060, "CS", "CT"),
		element(0x0010, 0x0020, "LO", "HOSTILE"), element(0x0020, 0x000D, "UI", "1.2.3.1"), element(0x0020, 0x000E, "UI", "1.2.3.1.1"))
}

func badInputs() []badInput {
	const sop = "1.2.3.1.1.1"
	item := []byte{0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF}
	nested := identified(sop)
	for range 4000 {
		nested = append(append(nested, longElement(0x0040, 0xA730, "SQ", 0xFFFFFFFF, nil)...), item...)
	}
	long := "1." + strings.Repeat("2", 68)
	return []badInput{
		{"not DICOM", bytes.Repeat([]byte("this is a letter, not an image. "), 40), sop, dimse.CannotUnderstand, 0xC000},
		{"truncated inside an element", join(identified(sop), element(0x0028, 0x0010, "US", "\x02\x00")[:7]), sop, dimse.Success, 0},
		{"truncated inside PixelData", join(identified(sop), longElement(0x7FE0, 0x0010, "OW", 524288, make([]byte, 1000))), sop, dimse.Success, 0},
		{"no SOP Instance UID", join(element(0x0008, 0x0016, "UI", ctImageStorage), element(0x0020, 0x000D, "UI", "1.2.3.1"), element(0x0020, 0x000E, "UI", "1.2.3.1.1")), sop, dimse.Success, 0},
		{"a UID of 70 characters", identified(long), long, dimse.Success, 0},
		{"a path in a UID", identified("../../../etc/passwd"), "../../../etc/passwd", dimse.Success, 0},
		{"4,000 nested sequences", nested, sop, dimse.Success, 0},
		{"4 GB in 200 bytes", join(identified(sop), longElement(0x0009, 0x1001, "OB", 0xFFFFFFF0, make([]byte, 20))), sop, dimse.Success, 0},
		{"another instance than the request says", identified("1.2.3.9"), sop, dimse.DataSetMismatchWarning, 0},
	}
}

// Whatever comes in: the right answer, flat memory, a journal that stays
// readable, and nothing half kept.
func TestHostileInput(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	before := a.rss()
	for _, bad := range badInputs() {
		t.Run(bad.name, func(t *testing.T) {
			status := storeOne(t, a, bad.uid, bad.dataset)
			if status.Code != bad.status {
				t.Errorf("C-STORE answered %s, want %s", status, bad.status)
			}
			if bad.status == dimse.DataSetMismatchWarning {
				return // a STOW-RS request names no instance
			}
			file := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: ctImageStorage, SOPInstanceUID: bad.uid, TransferSyntaxUID: dicom.ExplicitVRLittleEndian})
			file = append(file, bad.dataset...)
			want := http.StatusAccepted
			if bad.refused != 0 {
				// With file meta information around it, it would be a broken DICOM file.
				file, want = bad.dataset, http.StatusConflict
			}
			code, refused := h.stowOne(t, file)
			if code != want || refused != bad.refused {
				t.Errorf("STOW-RS answered %d with failure reason %04X, want %d with %04X", code, refused, want, bad.refused)
			}
		})
	}
	t.Run("PDU longer than allowed", func(t *testing.T) { pduTooLong(t, a) })
	t.Run("unknown AE title", func(t *testing.T) {
		err := a.echo("STRANGER")
		if err == nil || !strings.Contains(err.Error(), "calling AE title") {
			t.Errorf("a stranger's association: %v", err)
		}
	})
	if after := a.rss(); after > before+64<<20 {
		t.Errorf("memory grew from %d to %d MiB", before>>20, after>>20)
	}

	// The archive still works, also after a restart with the same journal.
	study := phantom.Small(phantom.HeadCT, 3)
	h.send("URGUT_CT1", study)
	a.kill()
	a.start()
	h.expect(study, 3)
	var all []map[string]any
	h.qido("/studies", &all)
	if len(all) != 1 {
		t.Errorf("the archive has %d studies, want only the good one", len(all))
	}
}

// storeOne sends one data set by C-STORE on an association of its own.
func storeOne(t *testing.T, a *archive, uid string, dataset []byte) dimse.Status {
	t.Helper()
	kinds := []dimse.Kind{{SOPClassUID: ctImageStorage, TransferSyntaxUID: dicom.ExplicitVRLittleEndian}}
	client, err := dimse.Dial(t.Context(), a.dicom, dimse.Dialer{CallingAE: "URGUT_CT1", CalledAE: "TASVIR", Contexts: dimse.GroupContexts(kinds)[0].Contexts})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	status, err := client.Store(t.Context(), dimse.StoreItem{
		SOPClassUID: ctImageStorage, SOPInstanceUID: uid, TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Data: bytes.NewReader(dataset),
	})
	if err != nil {
		t.Fatalf("C-STORE was not answered: %v", err)
	}
	return status
}

// stowOne sends one PS3.10 file by STOW-RS and returns the HTTP
// status and the failure reason, 0 when it is kept with a warning.
func (h *hospital) stowOne(t *testing.T, file []byte) (int, uint16) {
	t.Helper()
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	part, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := parts.Close(); err != nil {
		t.Fatal(err)
	}
	rq, err := http.NewRequest("POST", h.a.web+"/dicom-web/studies", &body)
	if err != nil {
		t.Fatal(err)
	}
	rq.Header.Set("Authorization", "Bearer "+h.token)
	rq.Header.Set("Content-Type", `multipart/related; type="application/dicom"; boundary=`+parts.Boundary())
	rq.Header.Set("Accept", "application/dicom+json")
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	type failures struct {
		Value []struct {
			Reason struct{ Value []uint16 } `json:"00081197"`
		}
	}
	var response struct {
		Failed failures `json:"00081198"` // Failed SOP Sequence
		Other  failures `json:"0008119A"` // Other Failures Sequence: without usable UIDs
		Kept   struct {
			Value []struct {
				Warning struct{ Value []uint16 } `json:"00081196"`
			}
		} `json:"00081199"` // Referenced SOP Sequence
	}
	if err := json.Unmarshal(raw, &response); err != nil {
		t.Fatalf("STOW-RS answered %d %.300s: %v", answer.StatusCode, raw, err)
	}
	all := append(response.Failed.Value, response.Other.Value...)
	if kept := response.Kept.Value; len(all) == 0 && len(kept) == 1 && len(kept[0].Warning.Value) == 1 {
		return answer.StatusCode, 0
	}
	if len(all) != 1 || len(all[0].Reason.Value) != 1 {
		t.Fatalf("STOW-RS answered %d %.300s, want one failure with its reason or one warning", answer.StatusCode, raw)
	}
	return answer.StatusCode, all[0].Reason.Value[0]
}

// pduTooLong associates and then announces a P-DATA-TF of 1 GB: an A-ABORT
// must come back, and nothing be allocated.
func pduTooLong(t *testing.T, a *archive) {
	conn, err := net.DialTimeout("tcp", a.dicom, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(associateRQ("URGUT_CT1", "TASVIR")); err != nil {
		t.Fatal(err)
	}
	if kind, _ := readPDU(t, conn); kind != 0x02 {
		t.Fatalf("the association was not accepted but answered with PDU type %02X", kind)
	}
	if _, err := conn.Write([]byte{0x04, 0, 0x40, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if kind, body := readPDU(t, conn); kind != 0x07 {
		t.Errorf("a PDU of 1 GB was answered with type %02X %x, want A-ABORT", kind, body)
	}
}

// associateRQ is an A-ASSOCIATE-RQ (PS3.8 9.3.2) that proposes verification.
func associateRQ(calling, called string) []byte {
	item := func(kind byte, body []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{kind, 0}, uint16(len(body))), body...)
	}
	body := []byte{0, 1, 0, 0}
	body = append(body, fmt.Sprintf("%-16s%-16s", called, calling)...)
	body = append(body, make([]byte, 32)...)
	body = append(body, item(0x10, []byte("1.2.840.10008.3.1.1.1"))...)
	body = append(body, item(0x20, join([]byte{1, 0, 0, 0}, item(0x30, []byte("1.2.840.10008.1.1")), item(0x40, []byte("1.2.840.10008.1.2"))))...)
	body = append(body, item(0x50, item(0x51, []byte{0, 0, 0x40, 0}))...)
	return append(binary.BigEndian.AppendUint32([]byte{0x01, 0}, uint32(len(body))), body...)
}

func readPDU(t *testing.T, r io.Reader) (kind byte, body []byte) {
	t.Helper()
	var head [6]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatalf("no PDU came: %v", err)
	}
	body = make([]byte, binary.BigEndian.Uint32(head[2:]))
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatal(err)
	}
	return head[0], body
}

// qido asks a QIDO-RS question with the bearer token.
func (h *hospital) qido(path string, out any) {
	t := h.a.t
	t.Helper()
	rq, err := http.NewRequest("GET", h.a.web+"/dicom-web"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	rq.Header.Set("Authorization", "Bearer "+h.token)
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("QIDO-RS %s: %d", path, answer.StatusCode)
	}
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
}

// expect waits until a study has so many instances in QIDO-RS and compares
// their bytes with those generated.
func (h *hospital) expect(study *phantom.Study, n int) {
	t := h.a.t
	t.Helper()
	eventually(t, "the study is published", func() bool {
		var found []map[string]any
		h.qido("/studies/"+study.StudyInstanceUID()+"/instances", &found)
		return len(found) == n
	})
	for instance, err := range study.Instances() {
		if err != nil {
			t.Fatal(err)
		}
		got := h.retrieve(instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID)
		header, err := dicom.Scan(bytes.NewReader(got), dicom.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[header.DatasetOffset:], instance.Dataset()) {
			t.Errorf("instance %d is not the one that was sent", instance.InstanceNumber)
		}
	}
}
