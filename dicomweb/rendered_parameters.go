package dicomweb

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/render"
)

// look is how pictures are to look that a request asks for: the query parameters
// of PS3.18 8.3.5.
type look struct {
	render.Parameters
	patient, technique bool // annotations
	profile            bool // the ICC profile of the instance goes with it
	quality            int
	// whole counts the region in images of any size: 0 to 1 (WADO-URI).
	fractions bool
}

// tag tells looks apart, in an ETag.
func (l look) tag() string {
	text := fmt.Sprint(l.Width, l.Height, l.Shrink, l.FlipHorizontal, l.FlipVertical, l.patient, l.technique, l.profile, l.quality, l.fractions)
	if l.Window != nil {
		text += fmt.Sprint(*l.Window)
	}
	if l.Region != nil {
		text += fmt.Sprint(*l.Region)
	}
	return shortHash(text)
}

// lookOf reads the parameters of Retrieve Rendered Transaction, PS3.18 8.3.5.1.
func lookOf(query url.Values) (look, error) {
	var l look
	if err := l.setWindow(query.Get("window")); err != nil {
		return l, err
	}
	if err := l.setViewport(query.Get("viewport")); err != nil {
		return l, err
	}
	if err := l.setQuality("quality", query.Get("quality")); err != nil {
		return l, err
	}
	if err := l.setAnnotation(query["annotation"]); err != nil {
		return l, err
	}
	switch v := strings.ToLower(query.Get("iccprofile")); v {
	case "", "no":
	case "yes":
		l.profile = true
	case "srgb", "adobergb", "rommrgb", "displayp3":
		return l, pacs.Errorf(pacs.NotAcceptable, "Pictures are not converted to another color space: iccprofile=yes sends them with the profile of the instance, iccprofile=no without.")
	default:
		return l, pacs.Errorf(pacs.Invalid, "The parameter iccprofile is %q; it may be yes or no.", clip(v))
	}
	return l, nil
}

// windowFunctions of the parameter window, PS3.18 8.3.5.1.4.
var windowFunctions = map[string]render.Function{
	"": render.Linear, "linear": render.Linear, "linear-exact": render.LinearExact, "linear_exact": render.LinearExact, "sigmoid": render.Sigmoid,
}

func (l *look) setWindow(v string) error {
	if v == "" {
		return nil
	}
	fields := strings.Split(v, ",")
	bad := pacs.Errorf(pacs.Invalid, "The parameter window is %q; it takes a center, a width and a function (linear, linear-exact or sigmoid), as in window=40,400,linear.", clip(v))
	if len(fields) != 2 && len(fields) != 3 {
		return bad
	}
	name := ""
	if len(fields) == 3 {
		name = strings.ToLower(strings.TrimSpace(fields[2]))
	}
	center, err1 := decimal(fields[0])
	width, err2 := decimal(fields[1])
	function, known := windowFunctions[name]
	if err1 != nil || err2 != nil || !known {
		return bad
	}
	return l.useWindow(center, width, function)
}

func (l *look) useWindow(center, width float64, function render.Function) error {
	switch {
	case width <= 0:
		return pacs.Errorf(pacs.Invalid, "A window has a width above 0, not %g.", width)
	case width < 1 && function == render.Linear:
		return pacs.Errorf(pacs.Invalid, "A linear window has a width of at least 1, not %g; linear-exact takes any above 0.", width)
	}
	l.Window = &render.Window{Center: center, Width: width, Function: function}
	return nil
}

// decimal reads a decimal number, and no Infinity.
func decimal(s string) (float64, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err == nil && (math.IsNaN(f) || math.Abs(f) > 1e15) {
		err = strconv.ErrRange
	}
	return f, err
}

// setViewport reads vw,vh,sx,sy,sw,sh of PS3.18 8.3.5.1.3; all behind vh may be
// left out. A negative sw or sh mirrors.
func (l *look) setViewport(v string) error {
	if v == "" {
		return nil
	}
	bad := pacs.Errorf(pacs.Invalid, "The parameter viewport is %q; it takes a width and a height of 1 to %d pixels, and may name a part of the image behind them: viewport=512,512,0,0,256,256.", clip(v), render.MaxSide)
	fields := strings.Split(v, ",")
	if len(fields) < 2 || len(fields) > 6 {
		return bad
	}
	for i, into := range []*int{&l.Width, &l.Height} {
		n, err := strconv.Atoi(strings.TrimSpace(fields[i]))
		if err != nil || n < 1 || n > render.MaxSide {
			return bad
		}
		*into = n
	}
	if len(fields) == 2 {
		return nil
	}
	var part [4]float64 // 0 for what is not said
	for i, f := range fields[2:] {
		if strings.TrimSpace(f) == "" {
			continue
		}
		n, err := decimal(f)
		if err != nil || i < 2 && n < 0 || i >= 2 && n == 0 {
			return bad
		}
		part[i] = n
	}
	l.FlipHorizontal, l.FlipVertical = part[2] < 0, part[3] < 0
	// Where no size is said it is the rest of the image.
	l.Region = &render.Region{X: part[0], Y: part[1], Width: math.Abs(part[2]), Height: math.Abs(part[3])}
	return nil
}

// in is the look of an image of a size.
func (l look) in(columns, rows int) (render.Parameters, error) {
	p := l.Parameters
	if p.Region == nil {
		return p, nil
	}
	r := *p.Region
	if l.fractions {
		r = render.Region{X: r.X * float64(columns), Y: r.Y * float64(rows), Width: r.Width * float64(columns), Height: r.Height * float64(rows)}
	}
	if r.X >= float64(columns) || r.Y >= float64(rows) {
		return p, pacs.Errorf(pacs.Invalid, "The part of the image begins beside it: the image has %d columns and %d rows.", columns, rows)
	}
	if r.Width == 0 {
		r.Width = float64(columns) - r.X
	}
	if r.Height == 0 {
		r.Height = float64(rows) - r.Y
	}
	if r.X+r.Width > float64(columns) || r.Y+r.Height > float64(rows) {
		return p, pacs.Errorf(pacs.Invalid, "The part of the image reaches beyond it: the image has %d columns and %d rows.", columns, rows)
	}
	p.Region = &r
	return p, nil
}

func (l *look) setQuality(name, v string) error {
	if v == "" {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 100 {
		return pacs.Errorf(pacs.Invalid, "The parameter %s is %q; it takes a whole number from 1 to 100.", name, clip(v))
	}
	l.quality = n
	return nil
}

func (l *look) setAnnotation(values []string) error {
	for _, list := range values {
		for _, v := range strings.Split(list, ",") {
			switch strings.ToLower(strings.TrimSpace(v)) {
			case "":
			case "patient":
				l.patient = true
			case "technique":
				l.technique = true
			default:
				return pacs.Errorf(pacs.Invalid, "The parameter annotation is %q; it may be patient, technique or both with a comma.", clip(v))
			}
		}
	}
	return nil
}

// annotations are the lines for the corner of a picture, PS3.18 8.3.5.1.1.
func (l look) annotations(ds *dicom.Dataset, frame, frames int) (lines []string) {
	add := func(parts ...string) {
		var have []string
		for _, p := range parts {
			if p = strings.TrimSpace(p); p != "" {
				have = append(have, p)
			}
		}
		if len(have) > 0 {
			lines = append(lines, strings.Join(have, "  "))
		}
	}
	if l.patient {
		add(spokenName(ds.String(dicom.TagPatientName)))
		add(ds.String(dicom.TagPatientID), day(ds.String(dicom.TagPatientBirthDate)), ds.String(dicom.TagPatientSex))
	}
	if l.technique {
		add(ds.String(dicom.TagInstitutionName))
		add(ds.String(dicom.TagModality), day(ds.String(dicom.TagStudyDate)), ds.String(dicom.TagStudyDescription))
		labelled := func(label string, tag dicom.Tag) string {
			if v := ds.String(tag); v != "" {
				return label + v
			}
			return ""
		}
		place := []string{labelled("S ", dicom.TagSeriesNumber), labelled("I ", dicom.TagInstanceNumber)}
		if frames > 1 {
			place = append(place, fmt.Sprintf("F %d/%d", frame, frames))
		}
		add(append(place, ds.String(dicom.TagSeriesDescription))...)
		suffixed := func(tag dicom.Tag, unit string) string {
			if v := ds.String(tag); v != "" {
				return v + " " + unit
			}
			return ""
		}
		add(suffixed(dicom.TagKVP, "kV"), suffixed(dicom.TagXRayTubeCurrent, "mA"), suffixed(dicom.TagSliceThickness, "mm"))
	}
	return lines
}

// spokenName is the first component group of a PN as people write it.
func spokenName(pn string) string {
	group, _, _ := strings.Cut(pn, "=")
	return strings.Join(strings.FieldsFunc(group, func(r rune) bool { return r == '^' || r == ' ' }), " ")
}

// day is a DA as people of the country write it.
func day(da string) string {
	if len(da) != 8 {
		return da
	}
	return da[6:] + "." + da[4:6] + "." + da[:4]
}
