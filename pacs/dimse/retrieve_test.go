package dimse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func TestAcceptance10MoveCounts(t *testing.T) {
	addr, _ := start(t, &Server{Services: []Service{{SOPClasses: []string{moveClass}, Move: func(_ context.Context, rq *Request, out *Progress) Retrieved {
		if rq.MoveDestination != "WS02" {
			return Retrieved{Status: Statusf(MoveDestinationUnknown, "%s is not known here", rq.MoveDestination)}
		}
		for i := range 3 {
			if err := out.Report(Suboperations{Remaining: 3 - i, Completed: i}); err != nil {
				return Retrieved{Status: Status{Code: Cancelled}, Suboperations: Suboperations{Remaining: 3 - i, Completed: i}}
			}
		}
		return Retrieved{
			Status: Status{Code: SomeSuboperationsFailed}, Suboperations: Suboperations{Completed: 70000, Failed: 2, Warning: 1},
			FailedInstances: []string{"1.2.3", "1.2.4"},
		}
	}}}})
	c := dialServices(t, addr, Dialer{}, moveClass)
	var seen []Suboperations
	got, err := c.Move(t.Context(), moveClass, "WS02", patient("x"), func(n Suboperations) error { seen = append(seen, n); return nil })
	want := Retrieved{
		Status: Status{Code: SomeSuboperationsFailed}, Suboperations: Suboperations{Completed: 65535, Failed: 2, Warning: 1},
		FailedInstances: []string{"1.2.3", "1.2.4"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]Suboperations{{Remaining: 3}, {Remaining: 2, Completed: 1}, {Remaining: 1, Completed: 2}}, seen); diff != "" {
		t.Errorf("pending (-want +got):\n%s", diff)
	}
	if got, err := c.Move(t.Context(), moveClass, "NOWHERE", patient("x"), nil); err != nil || got.Code != MoveDestinationUnknown {
		t.Errorf("unknown destination: %s, %v", got.Status, err)
	}
	if got, err := c.Move(t.Context(), moveClass, "", patient("x"), nil); err != nil || got.Code != MissingAttribute {
		t.Errorf("no destination: %s, %v", got.Status, err)
	}
}

// Instances come over the association that asked for them, in the contexts that
// were proposed with the SCP role, and a cancel in the midst of one completes it.
func TestAcceptance11GetSendsVerbatim(t *testing.T) {
	big := bytes.Repeat([]byte("pixels"), 1<<20)
	addr, _ := start(t, &Server{Services: []Service{{SOPClasses: []string{getClass}, Get: func(ctx context.Context, rq *Request, out *Getter) Retrieved {
		var r Retrieved
		if n := len(out.Contexts()); n != 1 {
			return Retrieved{Status: Statusf(NoSuboperations, "%d contexts to send in", n)}
		}
		for i, size := range []int{0, 10, len(big)} {
			it := item(fmt.Sprintf("1.2.%d", i), big[:size])
			if i == 1 && rq.DataSet.String(dicom.TagPatientName) == "foreign" {
				it.SOPClassUID = dicom.MRImageStorage
			}
			status, err := out.Store(it)
			switch {
			case errors.Is(err, ErrNotAccepted) || err == nil && !status.OK():
				r.Failed++
				r.FailedInstances = append(r.FailedInstances, it.SOPInstanceUID)
			case err != nil:
				return Retrieved{Status: Statusf(ProcessingFailure, "%v", err)}
			default:
				r.Completed++
			}
			if err := out.Report(Suboperations{Remaining: 2 - i, Completed: r.Completed, Failed: r.Failed}); errors.Is(err, ErrCancelled) {
				r.Status, r.Remaining = Status{Code: Cancelled}, 2-i
				return r
			}
		}
		if r.Failed > 0 {
			r.Status.Code = SomeSuboperationsFailed
		}
		return r
	}}}})
	d := Dialer{
		Contexts: GroupContexts([]Kind{ctKind})[0].Contexts,
		Roles:    []ul.Role{{SOPClassUID: ctKind.SOPClassUID, SCP: true}},
	}
	c := dialServices(t, addr, d, getClass)
	var handler shelf
	got, err := c.Get(t.Context(), getClass, patient("x"), &handler, nil)
	if err != nil || got.Code != Success || got.Completed != 3 || !bytes.Equal(handler.items["1.2.2"].data, big) || handler.items["1.2.0"].info.CalledAE != "TASVIR" {
		t.Errorf("%+v, %v, %d stored", got, err, len(handler.items))
	}
	got, err = c.Get(t.Context(), getClass, patient("foreign"), &handler, nil)
	if err != nil || got.Code != SomeSuboperationsFailed || got.Completed != 2 || got.Failed != 1 || !slices.Equal(got.FailedInstances, []string{"1.2.1"}) {
		t.Errorf("%+v, %v", got, err)
	}
	refuses := StoreHandlerFunc(func(_ context.Context, rq *StoreRequest) Status { return Statusf(OutOfResources, "full") })
	if got, err := c.Get(t.Context(), getClass, patient("x"), refuses, nil); err != nil || got.Failed != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	// The cancel is sent from inside the sub-operation, so that it is certain to
	// arrive before the instance's answer does.
	cancels := StoreHandlerFunc(func(_ context.Context, rq *StoreRequest) Status {
		_ = c.Cancel()
		return Status{}
	})
	if got, err := c.Get(t.Context(), getClass, patient("x"), cancels, nil); err != nil || got.Code != Cancelled || got.Completed != 1 || got.Remaining != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	// An instance that nobody asked for is not taken.
	if _, err := c.Store(t.Context(), item("1.2.9", nil)); !errors.Is(err, ErrNotAccepted) {
		t.Errorf("storing in a context for retrieval: %v", err)
	}
}
