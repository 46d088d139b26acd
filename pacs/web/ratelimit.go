package web

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// RateLimit bounds what one caller may ask for: a token, a person in all of
// their windows, or, of those who are not signed in, a network address.
type RateLimit struct {
	Requests float64 // per second; 0: no limit
	Bytes    float64 // of answers per second; 0: no limit
	// Burst is for how long a caller who was quiet may have at once what the
	// rates allow; 10 seconds when 0.
	Burst time.Duration
}

// maxCallers bounds how many callers are told apart; beyond, newcomers share one
// allowance.
const maxCallers = 20_000

const reasonRateLimit = "rate_limit"

// limits are token buckets per caller. Nil sets no limit.
type limits struct {
	RateLimit
	now     func() time.Time
	refused *prometheus.CounterVec

	mu      sync.Mutex
	callers map[string]*allowance
	swept   time.Time
}

// allowance is what a caller may have now. The bytes of an answer are known when
// it was sent, so that allowance may be below 0.
type allowance struct {
	requests, bytes float64
	at              time.Time
}

func newLimits(l RateLimit, registry prometheus.Registerer) (*limits, error) {
	if l.Requests < 0 || l.Bytes < 0 || l.Burst < 0 {
		return nil, pacs.Errorf(pacs.Invalid, "A rate limit is not negative")
	}
	if l.Requests == 0 && l.Bytes == 0 {
		return nil, nil
	}
	if l.Burst == 0 {
		l.Burst = 10 * time.Second
	}
	x := &limits{RateLimit: l, now: time.Now, callers: map[string]*allowance{}}
	x.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tasvir_http_rate_limited_total", Help: "HTTP requests refused with 429 because the caller was over the rate limit, by what there was too much of.",
	}, []string{"of"})
	if err := registry.Register(x.refused); err != nil {
		return nil, fmt.Errorf("metrics of HTTP: %w", err)
	}
	return x, nil
}

func (x *limits) fullRequests() float64 { return math.Max(1, x.Requests*x.Burst.Seconds()) }
func (x *limits) fullBytes() float64    { return x.Bytes * x.Burst.Seconds() }

// of returns a caller's allowance as it is now. The caller holds mu.
func (x *limits) of(who string) *allowance {
	now := x.now()
	a := x.callers[who]
	if a == nil {
		if len(x.callers) >= maxCallers && now.Sub(x.swept) > x.Burst {
			x.sweep(now)
		}
		if len(x.callers) >= maxCallers {
			who = "" // shared by all who come too many
			a = x.callers[who]
		}
	}
	if a == nil {
		a = &allowance{requests: x.fullRequests(), bytes: x.fullBytes(), at: now}
		x.callers[who] = a
	}
	passed := now.Sub(a.at).Seconds()
	a.requests = math.Min(x.fullRequests(), a.requests+passed*x.Requests)
	a.bytes = math.Min(x.fullBytes(), a.bytes+passed*x.Bytes)
	a.at = now
	return a
}

// sweep forgets callers who have been quiet for so long that they are like new.
func (x *limits) sweep(now time.Time) {
	x.swept = now
	for who, a := range x.callers {
		passed := now.Sub(a.at).Seconds()
		if a.requests+passed*x.Requests >= x.fullRequests() && a.bytes+passed*x.Bytes >= x.fullBytes() {
			delete(x.callers, who)
		}
	}
}

// take counts a request of a caller. It returns how long to wait and of what
// there was too much, when it is refused.
func (x *limits) take(who string) (wait time.Duration, of string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	a := x.of(who)
	switch {
	case x.Requests > 0 && a.requests < 1:
		of, wait = "requests", time.Duration((1-a.requests)/x.Requests*float64(time.Second))
	case x.Bytes > 0 && a.bytes < 0:
		of, wait = "bytes", time.Duration(-a.bytes/x.Bytes*float64(time.Second))
	default:
		a.requests--
		return 0, ""
	}
	x.refused.WithLabelValues(of).Inc()
	return wait, of
}

// spent counts the bytes of an answer.
func (x *limits) spent(who string, bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.of(who).bytes -= float64(bytes)
}

// tooFast is the cause of the refusal.
type tooFast struct{ wait time.Duration }

func (e *tooFast) Error() string { return "over the rate limit" }

// RetryAfter is how long the caller should wait.
func (e *tooFast) RetryAfter() time.Duration { return max(e.wait, time.Second) }

// limitCaller refuses who asks for too much. Programs on this machine that the
// server trusts are not limited.
func (s *Server) limitCaller(c *gin.Context) {
	if s.limits == nil {
		return
	}
	who, limited := s.callerName(c)
	if !limited {
		return
	}
	if err := s.limits.refuse(who); err != nil {
		Problem(c, err)
		return
	}
	if s.limits.Bytes > 0 {
		defer func() { s.limits.spent(who, written(c.Writer)) }()
		c.Next()
	}
}

// refuse is nil for who is within the limit.
func (x *limits) refuse(who string) error {
	wait, of := x.take(who)
	if of == "" {
		return nil
	}
	what := fmt.Sprintf("%g requests a second", x.Requests)
	if of == "bytes" {
		what = fmt.Sprintf("%g bytes a second", x.Bytes)
	}
	return pacs.Wrap(pacs.Unavailable, &tooFast{wait}, "You ask for more than the "+what+" that one caller may have. Go on a little later").WithReason(reasonRateLimit, "")
}

// callerName is whose allowance a request is taken from.
func (s *Server) callerName(c *gin.Context) (who string, limited bool) {
	switch identity := Identity(c); {
	case identity == nil:
		return "address " + remote(c), true
	case identity.Token == nil && identity.Session == nil: // trusted loopback
		return "", false
	default:
		return identity.Who(), true
	}
}
