package publish

import "testing"

// BenchmarkPublish publishes CT slices (512×512, 16 bit) from the journal to a
// folder and the index.
func BenchmarkPublish(b *testing.B) {
	const slice = 512 * 512 * 2
	a := newArchive(b, func(o *Options) { o.Quiet, o.Patience = 0, 0 })
	b.SetBytes(slice)
	for n := range b.N {
		a.receive(image{number: n + 1, pixels: slice})
	}
	b.ResetTimer()
	a.start()
	a.settled(b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "instances/s")
}
