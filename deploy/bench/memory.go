package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

const (
	multiframeFrames = 2048 // of 512×512×16 bits: 1 GB
	multiframePixels = multiframeFrames * 512 * 512 * 2

	secondaryCapture = "1.2.840.10008.5.1.4.1.1.7.3" // Multi-frame Grayscale Word Secondary Capture Image Storage
	explicitVRLittle = "1.2.840.10008.1.2.1"
)

// memory measures the archive's resident memory while it receives, publishes
// and serves one instance of 1 GB, above that of the server when it has just
// started.
func memory(ctx context.Context, r *run) error {
	s := &tasvir{run: r}
	return r.on(ctx, s, func() error {
		r.noteLoad("memory")
		// The first start hashes the administrator's password, which takes
		// memory of its own: idle is a server that has started once more.
		if err := s.server.stop(); err != nil {
			return err
		}
		if err := s.serve(); err != nil {
			return err
		}
		if err := echo(ctx, s); err != nil {
			return err
		}
		idle, idlePostgres := residentOf(s.server.pid())
		kind := dimse.Kind{SOPClassUID: secondaryCapture, TransferSyntaxUID: explicitVRLittle}
		const study, sop = "2.25.1001", "2.25.1001.1.1"

		watch := watchMemory(s.server.pid())
		client, err := association(ctx, s, kind)
		if err != nil {
			return err
		}
		defer client.Close()
		began := time.Now()
		acknowledged, err := store(ctx, client, kind, sop, multiframe(study, sop))
		if err != nil {
			return err
		}
		if err := client.Release(ctx); err != nil {
			return err
		}
		if _, err := awaitCount(ctx, s, 1, 100*time.Millisecond); err != nil {
			return err
		}
		received := watch.peak()
		served, err := retrieve(ctx, s.qido()+"/studies/"+study)
		if err != nil {
			return err
		}
		if served < multiframePixels {
			return fmt.Errorf("the instance came back with %d bytes", served)
		}
		all := watch.end()

		const mb = 1 << 20
		r.report.row("1 GB multi-frame instance: resident memory above idle while it is received and published", "MB", "tasvir", below(100)).
			add("tasvir", float64(received.ours-idle)/mb)
		r.report.row("1 GB multi-frame instance: resident memory above idle, serving it included", "MB", "tasvir", below(100)).
			add("tasvir", float64(all.ours-idle)/mb)
		r.report.note("1 GB multi-frame instance: idle %d MB, at most %d MB; its PostgreSQL %d MB, at most %d MB; acknowledged after %s s.",
			idle/mb, all.ours/mb, idlePostgres/mb, all.postgres/mb, figure(acknowledged.Sub(began).Seconds()))
		r.say("  idle %d MB, at most %d MB receiving, %d MB with serving", idle/mb, received.ours/mb, all.ours/mb)
		return nil
	})
}

// multiframe is the data set of an image of 1 GB.
func multiframe(study, sop string) io.Reader {
	b := multiframeHead(secondaryCapture, study, sop, multiframeFrames, 512, 16, 1, "MONOCHROME2")
	_ = binary.Write(b, binary.LittleEndian, [2]uint16{0x7FE0, 0x0010})
	b.WriteString("OW\x00\x00")
	_ = binary.Write(b, binary.LittleEndian, uint32(multiframePixels))
	return io.MultiReader(b, io.LimitReader(newNoise(), multiframePixels))
}

// multiframeHead are the attributes of a multi-frame secondary capture, up to
// its pixel data.
func multiframeHead(sopClass, study, sop string, frames, side, bits, samples int, photometric string) *bytes.Buffer {
	b := new(bytes.Buffer)
	element := func(group, number uint16, vr, value string) {
		if len(value)%2 == 1 {
			pad := " "
			if vr == "UI" {
				pad = "\x00"
			}
			value += pad
		}
		_ = binary.Write(b, binary.LittleEndian, [2]uint16{group, number})
		b.WriteString(vr)
		_ = binary.Write(b, binary.LittleEndian, uint16(len(value)))
		b.WriteString(value)
	}
	word := func(group, number uint16, value int) {
		element(group, number, "US", string([]byte{byte(value), byte(value >> 8)}))
	}
	element(0x0008, 0x0016, "UI", sopClass)
	element(0x0008, 0x0018, "UI", sop)
	element(0x0008, 0x0020, "DA", "20261102")
	element(0x0008, 0x0060, "CS", "OT")
	element(0x0010, 0x0010, "PN", "Bench^Multiframe")
	element(0x0010, 0x0020, "LO", "BENCH-"+sop[len(sop)-8:])
	element(0x0020, 0x000D, "UI", study)
	element(0x0020, 0x000E, "UI", study+".1")
	element(0x0020, 0x0013, "IS", "1")
	word(0x0028, 0x0002, samples)
	element(0x0028, 0x0004, "CS", photometric)
	if samples > 1 {
		word(0x0028, 0x0006, 0)
	}
	element(0x0028, 0x0008, "IS", strconv.Itoa(frames))
	word(0x0028, 0x0010, side)
	word(0x0028, 0x0011, side)
	word(0x0028, 0x0100, bits)
	word(0x0028, 0x0101, bits)
	word(0x0028, 0x0102, bits-1)
	word(0x0028, 0x0103, 0)
	return b
}

// noise is pixels that don't compress, made once and repeated.
type noise struct {
	block []byte
	at    int
}

func newNoise() *noise {
	n := &noise{block: make([]byte, 1<<20)}
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(n.block)
	return n
}

func (n *noise) Read(p []byte) (int, error) {
	k := copy(p, n.block[n.at:])
	n.at = (n.at + k) % len(n.block)
	return k, nil
}

// retrieve reads a study by WADO-RS and returns its length.
func retrieve(ctx context.Context, url string) (int64, error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	rq.Header.Set("Accept", `multipart/related; type="application/dicom"; transfer-syntax=*`)
	answer, err := qidoClient.Do(rq)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("WADO-RS %s: %s", url, answer.Status)
	}
	return io.Copy(io.Discard, answer.Body)
}

// resident is the memory of a server and its children, in bytes. PostgreSQL's
// processes share much of theirs, and are counted by what is theirs alone and
// their part of what they share (Pss).
type resident struct{ ours, postgres int64 }

// watcher samples the memory of a process until end.
type watcher struct {
	stop chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	most resident
}

func watchMemory(pid int) *watcher {
	w := &watcher{stop: make(chan struct{})}
	w.done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			ours, postgres := residentOf(pid)
			w.mu.Lock()
			w.most = resident{max(w.most.ours, ours), max(w.most.postgres, postgres)}
			w.mu.Unlock()
			select {
			case <-tick.C:
			case <-w.stop:
				return
			}
		}
	})
	return w
}

func (w *watcher) peak() resident {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most
}

func (w *watcher) end() resident {
	close(w.stop)
	w.done.Wait()
	return w.peak()
}

// residentOf is the memory of a process and of its descendants.
func residentOf(pid int) (ours, postgres int64) {
	dir := fmt.Sprintf("/proc/%d", pid)
	name, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return 0, 0 // it has just ended
	}
	if strings.TrimSpace(string(name)) == "postgres" {
		postgres = kilobytes(dir+"/smaps_rollup", "Pss")
	} else {
		ours = kilobytes(dir+"/status", "VmRSS")
	}
	for _, child := range childrenOf(pid) {
		a, b := residentOf(child)
		ours, postgres = ours+a, postgres+b
	}
	return ours, postgres
}

// kilobytes reads a value such as "VmRSS:  1234 kB", in bytes.
func kilobytes(file, name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(field(file, name), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
