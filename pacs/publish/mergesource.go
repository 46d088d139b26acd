package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

// sources reads the instances of several packs, one after the other. As these
// mostly follow one another in their packs, a pack is read on where the last
// instance ended.
type sources struct {
	ctx   context.Context
	store storage.Store
	open  []*source // the one used last comes last
}

// source is a pack that is being read.
type source struct {
	key  string
	at   int64
	body io.ReadCloser
}

const (
	// openSources is how many packs are kept open: those of a series may
	// alternate.
	openSources = 8
	// skipAtMost is how much is read and dropped rather than asking anew. A
	// local header is a hundred bytes.
	skipAtMost = 64 << 10
)

func newSources(ctx context.Context, store storage.Store) *sources {
	return &sources{ctx: ctx, store: store}
}

func (s *sources) close() {
	for _, o := range s.open {
		_ = o.body.Close()
	}
	s.open = nil
}

// at gives a pack from an offset on.
func (s *sources) at(key string, offset int64) (*source, error) {
	for i, o := range s.open {
		if o.key != key {
			continue
		}
		s.open = append(append(s.open[:i:i], s.open[i+1:]...), o)
		if gap := offset - o.at; gap >= 0 && gap <= skipAtMost {
			n, err := io.CopyN(io.Discard, o.body, gap)
			o.at += n
			return o, err
		}
		_ = o.body.Close()
		s.open = s.open[:len(s.open)-1]
		break
	}
	if len(s.open) == openSources {
		_ = s.open[0].body.Close()
		s.open = s.open[1:]
	}
	body, err := s.store.Get(s.ctx, key, offset, -1)
	if err != nil {
		return nil, err
	}
	o := &source{key: key, at: offset, body: body}
	s.open = append(s.open, o)
	return o, nil
}

// instance reads one instance and checks it on the way: whoever has read it to
// its end has got what the index knows, otherwise there is a DamageError
// before the last byte.
func (s *sources) instance(key string, in index.StoredInstance, crc uint32) func() io.Reader {
	return func() io.Reader {
		return &checked{sources: s, key: key, in: in, crc: crc, left: in.Length, sum: crc32.NewIEEE(), hash: sha256.New()}
	}
}

// checked is an instance that is being read.
type checked struct {
	sources *sources
	key     string
	in      index.StoredInstance
	crc     uint32
	from    *source
	left    int64
	sum     hash.Hash32
	hash    hash.Hash // of the data set
}

func (c *checked) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if c.from == nil {
		from, err := c.sources.at(c.key, c.in.Offset)
		if err != nil {
			return 0, storeFailure(c.key, err)
		}
		c.from = from
	}
	n, err := c.from.body.Read(p[:min(int64(len(p)), c.left)])
	c.from.at += int64(n)
	c.sum.Write(p[:n])
	if header := c.in.DatasetOffset - (c.in.Length - c.left); header < int64(n) {
		c.hash.Write(p[max(header, 0):n])
	}
	c.left -= int64(n)
	switch {
	case c.left == 0:
		if err := c.check(); err != nil {
			return 0, err
		}
	case err == io.EOF:
		return n, &DamageError{c.key, fmt.Errorf("it ends within %s version %d", c.in.SOPInstanceUID, c.in.Version)}
	case err != nil:
		return n, storeFailure(c.key, err)
	}
	return n, nil
}

func (c *checked) check() error {
	if got := c.sum.Sum32(); got != c.crc {
		return &DamageError{c.key, fmt.Errorf("the checksum of %s version %d is %08x, not %08x", c.in.SOPInstanceUID, c.in.Version, got, c.crc)}
	}
	if got := c.hash.Sum(nil); !bytes.Equal(got, c.in.SHA256) {
		return &DamageError{c.key, fmt.Errorf("the hash of %s version %d is %x, not %x", c.in.SOPInstanceUID, c.in.Version, got, c.in.SHA256)}
	}
	return nil
}
