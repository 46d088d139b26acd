package phantom

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

func (s *Study) modality() string {
	switch s.Kind {
	case BrainMR, LumbarMR:
		return "MR"
	case ChestXRay:
		if s.Modality == "CR" {
			return "CR"
		}
		return "DX"
	}
	return "CT"
}

func (s *Study) sopClass() string {
	switch s.modality() {
	case "MR":
		return mrImageStorage
	case "CR":
		return crImageStorage
	case "DX":
		return dxImageStorage
	}
	return ctImageStorage
}

func (s *Study) bodyPart() string {
	switch s.Kind {
	case HeadCT:
		return "HEAD"
	case BrainMR:
		return "BRAIN"
	case AbdomenCT:
		return "ABDOMEN"
	case LumbarMR:
		return "LSPINE"
	}
	return "CHEST"
}

func clock(t time.Time) string { return t.Format("150405.000") }
func day(t time.Time) string   { return t.Format("20060102") }

// begin is when an instance was acquired: a slice takes a fifth of a second, a
// series follows three minutes after the one before.
func (s *Study) begin(series, instance int) time.Time {
	return s.Date.Add(time.Duration(series)*3*time.Minute + time.Duration(instance)*200*time.Millisecond)
}

// personName joins the components and drops trailing empty ones (PS3.5 6.2).
func (p *Patient) personName() string {
	return strings.TrimRight(p.Family+"^"+p.Given+"^"+p.Patronymic, "^")
}

// age is the Patient's Age (AS) on a day, "" when it can't be known.
func (p *Patient) age(on time.Time) string {
	b, err := time.Parse("20060102", p.BirthDate)
	if err != nil || on.Before(b) {
		return ""
	}
	years := on.Year() - b.Year()
	if on.YearDay() < b.YearDay() {
		years--
	}
	return fmt.Sprintf("%03dY", years)
}

// common builds what all instances of a series share: the Patient, Study,
// Series, Equipment and Frame of Reference modules (PS3.3 C.7) and what the
// image modules hold constant.
func (s *Study) common(index int, spec SeriesSpec, seriesUID, frame string, step, px float64) (*dataset, error) {
	set := s.CharacterSet
	if s.WrittenAs != "" {
		set = s.WrittenAs
	}
	encode, err := encoder(set)
	if err != nil {
		return nil, err
	}
	d := &dataset{encode: encode, implicit: s.ImplicitVR}
	if s.CharacterSet != "" && s.CharacterSet != "ISO_IR 6" {
		d.text(0x00080005, "CS", s.CharacterSet)
	}
	s.patientModule(d)
	number := index + 1
	start := s.begin(index, 0)

	// General Study
	d.text(0x0020000d, "UI", s.StudyInstanceUID())
	d.text(0x00080020, "DA", day(s.Date))
	d.text(0x00080030, "TM", clock(s.Date))
	d.text(0x00080201, "SH", s.Date.Format("-0700"))
	d.text(0x00080050, "SH", s.Accession)
	d.text(0x00080090, "PN", s.ReferringPhysician)
	d.text(0x00200010, "SH", strconv.FormatUint(seedOf(s.identity())%100000000, 10))
	if s.Description != "" {
		d.text(0x00081030, "LO", s.Description)
		d.text(0x00321060, "LO", s.Description) // Requested Procedure Description
	}
	if s.Reason != "" {
		d.text(0x00081080, "LO", s.Reason) // Admitting Diagnoses Description
	}
	d.sequence(0x00400275, func(q *dataset) { // Request Attributes
		if s.Reason != "" {
			q.text(0x00401002, "LO", s.Reason)
		}
		q.text(0x00321060, "LO", s.Description)
		q.text(0x00400009, "SH", "SPS"+s.Accession)
		q.text(0x00401001, "SH", "RP"+s.Accession)
	})

	// General Series
	d.text(0x00080060, "CS", s.modality())
	d.text(0x0020000e, "UI", seriesUID)
	d.integer(0x00200011, number)
	d.text(0x00080021, "DA", day(start))
	d.text(0x00080031, "TM", clock(start))
	d.text(0x0008103e, "LO", spec.Description)
	d.text(0x00181030, "LO", s.Kind.String())
	d.text(0x00180015, "CS", s.bodyPart())
	d.text(0x00400244, "DA", day(s.Date))
	d.text(0x00400245, "TM", clock(s.Date))
	d.text(0x00400253, "SH", "PPS"+s.Accession)

	// General Equipment
	d.text(0x00080070, "LO", "Tasvir phantom")
	d.text(0x00080080, "LO", s.Institution)
	d.text(0x00081010, "SH", s.StationName)
	d.text(0x00081090, "LO", "Phantom "+s.modality())
	d.text(0x00181000, "LO", "1")
	d.text(0x00181020, "LO", "1")

	// SOP Common, General Image, Image Pixel
	d.text(0x00080016, "UI", s.sopClass())
	nx, ny := spec.size(s.Kind)
	d.words(0x00280002, 1)
	d.text(0x00280004, "CS", "MONOCHROME2")
	d.words(0x00280010, ny)
	d.words(0x00280011, nx)
	d.words(0x00280100, 16)
	bits := 12
	if s.signedPixels() {
		bits = 16
		d.words(0x00280103, 1)
	} else {
		d.words(0x00280103, 0)
	}
	d.words(0x00280101, bits)
	d.words(0x00280102, bits-1)
	d.text(0x00280301, "CS", "NO")
	d.text(0x00282110, "CS", "00")
	switch s.modality() {
	case "CT":
		s.ctSeries(d, spec)
	case "MR":
		s.mrSeries(d, spec)
	default:
		s.xraySeries(d, px)
	}
	if s.Kind != ChestXRay {
		d.text(0x00185100, "CS", "HFS")
		d.text(0x00200052, "UI", frame)
		d.text(0x00201040, "LO")
		d.numbers(0x00280030, px, px)
		d.numbers(0x00180050, thickness(s.Kind, step))
		d.numbers(0x00180088, step)
	}
	return d, d.err
}

// thickness is that of a slice: CT slices touch, MR slices leave a gap.
func thickness(k Kind, step float64) float64 {
	if k == BrainMR || k == LumbarMR {
		return float64(int(step/1.1*100)) / 100
	}
	return step
}

func (s *Study) patientModule(d *dataset) {
	p := &s.Patient
	d.text(0x00100010, "PN", p.personName())
	d.text(0x00100020, "LO", p.ID)
	if p.Issuer != "" {
		d.text(0x00100021, "LO", p.Issuer)
	}
	d.text(0x00100030, "DA", p.BirthDate)
	d.text(0x00100040, "CS", p.Sex)
	if a := p.age(s.Date); a != "" {
		d.text(0x00101010, "AS", a)
	}
	if p.PINFL != "" {
		d.sequence(0x00101002, func(q *dataset) { // Other Patient IDs
			q.text(0x00100020, "LO", p.PINFL)
			q.text(0x00100021, "LO", "PINFL")
			q.text(0x00100022, "CS", "TEXT")
		})
	}
}

// ctSeries fills what the CT Image module (C.8.2.1) holds constant.
func (s *Study) ctSeries(d *dataset, spec SeriesSpec) {
	window := func(labels string, centre, width string) {
		d.text(0x00281050, "DS", strings.Split(centre, " ")...)
		d.text(0x00281051, "DS", strings.Split(width, " ")...)
		d.text(0x00281055, "LO", strings.Split(labels, " ")...)
	}
	kernel, current := "B30f", 180
	switch s.Kind {
	case HeadCT:
		window("BRAIN BONE", "40 500", "80 2500")
		kernel, current = "H31s", 260
	case ChestCT:
		window("LUNG MEDIASTINUM", "-600 40", "1500 400")
		kernel = "B40f"
	default:
		window("ABDOMEN LIVER", "50 90", "350 160")
	}
	if s.Kind != HeadCT {
		d.text(0x00180010, "LO", "IODINATED CONTRAST")
		d.text(0x00181040, "LO", "IV")
	}
	d.text(0x00080008, "CS", "ORIGINAL", "PRIMARY", "AXIAL")
	intercept := "-1024"
	if s.signedPixels() {
		intercept = "0"
	}
	d.text(0x00281052, "DS", intercept)
	d.text(0x00281053, "DS", "1")
	d.text(0x00281054, "LO", "HU")
	d.numbers(0x00180060, 120)
	d.text(0x00180022, "CS", "HELICAL MODE")
	d.numbers(0x00180090, 500) // Data Collection Diameter
	d.numbers(0x00181100, spec.FieldOfView)
	d.numbers(0x00181120, 0) // Gantry/Detector Tilt
	d.numbers(0x00181130, 160)
	d.text(0x00181140, "CS", "CW")
	d.integer(0x00181150, 500)
	d.integer(0x00181151, current)
	d.integer(0x00181152, current/2)
	d.text(0x00181160, "SH", "BODY FILTER")
	d.text(0x00181210, "SH", kernel)
}

// mrSeries fills what the MR Image module (C.8.3.1) holds constant.
func (s *Study) mrSeries(d *dataset, spec SeriesSpec) {
	tr, te, ti, train := 4200.0, 98.0, 0.0, 15
	name, centre, width := "tse2d", "800", "1600"
	switch spec.Weighting {
	case T1:
		tr, te, train, name, centre, width = 550, 9, 1, "se2d", "520", "1040"
	case FLAIR:
		tr, te, ti, train, name, centre, width = 9000, 92, 2500, 16, "tirm2d", "480", "960"
	}
	d.text(0x00080008, "CS", "ORIGINAL", "PRIMARY", "M", "SE")
	if spec.Weighting == FLAIR {
		d.text(0x00180020, "CS", "SE", "IR")
		d.numbers(0x00180082, ti)
	} else {
		d.text(0x00180020, "CS", "SE")
	}
	d.text(0x00180021, "CS", "SK")
	d.text(0x00180022, "CS")
	d.text(0x00180023, "CS", "2D")
	d.text(0x00180024, "SH", name)
	d.numbers(0x00180080, tr)
	d.numbers(0x00180081, te)
	d.numbers(0x00180083, 2)
	d.numbers(0x00180084, 63.87)
	d.text(0x00180085, "SH", "1H")
	d.integer(0x00180086, 1)
	d.numbers(0x00180087, 1.5)
	d.integer(0x00180089, spec.Matrix)
	d.integer(0x00180091, train)
	d.numbers(0x00180093, 100)
	d.numbers(0x00180094, 100)
	d.numbers(0x00180095, 130)
	d.numbers(0x00181314, 90)
	d.words(0x00181310, 0, spec.Matrix, spec.Matrix, 0)
	d.text(0x00181312, "CS", "ROW")
	d.text(0x00281050, "DS", centre)
	d.text(0x00281051, "DS", width)
}

// xraySeries fills the CR (C.8.1) or DX (C.8.11) modules.
func (s *Study) xraySeries(d *dataset, px float64) {
	d.numbers(0x00181164, px, px) // Imager Pixel Spacing
	d.numbers(0x00180060, 120)
	d.text(0x00185101, "CS", "PA")
	d.text(0x00200020, "CS", "L", "F")
	d.text(0x00281050, "DS", "2650")
	d.text(0x00281051, "DS", "2800")
	if s.modality() == "CR" {
		d.text(0x00080008, "CS", "ORIGINAL", "PRIMARY")
		d.numbers(0x00280030, px, px)
		d.text(0x00181260, "SH", "IP35x43")
		return
	}
	d.text(0x00080008, "CS", "ORIGINAL", "PRIMARY", "")
	d.text(0x00080068, "CS", "FOR PRESENTATION")
	d.sequence(0x00082218, func(q *dataset) { // Anatomic Region
		q.text(0x00080100, "SH", "43799004")
		q.text(0x00080102, "SH", "SCT")
		q.text(0x00080104, "LO", "Thorax")
	})
	d.sequence(0x00540220, func(q *dataset) { // View Code
		q.text(0x00080100, "SH", "272479007")
		q.text(0x00080102, "SH", "SCT")
		q.text(0x00080104, "LO", "postero-anterior projection")
	})
	d.text(0x00187004, "CS", "SCINTILLATOR")
	d.text(0x00200062, "CS", "U")
	d.text(0x00281040, "CS", "LOG")
	d.signedWord(0x00281041, -1)
	d.text(0x00281052, "DS", "0")
	d.text(0x00281053, "DS", "1")
	d.text(0x00281054, "LO", "US")
	d.text(0x20500020, "CS", "IDENTITY")
	d.sequence(0x00400555) // Acquisition Context
}

// attributes adds what differs from instance to instance.
func (j *job) attributes(d *dataset) {
	t := j.study.begin(j.index, j.number)
	d.text(0x00080018, "UI", j.uid)
	d.text(0x00080012, "DA", day(t))
	d.text(0x00080013, "TM", clock(t))
	d.text(0x00080022, "DA", day(t))
	d.text(0x00080032, "TM", clock(t))
	d.text(0x00080023, "DA", day(t))
	d.text(0x00080033, "TM", clock(t))
	d.integer(0x00200012, 1)
	d.integer(0x00200013, j.number)
	if j.study.Kind == ChestXRay {
		return
	}
	p := &j.plane
	o := p.origin.sub(j.offset)
	d.numbers(0x00200032, coordinate(o.x), coordinate(o.y), coordinate(o.z))
	d.numbers(0x00200037, float64(p.u.x), float64(p.u.y), float64(p.u.z), float64(p.v.x), float64(p.v.y), float64(p.v.z))
	d.numbers(0x00201041, coordinate(o.dot(p.normal())))
}

// coordinate rounds to a thousandth of a millimetre, so that no float32 dust
// gets into positions.
func coordinate(v float32) float64 {
	f := float64(v) * 1000
	if f < 0 {
		return float64(int64(f-0.5)) / 1000
	}
	return float64(int64(f+0.5)) / 1000
}
