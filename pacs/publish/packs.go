package publish

import (
	"context"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Packs reads what the publisher has stored.
type Packs struct {
	Index *index.Index
	Store storage.Store
}

// Open streams length bytes of an instance's PS3.10 file from offset; -1 means
// to its end. Invalid when the range is not within the instance. It is one
// ranged read of one object.
func (p *Packs) Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error) {
	if length < 0 {
		length = loc.Length - offset
	}
	if offset < 0 || length < 0 || offset > loc.Length-length {
		return nil, pacs.Errorf(pacs.Invalid, "The range is not within the instance, which is %d bytes long", loc.Length)
	}
	return p.OpenRange(ctx, loc.PackKey, loc.Offset+offset, length)
}

// OpenRange streams length bytes of a pack from offset, which may hold several
// instances and what stands between them in the ZIP file.
func (p *Packs) OpenRange(ctx context.Context, packKey string, offset, length int64) (io.ReadCloser, error) {
	body, err := p.Store.Get(ctx, packKey, offset, length)
	if err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "The object store does not give the instance at the moment")
	}
	return body, nil
}
