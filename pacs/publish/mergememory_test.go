package publish

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// liveWriter measures what is in memory while it is written to.
type liveWriter struct {
	io.WriterAt
	writes int
	most   uint64
}

func (w *liveWriter) WriteAt(p []byte, at int64) (int, error) {
	if w.writes++; w.writes%16 == 0 {
		w.most = max(w.most, live())
	}
	return w.WriterAt.WriteAt(p, at)
}

// live is what is in use after a collection.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestCompressingMemoryStaysFlat: an instance of 40 MB in 80 frames, and as
// many frames in instances of their own, take a few frames of memory.
func TestCompressingMemoryStaysFlat(t *testing.T) {
	const frame, frames = 512 * 512 * 2, 80
	pixels := func(n int) func(*dicom.Dataset) {
		return func(ds *dicom.Dataset) {
			ds.SetInts(dicom.TagRows, dicom.US, 512)
			ds.SetInts(dicom.TagColumns, dicom.US, 512)
			ds.SetInts(dicom.TagNumberOfFrames, dicom.IS, n)
			ds.SetBytes(dicom.TagPixelData, dicom.OW, bytes.Repeat([]byte{7, 1, 8, 1}, n*frame/4))
		}
	}
	m := newMerging(t).compressing()
	real := m.merger.Compressor
	most := uint64(0)
	m.merger.Compressor = compressorFunc(func(ctx context.Context, src io.ReaderAt, size int64, dst io.WriterAt) (int64, error) {
		w := &liveWriter{WriterAt: dst}
		n, err := real.Compress(ctx, src, size, w)
		most = max(most, w.most, live())
		return n, err
	})
	m.pack(image{number: 1, more: pixels(frames)})
	for n := range frames {
		m.receive(image{number: n + 2, more: pixels(1)})
	}
	m.total += frames
	m.settled(m.total)
	base := live()
	m.merge()
	m.wantCount(frames+1, `SELECT count(*) FROM instance WHERE compressed IS NOT NULL`)
	if grown := int64(most) - int64(base); grown > 20*frame {
		t.Errorf("%d MB more in memory than before", grown>>20)
	} else {
		t.Logf("%.1f MB in memory before, %.1f MB more at most", float64(base)/(1<<20), float64(grown)/(1<<20))
	}
}
