package journal

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkReceive receives CT slices (512×512, 16 bit) as one or several
// associations send them. Each is on disk (fdatasync) before the next begins.
func BenchmarkReceive(b *testing.B) {
	const slice = 512 * 512 * 2
	for _, senders := range []int{1, 4} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			j := open(b, Options{Dir: b.TempDir()})
			var count atomic.Int64
			b.SetBytes(slice)
			b.ReportAllocs()
			done := make(chan error, senders)
			b.ResetTimer()
			for range senders {
				go func() {
					for {
						n := count.Add(1)
						if n > int64(b.N) {
							done <- nil
							return
						}
						if _, err := j.Receive(b.Context(), incoming(fmt.Sprintf("1.2.%d", n), slice)); err != nil {
							done <- err
							return
						}
					}
				}()
			}
			for range senders {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "instances/s")
			b.StopTimer()
			j.Drop(take(b, j, b.N)...)
		})
	}
}
