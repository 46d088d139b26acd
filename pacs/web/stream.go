package web

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
)

const (
	// heartbeat keeps proxies from taking a quiet stream for a dead one.
	heartbeat = 20 * time.Second
	// renewEvery is in heartbeats: how often a stream looks whether its
	// session still holds and what it may see.
	renewEvery = 3
)

// serveEvents is GET /api/events: server-sent events until the client leaves,
// its session ends or the server stops.
func (s *Server) serveEvents(c *gin.Context) {
	stream, err := s.hub.subscribe(Identity(c))
	if err != nil {
		Problem(c, err)
		return
	}
	defer s.hub.unsubscribe(stream)
	header := c.Writer.Header()
	header.Set("Content-Type", "text/event-stream; charset=utf-8")
	header.Set("X-Accel-Buffering", "no") // nginx: don't collect
	c.Writer.WriteHeader(http.StatusOK)
	send := func(event string, data []byte) bool {
		if _, err := fmt.Fprintf(c.Writer, "event: %s\ndata: %s\n\n", event, data); err != nil {
			return false
		}
		return true
	}
	// Whoever hears hello fetches everything anew: it comes first, and again
	// when events may have been missed.
	hello := fmt.Appendf(nil, `{"version":%q}`, s.options.Version)
	if _, err := fmt.Fprint(c.Writer, "retry: 3000\n"); err != nil || !send("hello", hello) {
		return
	}
	c.Writer.Flush()

	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for beats := 1; ; {
		if stream.missed.Swap(false) {
			// What waits is covered by fetching anew. The mark went first: an
			// event missed from now on asks for another hello.
			for empty := false; !empty; {
				select {
				case <-stream.queue:
				default:
					empty = true
				}
			}
			if !send("hello", hello) {
				return
			}
			c.Writer.Flush()
		}
		select {
		case <-c.Request.Context().Done():
			return
		case <-stream.end:
			return
		case <-stream.wake:
			continue
		case event := <-stream.queue:
			if !send(event.Type, event.Data) {
				return
			}
		case <-beat.C:
			if beats++; beats%renewEvery == 0 {
				identity, err := s.renew(c.Request.Context(), Identity(c))
				if pacs.CodeOf(err) == pacs.Unauthenticated {
					return
				}
				if err == nil {
					stream.identity.Store(identity)
				}
			}
			if _, err := fmt.Fprint(c.Writer, ": still here\n\n"); err != nil {
				return
			}
		}
		c.Writer.Flush()
	}
}
