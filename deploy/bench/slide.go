package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

const (
	slideFrames = 10_000
	slideFar    = 9_000
	slideTile   = 256 // pixels a side
	slideFrame  = 8 << 10

	multiframeColour = "1.2.840.10008.5.1.4.1.1.7.4" // Multi-frame True Color Secondary Capture Image Storage
	jpegBaseline     = "1.2.840.10008.1.2.4.50"
)

// slide compares the time of a frame far behind in a long instance of compressed
// frames with that of the first, in files and in MinIO.
func slide(ctx context.Context, r *run) error {
	const study, sop = "2.25.1002", "2.25.1002.1.1"
	for _, s := range []*tasvir{{run: r}, {run: r, minio: true}} {
		err := r.on(ctx, s, func() error {
			r.noteLoad("slide on " + s.name())
			client, err := association(ctx, s, dimse.Kind{SOPClassUID: multiframeColour, TransferSyntaxUID: jpegBaseline})
			if err != nil {
				return err
			}
			defer client.Close()
			if _, err := store(ctx, client, dimse.Kind{SOPClassUID: multiframeColour, TransferSyntaxUID: jpegBaseline}, sop, slideDataset(study, sop)); err != nil {
				return err
			}
			if err := client.Release(ctx); err != nil {
				return err
			}
			if _, err := awaitCount(ctx, s, 1, 100*time.Millisecond); err != nil {
				return err
			}
			settle()
			base := s.qido() + "/studies/" + study + "/series/" + study + ".1/instances/" + sop + "/frames/"
			what := "frame 9,000 of 10,000, " + s.place()
			// In turns; a frame is not asked twice, or what is near it in a cache
			// would answer.
			for k := range 100 {
				for _, frame := range []struct {
					name   string
					number int
				}{{"frame 1", 1 + k}, {what, slideFar + k}} {
					began := time.Now()
					n, err := drain(ctx, base+strconv.Itoa(frame.number), acceptFrames)
					if err == nil && n < slideFrame {
						err = fmt.Errorf("frame %d came with %d bytes", frame.number, n)
					}
					if err != nil {
						return err
					}
					r.report.row(what+": answers", "/s", what, atLeast(1/1.5, "frame 1")).add(frame.name, 1/time.Since(began).Seconds())
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// slideDataset is an instance of many frames, each in a fragment of its own,
// without an offset table. The frames are noise: nobody decodes them.
func slideDataset(study, sop string) io.Reader {
	head := multiframeHead(multiframeColour, study, sop, slideFrames, slideTile, 8, 3, "YBR_FULL_422")
	head.WriteString("\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\x00\x00\x00\x00")
	pixels := newNoise()
	readers := []io.Reader{head}
	for range slideFrames {
		item := binary.LittleEndian.AppendUint32([]byte{0xFE, 0xFF, 0x00, 0xE0}, slideFrame)
		readers = append(readers, bytes.NewReader(append(item, 0xFF, 0xD8)), io.LimitReader(pixels, slideFrame-4), bytes.NewReader([]byte{0xFF, 0xD9}))
	}
	return io.MultiReader(append(readers, bytes.NewReader([]byte{0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0}))...)
}
