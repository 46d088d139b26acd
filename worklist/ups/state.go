package ups

import "github.com/tasvir-pacs/tasvir/pacs/dimse"

// State is the Procedure Step State (0074,1000). "" stands for a step that does
// not exist, null in the standard's tables.
type State string

// States. PS3.4 Table CC.1.1-1.
const (
	none       State = ""
	Scheduled  State = "SCHEDULED"
	InProgress State = "IN PROGRESS"
	Completed  State = "COMPLETED"
	Canceled   State = "CANCELED"
)

func (s State) final() bool { return s == Completed || s == Canceled }

// states are the columns of the transition table.
var states = []State{none, Scheduled, InProgress, Completed, Canceled}

// asked is what a request wants to happen to a step: a row of the transition
// table.
type asked int

const (
	askCreate asked = iota
	askProgress
	askProgressWrong // without the correct Transaction UID, as the others named so
	askSchedule
	askComplete
	askCompleteWrong
	askCancel // Request Cancel, by who does not hold the step
	askCanceled
	askCanceledWrong
)

// outcome is a cell of the transition table: the status, and what is done when
// it is success.
type outcome struct {
	status dimse.Code
	do     action
}

type action int

const (
	nothing action = iota
	create
	claim           // record the Transaction UID, report, become IN PROGRESS
	complete        // if the final state requirements are met, else C304
	discontinue     // likewise, as CANCELED
	passThrough     // become IN PROGRESS, then CANCELED
	reportRequested // tell subscribers that somebody wants it canceled
)

func refused(code dimse.Code) outcome { return outcome{status: code} }

func done(a action) outcome { return outcome{do: a} }

// transitions is PS3.4 Table CC.1.1-2. Its columns are states.
var transitions = map[asked][5]outcome{
	//                 null                         SCHEDULED                  IN PROGRESS                 COMPLETED                  CANCELED
	askCreate:        {done(create), refused(dimse.DuplicateInstance), refused(dimse.DuplicateInstance), refused(dimse.DuplicateInstance), refused(dimse.DuplicateInstance)},
	askProgress:      {refused(NoSuchStep), done(claim), refused(AlreadyInProgress), refused(NoLongerUpdated), refused(NoLongerUpdated)},
	askProgressWrong: {refused(NoSuchStep), refused(WrongTransaction), refused(WrongTransaction), refused(WrongTransaction), refused(WrongTransaction)},
	askSchedule:      {refused(NoSuchStep), refused(OnlyByCreate), refused(OnlyByCreate), refused(OnlyByCreate), refused(OnlyByCreate)},
	askComplete:      {refused(NoSuchStep), refused(NotInProgress), done(complete), refused(AlreadyCompleted), refused(NoLongerUpdated)},
	askCompleteWrong: {refused(NoSuchStep), refused(WrongTransaction), refused(WrongTransaction), refused(WrongTransaction), refused(WrongTransaction)},
	askCancel:        {refused(NoSuchStep), done(passThrough), done(reportRequested), refused(IsCompleted), refused(AlreadyCanceled)},
	askCanceled:      {refused(NoSuchStep), refused(NotInProgress), done(discontinue), refused(NoLongerUpdated), refused(AlreadyCanceled)},
	askCanceledWrong: {refused(NoSuchStep), refused(WrongTransaction), refused(WrongTransaction), refused(WrongTransaction), refused(WrongTransaction)},
}

// transition looks a cell up.
func transition(a asked, now State) outcome {
	for i, s := range states {
		if s == now {
			return transitions[a][i]
		}
	}
	return refused(dimse.ProcessingFailure)
}

// change is what a request to change the state asks for; ok is false for a state
// that is none. correct says whether the Transaction UID is: that of the step,
// or for one that has none yet, any.
func change(to State, correct bool) (a asked, ok bool) {
	rows := map[State][2]asked{
		Scheduled: {askSchedule, askSchedule}, InProgress: {askProgress, askProgressWrong},
		Completed: {askComplete, askCompleteWrong}, Canceled: {askCanceled, askCanceledWrong},
	}
	row, ok := rows[to]
	if correct {
		return row[0], ok
	}
	return row[1], ok
}
