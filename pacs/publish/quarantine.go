package publish

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
)

// Quarantine keeps what can't be published until somebody has put it right.
type Quarantine interface {
	// Keep makes a record durable outside of the journal and shows it to
	// administrators. Keeping the same again changes nothing. One that comes
	// back from a release (Entry.Correction) is the item it was.
	//
	//	OutOfResources  there is no room; it may be offered again
	//	Unavailable     what it needs is down; repeat
	Keep(ctx context.Context, u Unfit, body *io.SectionReader) error
	// Released says that a record that came from the quarantine is published.
	// It may be said more than once.
	Released(ctx context.Context, e journal.Entry) error
	// Room is how many bytes are still taken, as far as is known without
	// waiting for anything.
	Room() int64
}

// Unfit is a record that can't be published, and why.
type Unfit struct {
	journal.Entry
	Reason  pacs.QuarantineReason
	Message string // in English, for administrators
}

// refusal is a record on its way to quarantine.
type refusal struct {
	record *journal.Record
	why    Unfit
}

const (
	// retryHeldEvery is how often what the quarantine had no room for is
	// offered again, retryHeldAtOnce how much of it.
	retryHeldEvery  = time.Minute
	retryHeldAtOnce = 1000
	// admitEvery is how often senders may try again what was refused because the
	// quarantine was full, when nothing in it was freed: an administrator may
	// have changed what contradicts.
	admitEvery = time.Hour
)

// quarantine passes a record that can't be published on. Without a quarantine
// it is held in the journal.
func (p *Publisher) quarantine(r *journal.Record, reason pacs.QuarantineReason, why error) {
	p.o.Log.Warn("an instance can't be published and goes to quarantine", "study", r.StudyInstanceUID, "sop", r.SOPInstanceUID, "reason", reason, "error", why)
	if p.o.Quarantine == nil {
		p.hold(r, why)
		return
	}
	p.refusedMu.Lock()
	p.refused = append(p.refused, refusal{r, Unfit{Entry: r.Entry, Reason: reason, Message: explain(why)}})
	p.refusedMu.Unlock()
	p.signalRefused()
}

func (p *Publisher) signalRefused() {
	select {
	case p.wakeRefused <- struct{}{}:
	default:
	}
}

// explain is the text of an error that an administrator can use.
func explain(err error) string {
	var own *pacs.Error
	if errors.As(err, &own) && own.Code != pacs.Internal {
		return own.Message
	}
	return err.Error()
}

// RetryHeld offers what is held in the journal to the quarantine again:
// something there was freed.
func (p *Publisher) RetryHeld() {
	p.retryHeld.Store(true)
	p.signalRefused()
}

// keepRefused passes records on to the quarantine until ctx ends, one at a
// time: a flood of rubbish must not keep the publisher's workers.
func (p *Publisher) keepRefused(ctx context.Context) {
	tick := time.NewTicker(retryHeldEvery)
	defer tick.Stop()
	admitted := time.Now()
	for failures := 0; ctx.Err() == nil; {
		next, ok := p.nextRefused()
		if !ok {
			ticked := false
			select {
			case <-ctx.Done():
			case <-tick.C:
				ticked = true
			case <-p.wakeRefused:
			}
			freed := p.retryHeld.Swap(false)
			if (freed || ticked) && p.o.Quarantine.Room() > 0 {
				if freed || time.Since(admitted) >= admitEvery {
					p.o.Journal.AdmitStudies()
					admitted = time.Now()
				}
				p.o.Journal.Retry(retryHeldAtOnce)
			}
			continue
		}
		err := p.o.Quarantine.Keep(ctx, next.why, next.record.Body())
		switch pacs.CodeOf(err) {
		case "":
			failures = 0
			p.dropRefused()
			p.o.Journal.Drop(next.record)
			if p.o.Observer.Quarantined != nil {
				p.o.Observer.Quarantined(next.why.Reason)
			}
		case pacs.Unavailable:
			if ctx.Err() != nil {
				return
			}
			failures++
			p.o.Log.Warn("the quarantine is not available; what goes there waits in the journal", "error", err)
			if p.o.Observer.Failed != nil {
				p.o.Observer.Failed(err)
			}
			wait := time.NewTimer(min(backoff(failures), maxProbe))
			select {
			case <-ctx.Done():
			case <-wait.C:
			}
			wait.Stop()
		default:
			failures = 0
			p.dropRefused()
			if reason := next.why.Reason; reason == pacs.OtherPatient || reason == pacs.OtherFacility {
				// More of that study would only fill the journal.
				p.o.Journal.RefuseStudy(next.record.Facility, next.record.Sender, next.record.StudyInstanceUID)
			}
			p.hold(next.record, err)
		}
	}
}

// nextRefused is the record whose turn it is; it stays first until dropRefused.
func (p *Publisher) nextRefused() (refusal, bool) {
	p.refusedMu.Lock()
	defer p.refusedMu.Unlock()
	if len(p.refused) == 0 {
		return refusal{}, false
	}
	return p.refused[0], true
}

func (p *Publisher) dropRefused() {
	p.refusedMu.Lock()
	defer p.refusedMu.Unlock()
	p.refused[0] = refusal{}
	if p.refused = p.refused[1:]; len(p.refused) == 0 {
		p.refused = nil
	}
}

// released tells the quarantine of the records that came from there.
func (p *Publisher) released(ctx context.Context, records []*journal.Record) error {
	for _, r := range records {
		if r.Correction == nil || p.o.Quarantine == nil {
			continue
		}
		if err := p.o.Quarantine.Released(ctx, r.Entry); err != nil {
			return pacs.Wrap(pacs.Unavailable, err, "The quarantine can't be told what is released")
		}
	}
	return nil
}

// reasonOf is why a record can't be published.
func reasonOf(err error) pacs.QuarantineReason {
	switch reason, _ := pacs.ReasonOf(err); {
	case errors.Is(err, journal.ErrDamaged):
		return pacs.Damaged
	case errors.Is(err, index.ErrContradiction):
		return cmp.Or(pacs.QuarantineReason(reason), pacs.OtherPatient)
	}
	return pacs.Unfit
}

// DescribePatient is the patient that a data set from a facility names.
func DescribePatient(ds *dicom.Dataset, facility string) pacs.Patient {
	return describePatient(ds, facility)
}
