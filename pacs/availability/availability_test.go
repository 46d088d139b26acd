package availability

import (
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// The data set of an N-CREATE by hand, after PS3.4 Table R.3.2-1, in explicit VR
// little endian with sequences and items of defined length.
const goldenNotification = `
	0800 1111 5351 0000 4A000000                            ; (0008,1111) Referenced Performed Procedure Step Sequence
	  FEFF 00E0 42000000
	    0800 5011 5549 1800 '1.2.840.10008.3.1.2.3.3' 00    ; (0008,1150) its class: modality performed procedure step
	    0800 5511 5549 0E00 '1.2.3.77.10.11' ; (0008,1155)
	    4000 1940 5351 0000 00000000                        ; (0040,4019) Performed Workitem Code Sequence, type 2: empty
	0800 1511 5351 0000 D0000000                            ; (0008,1115) Referenced Series Sequence
	  FEFF 00E0 C8000000
	    0800 9911 5351 0000 AE000000                        ; (0008,1199) Referenced SOP Sequence
	      FEFF 00E0 4C000000
	        0800 5400 4145 0600 'TASVIR'                    ; (0008,0054) Retrieve AE Title
	        0800 5600 4353 0600 'ONLINE'                    ; (0008,0056) Instance Availability
	        0800 5011 5549 1A00 '1.2.840.10008.5.1.4.1.1.2' 00
	        0800 5511 5549 0600 '1.2.11'                    ; (0008,1155)
	      FEFF 00E0 52000000
	        0800 5400 4145 0600 'TASVIR'
	        0800 5600 4353 0C00 'UNAVAILABLE '
	        0800 5011 5549 1A00 '1.2.840.10008.5.1.4.1.1.2' 00
	        0800 5511 5549 0600 '1.2.12'
	    2000 0E00 5549 0600 '1.2.10'                        ; (0020,000E) Series Instance UID
	2000 0D00 5549 0400 '1.2' 00                            ; (0020,000D) Study Instance UID`

var (
	comment = regexp.MustCompile(`;.*`)
	quoted  = regexp.MustCompile(`'([^']*)'`)
)

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	text = comment.ReplaceAllString(text, "")
	text = quoted.ReplaceAllStringFunc(text, func(s string) string { return hex.EncodeToString([]byte(s[1 : len(s)-1])) })
	raw, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestGoldenNotification(t *testing.T) {
	n := &Notices{o: Options{AETitle: "TASVIR"}}
	list := []instance{{"1.2.10", ctImageStorage, "1.2.11", online}, {"1.2.10", ctImageStorage, "1.2.12", unavailable}}
	steps := []Step{{dicom.ModalityPerformedProcedureStepSOPClass, "1.2.3.77.10.11", []string{"1.2.11", "1.2.12", "1.2.99"}}}
	requests, err := n.notifications("1.2", list, steps)
	if err != nil || len(requests) != 1 {
		t.Fatalf("%d requests, %v", len(requests), err)
	}
	rq := requests[0]
	got, err := dicom.AppendDataset(nil, rq.DataSet, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	if golden := bytesOf(t, goldenNotification); !slices.Equal(got, golden) {
		t.Errorf("written\n%s\nwant\n%s", hex.Dump(got), hex.Dump(golden))
	}
	if rq.SOPClassUID != "1.2.840.10008.5.1.4.33" || dicom.ValidUID(rq.SOPInstanceUID) != nil || !strings.HasPrefix(rq.SOPInstanceUID, "2.25.") {
		t.Errorf("it is %s of class %s", rq.SOPInstanceUID, rq.SOPClassUID)
	}
	again, _ := n.notifications("1.2", list, steps)
	list[0].availability = nearline
	other, _ := n.notifications("1.2", list, steps)
	if again[0].SOPInstanceUID != rq.SOPInstanceUID || other[0].SOPInstanceUID == rq.SOPInstanceUID {
		t.Errorf("UIDs: %s, the same again %s, another %s", rq.SOPInstanceUID, again[0].SOPInstanceUID, other[0].SOPInstanceUID)
	}
}

// Instances of several steps and of none, and more than one message may name.
func TestNotificationsByStep(t *testing.T) {
	n := &Notices{o: Options{AETitle: "X"}}
	list := []instance{{"1", "9", "1.1", online}, {"1", "9", "1.2", online}, {"2", "9", "2.1", online}, {"2", "9", "2.2", online}}
	lines := func(list []instance, steps ...Step) (out []string) {
		requests, err := n.notifications("7", list, steps)
		if err != nil {
			t.Fatal(err)
		}
		for _, rq := range requests {
			out = append(out, line(rq.DataSet))
		}
		return out
	}
	want(t, "two steps and one of none", lines(list, Step{"3", "8.1", []string{"2.1", "1.1"}}, Step{"3", "8.2", []string{"2.2", "2.1"}}),
		"7 step=8.1 1: 1=ONLINE@X 2: 1=ONLINE@X", "7 step=8.2 2: 2=ONLINE@X", "7 1: 2=ONLINE@X")
	want(t, "nothing", lines(nil))
	many := make([]instance, 2*MaxInstances+1)
	for i := range many {
		many[i] = instance{"1", "9", "1.1", online}
	}
	requests, err := n.notifications("7", many, nil)
	if err != nil || len(requests) != 3 {
		t.Fatalf("%d requests, %v", len(requests), err)
	}
	counts := []int{}
	for _, rq := range requests {
		counts = append(counts, len(rq.DataSet.Item(dicom.TagReferencedSeriesSequence).Items(dicom.TagReferencedSOPSequence)))
	}
	if !slices.Equal(counts, []int{MaxInstances, MaxInstances, 1}) {
		t.Errorf("instances in each: %v", counts)
	}
}

// A study of hospital A: its own station and the national one are told, nobody
// else; and again as it goes to the cold store, loses its pixels, and is deleted.
func TestTold(t *testing.T) {
	s := openSite(t)
	var own, national, other, mute station
	for ae, at := range map[string]struct {
		station  *station
		facility string
		change   func(*access.Device)
	}{
		"OWN":      {&own, "A", func(*access.Device) {}},
		"NATIONAL": {&national, "B", func(d *access.Device) { d.AllFacilities = true }},
		"OTHER":    {&other, "B", func(*access.Device) {}},
		"MUTE":     {&mute, "A", func(d *access.Device) { d.Notify = false }},
	} {
		addr, _ := listen(t, ae, at.station, "127.0.0.1:0")
		s.device(ae, at.facility, addr, at.change)
	}
	study := s.publish("A", "1.5", "1.5.1", 2)
	s.changed(study)
	s.work()
	first := "1.5 1.5.1: 1=ONLINE@TASVIR 2=ONLINE@TASVIR"
	want(t, "the hospital's own", own.told(), first)
	want(t, "the national one", national.told(), first)
	want(t, "the notices", s.states(), "NATIONAL 1.5 told 0", "OWN 1.5 told 0")

	s.publish("A", "1.5", "1.5.2", 1) // late
	s.changed(study)
	s.work()
	want(t, "late images", own.told(), first+" 1.5.2: 1=ONLINE@TASVIR")

	s.exec(`UPDATE pack SET key = 'cold/' || key WHERE series_row = (SELECT id FROM series WHERE series_uid = '1.5.1')`)
	s.exec(`UPDATE instance SET pixels_deleted = '{}' WHERE sop_uid = '1.5.2.1'`)
	s.changed(study)
	s.work()
	want(t, "moved, and without pixels", own.told(), "1.5 1.5.1: 1=NEARLINE@TASVIR 2=NEARLINE@TASVIR 1.5.2: 1=UNAVAILABLE@TASVIR")

	s.exec(`UPDATE instance SET rejected = '113001' WHERE sop_uid = '1.5.1.2'`)
	s.changed(study)
	s.work()
	want(t, "rejected", own.told(), "1.5 1.5.1: 1=NEARLINE@TASVIR 2=UNAVAILABLE@TASVIR 1.5.2: 1=UNAVAILABLE@TASVIR")

	s.inTx(func(tx pgx.Tx) error {
		if err := s.Deleted(t.Context(), tx, study); err != nil {
			return err
		}
		return index.DeleteStudy(t.Context(), tx, study)
	})
	s.work()
	want(t, "deleted", own.told(), "1.5 1.5.1: 1=UNAVAILABLE@TASVIR 2=UNAVAILABLE@TASVIR 1.5.2: 1=UNAVAILABLE@TASVIR")

	// One of them comes again.
	s.publish("A", "1.5", "1.5.2", 1)
	s.changed(study)
	s.work()
	want(t, "sent again", own.told(), "1.5 1.5.2: 1=ONLINE@TASVIR 1.5.1: 1=UNAVAILABLE@TASVIR 2=UNAVAILABLE@TASVIR")
	want(t, "the other hospital's", other.told())
	want(t, "one that did not ask", mute.told())

	// Work that is left over does nothing more.
	if waits := s.work(); slices.Max(waits) != 0 {
		t.Errorf("settled notices wait %v", waits)
	}
	want(t, "nothing new", own.told())
}

// A transaction that is rolled back tells nothing.
func TestRolledBack(t *testing.T) {
	s := openSite(t)
	var own station
	addr, _ := listen(t, "OWN", &own, "127.0.0.1:0")
	s.device("OWN", "A", addr)
	study := s.publish("A", "1.5", "1.5.1", 1)
	tx, err := s.ix.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Changed(t.Context(), tx, study); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.work(); len(s.jobs) != 1 {
		t.Errorf("jobs %v", s.jobs)
	}
	want(t, "told", own.told())
}

// A device that is off: what waits for it waits as one, and comes over one
// association when it is there again.
func TestUnreachable(t *testing.T) {
	s := openSite(t)
	var own station
	addr, stop := listen(t, "OWN", &own, "127.0.0.1:0")
	s.device("OWN", "A", addr)
	stop()
	for _, uid := range []string{"1.1", "1.2", "1.3"} {
		s.changed(s.publish("A", uid, uid+".1", 1))
	}
	for _, wait := range s.work() {
		if wait <= 0 || wait > firstPause+time.Second {
			t.Errorf("a wait of %s after the first failure", wait)
		}
	}
	var failures int
	var why string
	if err := s.ix.Pool().QueryRow(t.Context(), `SELECT d.failures, n.last_error FROM availability_device d, availability_notice n ORDER BY n.asked_at LIMIT 1`).Scan(&failures, &why); err != nil {
		t.Fatal(err)
	}
	if failures != 1 || !strings.Contains(why, "refused") {
		t.Errorf("%d failures, %q: one device is tried once", failures, why)
	}
	s.exec(`UPDATE availability_device SET failures = 30, retry_at = '-infinity'`)
	if wait := s.work()[0]; wait < longestPause-time.Minute || wait > longestPause {
		t.Errorf("after 31 failures it waits %s", wait)
	}
	listen(t, "OWN", &own, addr)
	s.exec(`UPDATE availability_device SET retry_at = '-infinity'`)
	s.work()
	want(t, "told", own.told(), "1.1 1.1.1: 1=ONLINE@TASVIR", "1.2 1.2.1: 1=ONLINE@TASVIR", "1.3 1.3.1: 1=ONLINE@TASVIR")
	if own.associations != 1 {
		t.Errorf("%d associations for three studies", own.associations)
	}

	// After three days it is given up.
	s.changed(1)
	s.exec(`UPDATE device SET port = 1`)
	s.exec(`UPDATE availability_notice SET asked_at = now() - interval '73 h' WHERE state = 'waiting'`)
	if waits := s.work(); slices.Max(waits) != 0 {
		t.Errorf("what was given up waits %v", waits)
	}
	if states := s.states(); !slices.Contains(states, "OWN 1.1 failed 0") || s.outcome[len(s.outcome)-1] {
		t.Errorf("states %q, outcomes %v", states, s.outcome)
	}
}

// A refused notice is tried again and does not hold up others; one whose answer
// was lost, which the device knows, is settled.
func TestRefused(t *testing.T) {
	s := openSite(t)
	own := station{answer: func(rq *dimse.Request) dimse.NResponse {
		switch rq.DataSet.String(dicom.TagStudyInstanceUID) {
		case "1.1":
			return dimse.NResponse{Status: dimse.Statusf(dimse.ProcessingFailure, "not that one")}
		case "1.2":
			return dimse.NResponse{Status: dimse.Status{Code: dimse.DuplicateInstance}}
		}
		return dimse.NResponse{}
	}}
	addr, _ := listen(t, "OWN", &own, "127.0.0.1:0")
	s.device("OWN", "A", addr)
	for _, uid := range []string{"1.1", "1.2", "1.3"} {
		s.changed(s.publish("A", uid, uid+".1", 1))
	}
	waits := s.work()
	if waits[0] <= 0 || waits[1] != 0 || waits[2] != 0 {
		t.Errorf("waits %v", waits)
	}
	want(t, "the notices", s.states(), "OWN 1.1 waiting 1", "OWN 1.2 told 0", "OWN 1.3 told 0")
	s.exec(`UPDATE availability_notice SET refusals = 19, next_at = '-infinity' WHERE state = 'waiting'`)
	s.work()
	want(t, "after 20 refusals", s.states()[:1], "OWN 1.1 failed 20")

	// It changes again, and is taken this time.
	own.answer = nil
	s.changed(1)
	s.work()
	want(t, "told at last", s.states()[:1], "OWN 1.1 told 0")
}

// While a device is being told, something happens to the study: that is told
// too. A claim that a killed node has left runs out.
func TestMeanwhile(t *testing.T) {
	s := openSite(t)
	var own station
	var study int64
	again := true
	own.answer = func(*dimse.Request) dimse.NResponse {
		if again {
			again = false
			s.exec(`UPDATE pack SET key = 'cold/' || key`)
			s.changed(study)
		}
		return dimse.NResponse{}
	}
	addr, _ := listen(t, "OWN", &own, "127.0.0.1:0")
	s.device("OWN", "A", addr)
	study = s.publish("A", "1.5", "1.5.1", 1)
	s.changed(study)
	s.exec(`INSERT INTO availability_device (ae_title, claimed_until) VALUES ('OWN', now() + interval '1 h')`)
	if waits := s.work(); waits[0] <= 0 || waits[0] > 2*time.Second {
		t.Errorf("another node is at it: wait %v", waits)
	}
	s.exec(`UPDATE availability_device SET claimed_until = now() - interval '1 s'`)
	s.work()
	want(t, "told", own.told(), "1.5 1.5.1: 1=ONLINE@TASVIR", "1.5 1.5.1: 1=NEARLINE@TASVIR")

	// Who does not want to be told any more is not.
	s.changed(study)
	s.exec(`UPDATE device SET notify = false`)
	s.work()
	want(t, "told", own.told())
	want(t, "the notices", s.states())
}
