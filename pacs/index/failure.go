package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// ErrUnfit is the cause of an Invalid: a value is one the database can't hold
// or compare, and repeating won't help.
var ErrUnfit = errors.New("a value does not fit the database")

// Transient says whether a statement that failed with err may succeed when it
// is repeated: the server is unreachable, shutting down, out of resources, has
// become a replica, or two transactions got into each other's way. Classes of
// SQLSTATE per PostgreSQL's Appendix A.
func Transient(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return hasClass(refused,
			"08",    // connection exception
			"25006", // read-only transaction: the server is a replica now
			"28",    // invalid authorization: a password is being changed
			"40",    // transaction rollback: serialization failure, deadlock
			"53",    // insufficient resources
			"55",    // object not in prerequisite state: lock not available
			"57",    // operator intervention: shutdown, cannot connect now
			"58",    // system error, external to PostgreSQL
		)
	}
	var network net.Error
	return unreachable(err) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

func unreachable(err error) bool {
	var connect *pgconn.ConnectError
	var network *net.OpError
	return errors.As(err, &connect) || errors.As(err, &network)
}

// unfit says whether the server refused a value.
func unfit(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && hasClass(refused,
		"22",    // data exception: NUL, not UTF-8, out of range
		"23514", // check violation
		"54",    // program limit exceeded: too long for an index
	)
}

func hasClass(err *pgconn.PgError, classes ...string) bool {
	for _, class := range classes {
		if strings.HasPrefix(err.Code, class) {
			return true
		}
	}
	return false
}

// Failure turns a database error into the archive's: Unavailable for what may
// pass and for the end of the caller's context (errors.Is still finds that),
// Internal for the rest. The archive's own errors go through unchanged. of says
// in logs whose statement it was.
func Failure(of string, err error) error {
	var own *pacs.Error
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case unreachable(err) && !errors.Is(err, context.Canceled):
		// A connection that times out says DeadlineExceeded, as the caller's
		// context would.
		return pacs.Wrap(pacs.Unavailable, err, "The database is not available at the moment")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return pacs.Wrap(pacs.Unavailable, err, "The request was cancelled or took too long")
	case Transient(err):
		return pacs.Wrap(pacs.Unavailable, err, "The database is not available at the moment")
	}
	return pacs.Wrap(pacs.Internal, fmt.Errorf("%s: %w", of, err), "The database refused the statement")
}

// fail is Failure, and Invalid for values that can't be.
func fail(err error) error {
	var own *pacs.Error
	switch {
	case errors.As(err, &own), errors.Is(err, ErrRaced), errors.Is(err, ErrRetired):
		return err
	case unfit(err):
		return pacs.Wrap(pacs.Invalid, fmt.Errorf("%w: %w", ErrUnfit, err), "A value is too long or has characters that can't be")
	}
	return Failure("database", err)
}
