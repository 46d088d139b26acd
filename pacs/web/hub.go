package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/events"
)

const (
	// subscriberQueue is how many events wait for a client that reads slowly;
	// one more, and it gets another hello instead: fetch everything anew.
	subscriberQueue = 64
	// maxSubscribers bounds the streams of this node, maxPerCaller those of
	// one person or token.
	maxSubscribers = 20000
	maxPerCaller   = 32
)

// heard says which action a type of event concerns; who may not do it does not
// hear of it. Types that are not listed are for everyone.
var heard = map[string]access.Action{
	events.Task:     access.TaskRead,
	events.Report:   access.ReportRead,
	events.Delivery: access.DeliveryRead,
	events.Study:    access.StudyRead,
	events.Workitem: access.TaskRead,
}

// Hub passes events on to the clients of this node, to each what they may
// see. A slow client never holds up others.
type Hub struct {
	mu          sync.Mutex
	closed      bool
	subscribers map[*subscriber]struct{}
	callers     map[string]int // subscribers by Who
}

// subscriber is one client's stream.
type subscriber struct {
	identity atomic.Pointer[access.Identity]
	who      string
	queue    chan events.Received
	// missed is set when an event could not be queued, or may not have come.
	missed atomic.Bool
	wake   chan struct{} // tells the stream to look at missed
	end    chan struct{} // closed when the hub closes
}

// NewHub makes a hub; registry, when not nil, gets the number of its clients.
func NewHub(registry prometheus.Registerer) *Hub {
	h := &Hub{subscribers: map[*subscriber]struct{}{}, callers: map[string]int{}}
	if registry != nil {
		_ = registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tasvir_event_streams", Help: "Clients that listen to events on this node.",
		}, func() float64 {
			h.mu.Lock()
			defer h.mu.Unlock()
			return float64(len(h.subscribers))
		}))
	}
	return h
}

// Run passes on the events of all nodes until ctx ends.
func (h *Hub) Run(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) {
	if pool == nil {
		return
	}
	down := false
	_ = events.Listen(ctx, pool, events.Listener{
		Event: h.deliver,
		Gap:   h.resync,
		Connected: func(up bool, err error) {
			if up == down {
				down = !up
				if down {
					log.Warn("Events of other nodes can't be heard; clients are told to fetch anew when they can", "error", err)
				} else {
					log.Info("Events are heard again")
				}
			}
		},
	})
}

// Publish passes an event on to the clients of this node only; events.Notify
// reaches all nodes, and this one through Run.
func (h *Hub) Publish(event events.Event) error {
	data, err := json.Marshal(event.Data)
	if err != nil {
		return pacs.Wrap(pacs.Internal, err, "An event can't be written")
	}
	h.deliver(events.Received{Type: event.Type, Data: data, Facility: event.Facility})
	return nil
}

// Close ends all streams.
func (h *Hub) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		for s := range h.subscribers {
			close(s.end)
		}
	}
	return nil
}

func (h *Hub) deliver(event events.Received) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subscribers {
		identity := s.identity.Load()
		if event.Facility != 0 && !identity.Scope.Sees(event.Facility) {
			continue
		}
		if action, ok := heard[event.Type]; ok && !identity.Can(action) {
			continue
		}
		select {
		case s.queue <- event:
		default:
			s.miss()
		}
	}
}

// resync tells every client that events may have been missed.
func (h *Hub) resync() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subscribers {
		s.miss()
	}
}

func (s *subscriber) miss() {
	s.missed.Store(true)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (h *Hub) subscribe(identity *access.Identity) (*subscriber, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	who := identity.Who()
	switch {
	case h.closed:
		return nil, pacs.Errorf(pacs.Unavailable, "The server is shutting down")
	case len(h.subscribers) >= maxSubscribers:
		return nil, pacs.Errorf(pacs.Unavailable, "Too many clients listen to this server")
	case h.callers[who] >= maxPerCaller:
		return nil, pacs.Errorf(pacs.Unavailable, "You have %d windows open already. Close some", maxPerCaller)
	}
	s := &subscriber{
		who: who, queue: make(chan events.Received, subscriberQueue), wake: make(chan struct{}, 1), end: make(chan struct{}),
	}
	s.identity.Store(identity)
	h.subscribers[s] = struct{}{}
	h.callers[who]++
	return s, nil
}

func (h *Hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subscribers, s)
	if h.callers[s.who]--; h.callers[s.who] == 0 {
		delete(h.callers, s.who)
	}
}
