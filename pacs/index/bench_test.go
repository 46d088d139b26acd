package index

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// BenchmarkAdd publishes packs of CT series, two to a study: into an empty
// index, or into that of TASVIR_BENCH_DATABASE (tasvir generate fills one).
func BenchmarkAdd(b *testing.B) {
	ix := openBench(b)
	began := time.Now().UnixNano()
	for _, size := range []int{1, 125} {
		b.Run(fmt.Sprint(size, " instances a pack"), func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				study := fmt.Sprintf("1.2.%d.%d.%d", began, size, n/2)
				a := addition(study, fmt.Sprint(study, ".", n%2), size, func(a *Addition) {
					a.Facility, a.Patient.Issuer, a.Patient.PatientID = "BENCH", "BENCH", fmt.Sprint(began, n/2)
					a.Pack.Key = fmt.Sprintf("synthetic/bench/%s/%d.zip", study, n)
					for i := range a.Instances {
						a.Instances[i].Attributes = attributes(`{"00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", "AXIAL"]}}`)
					}
				})
				if err := ix.Add(b.Context(), a, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "instances/s")
		})
	}
}

func openBench(b *testing.B) *Index {
	url := os.Getenv("TASVIR_BENCH_DATABASE")
	if url == "" {
		return open(b)
	}
	ix, err := Open(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(ix.Close)
	return ix
}
