package phantom

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var kinds = []Kind{HeadCT, ChestCT, AbdomenCT, BrainMR, LumbarMR, ChestXRay}

// collect generates a whole study.
func collect(t *testing.T, s *Study) []*Instance {
	t.Helper()
	var list []*Instance
	for in, err := range s.Instances() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, in)
	}
	return list
}

// attributes reads the top level of an explicit little endian data set.
func attributes(t *testing.T, b []byte) map[uint32][]byte {
	t.Helper()
	m := map[uint32][]byte{}
	last := uint32(0)
	for len(b) > 0 {
		tag := uint32(binary.LittleEndian.Uint16(b))<<16 | uint32(binary.LittleEndian.Uint16(b[2:]))
		if tag <= last {
			t.Fatalf("(%08x) follows (%08x)", tag, last)
		}
		last = tag
		n, head := int(binary.LittleEndian.Uint16(b[6:])), 8
		switch string(b[4:6]) {
		case "SQ", "OW", "OB", "UT", "UN", "UC":
			n, head = int(binary.LittleEndian.Uint32(b[8:])), 12
		}
		if n%2 != 0 || head+n > len(b) {
			t.Fatalf("(%08x) has length %d of %d left", tag, n, len(b)-head)
		}
		m[tag] = b[head : head+n]
		b = b[head+n:]
	}
	return m
}

func text(b []byte) string { return strings.TrimRight(string(b), " \x00") }

func floats(t *testing.T, b []byte) []float64 {
	t.Helper()
	var out []float64
	for _, s := range strings.Split(text(b), `\`) {
		if len(s) > 16 {
			t.Errorf("DS value %q is longer than 16", s)
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// fuses tells whether the compiler joins a product and a sum into one
// instruction with one rounding; then pixels may differ in the last bit.
func fuses(a, b, c float64) bool { return a*b+c != 0 }

// The digest of all instances of a small study of each kind. They change
// whenever anatomy or attributes change: look at the pictures, then update.
var golden = map[Kind]string{
	HeadCT:    "10ff20f605ce5fec",
	ChestCT:   "2e41d1257afe2150",
	AbdomenCT: "2d6258d6ff5cc081",
	BrainMR:   "d38a3486a713dfdb",
	LumbarMR:  "576c5c2ab9c9a477",
	ChestXRay: "2e0fa81af1f84510",
}

func TestSameRecipeGivesSameBytes(t *testing.T) {
	e := 1 + math.Pow(2, -30)
	portable := runtime.GOARCH == "amd64" && !fuses(e, e, -(e*e))
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			digest := func() string {
				h := sha256.New()
				for _, in := range collect(t, Small(kind, 3)) {
					if _, err := in.WriteTo(h); err != nil {
						t.Fatal(err)
					}
				}
				return hex.EncodeToString(h.Sum(nil))[:16]
			}
			got := digest()
			if again := digest(); again != got {
				t.Fatalf("two runs of one recipe differ: %s and %s", got, again)
			}
			if portable && got != golden[kind] {
				t.Errorf("digest is %s, want %s", got, golden[kind])
			}
		})
	}
}

func TestAnyDifferenceGivesOtherUIDs(t *testing.T) {
	base := Small(HeadCT, 2)
	seen := map[string]string{}
	note := func(what string, s *Study) {
		for _, in := range collect(t, s) {
			for _, u := range []string{in.SOPInstanceUID, in.SeriesInstanceUID, in.StudyInstanceUID} {
				if len(u) > 64 || !strings.HasPrefix(u, "2.25.") {
					t.Errorf("%q is no UID", u)
				}
			}
			if other, ok := seen[in.SOPInstanceUID]; ok {
				t.Errorf("%s and %s share an instance UID", what, other)
			}
			seen[in.SOPInstanceUID] = what
		}
	}
	note("base", base)
	for what, change := range map[string]func(*Study){
		"seed":      func(s *Study) { s.Seed++ },
		"patient":   func(s *Study) { s.Patient.ID = "other" },
		"accession": func(s *Study) { s.Accession = "other" },
		"date":      func(s *Study) { s.Date = s.Date.Add(time.Minute) },
		"finding":   func(s *Study) { s.Finding = Infarct },
		"charset":   func(s *Study) { s.CharacterSet = "ISO_IR 144" },
		"reason":    func(s *Study) { s.Reason = "other" },
		"implicit":  func(s *Study) { s.ImplicitVR = true },
	} {
		s := *base
		change(&s)
		note(what, &s)
	}
}

// meanAt is the mean stored value around an anatomical point, as HU.
func meanAt(t *testing.T, s *Study, series int, at vec, radius float32) float64 {
	t.Helper()
	jobs, err := s.plan()
	if err != nil {
		t.Fatal(err)
	}
	var best *job
	for i := range jobs {
		j := &jobs[i]
		if j.index != series {
			continue
		}
		d := func(j *job) float32 { return abs(j.plane.normal().dot(at.sub(j.plane.origin))) }
		if best == nil || d(j) < d(best) {
			best = j
		}
	}
	c := &canvas{}
	m := attributes(t, best.make(c).Dataset())
	intercept := 0.0
	if v, ok := m[0x00281052]; ok {
		intercept = floats(t, v)[0]
	}
	px := m[0x7fe00010]
	var sum float64
	n := 0
	for k := range c.x {
		if norm(c.x[k]-at.x, c.y[k]-at.y, 0) < radius && abs(c.z[k]-at.z) < 9 {
			v := float64(binary.LittleEndian.Uint16(px[2*k:]))
			if s.signedPixels() {
				v = float64(int16(binary.LittleEndian.Uint16(px[2*k:])))
			}
			sum += v + intercept
			n++
		}
	}
	if n < 5 {
		t.Fatalf("only %d pixels near %v", n, at)
	}
	return sum / float64(n)
}

func TestHounsfieldUnits(t *testing.T) {
	head := Study{Kind: HeadCT, Seed: 1, Matrix: 256, Slices: 160}
	bleeding := head
	bleeding.Finding = Haemorrhage
	chest := Study{Kind: ChestCT, Seed: 1, Matrix: 256}
	belly := Study{Kind: AbdomenCT, Seed: 1, Matrix: 256}
	for _, c := range []struct {
		what   string
		study  *Study
		at     vec
		radius float32
		lo, hi float64
	}{
		{"air", &head, vec{-105, -100, 10}, 8, -1005, -990},
		{"lateral ventricle", &head, vec{6.2, -8, 19}, 2, 2, 12},
		{"white matter", &head, vec{22, -36, 22}, 4, 22, 29},
		{"thalamus", &head, vec{10, 8, 4}, 4, 35, 41},
		{"petrous bone", &head, vec{34, 15, -44}, 3, 1200, 1900},
		{"eye", &head, vec{34, -73, -44}, 5, 3, 14},
		{"haemorrhage", &bleeding, vec{27, -2, 6}, 5, 62, 74},
		{"where it was not", &head, vec{27, -2, 6}, 5, 22, 41},
		{"lung", &chest, vec{-95, 0, 120}, 9, -900, -760},
		{"descending aorta", &chest, vec{21, 48, 70}, 5, 180, 200},
		{"trachea", &chest, vec{0, 20, 215}, 4, -1005, -980},
		{"liver", &belly, vec{-105, 10, -75}, 7, 104, 122},
		{"spleen", &belly, vec{96, 42, -72}, 6, 116, 134},
		{"fat before the psoas", &belly, vec{60, -5, -130}, 4, -110, -80},
		{"gallbladder", &belly, vec{-46, -50, -112}, 6, 4, 22},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := meanAt(t, c.study, 0, c.at, c.radius); got < c.lo || got > c.hi {
				t.Errorf("%.0f HU, want %.0f to %.0f", got, c.lo, c.hi)
			}
		})
	}
}

// Cerebrospinal fluid, grey and white matter must sort as radiologists expect.
func TestBrainContrast(t *testing.T) {
	s := &Study{Kind: BrainMR, Seed: 4, Matrix: 192}
	s.Series = []SeriesSpec{{Weighting: T2}, {Weighting: FLAIR}, {Weighting: T1, View: Axial}}
	fluid, thalamus, whiteMatter := vec{6.2, -8, 19}, vec{10, 8, 4}, vec{22, -36, 22}
	var v [3][3]float64
	for i := range v {
		for j, p := range []vec{fluid, thalamus, whiteMatter} {
			v[i][j] = meanAt(t, s, i, p, 2.5)
		}
	}
	if x := v[0]; !(x[0] > x[1] && x[1] > x[2]) {
		t.Errorf("T2: fluid %.0f, grey %.0f, white %.0f", x[0], x[1], x[2])
	}
	if x := v[1]; !(x[1] > x[2] && x[2] > x[0]) {
		t.Errorf("FLAIR: fluid %.0f, grey %.0f, white %.0f", x[0], x[1], x[2])
	}
	if x := v[2]; !(x[2] > x[1] && x[1] > x[0]) {
		t.Errorf("T1: fluid %.0f, grey %.0f, white %.0f", x[0], x[1], x[2])
	}
}

func TestGeometry(t *testing.T) {
	prior := Small(HeadCT, 6)
	current := Small(HeadCT, 6)
	current.Date = current.Date.AddDate(0, 5, 0)
	mr := Small(BrainMR, 0)
	mr.Series = []SeriesSpec{{Weighting: T2, Slices: 5, Matrix: 64}, {Weighting: T1, Slices: 4, Matrix: 64}, {View: Coronal, Slices: 3, Matrix: 64}}
	frames := map[string]bool{}
	positions := map[*Study]float64{}
	for _, s := range []*Study{prior, current, mr, Small(ChestCT, 5), Small(AbdomenCT, 4), Small(LumbarMR, 3)} {
		frame, series, number := "", "", 0
		var last []float64
		for _, in := range collect(t, s) {
			m := attributes(t, in.Dataset())
			if in.SeriesInstanceUID != series {
				series, number, last = in.SeriesInstanceUID, 0, nil
			}
			number++
			if got := text(m[0x00200013]); got != strconv.Itoa(number) || in.InstanceNumber != number {
				t.Errorf("%v: instance number %s, want %d", s.Kind, got, number)
			}
			if f := text(m[0x00200052]); frame == "" {
				frame = f
			} else if f != frame {
				t.Errorf("%v: frame of reference changes within the study", s.Kind)
			}
			o := floats(t, m[0x00200037])
			u, v := o[:3], o[3:]
			dot := func(a, b []float64) float64 { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
			if math.Abs(dot(u, u)-1) > 1e-6 || math.Abs(dot(v, v)-1) > 1e-6 || math.Abs(dot(u, v)) > 1e-6 {
				t.Errorf("%v: orientation %v isn't orthonormal", s.Kind, o)
			}
			normal := []float64{u[1]*v[2] - u[2]*v[1], u[2]*v[0] - u[0]*v[2], u[0]*v[1] - u[1]*v[0]}
			at := floats(t, m[0x00200032])
			if last != nil {
				step := dot(normal, at) - dot(normal, last)
				if want := floats(t, m[0x00180088])[0]; math.Abs(math.Abs(step)-want) > 0.002 {
					t.Errorf("%v: slices %.3f mm apart, spacing says %.3f", s.Kind, step, want)
				}
			}
			if got := floats(t, m[0x00201041])[0]; math.Abs(got-dot(normal, at)) > 0.002 {
				t.Errorf("%v: slice location %v at %v", s.Kind, got, at)
			}
			if sp := floats(t, m[0x00280030]); math.Abs(sp[0]*64-float64(seriesAt(t, s, in.SeriesNumber).FieldOfView)) > 0.01 {
				t.Errorf("%v: pixel spacing %v", s.Kind, sp)
			}
			if last == nil {
				positions[s] = at[2]
			}
			last = at
		}
		if frames[frame] {
			t.Errorf("%v shares its frame of reference with another study", s.Kind)
		}
		frames[frame] = true
	}
	if d := math.Abs(positions[prior] - positions[current]); d > 20 {
		t.Errorf("prior and current start %.0f mm apart", d)
	}
}

func seriesAt(t *testing.T, s *Study, number int) SeriesSpec {
	t.Helper()
	list, err := s.series()
	if err != nil {
		t.Fatal(err)
	}
	return list[number-1]
}

// A haemorrhage shows in some slices and not in others, and the prior without
// it looks like the current study elsewhere.
func TestFindingShowsInSomeSlices(t *testing.T) {
	s := &Study{Kind: HeadCT, Seed: 9, Matrix: 128, Slices: 40, Finding: Haemorrhage}
	var shown []int
	for _, in := range collect(t, s) {
		if in.InstanceNumber < 12 {
			continue // face and skull base
		}
		px := attributes(t, in.Dataset())[0x7fe00010]
		// Blood is brighter than brain; count away from bone.
		n := 0
		for y := 50; y < 80; y++ {
			for x := 66; x < 92; x++ {
				if v := int(binary.LittleEndian.Uint16(px[2*(y*128+x):])) - 1024; v > 56 && v < 90 {
					n++
				}
			}
		}
		if n > 40 {
			shown = append(shown, in.InstanceNumber)
		}
	}
	if len(shown) < 4 || len(shown) > 12 || shown[len(shown)-1]-shown[0] != len(shown)-1 {
		t.Errorf("haemorrhage shows in slices %v, want 4 to 12 consecutive ones", shown)
	}
}

func TestRecipesThatCantBeMade(t *testing.T) {
	for what, s := range map[string]*Study{
		"isn't ASCII":     {Patient: Patient{Family: "Каримов"}, Kind: HeadCT},
		"outside":         {Patient: Patient{Family: "Ҳилола", CharacterSet: "ISO_IR 144"}, Kind: HeadCT},
		"character set":   {Patient: Patient{CharacterSet: "ISO_IR 13"}, Kind: HeadCT},
		"unknown kind":    {Kind: 99},
		"unknown finding": {Kind: HeadCT, Finding: 99},
		"-1 slices":       {Kind: HeadCT, Slices: -1},
		"matrix":          {Kind: BrainMR, Matrix: 100000},
	} {
		n := 0
		for in, err := range s.Instances() {
			n++
			if in != nil || err == nil || !strings.Contains(err.Error(), what) {
				t.Fatalf("%s: an instance, or error %v", what, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d results, want one error", what, n)
		}
	}
}

func TestLeavingEarlyEndsTheWorkers(t *testing.T) {
	defer goleak.VerifyNone(t)
	for range 20 {
		n := 0
		for _, err := range Small(BrainMR, 50).Instances() {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 3 {
				break
			}
		}
	}
}

func TestCountAndBytes(t *testing.T) {
	for _, kind := range kinds {
		s := Small(kind, 4)
		var pixels int64
		list := collect(t, s)
		for _, in := range list {
			pixels += int64(len(attributes(t, in.Dataset())[0x7fe00010]))
		}
		if s.Count() != len(list) || s.Bytes() != pixels {
			t.Errorf("%v: Count %d, Bytes %d; made %d and %d", kind, s.Count(), s.Bytes(), len(list), pixels)
		}
	}
	bench := &Study{Kind: HeadCT, Slices: 250}
	if bench.Count() != 250 || bench.Bytes() != 250*512*512*2 {
		t.Errorf("250 CT slices: %d, %d", bench.Count(), bench.Bytes())
	}
	bench = &Study{Kind: BrainMR, Series: []SeriesSpec{{Slices: 500, Matrix: 128}}}
	if bench.Count() != 500 || bench.Bytes() != 500*128*128*2 {
		t.Errorf("500 MR slices: %d, %d", bench.Count(), bench.Bytes())
	}
}

func TestDemoStudies(t *testing.T) {
	now := time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC)
	var total int64
	patients, facilities, accessions, uids := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	priors := map[string]int{}
	for _, s := range DemoStudies(now) {
		if _, err := s.plan(); err != nil {
			t.Errorf("%s: %v", s.Accession, err)
		}
		total += s.Bytes()
		person := s.FacilityCode + s.Patient.ID
		patients[person] = true
		facilities[s.FacilityCode] = true
		accessions[s.Accession] = true
		uids[s.StudyInstanceUID()] = true
		if s.Date.After(now) {
			t.Errorf("%s lies in the future: %v", s.Accession, s.Date)
		}
		if now.Sub(s.Date) > 60*24*time.Hour {
			priors[person]++
		}
		if len(s.PINFL) != 14 || len(s.Accession) > 16 || len(s.CallingAE) > 16 || len(s.Reason) > 64 || len(s.Description) > 64 {
			t.Errorf("%s: a value is longer than its VR allows", s.Accession)
		}
		if !strings.HasPrefix(s.CallingAE, s.FacilityCode+"_") {
			t.Errorf("%s comes from %s of %s", s.Accession, s.CallingAE, s.FacilityCode)
		}
	}
	if len(patients) != 6 || len(facilities) != 3 || len(accessions) != 9 || len(uids) != 9 || len(priors) != 2 {
		t.Errorf("%d patients, %d facilities, %d accessions, %d studies, %d with priors",
			len(patients), len(facilities), len(accessions), len(uids), len(priors))
	}
	if total < 200e6 || total > 350e6 {
		t.Errorf("the set takes %d MB", total/1e6)
	}
	if a, b := DemoStudies(now)[0], DemoStudies(now.Add(time.Hour))[0]; a.StudyInstanceUID() != b.StudyInstanceUID() {
		t.Error("an hour later on the same day the studies are others")
	}
}

// TestWriteStudies is for looking: PHANTOM_OUT=dir go test -run WriteStudies
// writes the whole demonstration set there.
func TestWriteStudies(t *testing.T) {
	dir := os.Getenv("PHANTOM_OUT")
	if dir == "" {
		t.Skip("set PHANTOM_OUT to a folder to get the demonstration set as files")
	}
	for _, s := range DemoStudies(time.Now()) {
		start := time.Now()
		for in, err := range s.Instances() {
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s_%d_%03d.dcm", s.Accession, in.SeriesNumber, in.InstanceNumber)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := in.WriteTo(f); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%v: %d instances, %d MB in %v", s.Kind, s.Count(), s.Bytes()/1e6, time.Since(start).Round(time.Millisecond))
	}
}
