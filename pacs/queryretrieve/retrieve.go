package queryretrieve

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// pace is how often a peer is told how far a retrieval is.
const pace = 500 * time.Millisecond

// tally keeps the counters of a retrieval. PS3.4 C.4.2.1.5 to C.4.2.1.9.
type tally struct {
	mu     sync.Mutex
	total  int
	n      dimse.Suboperations
	failed []string // SOP Instance UIDs
}

// maxFailed is how many failed UIDs are kept: what a response can list.
const maxFailed = 2000

// record counts one sub-operation.
func (t *tally) record(sop string, status dimse.Status, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil || !status.OK():
		t.n.Failed++
		if len(t.failed) < maxFailed {
			t.failed = append(t.failed, sop)
		}
	case status.Code == dimse.Success:
		t.n.Completed++
	default:
		t.n.Warning++
	}
}

// counters are how far it is.
func (t *tally) counters() dimse.Suboperations {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.n
	n.Remaining = max(0, t.total-n.Completed-n.Failed-n.Warning)
	return n
}

// result is the final response. comment says why sub-operations have failed, if
// one reason is known.
func (t *tally) result(cancelled bool, comment string) dimse.Retrieved {
	r := dimse.Retrieved{Suboperations: t.counters()}
	t.mu.Lock()
	r.FailedInstances = t.failed
	t.mu.Unlock()
	switch {
	case cancelled:
		r.Status = dimse.Status{Code: dimse.Cancelled}
	case r.Failed > 0 && r.Completed+r.Warning == 0:
		r.Status = dimse.Status{Code: dimse.NoSuboperations, Comment: comment}
	case r.Failed > 0 || r.Warning > 0:
		r.Status = dimse.Status{Code: dimse.SomeSuboperationsFailed, Comment: comment}
	}
	return r
}

// begin does what C-MOVE and C-GET have in common: who asks for what. ok is false
// when the result is already known.
func (p *Provider) begin(ctx context.Context, rq *dimse.Request) (s *selection, r dimse.Retrieved, ok bool) {
	caller := p.Caller(rq.Association)
	if !caller.Retrieve {
		r.Status = dimse.Statusf(dimse.NotAuthorized, "%s may not retrieve here", rq.Association.CallingAE)
		return nil, r, false
	}
	rq.DataSet.SetFallbackCharset(caller.Charset)
	_, f, err := models[rq.AbstractSyntax].parseRetrieval(rq.DataSet)
	if err == nil {
		s, err = p.choose(ctx, caller.Scope, f)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		r.Status = p.status(err, dimse.NoMatchCount)
		return nil, r, false
	}
	return s, r, true
}

// finished logs a retrieval.
func (p *Provider) finished(rq *dimse.Request, to string, r dimse.Retrieved, d time.Duration) dimse.Retrieved {
	p.logger().Info("retrieved", "association", rq.Association.ID, "calling", rq.Association.CallingAE, "operation", rq.Field.String(), "to", to,
		"completed", r.Completed, "failed", r.Failed, "warning", r.Warning, "remaining", r.Remaining, "status", r.Code.Of(rq.Field), "duration", d)
	return r
}

// feed reads the selection in order and hands it to out, ready to be sent, until
// ctx is done. Reading is ahead of sending by as much as out has room for.
func (s *selection) feed(ctx context.Context, takes accepted, out chan<- prepared) error {
	r := &reader{files: s.p.Files, transcoder: s.p.Transcoder, accepted: takes}
	defer r.end()
	return s.pages(ctx, func(rows []pacs.Instance) error { return r.hand(ctx, rows, out) })
}

// hand prepares a page of instances and hands them to out, until ctx is done.
func (r *reader) hand(ctx context.Context, rows []pacs.Instance, out chan<- prepared) error {
	for i := range rows {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := r.prepare(ctx, rows[i], rows[i+1:])
		select {
		case out <- p:
		case <-ctx.Done():
			p.close()
			return context.Cause(ctx)
		}
	}
	return nil
}

// get answers a C-GET. PS3.4 C.4.3.3.
func (p *Provider) get(ctx context.Context, rq *dimse.Request, out *dimse.Getter) dimse.Retrieved {
	start := time.Now()
	s, r, ok := p.begin(ctx, rq)
	if !ok {
		return r
	}
	takes := make(accepted)
	for _, pc := range out.Contexts() {
		takes[pc.AbstractSyntax] = append(takes[pc.AbstractSyntax], pc.TransferSyntax)
	}
	t := &tally{total: s.total}
	reading, stop := context.WithCancelCause(ctx)
	ready := make(chan prepared, ahead)
	var failure error
	var running sync.WaitGroup
	running.Go(func() {
		defer close(ready)
		failure = s.feed(reading, takes, ready)
	})
	var why error
	var last time.Time
	for item := range ready {
		if ctx.Err() != nil {
			item.close()
			break
		}
		status, err := sendOne(item, func(i dimse.StoreItem) (dimse.Status, error) { return out.Store(i) })
		p.note(rq, item.instance, status, err)
		t.record(item.instance.SOPInstanceUID, status, err)
		why = first(why, status, err)
		if time.Since(last) >= pace {
			last = time.Now()
			if out.Report(t.counters()) != nil { // it ends ctx, too
				break
			}
		}
	}
	stop(nil)
	for item := range ready {
		item.close()
	}
	running.Wait()
	return p.finished(rq, rq.Association.CallingAE, p.end(ctx, t, why, failure), time.Since(start))
}

// first keeps the first reason for a failure: one says enough.
func first(before error, status dimse.Status, err error) error {
	switch {
	case before != nil:
		return before
	case err == nil && !status.OK():
		return errors.New("refused: " + status.String())
	}
	return err
}

// UnpreparedError says that an instance could not be read here, or not be made
// into something that the peer takes: the association has nothing to do with it.
type UnpreparedError struct{ Err error }

func (e *UnpreparedError) Error() string { return e.Err.Error() }

func (e *UnpreparedError) Unwrap() error { return e.Err }

// sendOne sends a prepared instance, unless it can't be.
func sendOne(item prepared, store func(dimse.StoreItem) (dimse.Status, error)) (dimse.Status, error) {
	defer item.close()
	if item.err != nil {
		return dimse.Status{}, &UnpreparedError{item.err}
	}
	return store(item.item)
}

// note logs a sub-operation that failed.
func (p *Provider) note(rq *dimse.Request, i pacs.Instance, status dimse.Status, err error) {
	if err != nil || !status.OK() {
		p.logger().Warn("an instance could not be sent", "association", rq.Association.ID, "sop", i.SOPInstanceUID,
			"sop_class", i.SOPClassUID, "transfer_syntax", i.TransferSyntaxUID, "status", status.String(), "error", err)
	}
}

// end is the final response when sending is over. What was never tried, because
// reading the index failed, has failed.
func (p *Provider) end(ctx context.Context, t *tally, why, reading error) dimse.Retrieved {
	cancelled := errors.Is(context.Cause(ctx), dimse.ErrCancelled)
	if !cancelled && reading != nil && !errors.Is(reading, context.Canceled) {
		p.logger().Error("a retrieval could not be completed", "error", reading)
		t.mu.Lock()
		t.n.Failed = max(t.n.Failed, t.total-t.n.Completed-t.n.Warning)
		t.mu.Unlock()
		why = reading
	}
	comment := ""
	if why != nil {
		comment = Plain(why)
	}
	return t.result(cancelled, comment)
}

// Plain says in a few words why an instance could not be sent.
func Plain(err error) string {
	var known *pacs.Error
	var rj *ul.Reject
	switch {
	case errors.Is(err, dimse.ErrNotAccepted), errors.Is(err, ErrNotTaken):
		return "no acceptable transfer syntax for an instance"
	case errors.As(err, &known):
		return pacs.MessageOf(err)
	case errors.As(err, &rj):
		return rj.Error()
	}
	return err.Error()
}
