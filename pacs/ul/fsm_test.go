package ul

import (
	"strconv"
	"strings"
	"testing"
)

// table910 is PS3.8 Table 9-10 as it is printed: a row for each event, a column
// for each state from Sta1 to Sta13.
const table910 = `
Evt1   AE-1 -    -    -    -    -    -    -    -    -     -    -    -
Evt2   -    -    -    AE-2 -    -    -    -    -    -     -    -    -
Evt3   -    AA-1 AA-8 -    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
Evt4   -    AA-1 AA-8 -    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
Evt5   AE-5 -    -    -    -    -    -    -    -    -     -    -    -
Evt6   -    AE-6 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
Evt7   -    -    AE-7 -    -    -    -    -    -    -     -    -    -
Evt8   -    -    AE-8 -    -    -    -    -    -    -     -    -    -
Evt9   -    -    -    -    -    DT-1 -    AR-7 -    -     -    -    -
Evt10  -    AA-1 AA-8 -    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
Evt11  -    -    -    -    -    AR-1 -    -    -    -     -    -    -
Evt12  -    AA-1 AA-8 -    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
Evt13  -    AA-1 AA-8 -    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
Evt14  -    -    -    -    -    -    -    AR-4 AR-9 -     -    AR-4 -
Evt15  -    -    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1 -
Evt16  -    AA-2 AA-3 -    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2
Evt17  -    AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5
Evt18  -    AA-2 -    -    -    -    -    -    -    -     -    -    AA-2
Evt19  -    AA-1 AA-8 -    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
`

// actionEnds is the next state of each action as PS3.8 Tables 9-6 to 9-9 give
// it: acceptor and requestor differ in AR-8 only.
var actionEnds = map[string]State{
	"AE-1": 4, "AE-2": 5, "AE-3": 6, "AE-4": 1, "AE-5": 2, "AE-6": 3, "AE-7": 6, "AE-8": 13,
	"DT-1": 6, "DT-2": 6,
	"AR-1": 7, "AR-2": 8, "AR-3": 1, "AR-4": 13, "AR-5": 1, "AR-6": 7, "AR-7": 8, "AR-8": 9, "AR-9": 11, "AR-10": 12,
	"AA-1": 13, "AA-2": 1, "AA-3": 1, "AA-4": 1, "AA-5": 1, "AA-6": 13, "AA-7": 13, "AA-8": 13,
}

func TestAcceptance05EveryCellOfTable910(t *testing.T) {
	cells := 0
	for line := range strings.Lines(strings.TrimSpace(table910)) {
		fields := strings.Fields(line)
		n, err := strconv.Atoi(strings.TrimPrefix(fields[0], "Evt"))
		if err != nil || len(fields) != 14 {
			t.Fatalf("bad row %q", line)
		}
		for sta := State(1); sta <= 13; sta++ {
			for _, requestor := range []bool{true, false} {
				cells++
				want := fields[sta]
				m := Machine{State: sta, Requestor: requestor}
				action, err := m.Step(Event(n))
				if want == "-" {
					if err == nil || m.State != sta {
						t.Errorf("Evt%d in %s: got %s to %s, want nothing", n, sta, action, m.State)
					}
					continue
				}
				end := actionEnds[want]
				if want == "AR-8" && !requestor {
					end = Sta10
				}
				if err != nil || action.String() != want || m.State != end {
					t.Errorf("Evt%d in %s: got %s to %s (%v), want %s to %s", n, sta, action, m.State, err, want, end)
				}
			}
		}
	}
	if cells != 19*13*2 {
		t.Errorf("%d cells tested", cells)
	}
	m := Machine{State: Sta6}
	for _, ev := range []Event{0, 20, 255} {
		if _, err := m.Step(ev); err == nil {
			t.Errorf("event %d was taken", ev)
		}
	}
}
