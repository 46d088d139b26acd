package ups

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// together runs f n times at once.
func together(n int, f func(i int)) {
	var ready, ended sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		ended.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	ended.Wait()
}

// 20 performers want one step: one gets it, and can go on with it.
func TestExactlyOnePerformerWins(t *testing.T) {
	s := open(t)
	const n = 20
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = s.dial("PULLER")
	}
	wantCode(t, "create", peers[0].create("1.2.3", pushable()).Code, 0)
	task := s.Task("A")
	for _, uid := range []string{"1.2.3", s.stepOf(task.ID)} {
		answers := make([]dimse.Code, n)
		errs := make([]error, n)
		together(n, func(i int) {
			rsp, err := peers[i].NAction(context.Background(), dimse.NRequest{
				SOPClassUID: PushSOPClass, AbstractSyntax: PullSOPClass, SOPInstanceUID: uid, ActionTypeID: actChange,
				DataSet: keys(dicom.TagProcedureStepState, "IN PROGRESS", dicom.TagTransactionUID, fmt.Sprintf("1.2.100.%d", i)),
			})
			answers[i], errs[i] = rsp.Code, err
		})
		winner := -1
		for i, code := range answers {
			switch {
			case errs[i] != nil:
				t.Error(errs[i])
			case code == dimse.Success && winner >= 0:
				t.Errorf("%s: %d and %d have won", uid, winner, i)
			case code == dimse.Success:
				winner = i
			default:
				wantCode(t, "a loser", code, WrongTransaction)
			}
		}
		if winner < 0 {
			t.Fatalf("%s: nobody has won", uid)
		}
		wantCode(t, "the winner goes on", peers[winner].set(uid, fmt.Sprintf("1.2.100.%d", winner), performedAll()).Code, 0)
	}
}

// People claim in the client while devices claim by N-ACTION: each study has one
// reader, and both sides say the same.
func TestClientAndDeviceRace(t *testing.T) {
	s := open(t)
	person := s.Person("karimova", pacs.Radiologist)
	people, devices := 0, 0
	for i := range 15 {
		task := s.Task("A")
		uid := s.stepOf(task.ID)
		var mine error
		var code dimse.Code
		together(2, func(side int) {
			if side == 0 {
				_, mine = s.Worklist.Claim(context.Background(), pacs.System("test"), task.ID, person.ID)
				return
			}
			status, err := s.steps.ChangeState(context.Background(), Caller{Scope: pacs.Scope{Who: "ae:PULLER", FacilityIDs: []int64{s.A.ID}}}, uid, InProgress, fmt.Sprintf("1.2.200.%d", i))
			if err != nil {
				t.Error(err)
			}
			code = status.Code
		})
		after := s.TaskOf(pacs.Study{ID: task.StudyID})
		switch {
		case mine == nil && code == dimse.Success || mine != nil && code != dimse.Success:
			t.Errorf("the client: %v, the device: %s", mine, code)
		case mine == nil:
			people++
			if after.ClaimedBy != person.ID || after.Performer != "" {
				t.Errorf("held by %+v", after)
			}
		default:
			devices++
			if after.ClaimedBy != 0 || after.Performer != "ae:PULLER" {
				t.Errorf("held by %+v", after)
			}
		}
		if after.State != worklist.Claimed || s.stateOf(uid) != InProgress {
			t.Errorf("the task is %s, the step %s", after.State, s.stateOf(uid))
		}
	}
	t.Logf("%d to people, %d to devices", people, devices)
}

// Subscribing to all and creating at once: no step is missed.
func TestSubscribeWhileStepsAreCreated(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	by := Caller{Scope: pacs.Scope{Who: "ae:PUSHER", FacilityIDs: []int64{s.A.ID}}, FacilityID: s.A.ID}
	const n = 16
	together(n+1, func(i int) {
		if i == n {
			_ = p.subscribe(GlobalSubscription, true)
			return
		}
		if _, status, err := s.steps.Create(context.Background(), by, fmt.Sprintf("1.2.300.%d", i), pushable()); err != nil || !status.OK() {
			t.Error(status, err)
		}
	})
	for i := range n {
		if got := s.subscribed(fmt.Sprintf("1.2.300.%d", i)); got != "lock" {
			t.Errorf("step %d: %s", i, got)
		}
	}
	if got := len(s.queued("PULLER")); got != n {
		t.Errorf("%d events, want %d", got, n)
	}
}
