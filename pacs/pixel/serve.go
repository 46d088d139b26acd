package pixel

import (
	"bufio"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
)

// CodecMemory is the address space in bytes that the codecs' process needs at
// most: the largest frame, its compressed form, copies on the way, the runtime.
const CodecMemory = 8 << 30

// ServeCodecs answers requests of a Worker until in ends. It is the whole life
// of the codecs' process. memory, when not 0, limits its address space.
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
		image charls.Image
		err   error
	)
	switch request.operation {
	case opEncodeJPEGLS:
		image.Pixels, err = charls.Encode(request.image)
	case opDecodeJPEGLS:
		image, err = charls.Decode(request.image.Pixels)
	default:
		err = errors.New("no such operation")
	}
	if err != nil {
		return message{operation: opFailed, image: charls.Image{Pixels: []byte(err.Error())}}
	}
	return message{operation: opDone, image: image}
}
