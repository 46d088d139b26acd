package jpeg

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The test images of Go's own decoder, with all kinds of sampling, restarts and
// scans, give what Go's decoder makes of them, but for roundings of the transform
// and, where chroma is interpolated here, for chroma.
func TestImagesOfGo(t *testing.T) {
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Skip("no go command here")
	}
	paths, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src", "image", "testdata", "*.jpeg"))
	if err != nil || len(paths) < 10 {
		t.Skipf("Go's test images are absent: %v", err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		im, err := Decode(data, Limits{1 << 24})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		most, far := 0, 0
		differ := func(a, b uint8) {
			d := int(a) - int(b)
			if most = max(most, d, -d); d*d > 4 {
				far++
			}
		}
		n := im.Components
		for i := range im.Columns * im.Rows {
			p := im.Pixels[n*i:]
			x, y := i%im.Columns, i/im.Columns
			switch theirs := theirs.(type) {
			case *image.Gray:
				differ(p[0], theirs.GrayAt(x, y).Y)
			case *image.YCbCr:
				differ(p[0], theirs.Y[theirs.YOffset(x, y)])
				switch theirs.SubsampleRatio {
				case image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio422:
				default:
					differ(p[1], theirs.Cb[theirs.COffset(x, y)])
					differ(p[2], theirs.Cr[theirs.COffset(x, y)])
				}
			case *image.RGBA:
				c := theirs.RGBAAt(x, y)
				differ(p[0], c.R)
				if !im.Subsampled {
					differ(p[1], c.G)
					differ(p[2], c.B)
				}
			}
		}
		t.Logf("%s: %+v differs by at most %d", name, im.Header, most)
		if most > 3 || far > im.Columns*im.Rows/1000 {
			t.Errorf("%s: %+v differs by %d; by more than 2 in %d places", name, im.Header, most, far)
		}
	}
}
