package associations

import (
	"errors"
	"net"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// Outgoing logs an association that the archive asked for. It is a
// dimse.Dialer's Observe, and does not wait.
func (l *Log) Outgoing(o *dimse.Outgoing) {
	e := Entry{
		Began: o.Began, Duration: o.Duration, Direction: Out, Calling: clip(o.CallingAE), Called: clip(o.CalledAE),
		Address: clip(o.Address), Times: 1, Instances: o.Sent, Failed: o.Failed, Bytes: o.Bytes,
	}
	e.ending(o.Err)
	var network *net.OpError
	if o.Peer.ImplementationClassUID == "" && o.Accepted == nil && e.Outcome != Rejected && (e.Outcome == Closed || errors.As(o.Err, &network)) {
		e.Outcome = Failed
	}
	e.Detail.tls(o.TLS)
	e.Detail.user(o.Peer)
	e.Detail.Messages = map[string]int{}
	for field, n := range o.Messages {
		e.Detail.Messages[field.String()] = n
	}
	accepted := map[byte]string{}
	for _, pc := range o.Accepted {
		accepted[pc.ID] = pc.TransferSyntax
	}
	for _, p := range o.Proposed {
		c := contextOf(p)
		c.Accepted = accepted[p.ID]
		e.Detail.Contexts = append(e.Detail.Contexts, c)
	}
	l.put(&e)
}
