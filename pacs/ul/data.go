package ul

import (
	"errors"
	"fmt"
	"io"
)

// maxEmptyPDVs is how many fragments without content may follow each other in a
// message. Some devices end a message with one; endless ones would keep an
// association busy with nothing.
const maxEmptyPDVs = 16

// nextPDV reads the header of the next presentation data value, from the
// P-DATA-TF in hand or the next one. idle is the wait for a next P-DATA-TF.
func (a *Association) nextPDV(first bool) error {
	for a.pduLeft == 0 {
		idle := a.cfg.Timeouts.Progress
		if first {
			idle = a.cfg.Timeouts.Idle
		}
		action, _, err := a.receive(idle)
		if err != nil {
			return err
		}
		if action == AR2 { // Sta8
			if !first {
				return a.abort(Evt15, errors.New("peer asked for release inside a message"))
			}
			if err := a.sendControl(Evt14, ReleaseResponse{}); err != nil {
				return err
			}
			return a.end(ErrReleased)
		}
	}
	if a.pduLeft < pdvHeaderLen {
		return a.abort(Evt19, invalid(TypeData, "%d stray bytes after the last presentation data value", a.pduLeft))
	}
	h, err := a.t.take(pdvHeaderLen)
	if err != nil {
		return a.transportFailed(err)
	}
	v, n, err := parsePDVHeader(h, a.pduLeft)
	if err != nil {
		a.pduLeft -= pdvHeaderLen
		return a.abort(Evt19, err)
	}
	if a.contexts[v.ContextID] == nil {
		return a.abort(Evt19, invalid(TypeData, "presentation context %d was not accepted", v.ContextID))
	}
	if n > 0 {
		a.emptyPDVs = 0
	} else if a.emptyPDVs++; a.emptyPDVs > maxEmptyPDVs {
		return a.abort(Evt19, invalid(TypeData, "more than %d empty fragments in a row", maxEmptyPDVs))
	}
	a.pdv, a.pdvLeft = v, n
	a.pduLeft -= pdvHeaderLen + n
	return nil
}

// unexpected aborts for a fragment that can't come here.
func (a *Association) unexpected(format string, args ...any) error {
	return a.abort(Evt19, &ParseError{PDU: TypeData, Reason: ReasonUnexpectedParameter, Message: fmt.Sprintf(format, args...)})
}

// ReadCommand waits for the next message and returns its command set, at most
// MaxCommandLen bytes. It returns ErrReleased after the peer released the
// association. Every data set announced by the previous command must have been
// read to its end.
func (a *Association) ReadCommand() (contextID byte, command []byte, err error) {
	for first := true; ; first = false {
		if err := a.nextPDV(first); err != nil {
			return 0, nil, err
		}
		if first {
			contextID = a.pdv.ContextID
		}
		if !a.pdv.Command {
			return 0, nil, a.unexpected("a data set fragment where a command set is due")
		}
		if a.pdv.ContextID != contextID {
			return 0, nil, a.unexpected("a fragment of context %d inside a command set of context %d", a.pdv.ContextID, contextID)
		}
		if len(command)+a.pdvLeft > MaxCommandLen {
			return 0, nil, a.abort(Evt19, invalid(TypeData, "command set over the limit of %d bytes", MaxCommandLen))
		}
		n := len(command)
		command = append(command, make([]byte, a.pdvLeft)...)
		for a.pdvLeft > 0 {
			m, err := a.t.Read(command[n:])
			if err != nil {
				return 0, nil, a.transportFailed(err)
			}
			n += m
			a.pdvLeft -= m
		}
		if a.pdv.Last {
			a.emptyPDVs = 0
			return contextID, command, nil
		}
	}
}

// DataReader is the data set of one message as it arrives. It ends with io.EOF
// after the last fragment. When the association ends first, it returns
// io.ErrUnexpectedEOF and Association.Err says why.
type DataReader struct {
	a         *Association
	contextID byte
	started   bool
	err       error
	n         int64
}

// DataReader returns the data set that follows the command just read.
func (a *Association) DataReader(contextID byte) *DataReader {
	return &DataReader{a: a, contextID: contextID}
}

// Len returns how many bytes were handed out so far.
func (d *DataReader) Len() int64 { return d.n }

// more makes sure that the PDV in hand has bytes.
func (d *DataReader) more() error {
	if d.err != nil {
		return d.err
	}
	a := d.a
	for !d.started || a.pdvLeft == 0 {
		if d.started && a.pdv.Last {
			d.err = io.EOF
			a.emptyPDVs = 0
			return d.err
		}
		err := a.nextPDV(false)
		switch {
		case err != nil:
		case a.pdv.Command:
			err = a.unexpected("a command set fragment inside a data set")
		case a.pdv.ContextID != d.contextID:
			err = a.unexpected("a fragment of context %d inside a data set of context %d", a.pdv.ContextID, d.contextID)
		}
		if err != nil {
			d.err = io.ErrUnexpectedEOF
			return d.err
		}
		d.started = true
	}
	return nil
}

func (d *DataReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := d.more(); err != nil {
		return 0, err
	}
	n, err := d.a.t.Read(p[:min(len(p), d.a.pdvLeft)])
	d.a.pdvLeft -= n
	d.n += int64(n)
	if err != nil {
		_ = d.a.transportFailed(err)
		d.err = io.ErrUnexpectedEOF
		if n == 0 {
			return 0, d.err
		}
	}
	return n, nil
}

// WriteTo hands the fragments to w from the receive buffer, without a copy.
func (d *DataReader) WriteTo(w io.Writer) (int64, error) {
	start := d.n
	for {
		if err := d.more(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return d.n - start, err
		}
		b, err := d.a.t.peek(d.a.pdvLeft)
		if err != nil {
			_ = d.a.transportFailed(err)
			d.err = io.ErrUnexpectedEOF
			return d.n - start, d.err
		}
		n, err := w.Write(b)
		d.a.t.skip(n)
		d.a.pdvLeft -= n
		d.n += int64(n)
		if err != nil {
			return d.n - start, err
		}
		if n < len(b) {
			return d.n - start, io.ErrShortWrite
		}
	}
}

// discardPDU reads over what is left of the P-DATA-TF in hand.
func (a *Association) discardPDU() error {
	left := a.pdvLeft + a.pduLeft
	a.pdvLeft, a.pduLeft = 0, 0
	for left > 0 {
		b, err := a.t.peek(left)
		if err != nil {
			return a.transportFailed(err)
		}
		a.t.skip(len(b))
		left -= len(b)
	}
	return nil
}

// SourceError is what Send returns when its data source fails. If Aborted is
// false nothing was sent and the association can be used on.
type SourceError struct {
	Err     error
	Aborted bool
}

func (e *SourceError) Error() string { return "reading the data set to send: " + e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// Send sends one message: a command set and, when data is not nil, a data set
// to its end, in P-DATA-TFs no longer than the peer takes. Messages from
// several goroutines don't mix. A data source that fails after its beginning
// went out leaves a message that can't be completed: then the association is
// aborted.
func (a *Association) Send(contextID byte, command []byte, data io.Reader) error {
	a.wmu.Lock()
	sent, err := a.send(contextID, command, data)
	a.wmu.Unlock()
	var source *SourceError
	if errors.As(err, &source) && sent {
		source.Aborted = true
		a.Abort(err)
	} else if err != nil && source == nil {
		return a.sendFailed(err)
	}
	return err
}

// sendFailed leaves it to the reading side to find out how the association
// ended: the peer may have sent an A-ABORT before it closed.
func (a *Association) sendFailed(err error) error {
	if a.state() != Sta6 {
		return a.gone()
	}
	if isTimeout(err) {
		_ = a.t.nc.Close()
		return a.end(fmt.Errorf("peer did not read: %w", err))
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

func (a *Association) send(contextID byte, command []byte, data io.Reader) (sent bool, err error) {
	if a.contexts[contextID] == nil {
		return false, &SourceError{Err: fmt.Errorf("presentation context %d was not accepted", contextID)}
	}
	if action := a.step(Evt9); action != DT1 {
		return false, a.gone()
	}
	if a.writeErr != nil { // a PDU may be half written: nothing can follow it
		return false, a.writeErr
	}
	defer func() {
		if source := (*SourceError)(nil); err != nil && !errors.As(err, &source) {
			a.writeErr = err
		}
	}()
	// Fragments have an even length. PS3.8 Annex E.1 leaves it to PS3.5, whose
	// elements are even.
	fragment := (a.sendMax - pdvHeaderLen) &^ 1
	room := pduHeaderLen + pdvHeaderLen + fragment
	b := a.wbuf[:0]
	for first := true; first || len(command) > 0; first = false {
		n := min(len(command), fragment)
		b = appendFragment(b, contextID, controlHeader(true, n == len(command)), command[:n])
		command = command[n:]
	}
	if data == nil {
		a.wbuf = b
		return true, a.t.write(b, a.cfg.Timeouts.Progress)
	}
	// One byte of look-ahead tells whether a full fragment is the last.
	head := len(b)
	if need := head + room + 1; cap(b) < need {
		b = append(make([]byte, 0, need), b...)
	}
	b = b[:cap(b)]
	a.wbuf = b
	ahead := 0 // bytes already in place
	for {
		body := b[head+pduHeaderLen+pdvHeaderLen : head+room+1]
		n, last, err := fillFrom(data, body, ahead)
		if err != nil {
			return sent, &SourceError{Err: err}
		}
		extra := byte(0)
		if !last {
			n--
			extra = body[n]
		}
		appendFragment(b[:head], contextID, controlHeader(false, last), body[:n])
		if err := a.t.write(b[:head+pduHeaderLen+pdvHeaderLen+n], a.cfg.Timeouts.Progress); err != nil {
			return true, err
		}
		if last {
			return true, nil
		}
		sent, head, ahead = true, 0, 1
		b[pduHeaderLen+pdvHeaderLen] = extra
	}
}

// fillFrom reads until b is full or r at its end. Unlike io.ReadFull it can tell
// that end from an io.ErrUnexpectedEOF of the source, which is a loss.
func fillFrom(r io.Reader, b []byte, n int) (int, bool, error) {
	for empty := 0; n < len(b); empty++ {
		m, err := r.Read(b[n:])
		if n += m; m > 0 {
			empty = 0
		} else if err == nil && empty == 100 {
			err = io.ErrNoProgress
		}
		if err == io.EOF { // only the bare value means the end
			return n, n < len(b), nil // a full buffer may be too long to be the last
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// appendFragment writes a P-DATA-TF with one PDV. The fragment may already be
// in its place.
func appendFragment(b []byte, contextID, control byte, fragment []byte) []byte {
	b, start := beginPDU(b, TypeData)
	b = appendPDVHeader(b, contextID, control, len(fragment))
	return endPDU(append(b, fragment...), start)
}
