package associations

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// tally is what is known of an association that is open.
type tally struct {
	mu        sync.Mutex
	instances int
	failed    int
	bytes     int64
	messages  map[string]int
}

func (t *tally) count(message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages[message]++
}

// Observer is what a dimse.Server tells the log. None of it waits.
func (l *Log) Observer() dimse.Observer {
	find := func(info *dimse.AssociationInfo) *tally {
		found, _ := l.open.Load(info.ID)
		t, _ := found.(*tally)
		if t == nil {
			t = &tally{messages: map[string]int{}}
		}
		return t
	}
	return dimse.Observer{
		AssociationOpened:  func(info *dimse.AssociationInfo) { l.open.Store(info.ID, &tally{messages: map[string]int{}}) },
		Echoed:             func(info *dimse.AssociationInfo) { find(info).count(dimse.CEchoRQ.String()) },
		Operated:           func(o *dimse.Operated) { find(o.Request.Association).count(o.Request.Field.String()) },
		AssociationClosed:  func(info *dimse.AssociationInfo, d time.Duration) { l.closed(info, d, nil) },
		AssociationAborted: l.closed,
		InstanceStored: func(req *dimse.StoreRequest, bytes int64, _ time.Duration, status dimse.Status) {
			t := find(req.Association)
			t.count(dimse.CStoreRQ.String())
			t.mu.Lock()
			defer t.mu.Unlock()
			if status.OK() {
				t.instances++
				t.bytes += bytes
			} else {
				t.failed++
			}
		},
		AssociationRejected: l.rejected,
	}
}

func (l *Log) closed(info *dimse.AssociationInfo, d time.Duration, err error) {
	found, ok := l.open.LoadAndDelete(info.ID)
	if !ok {
		return
	}
	t := found.(*tally)
	e := Entry{
		Began: time.Now().Add(-d), Duration: d, Direction: In, Calling: clip(info.CallingAE), Called: clip(info.CalledAE),
		Address: info.RemoteAddr.String(), Times: 1,
	}
	t.mu.Lock()
	e.Instances, e.Failed, e.Bytes, e.Detail.Messages = t.instances, t.failed, t.bytes, t.messages
	t.mu.Unlock()
	e.ending(err)
	e.Detail.tls(info.TLS)
	e.Detail.user(info.User)
	e.Detail.Contexts = answered(info.Proposed, info.Results, info.User.Roles)
	l.put(&e)
}

// answered joins what was proposed and what was answered, which come in the
// same order.
func answered(proposed []ul.ProposedContext, results []ul.ContextResult, roles []ul.Role) []Context {
	contexts := make([]Context, len(proposed))
	for i, p := range proposed {
		c := contextOf(p)
		if i < len(results) {
			if r := results[i]; r.Result == ul.Acceptance {
				c.Accepted = r.TransferSyntax
			} else {
				c.Result = r.Result.String()
			}
		}
		for _, role := range roles {
			if role.SOPClassUID == p.AbstractSyntax {
				c.SCP = role.SCP
			}
		}
		contexts[i] = c
	}
	return contexts
}

// rejected logs what became no association. A connection that was opened and
// closed is a port check and no affair of anybody.
func (l *Log) rejected(req *ul.AssociateRequest, remote net.Addr, err error) {
	if req == nil && errors.Is(err, ul.ErrClosed) {
		return
	}
	e := Entry{Began: time.Now(), Direction: In, Address: remote.String(), Times: 1}
	e.ending(err)
	if e.Outcome != Rejected {
		e.Outcome = Failed
	}
	if req != nil {
		e.Calling, e.Called = clip(req.CallingAE), clip(req.CalledAE)
		e.Detail.user(req.User)
		for _, p := range req.Contexts {
			e.Detail.Contexts = append(e.Detail.Contexts, contextOf(p))
		}
	}
	l.refusals.note(e, time.Now(), l.put)
}
