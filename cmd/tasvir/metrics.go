package main

import (
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// metrics is what /metrics shows of the archive's own work. No label carries
// a patient's data; AE titles appear only for known devices.
type metrics struct {
	associations *prometheus.CounterVec
	open         prometheus.Gauge
	stores       *prometheus.CounterVec
	storeBytes   prometheus.Counter
	storeTime    prometheus.Histogram

	published      prometheus.Counter
	publishedBytes prometheus.Counter
	publishLag     prometheus.Histogram
	publishFailed  prometheus.Counter
	publishHeld    prometheus.Counter
	quarantined    *prometheus.CounterVec

	deliveries   *prometheus.CounterVec
	deliveryTime prometheus.Histogram

	packs                          *packMetrics
	patrol                         *patrolMetrics
	retainedStudies, retainedBytes *prometheus.CounterVec
}

func newMetrics(registry *prometheus.Registry, j *journal.Journal) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 1800}})
	}
	m := &metrics{
		associations:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tasvir_dicom_associations_total", Help: "DICOM associations by how they ended."}, []string{"end"}),
		open:           prometheus.NewGauge(prometheus.GaugeOpts{Name: "tasvir_dicom_associations_open", Help: "DICOM associations open now."}),
		stores:         prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tasvir_store_total", Help: "C-STORE requests answered, by status category."}, []string{"status"}),
		storeBytes:     counter("tasvir_store_bytes_total", "Bytes of data sets received by C-STORE."),
		storeTime:      seconds("tasvir_store_seconds", "Time from a C-STORE request to its answer."),
		published:      counter("tasvir_published_instances_total", "Instances published from the journal."),
		publishedBytes: counter("tasvir_published_bytes_total", "Bytes published from the journal."),
		publishLag:     seconds("tasvir_publish_lag_seconds", "Time from receiving to publishing of the oldest instance of a pack."),
		publishFailed:  counter("tasvir_publish_failures_total", "Attempts to publish that will be repeated."),
		publishHeld:    counter("tasvir_publish_held_total", "Instances held in the journal because the quarantine has no room."),
		quarantined:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tasvir_quarantined_instances_total", Help: "Instances that went to quarantine, by reason."}, []string{"reason"}),
		deliveries:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tasvir_report_deliveries_total", Help: "Attempts to deliver a report to the FHIR platform."}, []string{"outcome"}),
		deliveryTime:   seconds("tasvir_report_delivery_seconds", "Duration of an attempt to deliver a report."),
	}
	m.retainedStudies, m.retainedBytes = retentionMetrics(registry)
	gauge := func(name, help string, value func(journal.Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(j.Stats()) })
	}
	registry.MustRegister(m.associations, m.open, m.stores, m.storeBytes, m.storeTime,
		m.published, m.publishedBytes, m.publishLag, m.publishFailed, m.publishHeld, m.quarantined, m.deliveries, m.deliveryTime,
		gauge("tasvir_journal_records", "Records in the journal that wait to be published.", func(s journal.Stats) float64 { return float64(s.Records) }),
		gauge("tasvir_journal_held_records", "Records held in the journal.", func(s journal.Stats) float64 { return float64(s.Held) }),
		gauge("tasvir_journal_bytes", "Bytes of the records in the journal.", func(s journal.Stats) float64 { return float64(s.Bytes) }),
		gauge("tasvir_journal_unfit_bytes", "Bytes in the journal that are on their way to quarantine.", func(s journal.Stats) float64 { return float64(s.Unfit) }),
		gauge("tasvir_journal_fill_ratio", "How near the journal is to refusing, 0 to 1: the part of its quota or of the usable disk that is taken.", func(s journal.Stats) float64 { return s.Fill }),
		gauge("tasvir_journal_unreadable_segments", "Segments of earlier runs that can't be read.", func(s journal.Stats) float64 { return float64(s.Unreadable) }),
		gauge("tasvir_journal_oldest_seconds", "Age of the oldest record that waits.", func(s journal.Stats) float64 {
			if s.Oldest.IsZero() {
				return 0
			}
			return time.Since(s.Oldest).Seconds()
		}),
	)
	m.packs = newPackMetrics(registry)
	m.patrol = newPatrolMetrics(registry)
	return m
}

func (m *metrics) dimse() dimse.Observer {
	return dimse.Observer{
		AssociationOpened: func(*dimse.AssociationInfo) { m.open.Inc() },
		AssociationClosed: func(*dimse.AssociationInfo, time.Duration) {
			m.open.Dec()
			m.associations.WithLabelValues("released").Inc()
		},
		AssociationAborted: func(*dimse.AssociationInfo, time.Duration, error) {
			m.open.Dec()
			m.associations.WithLabelValues("aborted").Inc()
		},
		AssociationRejected: func(*ul.AssociateRequest, net.Addr, error) { m.associations.WithLabelValues("rejected").Inc() },
		InstanceStored: func(_ *dimse.StoreRequest, bytes int64, d time.Duration, status dimse.Status) {
			m.stores.WithLabelValues(status.Code.Category().String()).Inc()
			m.storeBytes.Add(float64(bytes))
			m.storeTime.Observe(d.Seconds())
		},
	}
}

func (m *metrics) publisher() publish.Observer {
	return publish.Observer{
		Published: func(instances int, bytes int64, oldest time.Duration) {
			m.published.Add(float64(instances))
			m.publishedBytes.Add(float64(bytes))
			m.publishLag.Observe(oldest.Seconds())
		},
		Failed:      func(error) { m.publishFailed.Inc() },
		Held:        func(error) { m.publishHeld.Inc() },
		Quarantined: func(reason pacs.QuarantineReason) { m.quarantined.WithLabelValues(string(reason)).Inc() },
	}
}

func (m *metrics) delivery(err error, took time.Duration) {
	outcome := "delivered"
	if err != nil {
		outcome = "failed"
	}
	m.deliveries.WithLabelValues(outcome).Inc()
	m.deliveryTime.Observe(took.Seconds())
}
