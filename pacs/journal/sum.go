package journal

import (
	"crypto/sha256"
	"hash"
)

// sum is the SHA-256 of a record's data set, made of the bytes as they came and
// while these are on their way to the disk: then nobody has to read them again
// for it.
type sum struct {
	hash  hash.Hash
	start int64 // of the data set in the body; unknownStart until from says it
	lost  bool  // bytes have passed that may belong to it
}

const unknownStart = -1

func newSum() sum { return sum{hash: sha256.New(), start: unknownStart} }

// from says where in the body the data set begins.
func (s *sum) from(start int64) { s.start = start }

// during adds what a part of the body, at an offset in it, has of the data set,
// while do runs.
func (s *sum) during(part []byte, at int64, do func() error) error {
	switch {
	case s.start == unknownStart:
		s.lost = s.lost || len(part) > 0
	case at < s.start:
		part = part[min(int64(len(part)), s.start-at):]
	}
	if s.lost || len(part) == 0 {
		return do()
	}
	if len(part) < worthGoing {
		s.hash.Write(part)
		return do()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.hash.Write(part)
	}()
	err := do()
	<-done
	return err
}

// worthGoing is how many bytes take longer to sum than a goroutine to start.
const worthGoing = 64 << 10

// value is nil when it is not known: the file came with a header of its own, and
// was too long to be in memory when that had been read.
func (s *sum) value() []byte {
	if s.lost {
		return nil
	}
	return s.hash.Sum(nil)
}
