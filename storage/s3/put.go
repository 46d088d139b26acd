package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/tasvir-pacs/tasvir/storage"
)

const (
	// partSize is the largest object that goes in one request, and the size of
	// a part beyond that. S3 wants at least 5 MiB.
	partSize = 16 << 20
	// maxParts of one upload, by S3's rules; beyond 156 GiB parts grow.
	maxParts = 10_000

	// abortPatience is how long a failed upload's parts are tried to be taken
	// back. If that fails too the server drops them (MinIO: after a day).
	abortPatience = 10 * time.Second
)

// castagnoli is the polynomial of CRC-32C, which processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("put %s: %w: a size of %d", key, storage.ErrSizeMismatch, size)
	}
	body = storage.Exact(ctx, body, size)
	put := s.putParts
	if size <= partSize {
		put = s.putWhole
	}
	if err := put(ctx, key, size, body); err != nil {
		return fmt.Errorf("put %s: %w", key, classify(err))
	}
	return nil
}

// putWhole sends an object in one request.
func (s *Store) putWhole(ctx context.Context, key string, size int64, body io.Reader) error {
	buffer := parts.Get().(*[partSize]byte)
	data := buffer[:size]
	if err := fill(data, body, true); err != nil {
		parts.Put(buffer)
		return err
	}
	tries := 0
	err := retry(ctx, func() error {
		tries++
		_, err := s.uploads.Client.PutObject(ctx, s.bucket, s.prefix+key, bytes.NewReader(data), size, minio.PutObjectOptions{
			ContentType:          contentType(key),
			UserMetadata:         map[string]string{minio.ChecksumCRC32C.Key(): crc32c(data)},
			DisableContentSha256: s.unsigned,
		})
		return err
	})
	if err == nil && tries == 1 {
		// Else the transport may still be reading for the request that failed.
		parts.Put(buffer)
	}
	return err
}

// parts are buffers that are used again: to clear 16 MiB for each object costs
// as much as to copy them.
var parts = sync.Pool{New: func() any { return new([partSize]byte) }}

// putParts sends an object part by part; it appears when the last is there.
func (s *Store) putParts(ctx context.Context, key string, size int64, body io.Reader) (err error) {
	name := s.prefix + key
	var upload string
	err = retry(ctx, func() error {
		upload, err = s.uploads.NewMultipartUpload(ctx, s.bucket, name, minio.PutObjectOptions{
			ContentType:  contentType(key),
			UserMetadata: map[string]string{"X-Amz-Checksum-Algorithm": minio.ChecksumCRC32C.String()},
		})
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
			defer cancel()
			_ = s.uploads.AbortMultipartUpload(ctx, s.bucket, name, upload)
		}
	}()

	var done []minio.CompletePart
	pooled := parts.Get().(*[partSize]byte)
	buffer := pooled[:]
	if longer := (size + maxParts - 1) / maxParts; longer > partSize {
		buffer = make([]byte, longer)
	}
	for left := size; left > 0; left -= int64(len(buffer)) {
		buffer = buffer[:min(int64(len(buffer)), left)]
		if err := fill(buffer, body, left == int64(len(buffer))); err != nil {
			return err
		}
		part, tries, err := s.putPart(ctx, name, upload, len(done)+1, buffer)
		if err != nil {
			return err
		}
		done = append(done, part)
		if tries > 1 {
			// The transport may still be reading for the request that failed.
			buffer, pooled = make([]byte, len(buffer)), nil
		}
	}
	if pooled != nil {
		parts.Put(pooled)
	}
	return retry(ctx, func() error {
		_, err := s.uploads.CompleteMultipartUpload(ctx, s.bucket, name, upload, done, minio.PutObjectOptions{})
		return err
	})
}

// putPart sends one part and says how many tries it took.
func (s *Store) putPart(ctx context.Context, name, upload string, number int, data []byte) (done minio.CompletePart, tries int, err error) {
	sum := crc32c(data)
	var part minio.ObjectPart
	err = retry(ctx, func() (err error) {
		tries++
		part, err = s.uploads.PutObjectPart(ctx, s.bucket, name, upload, number, bytes.NewReader(data), int64(len(data)),
			minio.PutObjectPartOptions{CustomHeader: http.Header{minio.ChecksumCRC32C.Key(): {sum}}, DisableContentSha256: s.unsigned})
		return err
	})
	return minio.CompletePart{PartNumber: number, ETag: part.ETag, ChecksumCRC32C: sum}, tries, err
}

// fill reads exactly len(data) bytes, and when last makes sure that the body
// (a storage.Exact) ends there.
func fill(data []byte, body io.Reader, last bool) error {
	if _, err := io.ReadFull(body, data); err != nil {
		return err
	}
	if !last {
		return nil
	}
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func crc32c(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)))
}

func contentType(key string) string {
	if strings.HasSuffix(key, ".zip") {
		return "application/zip"
	}
	return "application/octet-stream"
}
