package dimse

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Outgoing is what became of an association that this side asked for.
type Outgoing struct {
	Address             string // host:port, as dialed
	CallingAE, CalledAE string
	TLS                 *tls.ConnectionState // nil without
	// Proposed are our presentation contexts, Accepted what the peer took.
	Proposed []ul.ProposedContext
	Accepted []ul.Context
	Peer     ul.UserInformation
	Began    time.Time
	Duration time.Duration
	// Messages counts requests, by command.
	Messages map[Field]int
	// Sent and Failed count C-STOREs; Bytes are those of data sets sent, also of
	// the failed ones.
	Sent, Failed int
	Bytes        int64
	// Err is why it did not come about or was not released; nil: released.
	Err error
}

var errClosedByUs = errors.New("closed by this side without release")

// outgoing collects what Dialer.Observe is told. Nil observes nothing.
type outgoing struct {
	observe func(*Outgoing)

	mu   sync.Mutex
	told bool
	seen Outgoing
}

func newOutgoing(addr string, d *Dialer, contexts []ul.ProposedContext) *outgoing {
	if d.Observe == nil {
		return nil
	}
	return &outgoing{observe: d.Observe, seen: Outgoing{
		Address: addr, CallingAE: d.CallingAE, CalledAE: d.CalledAE, Proposed: contexts, Began: time.Now(), Messages: map[Field]int{},
	}}
}

// connected notes the state of a TLS connection.
func (o *outgoing) connected(nc net.Conn) {
	if o == nil {
		return
	}
	if secured, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := secured.ConnectionState()
		o.seen.TLS = &state
	}
}

func (o *outgoing) associated(assoc *ul.Association) {
	if o != nil {
		o.seen.Accepted, o.seen.Peer = assoc.Contexts(), assoc.Peer()
	}
}

func (o *outgoing) asked(field Field) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.Messages[field]++
}

func (o *outgoing) stored(bytes int64, ok bool) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.Bytes += bytes
	if ok {
		o.seen.Sent++
	} else {
		o.seen.Failed++
	}
}

// end tells the observer, once.
func (o *outgoing) end(err error) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told {
		return
	}
	o.told = true
	o.seen.Err, o.seen.Duration = err, time.Since(o.seen.Began)
	o.observe(&o.seen)
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
