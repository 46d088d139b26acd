package storage

import (
	"context"
	"io"
	"iter"
	"time"
)

// Store keeps objects. All methods are safe for concurrent use, also by
// several processes on the same store.
type Store interface {
	// Put stores the size bytes of body under key. When it returns nil the
	// object is durable: it survives the loss of power a moment later (file:
	// the bytes and the folder entries were fsynced; s3: the server has
	// acknowledged the whole object and its checksum).
	//
	// An object becomes visible whole or not at all, and an object that exists
	// is replaced atomically: a reader gets the old or the new bytes, never a
	// mixture. body must hold exactly size bytes; if it is shorter or longer
	// Put returns ErrSizeMismatch and the store is unchanged. Put reads body
	// once, from its current position, and never closes it.
	//
	// After any other error the store is normally unchanged too, but when the
	// answer of a remote store was lost the object may be there: repeat the
	// call, or ask Stat.
	Put(ctx context.Context, key string, size int64, body io.Reader) error

	// Get opens the length bytes that start at offset; length -1 means to the
	// end. A range that does not lie within the object is ErrRange, never a
	// short answer; an empty range at the end is allowed. ErrNotFound if there
	// is no such object.
	//
	// The caller must close the reader. If reading fails on the way the error
	// is not io.EOF: whoever reads up to io.EOF has got every byte. ctx must
	// stay alive until the reader is closed.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Stat describes an object. ErrNotFound if there is none.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the objects whose key begins with prefix (any string, "" for
	// all), in lexical order of the keys' bytes. It streams: memory does not
	// grow with the number of objects, and stopping early is cheap. After an
	// error nothing more is yielded. Objects put or deleted meanwhile may or
	// may not be seen.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes an object. There being none is no error. Readers that are
	// already open on a local store go on reading the old bytes.
	Delete(ctx context.Context, key string) error
}

// Info describes an object.
type Info struct {
	Key     string
	Size    int64
	ModTime time.Time // when it was put, by the store's clock
}
