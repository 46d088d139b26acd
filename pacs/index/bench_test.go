package index

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
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

// BenchmarkSearches asks the index of TASVIR_BENCH_DATABASE for pages of 50
// studies by values that it has, and shows the median and the 95th percentile.
func BenchmarkSearches(b *testing.B) {
	if os.Getenv("TASVIR_BENCH_DATABASE") == "" {
		b.Skip("TASVIR_BENCH_DATABASE names no index")
	}
	ix := openBench(b)
	var last int64
	if err := ix.pool.QueryRow(b.Context(), `SELECT max(id) FROM study`).Scan(&last); err != nil {
		b.Fatal(err)
	}
	var known []pacs.Study
	for len(known) < 300 {
		ids := make([]int64, 100)
		for i := range ids {
			ids[i] = 1 + rand.Int64N(last)
		}
		some, err := ix.StudiesByID(b.Context(), system, ids)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range some {
			if s.AccessionNumber != "" && s.Date != "" && len(s.Modalities) > 0 {
				known = append(known, s)
			}
		}
	}
	deep := ""
	for range 4 { // 1000 pages of 50, in larger steps
		_, next, err := ix.Studies(b.Context(), system, pacs.StudyFilter{Page: pacs.Page{Limit: 5000, After: deep}})
		if err != nil {
			b.Fatal(err)
		}
		deep = next
	}
	family := func(s pacs.Study) string { name, _, _ := pacs.NameParts(s.Patient.Name); return name }
	part := func(s pacs.Study, from, n int) string {
		r := []rune(family(s))
		from = min(from, max(0, len(r)-n))
		return string(r[from:min(from+n, len(r))])
	}
	for _, shape := range []struct {
		name   string
		filter func(pacs.Study) pacs.StudyFilter
	}{
		{"UID", func(s pacs.Study) pacs.StudyFilter {
			return pacs.StudyFilter{StudyInstanceUIDs: []string{s.StudyInstanceUID}}
		}},
		{"patient ID", func(s pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{PatientID: s.Patient.PatientID} }},
		{"accession", func(s pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{AccessionNumber: s.AccessionNumber} }},
		{"day and modality", func(s pacs.Study) pacs.StudyFilter {
			return pacs.StudyFilter{Date: pacs.DateRange{From: s.Date, To: s.Date}, Modalities: s.Modalities[:1]}
		}},
		{"month", func(s pacs.Study) pacs.StudyFilter {
			return pacs.StudyFilter{Date: pacs.DateRange{From: s.Date[:6] + "01", To: s.Date[:6] + "31"}}
		}},
		{"month and modality", func(s pacs.Study) pacs.StudyFilter {
			return pacs.StudyFilter{Date: pacs.DateRange{From: s.Date[:6] + "01", To: s.Date[:6] + "31"}, Modalities: s.Modalities[:1]}
		}},
		{"family name", func(s pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{PatientName: family(s) + "*"} }},
		{"name prefix of 4", func(s pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{PatientName: part(s, 0, 4) + "*"} }},
		{"name contains 4", func(s pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{PatientName: "*" + part(s, 2, 4) + "*"} }},
		{"name, fuzzy", func(s pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{PatientName: family(s), Fuzzy: true} }},
		{"typed name", func(s pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{Text: part(s, 0, 5)} }},
		{"typed, 2 letters", func(s pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{Text: part(s, 1, 2)} }},
		{"priors", func(s pacs.Study) pacs.StudyFilter {
			return pacs.StudyFilter{PatientRowID: s.Patient.ID, ExcludeStudyInstanceUID: s.StudyInstanceUID}
		}},
		{"none", func(pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{} }},
		{"page 1000", func(pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{Page: pacs.Page{After: deep}} }},
		{"offset 50000", func(pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{Page: pacs.Page{Offset: 50_000}} }},
		{"by name", func(pacs.Study) pacs.StudyFilter { return pacs.StudyFilter{Sort: pacs.ByName} }},
	} {
		for who, sees := range map[string]int{"all": 0, "one facility": 1, "five facilities": 5} {
			b.Run(strings.ReplaceAll(shape.name, " ", "_")+"/"+strings.ReplaceAll(who, " ", "_"), func(b *testing.B) {
				var took []float64
				var found, n int
				for b.Loop() {
					s := known[n%len(known)]
					scope := pacs.Scope{Who: "bench", All: sees == 0}
					for i := range sees {
						scope.FacilityIDs = append(scope.FacilityIDs, known[(n+i)%len(known)].Facility.ID)
					}
					f := shape.filter(s)
					f.Limit = 50
					began := time.Now()
					studies, _, err := ix.Studies(b.Context(), scope, f)
					if err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(began).Seconds()*1000)
					found += len(studies)
					n++
				}
				slices.Sort(took)
				b.ReportMetric(took[len(took)/2], "p50-ms")
				b.ReportMetric(took[len(took)*95/100], "p95-ms")
				b.ReportMetric(float64(found)/float64(n), "studies")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
