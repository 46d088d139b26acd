package dimse

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Messages by hand after PS3.7: C-FIND Tables 9.3-3 to 9.3-5, C-GET 9.3-6 to
// 9.3-8, C-MOVE 9.3-9 to 9.3-11, N-EVENT-REPORT 10.3-1 and 10.3-2, N-GET 10.3-3,
// N-ACTION 10.3-7, N-CREATE 10.3-9. The fields of Annex E.1.
const (
	findRQ = `
		0000 0000 04000000 4C000000                         ; group length 76
		0000 0200 1C000000 '1.2.840.10008.5.1.4.1.2.2.1' 00 ; affected SOP class: study root, find
		0000 0001 02000000 2000                             ; 0020H: C-FIND-RQ
		0000 1001 02000000 0900                             ; message ID 9
		0000 0007 02000000 0000                             ; priority medium
		0000 0008 02000000 0000                             ; an identifier follows`
	findPending = `
		0000 0000 04000000 4C000000
		0000 0200 1C000000 '1.2.840.10008.5.1.4.1.2.2.1' 00
		0000 0001 02000000 2080                             ; 8020H: C-FIND-RSP
		0000 2001 02000000 0900                             ; in response to message 9
		0000 0008 02000000 0000                             ; an identifier follows
		0000 0009 02000000 00FF                             ; FF00H: matches are continuing`
	cancelRQ = `
		0000 0000 04000000 1E000000                         ; neither class nor message ID of its own
		0000 0001 02000000 FF0F                             ; 0FFFH: C-CANCEL-RQ
		0000 2001 02000000 0900                             ; of message 9
		0000 0008 02000000 0101                             ; no data set`
	moveRQ = `
		0000 0000 04000000 5A000000
		0000 0200 1C000000 '1.2.840.10008.5.1.4.1.2.2.2' 00
		0000 0001 02000000 2100                             ; 0021H: C-MOVE-RQ
		0000 1001 02000000 0900
		0000 0006 06000000 'WS0002'                         ; move destination
		0000 0007 02000000 0000
		0000 0008 02000000 0000`
	movePending = `
		0000 0000 04000000 74000000
		0000 0200 1C000000 '1.2.840.10008.5.1.4.1.2.2.2' 00
		0000 0001 02000000 2180                             ; 8021H: C-MOVE-RSP
		0000 2001 02000000 0900
		0000 0008 02000000 0101                             ; pending ones have no identifier
		0000 0009 02000000 00FF
		0000 2010 02000000 0400                             ; remaining 4
		0000 2110 02000000 0300                             ; completed 3
		0000 2210 02000000 0200                             ; failed 2
		0000 2310 02000000 0100                             ; warning 1`
	getFinal = `
		0000 0000 04000000 6A000000
		0000 0200 1C000000 '1.2.840.10008.5.1.4.1.2.2.3' 00
		0000 0001 02000000 1080                             ; 8010H: C-GET-RSP
		0000 2001 02000000 0900
		0000 0008 02000000 0000                             ; the failed ones' UIDs follow
		0000 0009 02000000 00B0                             ; B000H: one or more failures
		0000 2110 02000000 0300                             ; none remain, so there is no (0000,1020)
		0000 2210 02000000 0200
		0000 2310 02000000 0100`
	eventRQ = `
		0000 0000 04000000 62000000
		0000 0200 14000000 '1.2.840.10008.1.20.1'           ; affected SOP class: storage commitment
		0000 0001 02000000 0001                             ; 0100H: N-EVENT-REPORT-RQ
		0000 1001 02000000 0900
		0000 0008 02000000 0000                             ; event information follows
		0000 0010 16000000 '1.2.840.10008.1.20.1.1'         ; affected SOP instance
		0000 0210 02000000 0200                             ; event type 2: failures exist`
	eventRSP = `
		0000 0000 04000000 6C000000
		0000 0200 14000000 '1.2.840.10008.1.20.1'
		0000 0001 02000000 0081                             ; 8100H: N-EVENT-REPORT-RSP
		0000 2001 02000000 0900
		0000 0008 02000000 0101
		0000 0009 02000000 0000
		0000 0010 16000000 '1.2.840.10008.1.20.1.1'
		0000 0210 02000000 0200`
	actionRQ = `
		0000 0000 04000000 62000000
		0000 0300 14000000 '1.2.840.10008.1.20.1'           ; requested SOP class
		0000 0001 02000000 3001                             ; 0130H: N-ACTION-RQ
		0000 1001 02000000 0900
		0000 0008 02000000 0000
		0000 0110 16000000 '1.2.840.10008.1.20.1.1'         ; requested SOP instance
		0000 0810 02000000 0100                             ; action type 1: commit`
	attributesRQ = `
		0000 0000 04000000 5C000000
		0000 0300 18000000 '1.2.840.10008.3.1.2.3.3' 00
		0000 0001 02000000 1001                             ; 0110H: N-GET-RQ
		0000 1001 02000000 0900
		0000 0008 02000000 0101
		0000 0110 06000000 '1.2.3' 00
		0000 0510 08000000 1000 1000 0800 1800              ; (0010,0010) and (0008,0018)`
	createRQ = `
		0000 0000 04000000 3E000000
		0000 0200 18000000 '1.2.840.10008.3.1.2.3.3' 00     ; affected SOP class: MPPS
		0000 0001 02000000 4001                             ; 0140H: N-CREATE-RQ
		0000 1001 02000000 0900
		0000 0008 02000000 0000                             ; no instance: the SCP makes the UID`
)

func TestGoldenServiceMessages(t *testing.T) {
	numbered := func(c Command) Command {
		c.SetUint16(MessageID, 9)
		return c
	}
	request := func(f Field, class string, edit func(*Command)) Command {
		client := &Client{messageID: 8}
		c := client.newRequest(f, class)
		c.SetUint16(Priority, 0)
		c.SetUint16(CommandDataSetType, hasDataSet)
		if edit != nil {
			edit(&c)
		}
		return c
	}
	find, move, get := request(CFindRQ, findClass, nil), request(CMoveRQ, moveClass, func(c *Command) { c.SetText(MoveDestination, "WS0002") }), request(CGetRQ, getClass, nil)
	pendingMatch := newResponse(find, Status{Code: Pending})
	pendingMatch.SetUint16(CommandDataSetType, hasDataSet)
	var cancel Command
	cancel.SetUint16(CommandField, uint16(CCancelRQ))
	cancel.SetUint16(MessageIDBeingRespondedTo, 9)
	cancel.SetUint16(CommandDataSetType, noDataSet)
	n := Suboperations{Remaining: 4, Completed: 3, Failed: 2, Warning: 1}
	moving := newResponse(move, Status{Code: Pending})
	moving.setSuboperations(n, true)
	got := newResponse(get, Status{Code: SomeSuboperationsFailed})
	got.SetUint16(CommandDataSetType, hasDataSet)
	got.setSuboperations(n, false)
	commit := NRequest{SOPClassUID: commitClass, SOPInstanceUID: dicom.StorageCommitmentPushModelSOPInstance, EventTypeID: 2, ActionTypeID: 1, DataSet: patient("x")}
	event := numbered(commit.command(NEventReportRQ))
	reported := newResponse(event, Status{})
	reported.SetUID(AffectedSOPInstanceUID, event.sopInstance())
	reported.SetUint16(EventTypeID, 2)
	mpps := NRequest{SOPClassUID: mppsClass, SOPInstanceUID: "1.2.3", Attributes: []dicom.Tag{dicom.TagPatientName, dicom.TagSOPInstanceUID}}
	made := NRequest{SOPClassUID: mppsClass, DataSet: patient("x")}
	tests := []struct {
		name, bytes string
		command     Command
	}{
		{"C-FIND-RQ", findRQ, find},
		{"C-FIND-RSP, pending", findPending, pendingMatch},
		{"C-CANCEL-RQ", cancelRQ, cancel},
		{"C-MOVE-RQ", moveRQ, move},
		{"C-MOVE-RSP, pending", movePending, moving},
		{"C-GET-RSP, final", getFinal, got},
		{"N-EVENT-REPORT-RQ", eventRQ, event},
		{"N-EVENT-REPORT-RSP", eventRSP, reported},
		{"N-ACTION-RQ", actionRQ, numbered(commit.command(NActionRQ))},
		{"N-GET-RQ", attributesRQ, numbered(mpps.command(NGetRQ))},
		{"N-CREATE-RQ", createRQ, numbered(made.command(NCreateRQ))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.bytes)
			if diff := cmp.Diff(want, tt.command.Encode()); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			parsed, err := ParseCommand(want)
			if err != nil || cmp.Diff(want, parsed.Encode()) != "" {
				t.Errorf("parsed to %v, %v", parsed, err)
			}
		})
	}
	if diff := cmp.Diff(Suboperations{Completed: 3, Failed: 2, Warning: 1}, got.suboperations()); diff != "" {
		t.Error(diff)
	}
}
