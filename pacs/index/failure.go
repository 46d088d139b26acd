package index

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Transient says whether a statement that failed with err may succeed when it
// is repeated: the server is unreachable, shutting down, out of resources, or
// two transactions got into each other's way. Classes of SQLSTATE per
// PostgreSQL's Appendix A.
func Transient(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		for _, class := range []string{
			"08", // connection exception
			"40", // transaction rollback: serialization failure, deadlock
			"53", // insufficient resources
			"55", // object not in prerequisite state: lock not available
			"57", // operator intervention: shutdown, cannot connect now
			"58", // system error, external to PostgreSQL
		} {
			if strings.HasPrefix(refused.Code, class) {
				return true
			}
		}
		return false
	}
	var unreachable *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &unreachable) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

// RefusedValue says whether the database refused a statement because of the
// values in it: data exceptions (class 22) and violated constraints (23).
// Repeating it with the same values fails again.
func RefusedValue(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "23"))
}
