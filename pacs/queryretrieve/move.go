package queryretrieve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Destination is an application entity that images may be sent to.
type Destination struct {
	AETitle string
	Address string // host:port
	// TransferSyntaxes are the UIDs it takes; none leaves it to negotiation.
	// Implicit VR little endian, which everybody must take, is always proposed.
	TransferSyntaxes []string
	// Associations is how many it may be sent by at a time, for one C-MOVE; 0 is 1.
	Associations int
	// DialContext makes the connection; nil is plain TCP.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Observe, when set, is dimse.Dialer's.
	Observe func(*dimse.Outgoing)
}

// Destinations knows where C-MOVE may send to.
type Destinations interface {
	// Destination finds an AE title. NotFound when it is not known as one that
	// images may be sent to.
	Destination(ctx context.Context, aeTitle string) (Destination, error)
}

// move answers a C-MOVE. PS3.4 C.4.2.3.
func (p *Provider) move(ctx context.Context, rq *dimse.Request, out *dimse.Progress) dimse.Retrieved {
	start := time.Now()
	if !p.Caller(rq.Association).Retrieve {
		return dimse.Retrieved{Status: dimse.Statusf(dimse.NotAuthorized, "%s may not retrieve here", rq.Association.CallingAE)}
	}
	to, err := p.Destinations.Destination(ctx, rq.MoveDestination)
	switch {
	case pacs.CodeOf(err) == pacs.NotFound:
		return dimse.Retrieved{Status: dimse.Statusf(dimse.MoveDestinationUnknown, "%s is not known here as a destination", rq.MoveDestination)}
	case err != nil:
		return dimse.Retrieved{Status: p.status(err, dimse.NoSuboperations)}
	}
	s, r, ok := p.begin(ctx, rq)
	if !ok {
		return r
	}
	m := &moving{p: p, rq: rq, to: to, selection: s, tally: &tally{total: s.total}}
	stopReports := m.report(ctx, out)
	failure := m.run(ctx)
	stopReports()
	return p.finished(rq, to.AETitle, p.end(ctx, m.tally, m.why, failure), time.Since(start))
}

// moving is one C-MOVE.
type moving struct {
	p         *Provider
	rq        *dimse.Request
	to        Destination
	selection *selection
	tally     *tally

	mu  sync.Mutex
	why error // the first failure
}

// report tells the peer at the pace how far it is, also while one instance takes
// long: it would take us for dead. The function returned stops it.
func (m *moving) report(ctx context.Context, out *dimse.Progress) func() {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				if m.selection.total > 0 && out.Report(m.tally.counters()) != nil {
					return
				}
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// run sends everything. The classes are divided among as few associations as
// there must be for their contexts; each share may be sent by several at a time.
func (m *moving) run(ctx context.Context) error {
	if m.selection.total == 0 {
		return nil
	}
	groups := m.groups()
	for _, g := range groups {
		share := *m.selection
		if len(groups) > 1 {
			share.only, share.filter.SOPClassUIDs = nil, g.classes
		}
		if err := m.send(ctx, &share, g); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// group is the contexts of one association.
type group struct {
	classes  []string
	contexts []ul.ProposedContext
}

// groups plans the contexts: for each class one for each transfer syntax in which
// instances are kept, and the two in which anything uncompressed can be sent. All
// of a class are in one association.
func (m *moving) groups() []group {
	var groups []group
	for _, c := range m.selection.classes() {
		var syntaxes []string
		for _, ts := range append(c.syntaxes, dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian) {
			allowed := len(m.to.TransferSyntaxes) == 0 || slices.Contains(m.to.TransferSyntaxes, ts) || ts == dicom.ImplicitVRLittleEndian
			if allowed && !slices.Contains(syntaxes, ts) && len(syntaxes) < dimse.MaxContexts {
				syntaxes = append(syntaxes, ts)
			}
		}
		if n := len(groups); n == 0 || len(groups[n-1].contexts)+len(syntaxes) > dimse.MaxContexts {
			groups = append(groups, group{})
		}
		g := &groups[len(groups)-1]
		g.classes = append(g.classes, c.uid)
		for _, ts := range syntaxes {
			g.contexts = append(g.contexts, ul.ProposedContext{ID: byte(2*len(g.contexts) + 1), AbstractSyntax: c.uid, TransferSyntaxes: []string{ts}})
		}
	}
	return groups
}

func (m *moving) dial(ctx context.Context, g group) (*dimse.Client, error) {
	c, err := dimse.Dial(ctx, m.to.Address, dimse.Dialer{
		CallingAE: m.p.AETitle, CalledAE: m.to.AETitle, Contexts: g.contexts, DialContext: m.to.DialContext, DialTimeout: dialTimeout,
		Observe: m.to.Observe,
	})
	if err != nil {
		return nil, fmt.Errorf("%s can't be reached: %w", m.to.AETitle, err)
	}
	return c, nil
}

// maxParallel bounds the associations of one C-MOVE at a time: more of them don't
// make it quicker.
const maxParallel = 8

// dialTimeout bounds the wait for a destination that does not answer.
const dialTimeout = 15 * time.Second

// send sends a share. Instances are read by one goroutine and sent by as many
// associations as the destination allows, which all negotiate the same.
func (m *moving) send(ctx context.Context, share *selection, g group) error {
	// What is begun is completed when the move is cancelled, but not when its
	// association or the server ends.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	stopWatch := context.AfterFunc(ctx, func() {
		if err := context.Cause(ctx); !errors.Is(err, dimse.ErrCancelled) {
			end(err)
		}
	})
	defer stopWatch()

	client, err := m.dial(life, g)
	if err != nil {
		m.failAll(ctx, share, err)
		return nil
	}
	takes := make(accepted)
	for _, pc := range client.Contexts() {
		takes[pc.AbstractSyntax] = append(takes[pc.AbstractSyntax], pc.TransferSyntax)
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ready := make(chan prepared, ahead)
	var failure error
	var running sync.WaitGroup
	running.Go(func() {
		defer close(ready)
		failure = share.feed(reading, takes, ready)
	})
	for n := range max(1, min(m.to.Associations, share.total, maxParallel)) {
		running.Go(func() {
			w := &worker{m: m, group: g}
			if n == 0 {
				w.client = client
			}
			w.run(ctx, life, ready)
		})
	}
	running.Wait()
	return failure
}

// worker sends over one association at a time.
type worker struct {
	m      *moving
	group  group
	client *dimse.Client
}

// maxRedials is how often in a row an association may be lost without an instance
// stored in between; then what is left has failed.
const maxRedials = 2

func (w *worker) run(ctx, life context.Context, ready <-chan prepared) {
	defer w.release(life)
	lost := 0
	for item := range ready {
		if ctx.Err() != nil {
			item.close()
			continue // read over what is ready
		}
		status, err := sendOne(item, func(i dimse.StoreItem) (dimse.Status, error) {
			if lost > maxRedials {
				return dimse.Status{}, fmt.Errorf("%s keeps breaking off", w.m.to.AETitle)
			}
			i.MoveOriginatorAE, i.MoveOriginatorMessageID = w.m.rq.Association.CallingAE, w.m.rq.MessageID
			status, err := w.store(life, i)
			var source *ul.SourceError
			switch {
			case err == nil:
				lost = 0
			case errors.Is(err, dimse.ErrNotAccepted), errors.As(err, &source) && !source.Aborted:
			default: // the association is over
				lost++
				w.drop()
			}
			return status, err
		})
		w.m.record(item, status, err)
	}
}

// store sends one instance, over a new association if there is none.
func (w *worker) store(life context.Context, item dimse.StoreItem) (dimse.Status, error) {
	if w.client == nil {
		c, err := w.m.dial(life, w.group)
		if err != nil {
			return dimse.Status{}, err
		}
		w.client = c
	}
	return w.client.Store(life, item)
}

func (w *worker) drop() {
	if w.client != nil {
		w.client.Close()
		w.client = nil
	}
}

func (w *worker) release(ctx context.Context) {
	if w.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := w.client.Release(ctx); err != nil {
		w.m.p.logger().Debug("releasing an association", "to", w.m.to.AETitle, "error", err)
	}
	w.client = nil
}

func (m *moving) record(item prepared, status dimse.Status, err error) {
	m.p.note(m.rq, item, status, err)
	m.tally.record(item.instance.SOPInstanceUID, status, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.why = first(m.why, status, err)
}

// failAll counts a share as failed that nobody could be sent.
func (m *moving) failAll(ctx context.Context, share *selection, why error) {
	m.p.logger().Warn("a destination can't be reached", "association", m.rq.Association.ID, "to", m.to.AETitle, "address", m.to.Address, "error", why)
	m.mu.Lock()
	m.why = first(m.why, dimse.Status{}, why)
	m.mu.Unlock()
	_ = share.pages(ctx, func(rows []pacs.Instance) error {
		for i := range rows {
			m.tally.record(rows[i].SOPInstanceUID, dimse.Status{}, why)
		}
		return nil
	})
}
