package synthetic

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"time"
)

// examination is what a study may be of.
type examination struct {
	share      int // of 1000
	modality   string
	class      string // SOP Class UID
	syntax     string
	body       []string
	words      []string // study descriptions
	series     []string // in the order in which they come
	rows       int
	size       int64 // of one instance
	perSeries  int   // instances, of which Options.Instances takes its share
	othersFrom string
}

var examinations = []examination{
	{330, "DX", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.4.70", []string{"CHEST", "HAND", "KNEE", "SPINE"}, []string{"Рентген ОГК", "Koʻkrak qafasi", "Rentgen", "CHEST PA"}, []string{"PA", "LAT"}, 2500, 7_800_000, 1, ""},
	{120, "CR", "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.1.2.1", []string{"CHEST", "PELVIS", "SKULL"}, []string{"Rentgenografiya", "Рентгенография", ""}, []string{"AP", "LAT"}, 2048, 8_400_000, 1, ""},
	{210, "US", "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.1.2.4.50", []string{"ABDOMEN", "HEART", "THYROID"}, []string{"УЗИ", "UTT qorin boʻshligʻi", "Exo-KG"}, []string{""}, 768, 180_000, 2, ""},
	{160, "CT", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", []string{"HEAD", "CHEST", "ABDOMEN"}, []string{"МСКТ головы", "MSKT koʻkrak qafasi", "CT Abdomen", "КТ"}, []string{"Topogram", "Axial 5.0", "Thin 1.0", "Lung"}, 512, 526_000, 3, ""},
	{110, "MR", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1", []string{"BRAIN", "LSPINE", "KNEE"}, []string{"МРТ головного мозга", "MRT bosh miya", "MR Knee"}, []string{"Localizer", "T1 sag", "T2 tra", "FLAIR"}, 320, 206_000, 2, ""},
	{45, "MG", "1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.1.2.4.70", []string{"BREAST"}, []string{"Маммография", "Mammografiya"}, []string{"R CC", "L CC", "R MLO", "L MLO"}, 3328, 14_000_000, 1, ""},
	{20, "XA", "1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.1.2.4.50", []string{"HEART"}, []string{"Коронарография", "Koronarografiya"}, []string{"LCA", "RCA"}, 512, 9_000_000, 2, ""},
	{3, "NM", "1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.1.2.1", []string{"WHOLEBODY"}, []string{"Сцинтиграфия"}, []string{"WB"}, 1024, 2_100_000, 1, ""},
	{2, "PT", "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.1.2.1", []string{"WHOLEBODY"}, []string{"PET/CT"}, []string{"CT AC", "PET AC"}, 200, 82_000, 2, "CT"},
}

// study is one study before it becomes rows.
type study struct {
	examination
	patient    int
	home       int
	at         time.Time
	received   time.Time
	accession  string
	text       string
	body       string
	referring  string
	series     []int // instances of each
	seed       *rand.Rand
	attributes json.RawMessage
}

// study makes the nth study in order of arrival, of a run that begins with
// first.
func (o *Options) study(c *calendar, first numbers, n int) study {
	r := o.random(ofStudy, n)
	s := study{seed: r}
	share := r.IntN(1000)
	for _, s.examination = range examinations {
		if share -= s.share; share < 0 {
			break
		}
	}
	// Somebody new, or somebody who was here before, the more likely the later.
	s.patient = patientsBy(n) - 1
	if n > first.study && patientsBy(n-1) == patientsBy(n) {
		s.patient = first.patient + int(float64(s.patient+1-first.patient)*max(r.Float64(), r.Float64()))
	}
	s.home = o.home(s.patient)
	day := sort.SearchFloat64s(c.passed, (float64(n-first.study)+0.5)/float64(o.Studies))
	minute := 8*60 + r.IntN(10*60)
	if r.IntN(6) == 0 {
		minute = r.IntN(24 * 60)
	}
	s.at = c.from.AddDate(0, 0, day).Add(time.Duration(minute)*time.Minute + time.Duration(r.IntN(60))*time.Second)
	s.received = s.at.Add(time.Duration(2+r.IntN(20)) * time.Minute)
	if day > 30 && r.IntN(50) == 0 { // an old study, sent in now
		s.at = s.at.AddDate(0, 0, -r.IntN(day))
	}
	if r.IntN(20) > 2 {
		s.accession = fmt.Sprintf("%s%07d", s.at.Format("06"), n%10_000_000)
	}
	s.text, s.body = s.words[r.IntN(len(s.words))], s.examination.body[r.IntN(len(s.examination.body))]
	if r.IntN(3) > 0 {
		doctor := r.IntN(2000)
		s.referring = personName(o.random(ofDoctor, doctor), doctor%2 == 0)
	}
	for range 1 + r.IntN(len(s.examination.series)) {
		s.series = append(s.series, max(1, o.Instances*s.perSeries/2))
	}
	s.attributes = json.RawMessage(fmt.Sprintf(`{"00080080": {"vr": "LO", "Value": ["Klinika %d"]}, "00101010": {"vr": "AS", "Value": ["%03dY"]}}`, s.home+1, n%90))
	return s
}

// modalityOf is that of the ith series.
func (s *study) modalityOf(i int) string {
	if i == 0 && s.othersFrom != "" {
		return s.othersFrom
	}
	return s.modality
}

// modalities are those of all series, in order.
func (s *study) modalities() []string {
	all := []string{}
	for i := range s.series {
		all = append(all, s.modalityOf(i))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *study) instances() (n int) {
	for _, count := range s.series {
		n += count
	}
	return n
}

// uids makes the UIDs of the nth study: the study's, then those of series and
// instances as they are asked for. They are derived from random numbers as
// UUIDs are (PS3.5 B.2), so they come in no order, like those of many devices.
func (o *Options) uids(n int) func() string {
	r := o.random(ofUID, n)
	return func() string {
		high, low := r.Uint64(), r.Uint64()
		return fmt.Sprintf("2.25.%d%019d", high%9_000_000_000_000_000_000+1_000_000_000_000_000_000, low%10_000_000_000_000_000_000)
	}
}
