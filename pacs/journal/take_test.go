package journal

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestAckPublished(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir(), AckPublished: true})
	receive := func(ctx context.Context, sop string) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := j.Receive(ctx, incoming(sop, 0))
			done <- err
		}()
		return done
	}
	published := receive(t.Context(), "1.1")
	r := take(t, j, 1)
	select {
	case err := <-published:
		t.Fatalf("acknowledged before it was published: %v", err)
	default:
	}
	j.GiveBack(r...)
	r = take(t, j, 1)
	j.Drop(r...)
	if err := <-published; err != nil {
		t.Error(err)
	}

	held := receive(t.Context(), "1.2")
	j.Hold(take(t, j, 1)[0], errors.New("contradiction"))
	wantCode(t, <-held, pacs.Conflict)

	ctx, cancel := context.WithCancel(t.Context())
	cancelled := receive(ctx, "1.3")
	r = take(t, j, 1)
	cancel()
	wantCode(t, <-cancelled, pacs.Unavailable)
	// The record is published all the same.
	checkRecord(t, r[0], "1.3", 0)
	j.Drop(r...)

	closing := receive(t.Context(), "1.4")
	take(t, j, 1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-closing, pacs.Unavailable)
}

func TestHold(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, SegmentSize: 1})
	receiveAll(t, j, "1.1", "1.2")
	records := take(t, j, 2)
	if st := j.Stats(); !st.Oldest.Equal(records[0].ReceivedAt) {
		t.Errorf("the oldest that waits is of %v, want %v", st.Oldest, records[0].ReceivedAt)
	}
	j.Hold(records[0], errors.New("contradiction"))
	if st := j.Stats(); st.Records != 1 || st.Held != 1 || st.Bytes != records[0].Length+records[1].Length {
		t.Errorf("%+v", st)
	}
	j.Drop(records[1])
	if st := j.Stats(); st.Records != 0 || st.Held != 1 || st.Bytes != records[0].Length || !st.Oldest.IsZero() {
		t.Errorf("%+v", st)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// It is offered again at the next start.
	j = open(t, Options{Dir: dir})
	r := take(t, j, 1)
	checkRecord(t, r[0], "1.1", 0)
	j.Drop(r...)
	if left := files(t, dir, "*.segment*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestGiveBackComesFirst(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	receiveAll(t, j, "1.1", "1.2")
	records := take(t, j, 2)
	receiveAll(t, j, "1.3")
	j.GiveBack(records...)
	var order []string
	for _, r := range take(t, j, 3) {
		order = append(order, r.SOPInstanceUID)
	}
	if diff := cmp.Diff([]string{"1.1", "1.2", "1.3"}, order); diff != "" {
		t.Error(diff)
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	j := open(t, Options{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Take(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
