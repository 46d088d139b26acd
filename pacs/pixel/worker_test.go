package pixel

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
)

// picture is a slope with noise: neither flat nor incompressible.
func picture(columns, rows, components, bits int) charls.Image {
	im := charls.Image{Columns: columns, Rows: rows, Components: components, Bits: bits}
	r := rand.New(rand.NewPCG(1, 2))
	im.Pixels = make([]byte, im.Size())
	for i := range columns * rows * components {
		sample := uint16((i/components + r.IntN(5)) & (1<<bits - 1))
		if bits <= 8 {
			im.Pixels[i] = byte(sample)
		} else {
			im.Pixels[2*i], im.Pixels[2*i+1] = byte(sample), byte(sample>>8)
		}
	}
	return im
}

func TestThereAndBack(t *testing.T) {
	w := newWorker(t)
	for _, im := range []charls.Image{
		picture(1, 1, 1, 8), picture(512, 512, 1, 12), picture(512, 512, 1, 16), picture(33, 7, 3, 8), picture(17, 19, 1, 2), picture(64, 64, 3, 16), picture(2000, 3, 1, 10),
	} {
		coded, err := w.EncodeJPEGLS(t.Context(), im)
		if err != nil {
			t.Fatal(err)
		}
		back, err := w.DecodeJPEGLS(t.Context(), coded)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.Pixels, im.Pixels) || back.Columns != im.Columns || back.Bits != im.Bits || len(coded)%2 != 0 {
			t.Errorf("%d × %d × %d of %d bits came back as %d × %d × %d of %d bits", im.Columns, im.Rows, im.Components, im.Bits, back.Columns, back.Rows, back.Components, back.Bits)
		}
	}
}

// What the codec refuses fails for that image only.
func TestRefused(t *testing.T) {
	w := newWorker(t)
	good := picture(16, 16, 1, 8)
	coded, err := w.EncodeJPEGLS(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	huge := bytes.Clone(coded)
	copy(huge[bytes.Index(huge, []byte{0xFF, 0xF7})+5:], []byte{0xFF, 0xFF, 0xFF, 0xFF}) // 65535 × 65535
	for name, data := range map[string][]byte{
		"empty": {}, "text": []byte("this is no picture"), "cut": coded[:len(coded)/2], "huge": huge, "zeros": make([]byte, 1000),
	} {
		if _, err := w.DecodeJPEGLS(t.Context(), data); pacs.CodeOf(err) != pacs.Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	short := good
	short.Pixels = short.Pixels[1:]
	if _, err := w.EncodeJPEGLS(t.Context(), short); pacs.CodeOf(err) != pacs.Unsupported {
		t.Errorf("too few pixels: %v", err)
	}
	if _, err := w.DecodeJPEGLS(t.Context(), coded); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// A process that dies costs the image it was at; the next gets a new one.
func TestProcessDies(t *testing.T) {
	w := newWorker(t)
	im := picture(64, 64, 1, 12)
	if _, err := w.EncodeJPEGLS(t.Context(), im); err != nil {
		t.Fatal(err)
	}
	if err := w.process.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = w.process.command.Wait()
	if _, err := w.EncodeJPEGLS(t.Context(), im); pacs.CodeOf(err) != pacs.Unavailable {
		t.Fatalf("a dead process answers: %v", err)
	}
	if _, err := w.EncodeJPEGLS(t.Context(), im); err != nil {
		t.Fatalf("no new process: %v", err)
	}
}

func TestProcessHangs(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep here")
	}
	w := &Worker{Command: []string{sleep, "600"}, Timeout: 50 * time.Millisecond}
	defer w.Close()
	if _, err := w.EncodeJPEGLS(t.Context(), picture(8, 8, 1, 8)); pacs.CodeOf(err) != pacs.Unavailable {
		t.Errorf("a process that hangs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.EncodeJPEGLS(ctx, picture(8, 8, 1, 8)); err == nil {
		t.Error("a call that was given up succeeds")
	}
}

// Whatever bytes the codec is given, it answers or dies; it never harms us.
func FuzzDecodeJPEGLS(f *testing.F) {
	if !charls.Available {
		f.Skip("built without -tags charls")
	}
	for _, im := range []charls.Image{picture(8, 8, 1, 8), picture(9, 5, 3, 8), picture(16, 16, 1, 12)} {
		coded, err := charls.Encode(im)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(coded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		im, err := charls.Decode(data)
		if err == nil && len(im.Pixels) != im.Size() {
			t.Fatalf("%d bytes for %d × %d", len(im.Pixels), im.Columns, im.Rows)
		}
	})
}
