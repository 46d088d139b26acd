package dicomweb

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// noise is an instance in RLE with one frame of side × side × 2 bytes that can't be
// compressed.
func noise(t *testing.T, side int) []byte {
	t.Helper()
	ds := image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1).Delete(dicom.TagPixelData)
	ds.SetInts(dicom.TagRows, dicom.US, side).SetInts(dicom.TagColumns, dicom.US, side)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 16).SetInts(dicom.TagBitsStored, dicom.US, 16).SetInts(dicom.TagHighBit, dicom.US, 15)
	format, err := pixel.FormatOf(ds)
	if err != nil {
		t.Fatal(err)
	}
	frame := pixel.Frame{Format: format, Pixels: make([]byte, format.FrameSize())}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(frame.Pixels)
	coded, _, err := (&pixel.Codecs{}).Encode(t.Context(), dicom.RLELossless, frame, pixel.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// (7FE0,0010) OB of items: an empty offset table and the frame.
	file := append(partFile(t, ds, dicom.RLELossless), 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)
	for _, data := range [][]byte{nil, coded} {
		file = binary.LittleEndian.AppendUint32(append(file, 0xFE, 0xFF, 0x00, 0xE0), uint32(len(data)))
		file = append(file, data...)
	}
	return append(file, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}

// live is how many bytes are in use.
func live() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Readers that take nothing of what was made for them keep a bounded part of it
// in memory; all of them get the right bytes when they go on, and what they kept
// is given back.
func TestSlowReadersOfWhatIsMade(t *testing.T) {
	const side, readers, bound = 1024, 40, 8 << 20 // 2 MiB each, 80 MiB together
	a := newArchive()
	a.put(t, noise(t, side))
	dir := t.TempDir()
	var o Options
	serve(a, func(has *Options) { has.TempDir = dir; o = *has })
	s, engine := newService(o), gin.New()
	s.waiting = semaphore.NewWeighted(bound)
	s.mount(engine.Group("/dicom-web"))
	server := httptest.NewUnstartedServer(engine)
	// The kernel takes little.
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if tcp, ok := c.(*net.TCPConn); ok && state == http.StateNew {
			_ = tcp.SetWriteBuffer(16 << 10)
		}
	}
	server.Start()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{ReadBufferSize: 4 << 10, DisableKeepAlives: true}}
	defer client.CloseIdleConnections()

	for name, ask := range map[string]struct{ path, accept string }{
		"frames":    {"/frames/1", "application/octet-stream; transfer-syntax=" + dicom.ExplicitVRLittleEndian},
		"instances": {"", `multipart/related; type="application/dicom"; transfer-syntax=` + dicom.ExplicitVRLittleEndian},
		"pictures":  {"/rendered?window=32768,65536", "image/png"},
	} {
		t.Run(name, func(t *testing.T) {
			before := live()
			bodies := make([]io.ReadCloser, readers)
			var wg sync.WaitGroup
			for n := range readers {
				wg.Go(func() {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/dicom-web"+ctPath+"/instances/1.2.3.1.1"+ask.path, nil)
					if err != nil {
						t.Error(err)
						return
					}
					req.Header.Set("Accept", ask.accept)
					res, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					if bodies[n] = res.Body; res.StatusCode != 200 {
						t.Errorf("%d", res.StatusCode)
					}
				})
			}
			wg.Wait()
			if grown := live() - before; grown > bound+16<<20 {
				t.Errorf("%d readers keep %d MiB", readers, grown>>20)
			}
			var first []byte
			for n, body := range bodies {
				if body == nil {
					continue
				}
				got, err := io.ReadAll(body)
				_ = body.Close()
				if err != nil || n > 0 && !bytes.Equal(got, first) {
					t.Fatalf("reader %d has %d bytes, %v; the first %d", n, len(got), err, len(first))
				}
				first = got
			}
			if want := side * side * 2; name == "frames" && len(first) != want {
				t.Errorf("%d bytes, want %d", len(first), want)
			}
		})
	}
	server.Close() // waits for the handlers
	if !s.waiting.TryAcquire(bound) || !s.recodings.TryAcquire(recodingMemory) {
		t.Error("memory is not given back")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}
