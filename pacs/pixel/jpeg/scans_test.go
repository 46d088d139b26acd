package jpeg

import (
	"bytes"
	"errors"
	"testing"
)

// withRestarts encodes without loss with a restart marker after so many rows,
// T.81 B.2.1 and E.1.4.
func withRestarts(t testing.TB, im Image, rows int) []byte {
	t.Helper()
	n, stride := im.Components, int(im.Size())/im.Rows
	var all []int16
	var bands [][]int16
	for y := 0; y < im.Rows; y += rows {
		band := im // begins as an image does
		band.Rows = min(rows, im.Rows-y)
		band.Pixels = im.Pixels[y*stride : (y+band.Rows)*stride]
		d, ok := band.differences()
		if !ok {
			t.Fatal("too many bits")
		}
		bands, all = append(bands, d), append(all, d...)
	}
	often := make([]int, 17)
	for _, d := range all {
		often[sizeOf(int32(d))]++
	}
	counts, values := optimal(often)
	table := newCodes(counts, values)
	e := &encoder{out: []byte{0xFF, markerSOI}}
	interval := rows * im.Columns
	e.segment(markerDRI, byte(interval>>8), byte(interval))
	e.frame(markerSOF3, im.Header, bytes.Repeat([]byte{0x11}, n), make([]byte, n))
	e.table(0, 0, counts, values)
	scan := []byte{byte(n)}
	for c := range n {
		scan = append(scan, byte(c+1), 0)
	}
	e.segment(markerSOS, append(scan, 1, 0, 0)...)
	for i, band := range bands {
		for _, d := range band {
			e.coefficient(table, 0, int32(d))
		}
		out := e.end()
		out[len(out)-1] = markerRST0 + byte(i%8)
		*e = encoder{out: out}
	}
	e.out[len(e.out)-1] = markerEOI
	return e.out
}

func TestLosslessRestarts(t *testing.T) {
	for _, im := range []Image{picture(31, 30, 1, 12, 300, 1), picture(31, 30, 3, 8, 9, 2), picture(5, 1, 1, 9, 9, 3)} {
		for _, rows := range []int{1, 4, 30} {
			data := withRestarts(t, im, rows)
			back, err := Decode(data, Limits{1 << 20})
			if err != nil || !bytes.Equal(back.Pixels, im.Pixels) {
				t.Errorf("%+v with restarts after %d rows came back different (%v)", im.Header, rows, err)
			}
			if at := bytes.Index(data, []byte{0xFF, markerRST0}); at > 0 && rows < im.Rows {
				without := append(data[:at:at], data[at+2:]...)
				if _, err := Decode(without, Limits{1 << 20}); !errors.Is(err, ErrDamaged) {
					t.Errorf("without a restart marker: %v", err)
				}
			}
		}
	}
}

// Restart intervals of the processes with a cosine transform count MCUs.
func TestBaselineRestarts(t *testing.T) {
	im := picture(40, 24, 1, 8, 9, 1)
	plain, err := EncodeBaseline(im, 90)
	if err != nil {
		t.Fatal(err)
	}
	sos := bytes.Index(plain, []byte{0xFF, markerSOS})
	const interval = 4 // of 15 blocks
	e := &encoder{out: bytes.Clone(plain[:2])}
	e.segment(markerDRI, 0, interval)
	e.out = append(e.out, plain[2:sos+10]...)
	c := im.coding(0, 90)
	for i := range 15 {
		if i%interval == 0 && i > 0 {
			out := e.end()
			out[len(out)-1] = markerRST0 + byte(i/interval-1)
			*e = encoder{out: out}
			c.pred = 0
		}
		c.encode(e, i%5, i/5)
	}
	want, err := Decode(plain, Limits{1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(e.end(), Limits{1 << 20}); err != nil || !bytes.Equal(got.Pixels, want.Pixels) {
		t.Errorf("with restarts it came back different (%v)", err)
	}
}

// Components one after another, each in a scan of its own.
func TestLosslessScans(t *testing.T) {
	im := picture(31, 17, 3, 12, 300, 1)
	im.Process = Lossless
	e := &encoder{out: []byte{0xFF, markerSOI}}
	e.frame(markerSOF3, im.Header, []byte{0x11, 0x11, 0x11}, make([]byte, 3))
	data := e.out
	for c := range 3 {
		one := Image{Header: im.Header}
		one.Components = 1
		for at := 2 * c; at < len(im.Pixels); at += 6 {
			one.Pixels = append(one.Pixels, im.Pixels[at], im.Pixels[at+1])
		}
		coded, err := EncodeLossless(one)
		if err != nil {
			t.Fatal(err)
		}
		scan := coded[bytes.Index(coded, []byte{0xFF, markerDHT}) : len(coded)-2]
		scan[bytes.Index(scan, []byte{0xFF, markerSOS})+5] = byte(c + 1)
		data = append(data, scan...)
	}
	if _, err := Decode(append(bytes.Clone(data[:len(data)-200]), 0xFF, markerEOI), Limits{1 << 20}); !errors.Is(err, ErrDamaged) {
		t.Errorf("without the end of the last scan: %v", err)
	}
	back, err := Decode(append(data, 0xFF, markerEOI), Limits{1 << 20})
	if err != nil || !bytes.Equal(back.Pixels, im.Pixels) {
		t.Errorf("%+v came back different (%v)", im.Header, err)
	}
}
