package phantom

import (
	"fmt"
	"time"
)

// Patient is who a study is of. Names are written as Family^Given^Patronymic.
type Patient struct {
	Family, Given, Patronymic string
	ID, Issuer                string
	PINFL                     string // 14 digits; sent as another patient ID, "" for none
	Sex                       string // M, F or O
	BirthDate                 string // YYYYMMDD

	// CharacterSet is the Specific Character Set (PS3.3 C.12.1.1.2) that
	// names and descriptions are declared and encoded in: "" (ASCII),
	// "ISO_IR 100", "ISO_IR 144" or "ISO_IR 192".
	CharacterSet string
	// WrittenAs, when set, is what the bytes really are while CharacterSet
	// is only what the header claims: "windows-1251" makes the study of a
	// device that sends code page 1251 under a wrong tag or none.
	WrittenAs string
}

// Kind is what a study shows and how it is acquired.
type Kind uint8

// The kinds of studies.
const (
	HeadCT Kind = iota + 1
	ChestCT
	AbdomenCT
	BrainMR
	LumbarMR
	ChestXRay
)

func (k Kind) String() string {
	switch k {
	case HeadCT:
		return "head CT"
	case ChestCT:
		return "chest CT"
	case AbdomenCT:
		return "abdomen CT"
	case BrainMR:
		return "brain MR"
	case LumbarMR:
		return "lumbar MR"
	case ChestXRay:
		return "chest X-ray"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// View is the direction of the slices of a series.
type View uint8

// The views. The zero View is what the kind usually has.
const (
	DefaultView View = iota
	Axial
	Sagittal
	Coronal
)

// Weighting is the contrast of an MR series.
type Weighting uint8

// The weightings. The zero Weighting is T2.
const (
	T2 Weighting = iota
	T1
	FLAIR
)

// SeriesSpec describes one series. Zero fields take what is usual for the kind
// of study.
type SeriesSpec struct {
	Description string
	View        View
	Weighting   Weighting // MR only
	Slices      int
	Matrix      int     // pixels along each side of a slice
	FieldOfView float64 // mm along each side of a slice
}

// Study is the recipe of a study. The same recipe always gives the same
// bytes; any difference in what is written gives other UIDs. Patients keep their anatomy: give a prior and a current study
// the same Seed.
type Study struct {
	Patient
	Kind Kind
	Seed uint64
	Date time.Time // start of acquisition, in local time of the facility

	Accession          string
	Description        string
	Reason             string // why it was requested; also sent as admitting diagnosis
	Institution        string
	StationName        string
	ReferringPhysician string

	// FacilityCode and CallingAE say who sends the study; they aren't part of
	// the data set.
	FacilityCode string
	CallingAE    string

	// Series are what is acquired; nil means the usual series of the kind.
	Series []SeriesSpec
	// Slices and Matrix, when set, hold for every series that doesn't say.
	Slices, Matrix int

	Finding     Finding
	FindingSize float64 // 1 when zero; 0.5 is half as wide
	RightSided  bool    // the finding of a head on the patient's right

	// Modality chooses between "DX" (the default) and "CR" for a radiograph.
	Modality string
	// ImplicitVR sends Implicit VR Little Endian, as old devices do.
	ImplicitVR bool
}

// series fills in what the recipe leaves open.
func (s *Study) series() ([]SeriesSpec, error) {
	var usual []SeriesSpec
	switch s.Kind {
	case HeadCT:
		usual = []SeriesSpec{{Description: "Head 1.0 H31s", View: Axial, Slices: 160, Matrix: 512, FieldOfView: 240}}
	case ChestCT:
		usual = []SeriesSpec{{Description: "Chest 2.5 B40f", View: Axial, Slices: 136, Matrix: 512, FieldOfView: 400}}
	case AbdomenCT:
		usual = []SeriesSpec{{Description: "Abdomen portal 3.0 B30f", View: Axial, Slices: 110, Matrix: 512, FieldOfView: 390}}
	case BrainMR:
		usual = []SeriesSpec{
			{Description: "T2 TSE tra", View: Axial, Weighting: T2, Slices: 30, Matrix: 320, FieldOfView: 230},
			{Description: "FLAIR tra", View: Axial, Weighting: FLAIR, Slices: 30, Matrix: 256, FieldOfView: 230},
			{Description: "T1 SE sag", View: Sagittal, Weighting: T1, Slices: 28, Matrix: 320, FieldOfView: 240},
		}
	case LumbarMR:
		usual = []SeriesSpec{
			{Description: "T2 TSE sag", View: Sagittal, Weighting: T2, Slices: 15, Matrix: 384, FieldOfView: 300},
			{Description: "T1 TSE sag", View: Sagittal, Weighting: T1, Slices: 15, Matrix: 384, FieldOfView: 300},
		}
	case ChestXRay:
		usual = []SeriesSpec{{Description: "Chest PA", View: Coronal, Slices: 1, Matrix: 2000, FieldOfView: 360}}
	default:
		return nil, fmt.Errorf("phantom: unknown kind of study %d", s.Kind)
	}
	if s.Series == nil {
		list := usual
		for i := range list {
			if s.Slices != 0 && s.Kind != ChestXRay {
				list[i].Slices = s.Slices
			}
			if s.Matrix != 0 {
				list[i].Matrix = s.Matrix
			}
			if err := list[i].check(s.Kind); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	list := make([]SeriesSpec, len(s.Series))
	for i, spec := range s.Series {
		like := usual[0]
		for _, u := range usual {
			if u.Weighting == spec.Weighting && (spec.View == DefaultView || u.View == spec.View) {
				like = u
				break
			}
		}
		if spec.Description == "" {
			spec.Description = like.Description
		}
		if spec.View == DefaultView {
			spec.View = like.View
		}
		spec.Slices = firstSet(spec.Slices, s.Slices, like.Slices)
		spec.Matrix = firstSet(spec.Matrix, s.Matrix, like.Matrix)
		if spec.FieldOfView == 0 {
			spec.FieldOfView = like.FieldOfView
		}
		if err := spec.check(s.Kind); err != nil {
			return nil, err
		}
		list[i] = spec
	}
	return list, nil
}

func firstSet(values ...int) int {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}

func (s *SeriesSpec) check(k Kind) error {
	switch {
	case s.Slices < 1 || s.Slices > 10000:
		return fmt.Errorf("phantom: a series of %d slices can't be made; ask for 1 to 10000", s.Slices)
	case s.Matrix < 16 || s.Matrix > 4096:
		return fmt.Errorf("phantom: a matrix of %d pixels can't be made; ask for 16 to 4096", s.Matrix)
	case s.FieldOfView < 20 || s.FieldOfView > 1000:
		return fmt.Errorf("phantom: a field of view of %g mm can't be made; ask for 20 to 1000", s.FieldOfView)
	case k == ChestXRay && (s.Slices != 1 || s.View != Coronal):
		return fmt.Errorf("phantom: a radiograph is one coronal projection")
	}
	return nil
}

// Small is a study of one series with n slices of 64×64 pixels (a radiograph
// is one picture of 64×77): for tests that want many instances or many
// studies and no beauty. Vary Seed to get different UIDs.
func Small(kind Kind, n int) *Study {
	s := &Study{
		Patient: Patient{
			Family: "Test", Given: "Phantom", ID: "PH-0001", Issuer: "TEST",
			Sex: "O", BirthDate: "19700101", CharacterSet: "ISO_IR 192",
		},
		Kind: kind, Seed: 1, Date: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC),
		Accession: "PH0001", Description: "Small " + kind.String(),
		Institution: "Phantom hospital", StationName: "PHANTOM", CallingAE: "PHANTOM",
		Matrix: 64,
	}
	if kind == ChestXRay {
		n = 1
	}
	s.Series = []SeriesSpec{{Slices: n, Matrix: 64}}
	return s
}
