package storage

import (
	"errors"
)

var (
	// ErrNotFound: there is no object under this key.
	ErrNotFound = errors.New("no such object")
	// ErrSizeMismatch: the body of a Put was shorter or longer than announced.
	ErrSizeMismatch = errors.New("the object's body does not have the announced size")
	// ErrRange: the range of a Get does not lie within the object.
	ErrRange = errors.New("the byte range does not lie within the object")
	// ErrKey: the key breaks the rules of CheckKey, or it can't coexist with
	// the objects that are there ("a" and "a/b" in a folder).
	ErrKey = errors.New("not a usable object key")
	// ErrFull: the disk, the bucket or a quota is full. Not permanent: space
	// can be made.
	ErrFull = errors.New("the object store is full")
)

// IsNotExist reports whether err says that the object isn't there.
func IsNotExist(err error) bool { return errors.Is(err, ErrNotFound) }

// IsPermanent reports whether repeating the same call can't ever help, because
// the call itself is wrong or names something that isn't there: ErrNotFound,
// ErrSizeMismatch, ErrRange, ErrKey. A caller must not retry these. It may
// retry everything else. A cancelled context is not permanent either; the
// caller sees that on its context.
func IsPermanent(err error) bool {
	return errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrSizeMismatch) ||
		errors.Is(err, ErrRange) ||
		errors.Is(err, ErrKey)
}
