package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tasvir_http_request_duration_seconds",
			Help:    "Time to answer HTTP requests, by route pattern. Event streams are not counted.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"method", "route", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tasvir_http_requests_in_flight", Help: "HTTP requests being answered, event streams included.",
		}),
	}
	for _, collector := range []prometheus.Collector{m.duration, m.inFlight} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("metrics of HTTP: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(method, route string, status int, elapsed time.Duration) {
	if route == "/api/events" {
		return
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
	default:
		method = "other" // the caller's words don't become labels
	}
	m.duration.WithLabelValues(method, route, strconv.Itoa(status/100)+"xx").Observe(elapsed.Seconds())
}
