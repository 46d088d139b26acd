package storage

import (
	"fmt"
	"strings"
)

const (
	// MaxKey is the longest key in bytes; S3 allows 1024 with the prefix.
	MaxKey = 768
	// MaxSegment is the longest part between two slashes; most file systems
	// allow 255 and a temporary name needs a little more.
	MaxSegment = 200
)

// CheckKey returns an ErrKey that says what is wrong with key, or nil. A key is
// one or more segments joined by "/". A segment consists of letters, digits,
// ".", "_" and "-" of ASCII, doesn't start with ".", and is neither empty nor
// longer than MaxSegment.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: it is empty", ErrKey)
	}
	if len(key) > MaxKey {
		return fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrKey, len(key), MaxKey)
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "":
			return fmt.Errorf("%w: %q has an empty segment", ErrKey, key)
		case segment[0] == '.':
			return fmt.Errorf("%w: a segment of %q starts with a dot", ErrKey, key)
		case len(segment) > MaxSegment:
			return fmt.Errorf("%w: a segment of %q has more than %d bytes", ErrKey, key, MaxSegment)
		}
	}
	for i := range len(key) {
		if !allowedInKey(key[i]) {
			return fmt.Errorf("%w: %q holds the character %q", ErrKey, key, key[i])
		}
	}
	return nil
}

func allowedInKey(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '-' || c == '/'
}

// CheckRange returns ErrRange unless offset and length can name a range of
// some object: offset at least 0, length at least -1.
func CheckRange(offset, length int64) error {
	if offset < 0 || length < -1 || offset+max(length, 0) < offset {
		return fmt.Errorf("%w: offset %d, length %d", ErrRange, offset, length)
	}
	return nil
}
