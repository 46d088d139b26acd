package pixel

import (
	"bufio"
	"errors"
	"io"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/openjpeg"
)

// CodecMemory is the address space in bytes that a codecs' process needs at
// most: the largest frame, its compressed form, copies on the way (OpenJPEG has
// two with four bytes per sample), the runtime.
const CodecMemory = 5 << 30

// ServeCodecs answers requests of a Worker until in ends. It is the whole life
// of a codecs' process. memory, when not 0, limits its address space.
func ServeCodecs(in io.Reader, out io.Writer, memory uint64) error {
	limits := map[int]uint64{unix.RLIMIT_CORE: 0}
	if memory != 0 {
		limits[unix.RLIMIT_AS] = memory
	}
	for resource, limit := range limits {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	runtime.LockOSThread() // one thread calls C, and has one arena of its allocator
	requests, answers := bufio.NewReaderSize(in, 64<<10), bufio.NewWriterSize(out, 64<<10)
	for {
		request, err := readMessage(requests)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := serveCodec(request).write(answers); err != nil {
			return err
		}
		if err := answers.Flush(); err != nil {
			return err
		}
	}
}

func serveCodec(request message) message {
	var (
		s   samples
		err error
	)
	switch request.operation {
	case opEncodeJPEGLS:
		s.Pixels, err = charls.Encode(request.charls(), int(request.parameter))
	case opDecodeJPEGLS:
		var im charls.Image
		im, err = charls.Decode(request.Pixels, request.charls())
		s = samples{Columns: im.Columns, Rows: im.Rows, Components: im.Components, Bits: im.Bits, Pixels: im.Pixels}
	case opEncodeJPEG2000:
		im := openjpeg.Image{Columns: request.Columns, Rows: request.Rows, Components: request.Components, Bits: request.Bits, Signed: request.Signed, Pixels: request.Pixels}
		s.Pixels, err = openjpeg.Encode(im, openjpeg.Params{Ratio: float64(request.parameter&^transformed) / 1000, Transform: request.parameter&transformed != 0})
	case opDecodeJPEG2000: // its header has been read and compared
		var im openjpeg.Image
		im, err = openjpeg.Decode(request.Pixels)
		s = samples{Columns: im.Columns, Rows: im.Rows, Components: im.Components, Bits: im.Bits, Signed: im.Signed, Pixels: im.Pixels}
	default:
		err = errors.ErrUnsupported
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return message{operation: opUnsupported, samples: samples{Pixels: []byte(err.Error())}}
	case err != nil:
		return message{operation: opInvalid, samples: samples{Pixels: []byte(err.Error())}}
	}
	return message{operation: opDone, samples: s}
}

func (m message) charls() charls.Image {
	return charls.Image{Columns: m.Columns, Rows: m.Rows, Components: m.Components, Bits: m.Bits, Pixels: m.Pixels}
}
