package render

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"time"

	pixeljpeg "github.com/tasvir-pacs/tasvir/pacs/pixel/jpeg"
)

// DefaultQuality of a JPEG.
const DefaultQuality = 90

// EncodeJPEG writes a baseline JPEG. quality is from 1 to 100, 0 for
// DefaultQuality. profile is an ICC profile that is put in; nil for none.
func EncodeJPEG(w io.Writer, im image.Image, quality int, profile []byte) error {
	if quality <= 0 {
		quality = DefaultQuality
	}
	if len(profile) > 0 {
		w = &segmentWriter{Writer: w, segments: iccSegments(profile)}
	}
	quality = min(quality, 100)
	gray, ok := im.(*image.Gray)
	if !ok || gray.Stride != gray.Rect.Dx() || len(gray.Pix) != gray.Stride*gray.Rect.Dy() {
		return jpeg.Encode(w, im, &jpeg.Options{Quality: quality})
	}
	// Our own takes half as long.
	coded, err := pixeljpeg.EncodeBaseline(pixeljpeg.Image{
		Header: pixeljpeg.Header{Columns: gray.Rect.Dx(), Rows: gray.Rect.Dy(), Components: 1, Precision: 8}, Pixels: gray.Pix,
	}, quality)
	if err == nil {
		_, err = w.Write(coded)
	}
	return err
}

// segmentWriter puts segments behind the first two bytes, which are SOI.
type segmentWriter struct {
	io.Writer
	head     []byte
	segments []byte
}

func (s *segmentWriter) Write(p []byte) (int, error) {
	if s.segments == nil {
		return s.Writer.Write(p)
	}
	s.head = append(s.head, p...)
	if len(s.head) < 2 {
		return len(p), nil
	}
	all := append(append(s.head[:2:2], s.segments...), s.head[2:]...)
	s.head, s.segments = nil, nil
	if _, err := s.Writer.Write(all); err != nil {
		return 0, err
	}
	return len(p), nil
}

// iccSegments are APP2 segments with a profile, ICC.1 annex B.4.
func iccSegments(profile []byte) (out []byte) {
	const most = 65535 - 2 - 14
	count := (len(profile) + most - 1) / most
	if count > 255 {
		return nil
	}
	for i := range count {
		part := profile[i*most : min((i+1)*most, len(profile))]
		out = append(out, 0xFF, 0xE2)
		out = binary.BigEndian.AppendUint16(out, uint16(2+14+len(part)))
		out = append(out, "ICC_PROFILE\x00"...)
		out = append(out, byte(i+1), byte(count))
		out = append(out, part...)
	}
	return out
}

// EncodePNG writes a PNG; profile is as for EncodeJPEG.
func EncodePNG(w io.Writer, im image.Image, profile []byte) error {
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if len(profile) == 0 {
		return encoder.Encode(w, im)
	}
	var b bytes.Buffer
	if err := encoder.Encode(&b, im); err != nil {
		return err
	}
	// Behind the signature and IHDR: 8 + 25 bytes.
	const head = 33
	var chunk bytes.Buffer
	chunk.WriteString("iCCPICC\x00\x00")
	z := zlib.NewWriter(&chunk)
	_, _ = z.Write(profile) // to memory
	_ = z.Close()
	framed := binary.BigEndian.AppendUint32(nil, uint32(chunk.Len()-4))
	framed = append(framed, chunk.Bytes()...)
	framed = binary.BigEndian.AppendUint32(framed, crc32.ChecksumIEEE(chunk.Bytes()))
	for _, part := range [][]byte{b.Bytes()[:head], framed, b.Bytes()[head:]} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// grays is the palette of a gray GIF.
var grays = func() (p color.Palette) {
	for i := range 256 {
		p = append(p, color.Gray{uint8(i)})
	}
	return p
}()

// Paletted is im with the 256 colours of a GIF: all grays, or colours that are
// mixed of neighbours.
func Paletted(im image.Image) *image.Paletted {
	r := image.Rect(0, 0, im.Bounds().Dx(), im.Bounds().Dy())
	if gray, ok := im.(*image.Gray); ok {
		out := image.NewPaletted(r, grays)
		for y := range r.Max.Y {
			copy(out.Pix[y*out.Stride:][:r.Max.X], gray.Pix[y*gray.Stride:])
		}
		return out
	}
	out := image.NewPaletted(r, palette.Plan9)
	draw.FloydSteinberg.Draw(out, r, im, im.Bounds().Min)
	return out
}

// EncodeGIF writes pictures of one size one after another, each shown as long as
// its delay says, over and over again. One is a still picture.
func EncodeGIF(w io.Writer, pictures []*image.Paletted, delays []time.Duration) error {
	g := gif.GIF{Image: pictures, Delay: make([]int, len(pictures))}
	for i := range min(len(pictures), len(delays)) {
		// Browsers take less than 20 ms for 100.
		g.Delay[i] = int(min(max(delays[i], 20*time.Millisecond), time.Minute) / (10 * time.Millisecond))
	}
	return gif.EncodeAll(w, &g)
}
