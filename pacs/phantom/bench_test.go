package phantom

import (
	"fmt"
	"testing"
)

// One 512×512 CT slice, one MR slice of the usual matrix, one radiograph.
func BenchmarkSlice(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.String(), func(b *testing.B) {
			jobs, err := (&Study{Kind: kind, Seed: 3, Finding: NoFinding}).plan()
			if err != nil {
				b.Fatal(err)
			}
			c := &canvas{}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				j := jobs[i*7%len(jobs)]
				b.SetBytes(int64(len(j.make(c).Dataset())))
			}
		})
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, kind := range []Kind{HeadCT, ChestCT} {
		b.Run(fmt.Sprint(kind), func(b *testing.B) {
			for b.Loop() {
				if _, err := (&Study{Kind: kind, Seed: 3}).plan(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
