package phantom

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"testing"
	"time"
)

type sheet struct {
	im      *image.Gray
	cols, w int
	i       int
}

func newSheet(cols, rows, w int) *sheet {
	return &sheet{im: image.NewGray(image.Rect(0, 0, cols*w, rows*w)), cols: cols, w: w}
}
func (s *sheet) add(c *canvas, lo, hi float32) {
	ox, oy := s.i%s.cols*s.w, s.i/s.cols*s.w
	s.i++
	f := max(float32(c.nx), float32(c.ny)) / float32(s.w)
	for y := range s.w {
		for x := range s.w {
			xx, yy := int(float32(x)*f), int(float32(y)*f)
			if xx >= c.nx || yy >= c.ny {
				continue
			}
			v := (c.val[yy*c.nx+xx] - lo) / (hi - lo) * 255
			s.im.SetGray(ox+x, oy+y, color.Gray{uint8(max(0, min(255, v)))})
		}
	}
}
func (s *sheet) save(path string) {
	f, _ := os.Create(path)
	png.Encode(f, s.im)
	f.Close()
}

func TestLookHead(t *testing.T) {
	h := newHead(7, Haemorrhage, 1, 1)
	c := &canvas{}
	s, b := newSheet(4, 3, 400), newSheet(3, 2, 400)
	for _, z := range []float32{-72, -58, -44, -30, -18, -4, 6, 16, 28, 45, 62} {
		t0 := time.Now()
		c.reset(plane{origin: vec{-120, -122, z}, u: vec{1, 0, 0}, v: vec{0, 1, 0}, spacing: 240. / 512, nx: 512, ny: 512}, &hounsfield, 0.9, h.bent, air)
		h.paint(c)
		headrest(c)
		t.Log(z, time.Since(t0))
		s.add(c, 0, 80)
		if z < -20 {
			b.add(c, -600, 1800)
		}
	}
	c.reset(plane{origin: vec{3, -122, 90}, u: vec{0, 1, 0}, v: vec{0, 0, -1}, spacing: .5, nx: 400, ny: 400}, &signalT1, 0.9, h.bent, air)
	h.paint(c)
	s.add(c, 0, 1100)
	b.add(c, 0, 1100)
	c.reset(plane{origin: vec{-110, 0, 90}, u: vec{1, 0, 0}, v: vec{0, 0, -1}, spacing: .5, nx: 400, ny: 400}, &signalT1, 0.9, h.bent, air)
	h.paint(c)
	b.add(c, 0, 1100)
	s.save("/tmp/ph/head.png")
	b.save("/tmp/ph/headb.png")
}

func TestLookTorso(t *testing.T) {
	h := newTorso(9, LungNodule, 1, 1)
	t.Log(len(h.vessels), len(h.bronchi), len(h.portal))
	c := &canvas{}
	s, b, a := newSheet(4, 2, 450), newSheet(4, 2, 450), newSheet(4, 2, 450)
	for _, z := range []float32{235, 205, 150, 118, 92, 62, 30, 0} {
		t0 := time.Now()
		c.reset(plane{origin: vec{-200, -190, z}, u: vec{1, 0, 0}, v: vec{0, 1, 0}, spacing: 400. / 512, nx: 512, ny: 512}, &hounsfield, 0.9, h.bent, air)
		h.paint(c)
		tableTop(c)
		t.Log(z, time.Since(t0))
		s.add(c, -1350, 150)
		b.add(c, -160, 240)
	}
	s.save("/tmp/ph/lung.png")
	b.save("/tmp/ph/chest.png")
	for _, z := range []float32{-25, -60, -95, -130, -170, -230} {
		t0 := time.Now()
		c.reset(plane{origin: vec{-200, -190, z}, u: vec{1, 0, 0}, v: vec{0, 1, 0}, spacing: 400. / 512, nx: 512, ny: 512}, &hounsfield, 0.9, h.bent, air)
		h.paint(c)
		tableTop(c)
		t.Log(z, time.Since(t0))
		a.add(c, -160, 240)
	}
	c.reset(plane{origin: vec{-200, 20, 260}, u: vec{1, 0, 0}, v: vec{0, 0, -1}, spacing: 600. / 512, nx: 512, ny: 512}, &hounsfield, 0.9, h.bent, air)
	h.paint(c)
	a.add(c, -300, 300)
	c.reset(plane{origin: vec{0, -150, 260}, u: vec{0, 1, 0}, v: vec{0, 0, -1}, spacing: 600. / 512, nx: 512, ny: 512}, &hounsfield, 0.9, h.bent, air)
	h.paint(c)
	a.add(c, -300, 500)
	a.save("/tmp/ph/abd.png")
}

func TestWriteDemo(t *testing.T) {
	dir := os.Getenv("PHANTOM_OUT")
	if dir == "" {
		t.Skip()
	}
	for i, s := range DemoStudies(time.Now()) {
		t0, n := time.Now(), 0
		for in, err := range s.Instances() {
			if err != nil {
				t.Fatal(err)
			}
			n++
			f, _ := os.Create(fmt.Sprintf("%s/%d_%d_%03d.dcm", dir, i, in.SeriesNumber, in.InstanceNumber))
			in.WriteTo(f)
			f.Close()
		}
		t.Log(s.Kind, n, time.Since(t0), s.Bytes()/1e6)
	}
}
