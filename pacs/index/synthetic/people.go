package synthetic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// kind keeps the random numbers of different things apart.
type kind uint64

const (
	ofPatient kind = iota + 1
	ofPerson
	ofDoctor
	ofStudy
	ofUID
)

// random is the source of everything about the nth thing of a kind: each can
// be made by itself, in any order.
func (o *Options) random(k kind, n int) *rand.Rand {
	return rand.New(rand.NewPCG(o.Seed*0x9e3779b97f4a7c15+uint64(k), uint64(n)))
}

// facilityCode is the code of the nth facility, from 0.
func facilityCode(n int) string { return fmt.Sprintf("%s%04d", facilityPrefix, n+1) }

// facilityPrefix begins the codes of facilities that are made up.
const facilityPrefix = "SYN-"

// studiesPerPatient is how many studies there are to one patient.
const studiesPerPatient = 2.5

// patientsBy is how many patients have come by the time of the nth study.
func patientsBy(study int) int { return int(float64(study)/studiesPerPatient) + 1 }

// numbers count patients and studies, from 0.
type numbers struct{ patient, study int }

// numbersAfter says where numbers are free, by the largest patient IDs of
// seven and of nine digits that are there (see person); "" for none.
func numbersAfter(seven, nine string) numbers {
	patient := 0
	switch {
	case nine != "":
		patient, _ = strconv.Atoi(nine)
		patient++
	case seven != "":
		patient, _ = strconv.Atoi(seven)
		patient = patient*2/3 + 2
	}
	return numbers{patient: patient, study: int(math.Ceil(float64(patient) * studiesPerPatient))}
}

// person is a patient as one facility knows them.
type person struct {
	pacs.Patient
	facility int // from 0
	fold     string
}

// home is the facility of the nth patient: a few are large.
func (o *Options) home(patient int) int {
	return commonly(o.random(ofPatient, patient), 2*o.Facilities) % o.Facilities
}

// person makes the nth patient.
func (o *Options) person(n int) person {
	p := person{facility: o.home(n)}
	who := n
	if n%12 == 11 { // known to another hospital already
		who = n - 7
	}
	r := o.random(ofPerson, who)
	woman := r.IntN(100) < 56
	p.Sex = "M"
	if woman {
		p.Sex = "F"
	}
	p.Name = personName(r, woman)
	// Older people come more often.
	age := int(90 * (1 - r.Float64()*r.Float64()))
	if r.IntN(6) == 0 {
		age = r.IntN(18)
	}
	birth := o.Until.AddDate(-age, 0, -r.IntN(365))
	p.BirthDate = birth.Format("20060102")
	if r.IntN(10) < 6 {
		// Sex and century, birth date, district, number, check digit.
		first := 3
		if woman {
			first = 4
		}
		if birth.Year() >= 2000 {
			first += 2
		}
		p.PINFL = fmt.Sprintf("%d%s%07d", first, birth.Format("020106"), who%10_000_000)
	}
	p.Issuer = facilityCode(p.facility)
	// One number in two hospitals is common; within one it is not.
	p.PatientID = fmt.Sprintf("%07d", n*3/2%10_000_000)
	if n >= 6_000_000 {
		p.PatientID = fmt.Sprintf("%09d", n)
	}
	p.fold = pacs.Fold(p.Name)
	return p
}

// calendar says on which day the nth study was made.
type calendar struct {
	from   time.Time
	passed []float64 // share of all studies made until the end of each day
}

const years = 8

// newCalendar spreads the studies: twice as many at the end as at the
// beginning, fewer at weekends.
func newCalendar(until time.Time) calendar {
	c := calendar{from: until.AddDate(-years, 0, 1)}
	days := int(until.Sub(c.from).Hours()/24) + 1
	sum := 0.0
	for d := range days {
		weight := 1 + float64(d)/float64(days)
		switch c.from.AddDate(0, 0, d).Weekday() {
		case time.Saturday:
			weight *= 0.5
		case time.Sunday:
			weight *= 0.15
		}
		sum += weight
		c.passed = append(c.passed, sum)
	}
	for d := range c.passed {
		c.passed[d] /= sum
	}
	return c
}
