package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tasvir-pacs/tasvir/storage"
)

// Store is a storage.Store in a bucket.
type Store struct {
	client  *minio.Client // for requests without a body; minio-go repeats them
	uploads minio.Core    // for requests with one; we repeat them ourselves, see retry
	bucket  string
	prefix  string // "" or ends with "/"
	// unsigned: requests are signed without the SHA-256 of their body. TLS has
	// it anyway; over plain HTTP that costs us and the server as much as the
	// journal's own, and is left out where nobody is between us and it. The
	// body's CRC-32C always goes with it, and is signed.
	unsigned bool
}

var _ storage.Store = (*Store)(nil)

// Open connects to the bucket of c and creates it if absent.
func Open(ctx context.Context, c Config) (*Store, error) {
	options := minio.Options{
		Creds:      credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken),
		Secure:     !c.Insecure,
		Region:     c.Region,
		MaxRetries: tries,

		TrailingHeaders: true, // else minio-go refuses our checksums
	}
	client, err := minio.New(c.Endpoint, &options)
	if err != nil {
		return nil, fmt.Errorf("the object store at %s: %w", c.Endpoint, err)
	}
	options.MaxRetries = 1
	uploads, err := minio.NewCore(c.Endpoint, &options)
	if err != nil {
		return nil, fmt.Errorf("the object store at %s: %w", c.Endpoint, err)
	}
	client.SetAppInfo("tasvir", "")
	uploads.SetAppInfo("tasvir", "")
	s := &Store{client: client, uploads: *uploads, bucket: c.Bucket, unsigned: !c.Insecure || c.onThisMachine()}
	if c.Prefix != "" {
		s.prefix = c.Prefix + "/"
	}
	// A server that has just started may answer before it can work.
	if err := retry(ctx, func() error { return s.ensureBucket(ctx, c.Region) }); err != nil {
		return nil, fmt.Errorf("the object store at %s, bucket %s: %w", c.Endpoint, c.Bucket, err)
	}
	return s, nil
}

// ensureBucket tries once.
func (s *Store) ensureBucket(ctx context.Context, region string) error {
	exists, err := s.uploads.BucketExists(ctx, s.bucket)
	if err != nil || exists {
		return err
	}
	err = s.uploads.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: region})
	switch minio.ToErrorResponse(err).Code {
	case minio.BucketAlreadyOwnedByYou, minio.BucketAlreadyExists: // another node was quicker
		return nil
	}
	return err
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := errors.Join(storage.CheckKey(key), storage.CheckRange(offset, length)); err != nil {
		return nil, err
	}
	if length == 0 { // HTTP has no empty range
		return s.empty(ctx, key, offset)
	}
	var options minio.GetObjectOptions
	ranged := true
	switch {
	case length > 0:
		options.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0:
		options.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	default:
		ranged = false
	}
	core := minio.Core{Client: s.client}
	body, info, header, err := core.GetObject(ctx, s.bucket, s.prefix+key, options)
	if minio.ToErrorResponse(err).Code == minio.InvalidRange {
		if length < 0 {
			return s.empty(ctx, key, offset) // the end itself is allowed
		}
		return nil, fmt.Errorf("get %s: %w: offset %d, length %d", key, storage.ErrRange, offset, length)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, classify(err))
	}
	if ranged && !strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
		_ = body.Close()
		return nil, fmt.Errorf("get %s: the object store ignored the range (it sent Content-Range %q)", key, header.Get("Content-Range"))
	}
	if length > 0 && info.Size != length { // S3 cuts a range at the object's end
		_ = body.Close()
		return nil, fmt.Errorf("get %s: %w: offset %d, length %d, the object has %d bytes", key, storage.ErrRange, offset, length, offset+info.Size)
	}
	return body, nil
}

// empty answers a Get of no bytes at offset.
func (s *Store) empty(ctx context.Context, key string, offset int64) (io.ReadCloser, error) {
	info, err := s.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	if offset > info.Size {
		return nil, fmt.Errorf("get %s: %w: offset %d, the object has %d bytes", key, storage.ErrRange, offset, info.Size)
	}
	return http.NoBody, nil
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	if err := storage.CheckKey(key); err != nil {
		return storage.Info{}, err
	}
	info, err := s.client.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %s: %w", key, classify(err))
	}
	return storage.Info{Key: key, Size: info.Size, ModTime: info.LastModified}, nil
}

// List implements storage.Store. It holds one page (1000 objects) at a time.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if prefix != "" && storage.CheckKey(strings.TrimSuffix(prefix, "/")) != nil {
			return // no key begins like this
		}
		fetchOwner := false
		for object := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{
			Prefix: s.prefix + prefix, Recursive: true, FetchOwner: &fetchOwner,
		}) {
			if object.Err != nil {
				yield(storage.Info{}, fmt.Errorf("list %s: %w", prefix, classify(object.Err)))
				return
			}
			key := strings.TrimPrefix(object.Key, s.prefix)
			if storage.CheckKey(key) != nil {
				continue // someone else's, or a folder marker
			}
			if !yield(storage.Info{Key: key, Size: object.Size, ModTime: object.LastModified}, nil) {
				return
			}
		}
		// minio-go ends the sequence silently when the context does.
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	err := classify(s.client.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{}))
	if err != nil && !storage.IsNotExist(err) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// classify turns S3's errors into those of package storage.
func classify(err error) error {
	response := minio.ToErrorResponse(err)
	switch response.Code {
	case minio.NoSuchKey:
		return fmt.Errorf("%w (%w)", storage.ErrNotFound, err)
	case "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded":
		return fmt.Errorf("%w (%w)", storage.ErrFull, err)
	case "XMinioParentIsObject", "XMinioObjectExistsAsDirectory":
		return fmt.Errorf("%w: an object's name is another object's folder (%w)", storage.ErrKey, err)
	case minio.NoSuchBucket:
		return fmt.Errorf("the bucket is gone: %w", err)
	}
	if response.StatusCode == http.StatusInsufficientStorage {
		return fmt.Errorf("%w (%w)", storage.ErrFull, err)
	}
	return err
}
