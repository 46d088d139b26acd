package main

import (
	"context"
	"log/slog"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
	"github.com/tasvir-pacs/tasvir/storage"
)

// QuarantineFlags bound what is kept of what can't be indexed.
type QuarantineFlags struct {
	Quota byteSize `name:"quarantine-quota" default:"10GiB" env:"TASVIR_QUARANTINE_QUOTA" placeholder:"SIZE" help:"How much of what can't be indexed is kept in quarantine (${default}); more is refused."`
}

// byteSize is a number of bytes on the command line: 500MB, 10GiB, 1073741824.
type byteSize int64

var byteUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KIB", 1 << 10},
	{"MIB", 1 << 20},
	{"GIB", 1 << 30},
	{"TIB", 1 << 40},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
	{"", 1},
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *byteSize) UnmarshalText(text []byte) error {
	s := strings.ToUpper(strings.TrimSpace(string(text)))
	for _, unit := range byteUnits {
		number, found := strings.CutSuffix(s, unit.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n*unit.bytes >= 1 && n*unit.bytes <= 1<<62) {
			break
		}
		*b = byteSize(n * unit.bytes)
		return nil
	}
	return pacs.Errorf(pacs.Invalid, "%q is no size; it looks like 500MB or 10GiB", text)
}

// ward is a quarantine and what it has to do with a journal and its publisher.
type ward struct {
	*quarantine.Quarantine
	retry func() // the publisher's; set before anything is freed
}

// openWard opens the quarantine for what comes through a journal.
func openWard(ctx context.Context, ix *index.Index, store storage.Store, j *journal.Journal, flags QuarantineFlags, log *slog.Logger) (*ward, error) {
	w := &ward{retry: func() {}}
	var err error
	w.Quarantine, err = quarantine.Open(ctx, quarantine.Options{
		Index: ix, Store: store, Receiver: j, Quota: int64(flags.Quota), Log: log.With("part", "quarantine"),
		Freed: func() { w.retry() },
	})
	if err != nil {
		return nil, err
	}
	j.QuarantineRoom(w.Room)
	return w, nil
}

// publisher makes a publisher that passes on to the quarantine what it can't
// publish.
func (w *ward) publisher(o publish.Options) *publish.Publisher {
	o.Quarantine = w
	p := publish.New(o)
	w.retry = p.RetryHeld
	return p
}

func (w *ward) register(registry *prometheus.Registry) {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	registry.MustRegister(
		gauge("tasvir_quarantine_items", "Data sets in quarantine.", func() float64 { _, items, _ := w.Usage(); return float64(items) }),
		gauge("tasvir_quarantine_bytes", "Bytes in quarantine.", func() float64 { bytes, _, _ := w.Usage(); return float64(bytes) }),
		gauge("tasvir_quarantine_quota", "Bytes that the quarantine keeps at most.", func() float64 { _, _, quota := w.Usage(); return float64(quota) }),
	)
}

// status is the quarantine's part of GET /api/admin/status.
func (w *ward) status() gin.H {
	bytes, items, quota := w.Usage()
	return gin.H{"items": items, "bytes": bytes, "quota": quota}
}

// wardRestorer brings the quarantine's list back from object storage.
type wardRestorer struct {
	index *index.Index
	store storage.Store
}

// Restore implements publish.Restorer.
func (w *wardRestorer) Restore(ctx context.Context) (int, error) {
	q, err := quarantine.Open(ctx, quarantine.Options{Index: w.index, Store: w.store})
	if err != nil {
		return 0, err
	}
	return q.Restore(ctx)
}
