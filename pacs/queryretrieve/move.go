package queryretrieve

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
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
	// Limit is how many may be open to it at a time by all who share Places; 0 is
	// any number.
	Limit  int
	Places *Places
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
	failure := m.transfer().Run(ctx)
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

// transfer is how the selection is sent.
func (m *moving) transfer() *Transfer {
	return &Transfer{
		Files: m.p.Files, Transcoder: m.p.Transcoder, AETitle: m.p.AETitle, To: m.to, Log: m.p.logger(),
		OriginatorAE: m.rq.Association.CallingAE, OriginatorMessageID: m.rq.MessageID,
		Total: m.selection.total, Kinds: m.selection.kinds, Pages: m.pages, Sent: m.record, Unreached: m.failAll,
	}
}

// pages are those of the selection, of some SOP classes or (nil) all.
func (m *moving) pages(ctx context.Context, classes []string, each func([]pacs.Instance) error) error {
	share := *m.selection
	if classes != nil {
		share.only, share.filter.SOPClassUIDs = nil, classes
	}
	return share.pages(ctx, each)
}

func (m *moving) record(i pacs.Instance, status dimse.Status, err error) {
	m.p.note(m.rq, i, status, err)
	m.tally.record(i.SOPInstanceUID, status, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.why = first(m.why, status, err)
}

// failAll counts a share as failed that nobody could be sent.
func (m *moving) failAll(ctx context.Context, classes []string, why error) {
	m.p.logger().Warn("a destination can't be reached", "association", m.rq.Association.ID, "to", m.to.AETitle, "address", m.to.Address, "error", why)
	m.mu.Lock()
	m.why = first(m.why, dimse.Status{}, why)
	m.mu.Unlock()
	_ = m.pages(ctx, classes, func(rows []pacs.Instance) error {
		for i := range rows {
			m.tally.record(rows[i].SOPInstanceUID, dimse.Status{}, why)
		}
		return nil
	})
}
