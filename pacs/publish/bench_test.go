package publish

import (
	"bytes"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

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

// BenchmarkMerge merges synthetic series, half of whose instances come later,
// as they are and compressed: CT of 512×512 and MR of 128×128 pixels of 16 bits.
func BenchmarkMerge(b *testing.B) {
	for _, c := range []struct {
		name  string
		study phantom.Study
	}{
		{"CT", phantom.Study{Kind: phantom.ChestCT, Slices: 100, Matrix: 512}},
		{"MR", phantom.Study{Kind: phantom.BrainMR, Series: []phantom.SeriesSpec{{Weighting: phantom.T2, Slices: 500, Matrix: 128}}}},
	} {
		for _, how := range []string{"as it is", "compressed"} {
			b.Run(c.name+" "+how, func(b *testing.B) {
				for range b.N {
					b.StopTimer()
					m := newMerging(b)
					if how == "compressed" {
						m.compressing()
					}
					m.receivePhantom(&c.study)
					var id, before, after int64
					m.row(`SELECT id, bytes FROM study`, nil, &id, &before)
					b.StartTimer()
					if err := m.merger.Study(b.Context(), id); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					m.row(`SELECT bytes FROM study`, nil, &after)
					b.SetBytes(before)
					b.ReportMetric(float64(m.total)*float64(b.N)/b.Elapsed().Seconds(), "instances/s")
					b.ReportMetric(float64(before)/float64(after), "times_smaller")
					m.archive.close()
				}
			})
		}
	}
}

// receivePhantom publishes a generated study, each series in two halves.
func (m *merging) receivePhantom(study *phantom.Study) {
	m.t.Helper()
	m.start()
	for half := range 2 {
		for i, err := range study.Instances() {
			if err != nil {
				m.t.Fatal(err)
			}
			if i.InstanceNumber%2 != half {
				continue
			}
			if _, err := m.journal.Receive(m.t.Context(), pacs.Incoming{
				Data: bytes.NewReader(i.Dataset()), TransferSyntaxUID: i.TransferSyntaxUID, SOPClassUID: i.SOPClassUID, SOPInstanceUID: i.SOPInstanceUID,
				Channel: pacs.ChannelDIMSE, Facility: "TMA", Sender: "CT1",
			}); err != nil {
				m.t.Fatal(err)
			}
			m.total++
		}
		m.settled(m.total)
	}
}
