package ups

import (
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// The rows of PS3.4 Table CC.2.5-3, edition 2026c, at the level of the step and
// of what has a Final State Code within it: N-CREATE, N-SET and final state as
// printed ("empty" for "shall be empty", "no" for "not allowed" and "-"), and
// the kind of matching key: R required, O optional, U unique, "-" none.
const tableOfTheStandard = `
	0008,1195 2/2,empty no  O -     TransactionUID
	0008,0016 no        no  R O     SOPClassUID
	0008,0018 no        no  R U     SOPInstanceUID
	0074,1200 1/1       3/1 R R     ScheduledProcedureStepPriority
	0040,4010 no        no  R O     ScheduledProcedureStepModificationDateTime
	0074,1204 1/1       3/1 O R     ProcedureStepLabel
	0074,1202 2/1       3/1 O R     WorklistLabel
	0074,1210 2/2       3/2 O -     ScheduledProcessingParametersSequence
	0040,4025 2/2       3/2 O R     ScheduledStationNameCodeSequence
	0040,4026 2/2       3/2 O R     ScheduledStationClassCodeSequence
	0040,4027 2/2       3/2 O R     ScheduledStationGeographicLocationCodeSequence
	0040,4034 2C/2C     3/2 O R     ScheduledHumanPerformersSequence
	0040,4005 1/1       3/1 R R     ScheduledProcedureStepStartDateTime
	0040,4011 3/1       3/1 O R     ExpectedCompletionDateTime
	0040,4008 3/3       3/3 O O     ScheduledProcedureStepExpirationDateTime
	0040,4018 2/2       3/1 O R     ScheduledWorkitemCodeSequence
	0040,0400 2/2       3/1 O O     CommentsOnTheScheduledProcedureStep
	0040,4041 1/1       3/1 R R     InputReadinessState
	0040,4021 2/2       3/2 O O     InputInformationSequence
	0020,000D 1C/2      3/2 O O     StudyInstanceUID
	0040,4070 3/3       3/3 O O     OutputDestinationSequence
	0010,0010 2/2       no  O R     PatientName
	0010,0020 1C/2      no  O R     PatientID
	0010,0021 2/2       no  O R     IssuerOfPatientID
	0010,0024 2/2       no  O O     IssuerOfPatientIDQualifiersSequence
	0010,1002 2/2       3/3 O O     OtherPatientIDsSequence
	0010,0030 2/2       no  O R     PatientBirthDate
	0010,0040 2/2       no  O R     PatientSex
	0010,1100 3/3       3/3 O -     ReferencedPatientPhotoSequence
	0038,0010 2/2       no  O R     AdmissionID
	0038,0014 2/2       no  O R     IssuerOfAdmissionIDSequence
	0008,1080 2/2       no  O O     AdmittingDiagnosesDescription
	0008,1084 2/2       no  O O     AdmittingDiagnosesCodeSequence
	0040,A370 2/2       no  O R     ReferencedRequestSequence
	0074,1224 1C/1C     no  O R     ReplacedProcedureStepSequence
	0010,2000 3/2       3/2 O O     MedicalAlerts
	0010,21C0 3/2       3/2 O O     PregnancyStatus
	0038,0050 3/2       3/2 O O     SpecialNeeds
	0074,1000 1/1       no  R R     ProcedureStepState
	0074,1002 2/2,empty 3/2 X -     ProcedureStepProgressInformationSequence
	0040,4052 no        3/1 X -     >ProcedureStepCancellationDateTime
	0074,100E no        3/1 X -     >ProcedureStepDiscontinuationReasonCodeSequence
	0074,1216 2/2,empty 3/2 P -     UnifiedProcedureStepPerformedProcedureSequence
	0040,4028 no        3/2 P O     >PerformedStationNameCodeSequence
	0040,4050 no        3/1 P -     >PerformedProcedureStepStartDateTime
	0040,4019 no        3/1 P -     >PerformedWorkitemCodeSequence
	0040,4051 no        3/1 P O     >PerformedProcedureStepEndDateTime
	0040,4033 no        2/2 P -     >OutputInformationSequence`

// The table that the code works by is the standard's.
func TestTableOfAttributesIsTheStandards(t *testing.T) {
	creates := map[string]need{
		"1/1": mustValue, "2/1": mayBeEmpty, "2/2": mayBeEmpty, "2/2,empty": startsEmpty, "no": notAllowed,
		"1C/1C": optional, "1C/2": optional, "2C/2C": optional, "3/1": optional, "3/2": optional, "3/3": optional,
	}
	seen := map[dicom.Tag]bool{}
	for line := range strings.Lines(strings.TrimSpace(tableOfTheStandard)) {
		f := strings.Fields(line)
		keyword, nested := strings.CutPrefix(f[5], ">")
		tag, err := dicom.ParseTag(strings.Replace(f[0], ",", "", 1))
		if err != nil || dicom.Keyword(tag) != keyword {
			t.Fatalf("%q: %s is %s, %v", line, f[0], dicom.Keyword(tag), err)
		}
		row, ok := byTag[tag]
		if nested {
			for _, a := range append(performed, progress...) {
				if a.tag == tag {
					row, ok = a, true
				}
			}
			if !ok || string(row.final) != f[3] {
				t.Errorf("%s: final state %c, want %s", keyword, row.final, f[3])
			}
			continue
		}
		seen[tag] = true
		create := creates[f[1]]
		if tag == dicom.TagTransactionUID {
			create = notAllowed // an empty one is not there, one with a value is dropped
		}
		if !ok || row.create != create || row.set != (f[2] != "no") || string(row.final) != f[3] {
			t.Errorf("%s: create %d, set %t, final %c; want %s, %s, %s", keyword, row.create, row.set, row.final, f[1], f[2], f[3])
		}
		if required := f[4] == "R" || f[4] == "U"; required && !row.match {
			t.Errorf("%s: is a matching key, %s", keyword, f[4])
		}
	}
	for _, a := range attributes {
		if !seen[a.tag] {
			t.Errorf("%s is no row of the standard's table", dicom.Keyword(a.tag))
		}
	}
}

// Messages by hand after PS3.7 (C-FIND Tables 9.3-3 and 9.3-4, N-EVENT-REPORT
// 10.3-1 and 10.3-2, N-ACTION 10.3-7 and 10.3-8, N-CREATE 10.3-9 and 10.3-10)
// and PS3.4 Annex CC, in Implicit VR Little Endian: tag, length, value.
const (
	createRQ = `
		0000 0000 04000000 64000000                           ; group length 100
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'       ; affected SOP class: UPS Push
		0000 0001 02000000 4001                               ; 0140H: N-CREATE-RQ
		0000 1001 02000000 0100                               ; message ID 1
		0000 0008 02000000 0000                               ; an attribute list follows
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00   ; affected SOP instance: the step`
	createList = `
		0800 0500 0A000000 'ISO_IR 192'
		1000 1000 0C000000 'Karimov^Ali '
		1000 2000 04000000 'P77 '
		4000 0540 0E000000 '20261122093000'                   ; (0040,4005) scheduled start
		4000 1840 FFFFFFFF                                    ; (0040,4018) scheduled workitem code, undefined length
		FEFF 00E0 FFFFFFFF
		0800 0001 06000000 '110004'
		0800 0201 04000000 'DCM '
		0800 0401 18000000 'Computer Aided Detection'
		FEFF 0DE0 00000000  FEFF DDE0 00000000
		4000 4140 06000000 'READY '                           ; (0040,4041) input readiness
		7400 0010 0A000000 'SCHEDULED '                       ; (0074,1000) procedure step state
		7400 0210 00000000                                    ; (0074,1002) progress information, empty
		7400 0012 06000000 'MEDIUM'                           ; (0074,1200) priority
		7400 0412 08000000 'Lung CAD'                         ; (0074,1204) label
		7400 1612 00000000                                    ; (0074,1216) performed procedure, empty`
	createRSP = `
		0000 0000 04000000 6E000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'
		0000 0001 02000000 4081                               ; 8140H: N-CREATE-RSP
		0000 2001 02000000 0100                               ; to message 1
		0000 0008 02000000 0101                               ; no data set
		0000 0009 02000000 0000                               ; success
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00`

	subscribeRQ = `
		0000 0000 04000000 6E000000
		0000 0300 1A000000 '1.2.840.10008.5.1.4.34.6.1'       ; requested SOP class: UPS Push, in a context of UPS Watch
		0000 0001 02000000 3001                               ; 0130H: N-ACTION-RQ
		0000 1001 02000000 0200
		0000 0008 02000000 0000                               ; action information follows
		0000 0110 1C000000 '1.2.826.0.1.3680043.10.91.1' 00   ; requested SOP instance
		0000 0810 02000000 0300                               ; action type 3: subscribe`
	subscribeInformation = `
		7400 3012 06000000 'FALSE '                           ; (0074,1230) deletion lock
		7400 3412 06000000 'PULLER'                           ; (0074,1234) receiving AE`
	subscribeRSP = `
		0000 0000 04000000 78000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'
		0000 0001 02000000 3081                               ; 8130H: N-ACTION-RSP
		0000 2001 02000000 0200
		0000 0008 02000000 0101
		0000 0009 02000000 0000
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0810 02000000 0300`

	eventRQ = `
		0000 0000 04000000 6E000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'       ; affected SOP class: UPS Push, in a context of UPS Event
		0000 0001 02000000 0001                               ; 0100H: N-EVENT-REPORT-RQ
		0000 1001 02000000 %ID                                ; message ID, the sender's
		0000 0008 02000000 0000
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0210 02000000 0100                               ; event type 1: UPS State Report`
	eventScheduled = `
		0800 0500 0A000000 'ISO_IR 192'
		4000 4140 06000000 'READY '
		7400 0010 0A000000 'SCHEDULED '`
	eventInProgress = `
		0800 0500 0A000000 'ISO_IR 192'
		4000 4140 06000000 'READY '
		7400 0010 0C000000 'IN PROGRESS '`
	eventRSP = `
		0000 0000 04000000 78000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'
		0000 0001 02000000 0081                               ; 8100H: N-EVENT-REPORT-RSP
		0000 2001 02000000 %ID
		0000 0008 02000000 0101
		0000 0009 02000000 0000
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0210 02000000 0100`

	claimRQ = `
		0000 0000 04000000 6E000000
		0000 0300 1A000000 '1.2.840.10008.5.1.4.34.6.1'       ; in a context of UPS Pull
		0000 0001 02000000 3001
		0000 1001 02000000 0300
		0000 0008 02000000 0000
		0000 0110 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0810 02000000 0100                               ; action type 1: change UPS state`
	claimInformation = `
		0800 9511 08000000 '1.2.3.4' 00                       ; (0008,1195) transaction UID: the lock
		7400 0010 0C000000 'IN PROGRESS '`
	claimRSP = `
		0000 0000 04000000 78000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'
		0000 0001 02000000 3081
		0000 2001 02000000 0300
		0000 0008 02000000 0101
		0000 0009 02000000 0000
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0810 02000000 0100`
	otherInformation = `
		0800 9511 08000000 '1.2.3.5' 00                       ; another transaction
		7400 0010 0C000000 'IN PROGRESS '`
	otherRSP = `
		0000 0000 04000000 AC000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'
		0000 0001 02000000 3081
		0000 2001 02000000 0300
		0000 0008 02000000 0101
		0000 0009 02000000 01C3                               ; C301H: the correct transaction UID was not provided
		0000 0209 2C000000 'The correct Transaction UID was not provided'
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0810 02000000 0100`

	cancelRQ = `
		0000 0000 04000000 6E000000
		0000 0300 1A000000 '1.2.840.10008.5.1.4.34.6.1'       ; in a context of UPS Watch
		0000 0001 02000000 3001
		0000 1001 02000000 0400
		0000 0008 02000000 0000
		0000 0110 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0810 02000000 0200                               ; action type 2: request UPS cancel`
	cancelInformation = `
		7400 3812 0E000000 'wrong patient '                   ; (0074,1238) reason for cancellation`
	cancelRSP = `
		0000 0000 04000000 78000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'
		0000 0001 02000000 3081
		0000 2001 02000000 0400
		0000 0008 02000000 0101
		0000 0009 02000000 0000
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0810 02000000 0200`
	eventCancelRQ = `
		0000 0000 04000000 6E000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'
		0000 0001 02000000 0001
		0000 1001 02000000 %ID
		0000 0008 02000000 0000
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0210 02000000 0200                               ; event type 2: UPS Cancel Requested`
	eventCancel = `
		0800 0500 0A000000 'ISO_IR 192'
		7400 3612 06000000 'PULLER'                           ; (0074,1236) requesting AE
		7400 3812 0E000000 'wrong patient '`
	eventCancelRSP = `
		0000 0000 04000000 78000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.1'
		0000 0001 02000000 0081
		0000 2001 02000000 %ID
		0000 0008 02000000 0101
		0000 0009 02000000 0000
		0000 0010 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		0000 0210 02000000 0200`

	findRQ = `
		0000 0000 04000000 4A000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.3'       ; affected SOP class: UPS Pull
		0000 0001 02000000 2000                               ; 0020H: C-FIND-RQ
		0000 1001 02000000 0500
		0000 0007 02000000 0000                               ; priority medium
		0000 0008 02000000 0000`
	findKeys = `
		0800 1800 00000000                                    ; (0008,0018) SOP instance, to be returned
		1000 1000 08000000 'KARIMOV*'                         ; (0010,0010)
		4000 1840 26000000                                    ; (0040,4018), 38 bytes
		FEFF 00E0 1E000000
		0800 0001 06000000 '110004'
		0800 0201 00000000
		0800 0401 00000000
		7400 0010 0C000000 'IN PROGRESS '
		7400 0412 00000000                                    ; (0074,1204) label, to be returned`
	findPending = `
		0000 0000 04000000 4A000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.3'
		0000 0001 02000000 2080                               ; 8020H: C-FIND-RSP
		0000 2001 02000000 0500
		0000 0008 02000000 0000                               ; a match follows
		0000 0009 02000000 00FF                               ; FF00H: matches are continuing`
	findMatch = `                                             ; no (0008,0005): its text is of the default repertoire
		0800 1800 1C000000 '1.2.826.0.1.3680043.10.91.1' 00
		1000 1000 0C000000 'Karimov^Ali '
		4000 1840 42000000                                    ; (0040,4018), 66 bytes: the code comes whole
		FEFF 00E0 3A000000
		0800 0001 06000000 '110004'
		0800 0201 04000000 'DCM '
		0800 0401 18000000 'Computer Aided Detection'
		7400 0010 0C000000 'IN PROGRESS '
		7400 0412 08000000 'Lung CAD'`
	findFinal = `
		0000 0000 04000000 4A000000
		0000 0200 1A000000 '1.2.840.10008.5.1.4.34.6.3'
		0000 0001 02000000 2080
		0000 2001 02000000 0500
		0000 0008 02000000 0101
		0000 0009 02000000 0000`
)

// unhex reads hexadecimal bytes; text in quotes stands for its ASCII bytes, ';'
// begins a comment and %ID is a message ID.
func unhex(t testing.TB, s string, id ...byte) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, ";")
		for i, part := range strings.Split(line, "'") {
			if i%2 == 1 {
				out = append(out, part...)
				continue
			}
			part = strings.ReplaceAll(part, "%ID", hex.EncodeToString(append(id, 0)))
			b, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			out = append(out, b...)
		}
	}
	return out
}

// wire is a device that sends and reads bytes.
type wire struct {
	*ul.Association
	t *testing.T
}

func (w *wire) send(context byte, command, data []byte) {
	w.t.Helper()
	var list io.Reader
	if data != nil {
		list = strings.NewReader(string(data))
	}
	if err := w.Send(context, command, list); err != nil {
		w.t.Fatal(err)
	}
}

// want reads a message and compares all its bytes.
func (w *wire) want(what string, context byte, command, data []byte) {
	w.t.Helper()
	in, got, err := w.ReadCommand()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(command, got); diff != "" || in != context {
		parsed, err := dimse.ParseCommand(got)
		w.t.Fatalf("%s: in context %d: %v, %v (-want +got):\n%s", what, in, parsed, err, diff)
	}
	if data == nil {
		return
	}
	list, err := io.ReadAll(w.DataReader(in))
	if err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(data, list); diff != "" {
		w.t.Fatalf("%s: data set (-want +got):\n%s\n%q", what, diff, list)
	}
}

// A step is pushed, subscribed to, claimed, called off and found, in messages
// typed from the standard; what is answered and reported is, byte for byte.
func TestGoldenMessages(t *testing.T) {
	s := open(t)
	s.run()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	const push, watch, pull, event = 1, 3, 5, 7
	rq := &ul.AssociateRequest{CalledAE: "TASVIR", CallingAE: "PULLER", User: ul.UserInformation{Roles: []ul.Role{{SOPClassUID: EventSOPClass, SCU: true}}}}
	for i, class := range []string{PushSOPClass, WatchSOPClass, PullSOPClass, EventSOPClass} {
		rq.Contexts = append(rq.Contexts, ul.ProposedContext{ID: byte(2*i + 1), AbstractSyntax: class, TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}})
	}
	a, err := ul.Request(t.Context(), nc, rq, ul.Config{Timeouts: ul.Timeouts{Idle: 20 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	w := &wire{a, t}

	w.send(push, unhex(t, createRQ), unhex(t, createList))
	w.want("N-CREATE", push, unhex(t, createRSP), nil)
	w.send(watch, unhex(t, subscribeRQ), unhex(t, subscribeInformation))
	w.want("N-ACTION, subscribe", watch, unhex(t, subscribeRSP), nil)
	w.want("N-EVENT-REPORT, scheduled", event, unhex(t, eventRQ, 1), unhex(t, eventScheduled))
	w.send(event, unhex(t, eventRSP, 1), nil)
	w.send(pull, unhex(t, claimRQ), unhex(t, claimInformation))
	w.want("N-ACTION, claim", pull, unhex(t, claimRSP), nil)
	w.want("N-EVENT-REPORT, in progress", event, unhex(t, eventRQ, 2), unhex(t, eventInProgress))
	w.send(event, unhex(t, eventRSP, 2), nil)
	w.send(pull, unhex(t, claimRQ), unhex(t, otherInformation))
	w.want("N-ACTION, claim by another", pull, unhex(t, otherRSP), nil)
	w.send(watch, unhex(t, cancelRQ), unhex(t, cancelInformation))
	w.want("N-ACTION, cancel", watch, unhex(t, cancelRSP), nil)
	w.want("N-EVENT-REPORT, cancel requested", event, unhex(t, eventCancelRQ, 3), unhex(t, eventCancel))
	w.send(event, unhex(t, eventCancelRSP, 3), nil)
	w.send(pull, unhex(t, findRQ), unhex(t, findKeys))
	w.want("C-FIND, a match", pull, unhex(t, findPending), unhex(t, findMatch))
	w.want("C-FIND, the end", pull, unhex(t, findFinal), nil)
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
