package render

import (
	"image"
	"image/color"
	"image/draw"
	"strings"
	"sync"
	"unicode"

	"github.com/go-fonts/dejavu/dejavusans"
	"golang.org/x/image/font"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// letters is the font of printed reports, which has all letters of Uzbek and
// Russian.
var letters = sync.OnceValues(func() (*opentype.Font, error) { return opentype.Parse(dejavusans.TTF) })

// Bounds of a text.
const (
	maxLines = 64
	maxLine  = 160 // characters
)

// face is the font with letters of so many pixels; nil if it can't be had.
func face(size float64) font.Face {
	f, err := letters()
	if err != nil {
		return nil
	}
	out, err := opentype.NewFace(f, &opentype.FaceOptions{Size: min(max(size, 7), 200), DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil
	}
	return out
}

// lines are those of a text, without what can't be drawn.
func lines(text string) (out []string) {
	for line := range strings.Lines(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)) {
		runes := []rune(strings.TrimRight(line, "\n"))
		if len(runes) > maxLine {
			runes = append(runes[:maxLine-1], '…')
		}
		for i, r := range runes {
			if unicode.IsControl(r) {
				runes[i] = ' '
			}
		}
		if out = append(out, strings.TrimRight(string(runes), " ")); len(out) == maxLines {
			break
		}
	}
	return out
}

// write draws lines from an upper left corner, with a dark edge that keeps them
// legible on white.
func write(im draw.Image, f font.Face, x, y float64, text []string, c color.Color) {
	m := f.Metrics()
	edge := color.Color(color.Black)
	if g := color.GrayModel.Convert(c).(color.Gray); g.Y < 96 {
		edge = color.White
	}
	for i, line := range text {
		base := fixed.Point26_6{X: fixed.Int26_6(bounded(x) * 64), Y: fixed.Int26_6(bounded(y)*64) + m.Ascent + m.Height.Mul(fixed.I(i))}
		if base.Y-m.Ascent > fixed.I(im.Bounds().Max.Y) || base.Y+m.Descent < 0 {
			continue
		}
		for _, pass := range []struct {
			dx, dy int
			color  color.Color
		}{{-1, 0, edge}, {1, 0, edge}, {0, -1, edge}, {0, 1, edge}, {0, 0, c}} {
			d := font.Drawer{Dst: im, Src: image.NewUniform(pass.color), Face: f, Dot: base.Add(fixed.P(pass.dx, pass.dy))}
			d.DrawString(line)
		}
	}
}

// size of lines, in pixels.
func size(f font.Face, text []string) (width, height float64) {
	for _, line := range text {
		width = max(width, float64(font.MeasureString(f, line))/64)
	}
	return width, float64(f.Metrics().Height) / 64 * float64(len(text))
}

// writeCorner writes annotations into the upper left corner.
func writeCorner(im draw.Image, annotations []string) {
	text := lines(strings.Join(annotations, "\n"))
	b := im.Bounds()
	if f := face(min(float64(min(b.Dx(), b.Dy()))/30, 32)); f != nil {
		defer f.Close()
		inset := float64(min(b.Dx(), b.Dy())) / 64
		write(im, f, inset, inset, text, color.White)
	}
}

// text draws an item of Text Object Sequence, PS3.3 C.10.5: into its bounding box,
// or beside its anchor point, to which a line leads when it is to be seen.
func (d *drawing) text(object *dicom.Dataset) {
	text := lines(object.Text(dicom.TagUnformattedTextValue))
	for _, line := range text {
		d.letters += len(line)
	}
	if d.objects++; d.objects > maxObjects || len(text) == 0 || d.letters > maxLetters {
		return
	}
	at := func(tag, units dicom.Tag) (point, bool) {
		v := floats(object, tag)
		if len(v) != 2 {
			return point{}, false
		}
		return d.placed(point{v[0], v[1]}, object.String(units)), true
	}
	b := d.picture.Bounds()
	anchor, anchored := at(dicom.TagAnchorPoint, dicom.TagAnchorPointAnnotationUnits)
	first, ok1 := at(dicom.TagBoundingBoxTopLeftHandCorner, dicom.TagBoundingBoxAnnotationUnits)
	second, ok2 := at(dicom.TagBoundingBoxBottomRightHandCorner, dicom.TagBoundingBoxAnnotationUnits)
	boxed := ok1 && ok2
	// A picture that is turned turns the corners, not the letters.
	first, second = point{min(first.x, second.x), min(first.y, second.y)}, point{max(first.x, second.x), max(first.y, second.y)}
	if d.face == nil {
		if d.face = face(min(float64(min(b.Dx(), b.Dy()))/28, 32)); d.face == nil {
			return
		}
	}
	f := d.face
	width, height := size(f, text)
	corner := point{anchor.x + 4, anchor.y + 4}
	switch {
	case boxed:
		corner = first
		switch object.String(dicom.TagBoundingBoxTextHorizontalJustification) {
		case "RIGHT":
			corner.x = second.x - width
		case "CENTER":
			corner.x = (first.x + second.x - width) / 2
		}
	case !anchored:
		return
	}
	// What would begin outside of the picture could not be read.
	corner.x = max(min(corner.x, float64(b.Dx())-width), 0)
	corner.y = max(min(corner.y, float64(b.Dy())-height), 0)
	if boxed && anchored && object.String(dicom.TagAnchorPointVisibility) == "Y" {
		d.stroke([]point{{min(max(anchor.x, corner.x), corner.x+width), min(max(anchor.y, corner.y), corner.y+height)}, anchor})
	}
	write(d.picture, f, corner.x, corner.y, text, d.color)
}
