package render

import (
	"context"
	"image"
	"image/draw"
	"math"

	"github.com/disintegration/imaging"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// maxCoordinate bounds coordinates of images, which are 16-bit numbers as a rule.
const maxCoordinate = 1 << 24

// placement says where the pixels of an image come to lie in its picture.
type placement struct {
	area           Region // what is shown, in pixels of the image
	width, height  int    // of the picture before it is turned
	rotation       int    // clockwise: 0, 90, 180, 270
	flipHorizontal bool   // after that
	flipVertical   bool
}

// placed decides what is shown of an image and how large.
func placed(f pixel.Format, a attributes, st *state, p Parameters) placement {
	pl := placement{area: Region{0, 0, float64(f.Columns), float64(f.Rows)}, flipHorizontal: p.FlipHorizontal, flipVertical: p.FlipVertical}
	aspect := 1.0
	if !p.NoAspect {
		aspect = a.aspect()
	}
	if st != nil {
		st.place(&pl, &aspect, p)
	}
	if p.Region != nil {
		pl.area = *p.Region
	}
	w, h := pl.area.Width, pl.area.Height*aspect
	if aspect < 1 {
		w, h = pl.area.Width/aspect, pl.area.Height
	}
	boundW, boundH := float64(p.Width), float64(p.Height)
	if pl.rotation%180 != 0 {
		boundW, boundH = boundH, boundW
	}
	scale := math.Inf(1)
	if boundW > 0 {
		scale = boundW / w
	}
	if boundH > 0 {
		scale = min(scale, boundH/h)
	}
	if math.IsInf(scale, 1) || p.Shrink && scale > 1 {
		scale = 1
	}
	// Whatever the caller's bounds and the area that a presentation state names.
	most := float64(max(MaxPixels, f.Columns*f.Rows))
	scale = min(scale, MaxSide/max(w, h), math.Sqrt(most/(w*h)))
	pl.width = min(max(int(w*scale+0.5), 1), MaxSide)
	pl.height = min(max(int(h*scale+0.5), 1), MaxSide)
	return pl
}

// aspect is the height of a pixel over its width, PS3.3 C.7.6.3.1.7; 1 where
// what is said of it can't be.
func (a attributes) aspect() float64 {
	for _, candidate := range []struct {
		ds  *dicom.Dataset
		tag dicom.Tag
	}{
		{a.Dataset, dicom.TagPixelAspectRatio},
		{a.group(dicom.TagPixelMeasuresSequence), dicom.TagPixelSpacing},
		{a.Dataset, dicom.TagPixelSpacing},
		{a.Dataset, dicom.TagImagerPixelSpacing},
		{a.Dataset, dicom.TagNominalScannedPixelSpacing},
	} {
		if v := floats(candidate.ds, candidate.tag); len(v) == 2 {
			return ratio(v)
		}
	}
	return 1
}

// ratio of two sizes, vertical over horizontal. What differs by less than can be
// seen, or by more than any device makes, is none.
func ratio(v []float64) float64 {
	if len(v) != 2 || v[0] <= 0 || v[1] <= 0 {
		return 1
	}
	if r := v[0] / v[1]; r >= 1.0/16 && r <= 16 && math.Abs(r-1) > 0.002 {
		return r
	}
	return 1
}

// at is where a point of the image is in the picture.
func (pl *placement) at(x, y float64) (float64, float64) {
	w, h := float64(pl.width), float64(pl.height)
	u, v := (x-pl.area.X)/pl.area.Width*w, (y-pl.area.Y)/pl.area.Height*h
	switch pl.rotation {
	case 90:
		u, v, w, h = h-v, u, h, w
	case 180:
		u, v = w-u, h-v
	case 270:
		u, v, w, h = v, w-u, h, w
	}
	if pl.flipHorizontal {
		u = w - u
	}
	if pl.flipVertical {
		v = h - v
	}
	return u, v
}

// apply cuts out, scales and turns.
func (pl *placement) apply(ctx context.Context, im draw.Image) (draw.Image, error) {
	whole := Region{0, 0, float64(im.Bounds().Dx()), float64(im.Bounds().Dy())}
	if pl.area != whole || pl.width != im.Bounds().Dx() || pl.height != im.Bounds().Dy() {
		im = pl.cut(im)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch pl.rotation {
	case 90:
		im = turned(im, true, func(x, y, w, h int) (int, int) { return y, h - 1 - x })
	case 180:
		im = turned(im, false, func(x, y, w, h int) (int, int) { return w - 1 - x, h - 1 - y })
	case 270:
		im = turned(im, true, func(x, y, w, h int) (int, int) { return w - 1 - y, x })
	}
	if pl.flipHorizontal {
		im = turned(im, false, func(x, y, w, h int) (int, int) { return w - 1 - x, y })
	}
	if pl.flipVertical {
		im = turned(im, false, func(x, y, w, h int) (int, int) { return x, h - 1 - y })
	}
	return im, ctx.Err()
}

// cut scales the area; what of it is beside the image is black.
func (pl *placement) cut(im draw.Image) draw.Image {
	b := im.Bounds()
	sx, sy := float64(pl.width)/pl.area.Width, float64(pl.height)/pl.area.Height
	source := image.Rect(
		int(math.Floor(pl.area.X)), int(math.Floor(pl.area.Y)),
		int(math.Ceil(pl.area.X+pl.area.Width)), int(math.Ceil(pl.area.Y+pl.area.Height)),
	).Intersect(b)
	out := blank(im, pl.width, pl.height)
	if source.Empty() {
		return out
	}
	target := image.Rect(
		int(math.Round((float64(source.Min.X)-pl.area.X)*sx)), int(math.Round((float64(source.Min.Y)-pl.area.Y)*sy)),
		int(math.Round((float64(source.Max.X)-pl.area.X)*sx)), int(math.Round((float64(source.Max.Y)-pl.area.Y)*sy)),
	)
	// A pixel that is larger than the picture would be scaled to no purpose.
	if target.Dx() < 1 || target.Dy() < 1 || target.Dx() > 2*MaxSide || target.Dy() > 2*MaxSide || target.Dx()*target.Dy() > 2*max(MaxPixels, b.Dx()*b.Dy()) {
		nearest(out, im, pl, b)
		return out
	}
	scaled := resized(sub(im, source), target.Dx(), target.Dy())
	draw.Draw(out, target, scaled, scaled.Bounds().Min, draw.Src)
	return out
}

// nearest fills out with the pixels that lie under each of its own.
func nearest(out, im draw.Image, pl *placement, b image.Rectangle) {
	for y := range pl.height {
		for x := range pl.width {
			p := image.Pt(bounded(pl.area.X+(float64(x)+0.5)*pl.area.Width/float64(pl.width)), bounded(pl.area.Y+(float64(y)+0.5)*pl.area.Height/float64(pl.height)))
			if p.In(b) {
				out.Set(x, y, im.At(p.X, p.Y))
			}
		}
	}
}

// blank is a black picture of the same kind.
func blank(like image.Image, w, h int) draw.Image {
	if _, gray := like.(*image.Gray); gray {
		return image.NewGray(image.Rect(0, 0, w, h))
	}
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := 3; i < len(im.Pix); i += 4 {
		im.Pix[i] = 255
	}
	return im
}

func sub(im draw.Image, r image.Rectangle) draw.Image {
	switch im := im.(type) {
	case *image.Gray:
		return im.SubImage(r).(*image.Gray)
	case *image.RGBA:
		return im.SubImage(r).(*image.RGBA)
	}
	return im
}

// resized scales to w by h. Large images are first reduced by averaging, which
// costs one look at each pixel; the filter does the rest.
func resized(im draw.Image, w, h int) draw.Image {
	b := im.Bounds()
	if b.Dx() == w && b.Dy() == h {
		return im
	}
	if kx, ky := b.Dx()/w, b.Dy()/h; kx > 1 || ky > 1 {
		im = averaged(im, max(kx, 1), max(ky, 1))
		if b = im.Bounds(); b.Dx() == w && b.Dy() == h {
			return im
		}
	}
	n := imaging.Resize(im, w, h, imaging.Linear)
	if _, gray := im.(*image.Gray); gray {
		out := image.NewGray(image.Rect(0, 0, w, h))
		for i := range out.Pix {
			out.Pix[i] = n.Pix[4*i]
		}
		return out
	}
	return &image.RGBA{Pix: n.Pix, Stride: n.Stride, Rect: n.Rect} // opaque: the same bytes
}

// averaged makes one pixel of kx by ky; those at the right and lower edge, which
// are fewer, too.
func averaged(im draw.Image, kx, ky int) draw.Image {
	b := im.Bounds()
	w, h := (b.Dx()+kx-1)/kx, (b.Dy()+ky-1)/ky
	out := blank(im, w, h)
	channels := 4
	var source, target []uint8
	var stride int
	switch im := im.(type) {
	case *image.Gray:
		channels, source, stride, target = 1, im.Pix, im.Stride, out.(*image.Gray).Pix
	case *image.RGBA:
		source, stride, target = im.Pix, im.Stride, out.(*image.RGBA).Pix
	}
	sums := make([]uint32, w*channels)
	for y := range h {
		clear(sums)
		rows := min(ky, b.Dy()-y*ky)
		for r := range rows {
			row := source[(y*ky+r)*stride:]
			row = row[:b.Dx()*channels]
			if channels == 1 {
				for x, i := 0, 0; x < w; x++ {
					sum := uint32(0)
					for _, v := range row[i:min(i+kx, len(row))] {
						sum += uint32(v)
					}
					sums[x] += sum
					i += kx
				}
				continue
			}
			for x := range b.Dx() {
				to := x / kx * 4
				sums[to] += uint32(row[4*x])
				sums[to+1] += uint32(row[4*x+1])
				sums[to+2] += uint32(row[4*x+2])
			}
		}
		for x := range w {
			n := uint32(rows * min(kx, b.Dx()-x*kx))
			for c := range min(channels, 3) {
				target[(y*w+x)*channels+c] = uint8((sums[x*channels+c] + n/2) / n)
			}
		}
	}
	return out
}

// turned is im with from giving the source of each pixel; w and h are those of
// im.
func turned(im draw.Image, swap bool, from func(x, y, w, h int) (int, int)) draw.Image {
	b := im.Bounds()
	w, h := b.Dx(), b.Dy()
	ow, oh := w, h
	if swap {
		ow, oh = h, w
	}
	out := blank(im, ow, oh)
	for y := range oh {
		for x := range ow {
			sx, sy := from(x, y, w, h)
			switch im := im.(type) {
			case *image.Gray:
				out.(*image.Gray).Pix[y*ow+x] = im.Pix[im.PixOffset(b.Min.X+sx, b.Min.Y+sy)]
			case *image.RGBA:
				copy(out.(*image.RGBA).Pix[4*(y*ow+x):], im.Pix[im.PixOffset(b.Min.X+sx, b.Min.Y+sy):][:4])
			}
		}
	}
	return out
}
