package ul

import (
	"context"
	"encoding/binary"
)

// Release ends the association in good order: A-RELEASE-RQ, then the wait for
// the answer. Data that still arrives is discarded. ctx bounds the wait, as
// does ARTIM. The connection is closed in any case.
func (a *Association) Release(ctx context.Context) error {
	stop := a.AbortOn(ctx)
	defer stop()
	defer a.Close()
	if err := a.sendControl(Evt11, ReleaseRequest{}); err != nil {
		return err
	}
	for {
		action, _, err := a.receive(a.cfg.Timeouts.ARTIM)
		if err != nil {
			return err
		}
		switch action {
		case AR3:
			return nil
		case AR6: // the peer was still sending
			if err := a.discardPDU(); err != nil {
				return err
			}
		case AR8: // collision: both asked. PS3.8 section 9.2.3
			if a.requestor { // Sta9: answer, then await the answer in Sta11
				if err := a.sendControl(Evt14, ReleaseResponse{}); err != nil {
					return err
				}
			} // the acceptor is in Sta10 and waits for the requestor's answer
		case AR10: // Sta12: the requestor has answered, answer it
			if err := a.sendControl(Evt14, ReleaseResponse{}); err != nil {
				return err
			}
			_ = a.end(ErrReleased)
			return nil
		}
	}
}

// Close closes the connection. An association that has not ended is aborted.
// After a reject, release or abort it gives the peer until ARTIM to close
// first, so that the last PDU is not lost.
func (a *Association) Close() {
	a.closeOnce.Do(func() {
		switch a.state() {
		case Sta1, Sta2, Sta13:
		default:
			a.Abort(nil)
		}
		if a.state() == Sta13 {
			a.awaitClose()
		}
		_ = a.t.nc.Close()
		a.t.dropBuffer()
		_ = a.end(ErrClosed)
	})
}

// awaitClose is Sta13: it ignores what the peer still sends (AA-6), until the
// peer closes or aborts or ARTIM expires.
func (a *Association) awaitClose() {
	a.t.unwake()
	err := a.t.expectWithin(a.cfg.Timeouts.ARTIM)
	left := a.pdvLeft + a.pduLeft // of a P-DATA-TF
	for err == nil {
		if left > 0 || a.astray {
			var b []byte
			if b, err = a.t.peek(max(left, 1)); err == nil {
				a.t.skip(len(b))
				left = max(left-len(b), 0)
			}
			continue
		}
		var h []byte
		if h, err = a.t.take(pduHeaderLen); err != nil {
			break
		}
		t, n := PDUType(h[0]), binary.BigEndian.Uint32(h[2:])
		ev := pduEvents[t]
		if checkLength(t, n, a.cfg.MaxPDU) != nil {
			ev = Evt19
			a.astray = n > MaxAssociateLen
		}
		left = int(min(n, MaxAssociateLen))
		switch a.step(ev) {
		case AA2:
			return
		case AA7:
			a.wmu.Lock()
			err = a.t.write((&Abort{Source: AbortedByProvider, Reason: ReasonUnexpectedPDU}).Append(nil), abortWriteLimit)
			a.wmu.Unlock()
		}
	}
	if isTimeout(err) {
		a.step(Evt18)
	} else {
		a.step(Evt17)
	}
}
