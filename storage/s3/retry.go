package s3

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	// tries of one request.
	tries = 6
	// The pause before the second try; it doubles up to maxPause.
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
)

// retry calls do until it succeeds, fails for good, or has been tried enough.
// do must build its request, and the reader of its body, anew each time.
//
// minio-go could repeat uploads too, but it rewinds the one reader it has got
// while the HTTP transport may still be reading from it for the request that
// failed; the second request then goes out garbled.
func retry(ctx context.Context, do func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := do()
		if err == nil || try == tries || ctx.Err() != nil || !worthRepeating(err) && (try > deniedTries || !denied(err)) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, maxPause)
	}
}

// worthRepeating tells failures of the network and of an overloaded or
// restarting server, which pass, from refusals.
func worthRepeating(err error) bool {
	var response minio.ErrorResponse
	if !errors.As(err, &response) {
		return true // no answer at all
	}
	switch response.Code {
	case "SlowDown", "SlowDownWrite", "RequestTimeout", "BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody":
		return true
	}
	switch response.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// deniedTries is how often a denied request is repeated. MinIO denies access
// also where it puts an object into a folder whose last one another request is
// deleting at that moment; a denial for good costs no more than these.
const deniedTries = 3

func denied(err error) bool {
	var response minio.ErrorResponse
	return errors.As(err, &response) && response.Code == "AccessDenied"
}
