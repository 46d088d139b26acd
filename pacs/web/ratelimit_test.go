package web

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// clock is a time that tests move.
func (x *limits) clock() (advance func(time.Duration)) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	x.now = func() time.Time { return at }
	return func(d time.Duration) { at = at.Add(d) }
}

func TestRateLimitOfRequests(t *testing.T) {
	s := open(t, func(o *Options) {
		o.Limit = RateLimit{Requests: 0.5, Burst: 10 * time.Second}
		o.TrustedLoopback = true
	})
	advance := s.server.limits.clock()
	b := &browser{site: s}
	one, two := bearer(s.token("one", "A", access.ScopeDICOMwebRead)), bearer(s.token("two", "A", access.ScopeDICOMwebRead))
	for range 5 {
		b.do("GET", "/dicom-web/studies", nil, one).want(200)
	}
	refused := b.do("GET", "/dicom-web/studies", nil, one).problem(429, pacs.Unavailable, "rate_limit")
	if got := refused.Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After: %q", got)
	}
	b.do("GET", "/dicom-web/studies", nil, two).want(200) // somebody else's allowance is untouched
	for range 10 {
		b.do("GET", "/dicom-web/studies", nil).want(200) // and a trusted program has no limit
	}
	advance(2 * time.Second)
	b.do("GET", "/dicom-web/studies", nil, one).want(200)
	b.do("GET", "/dicom-web/studies", nil, one).want(429)
	// Guessing tokens is what an address does.
	for range 5 {
		b.do("GET", "/dicom-web/studies", nil, bearer("wrong")).want(401)
	}
	b.do("GET", "/dicom-web/studies", nil, bearer("wrong")).want(429)
	metrics := string(b.do("GET", "/metrics", nil).want(200).body)
	if !strings.Contains(metrics, `tasvir_http_rate_limited_total{of="requests"} 3`) {
		t.Error("not counted")
	}
}

func TestRateLimitOfBytes(t *testing.T) {
	s := open(t, func(o *Options) { o.Limit = RateLimit{Bytes: 1000, Burst: 10 * time.Second} })
	advance := s.server.limits.clock()
	s.server.DICOMweb().GET("/large", func(c *gin.Context) { c.Data(200, "application/dicom", bytes.Repeat([]byte("x"), 25_000)) })
	b := &browser{site: s}
	token := bearer(s.token("one", "A", access.ScopeDICOMwebRead))
	b.do("GET", "/dicom-web/large", nil, token).want(200)
	refused := b.do("GET", "/dicom-web/large", nil, token).problem(429, pacs.Unavailable, "rate_limit")
	if got := refused.Header.Get("Retry-After"); got != "16" && got != "15" { // the refusal is an answer, too
		t.Errorf("Retry-After: %q", got)
	}
	advance(16 * time.Second)
	b.do("GET", "/dicom-web/large", nil, token).want(200)
}

// However many callers come, what is kept of them is bounded, and those who are
// quiet are forgotten first.
func TestRateLimitMemory(t *testing.T) {
	x, err := newLimits(RateLimit{Requests: 1, Burst: 3 * time.Second}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	advance := x.clock()
	for n := range maxCallers + 1000 {
		_ = x.refuse(fmt.Sprint("address ", n))
	}
	if len(x.callers) > maxCallers+1 {
		t.Errorf("%d callers", len(x.callers))
	}
	if x.refuse("address of a newcomer") == nil {
		t.Error("those who come too many have no bound")
	}
	advance(time.Minute)
	if err := x.refuse("a new one"); err != nil || len(x.callers) > 2 {
		t.Errorf("%v, %d callers", err, len(x.callers))
	}
}
