package dicomweb

import (
	"bytes"
	"context"
	"io"
	"strconv"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// What is kept in Options.Cache, under keys of:
//
//	f   a frame as it is stored, where reading one costs a round trip
//	t   a frame in another transfer syntax
//	p   a picture
//
// A frame that lies in a file here is not: the system's own cache has it, and the
// kernel sends it. Whoever is answered from memory has been looked up in the index
// as always, so that nobody gets what they may not see.

const (
	// A list of more frames than cachedFrames is read in long runs instead.
	cachedFrames    = 4
	cachedFrameSize = 8 << 20
)

// keptFrame is the pieces of frame n, by way of memory where that pays; asked is
// how many frames are asked for.
func (s *service) keptFrame(i pacs.Instance, n int, pieces []piece, asked int) []piece {
	if s.Cache == nil || s.Remote == nil || !s.Remote(i.Location.PackKey) || asked > cachedFrames {
		return pieces
	}
	c := &content{}
	for _, p := range pieces {
		c.add(p)
	}
	if c.size > cachedFrameSize {
		return pieces
	}
	return []piece{{size: c.size, open: func(ctx context.Context, from, length int64) (io.ReadCloser, error) {
		whole, err := s.Cache.Get(ctx, frameKey("f", i, n), func(ctx context.Context) ([]byte, error) {
			return s.read(ctx, c)
		})
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(whole[from : from+length])), nil
	}}}
}

// frameKey names a frame of certain bytes.
func frameKey(form string, i pacs.Instance, n int) string {
	return form + " " + i.StudyInstanceUID + " " + i.SOPInstanceUID + " " + instanceTag(i) + " " + strconv.Itoa(n)
}

// read reads a content into memory.
func (s *service) read(ctx context.Context, c *content) ([]byte, error) {
	body := c.reader(ctx, s.Packs, 0, c.size)
	defer body.close()
	var b bytes.Buffer
	b.Grow(int(c.size) + bytes.MinRead) // with less room it would grow to see the end
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	err := body.writeTo(&b, *buf)
	return b.Bytes(), err
}
