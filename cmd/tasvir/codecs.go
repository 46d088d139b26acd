package main

import (
	"context"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/transcode"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// CodecsCmd is a process in which the codecs in C run (pixel.Worker).
type CodecsCmd struct{}

// Run serves until standard input ends.
func (c *CodecsCmd) Run() error { return pixel.ServeCodecs(os.Stdin, os.Stdout, pixel.CodecMemory) }

// CompressFlags say what becomes of images when their packs are merged.
type CompressFlags struct {
	Compress string `enum:"none,jpeg-ls" default:"none" env:"TASVIR_COMPRESS" help:"What becomes of uncompressed images (Explicit VR Little Endian) when their study is complete and its packs are merged: none, or jpeg-ls, which keeps them without loss in a half to a third of the space. They are then served as JPEG-LS Lossless (1.2.840.10008.1.2.4.80), and decompressed for clients and devices that do not take that. What is compressed stays so when this is turned off again (${default})."`
}

// jpegLS is the value of --compress.
const jpegLS = "jpeg-ls"

func (f CompressFlags) check() error {
	if f.Compress == jpegLS && !pixel.Available {
		return pacs.Errorf(pacs.Invalid, "--compress jpeg-ls needs the JPEG-LS codec, which this binary was built without; install libcharls-dev and build it with -tags charls (make build does), or use --compress none")
	}
	return nil
}

// compressor is what --compress asks for, nil for nothing.
func (n *Node) compressor() publish.Compressor {
	if n.flags.Compress != jpegLS {
		return nil
	}
	return &pixel.Compressor{Codecs: n.codecs()}
}

// codecs are those of the whole node: compression, retrieval and rendering share
// the processes in which the codecs in C run, and take turns.
func (n *Node) codecs() *pixel.Codecs {
	n.pixels.Do(func() {
		worker := &pixel.Worker{Command: []string{ownBinary(), "codecs"}} // starts when it is needed
		n.onClose(func(context.Context) { worker.Close() })
		n.pixels.codecs = &pixel.Codecs{Worker: worker}
	})
	return n.pixels.codecs
}

// transcoder gives images to devices and clients that don't take them as they are
// kept.
func (n *Node) transcoder() *transcode.Transcoder { return &transcode.Transcoder{Codecs: n.codecs()} }

// pixels keeps the codecs once they are made.
type pixels struct {
	sync.Once
	codecs *pixel.Codecs
}

// ownBinary is the file that we run. Where the system can tell, that is so even
// when another has been installed in its place.
func ownBinary() string {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// compressMetrics is what /metrics shows of compression.
type compressMetrics struct {
	instances, saved, failures prometheus.Counter
}

func newCompressMetrics(registry *prometheus.Registry) *compressMetrics {
	m := &compressMetrics{
		instances: prometheus.NewCounter(prometheus.CounterOpts{Name: "tasvir_compressed_instances_total", Help: "Instances that merging has compressed without loss."}),
		saved:     prometheus.NewCounter(prometheus.CounterOpts{Name: "tasvir_compression_saved_bytes_total", Help: "Bytes that those have less than they were received with."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "tasvir_compression_failures_total", Help: "Instances that were not compressed because the codec died, took too long or had no room."}),
	}
	registry.MustRegister(m.instances, m.saved, m.failures)
	return m
}

func (m *compressMetrics) compressed(instances int, before, after int64) {
	m.instances.Add(float64(instances))
	m.saved.Add(float64(before - after))
}

func (m *compressMetrics) failed(error) { m.failures.Inc() }
