package main

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/bytecache"
	"github.com/tasvir-pacs/tasvir/storage/tiered"
)

// FrameCacheFlags bound what is kept in memory for DICOMweb.
type FrameCacheFlags struct {
	FrameCache int64 `name:"frame-cache" default:"128" env:"TASVIR_FRAME_CACHE" placeholder:"MIB" help:"How many MiB of frames and pictures are kept in memory: rendered pictures, frames in another transfer syntax than they are stored in, and frames from object storage (${default}); 0 keeps none."`
}

func (f FrameCacheFlags) check() error {
	if f.FrameCache < 0 || f.FrameCache > 1<<20 {
		return pacs.Errorf(pacs.Invalid, "--frame-cache %d is no size in MiB; 0 keeps nothing in memory", f.FrameCache)
	}
	return nil
}

// frameCache is the cache of DICOMweb, with its metrics; nil for none.
func (n *Node) frameCache(registry prometheus.Registerer) *bytecache.Cache {
	cache := bytecache.New(n.flags.FrameCache << 20)
	if cache == nil {
		return nil
	}
	counter := func(name, help string, of func(bytecache.Stats) int64) {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of(cache.Stats())) }))
	}
	counter("tasvir_frame_cache_hits_total", "Frames and pictures that were answered from memory.", func(s bytecache.Stats) int64 { return s.Hits })
	counter("tasvir_frame_cache_misses_total", "Frames and pictures that were not in memory.", func(s bytecache.Stats) int64 { return s.Misses })
	counter("tasvir_frame_cache_evictions_total", "Frames and pictures that went from memory to make room.", func(s bytecache.Stats) int64 { return s.Evictions })
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tasvir_frame_cache_bytes", Help: "Bytes of frames and pictures in memory."},
		func() float64 { return float64(cache.Stats().Bytes) }))
	return cache
}

// remote says whether reading a pack costs a round trip.
func (n *Node) remote(packKey string) bool {
	address := n.flags.Store
	if n.flags.ColdStore != "" && tiered.IsCold(packKey) {
		address = n.flags.ColdStore
	}
	return strings.HasPrefix(address, "s3://")
}
