package access

import (
	"context"
	"embed"
	"errors"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Settings of the access rules. The zero value means the defaults named here.
type Settings struct {
	SessionIdle time.Duration // a session unused for so long ends; 12 h
	SessionLife time.Duration // a session ends after so long in any case; 7 days
	Password    Argon2        // cost of new password hashes; DefaultArgon2
	Throttle    Throttle      // how failed sign-ins slow down; DefaultThrottle
}

// Access is a handle on people, tokens, devices and facilities. Safe for
// concurrent use.
type Access struct {
	pool      *pgxpool.Pool
	settings  Settings
	hasher    *hasher
	throttle  *throttle
	dummyHash string

	// Apart, so that a session's token is never taken for a bearer token,
	// which needs no CSRF header.
	recentSessions *recentIdentities
	recentTokens   *recentIdentities
	recentViewers  *recentIdentities
}

// Open migrates the tables of access control in the index's database.
func Open(ctx context.Context, ix *index.Index, settings Settings) (*Access, error) {
	if settings.SessionIdle <= 0 {
		settings.SessionIdle = 12 * time.Hour
	}
	if settings.SessionLife <= 0 {
		settings.SessionLife = 7 * 24 * time.Hour
	}
	if settings.Password == (Argon2{}) {
		settings.Password = DefaultArgon2
	}
	if settings.Throttle == (Throttle{}) {
		settings.Throttle = DefaultThrottle
	}
	if err := index.Migrate(ctx, ix.Pool(), "access", migrations); err != nil {
		return nil, err
	}
	a := &Access{
		pool:     ix.Pool(),
		settings: settings,
		hasher:   newHasher(settings.Password),
		throttle: newThrottle(settings.Throttle),

		recentSessions: newRecentIdentities(),
		recentTokens:   newRecentIdentities(),
		recentViewers:  newRecentIdentities(),
	}
	// An unknown login is checked against this hash, so that it costs what a
	// known one costs.
	dummy, err := a.hasher.hash(ctx, randomToken())
	if err != nil {
		return nil, err
	}
	a.dummyHash = dummy
	return a, nil
}

// inTx runs fn in a transaction and makes database failures pacs errors. What
// changed may change who somebody is, so remembered identities are dropped.
func (a *Access) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, a.pool, fn)
	a.forgetRecent()
	return failure(err)
}

func (a *Access) forgetRecent() {
	a.recentSessions.forgetAll()
	a.recentTokens.forgetAll()
	a.recentViewers.forgetAll()
}

// failure turns what the database driver says into a pacs.Error: Unavailable
// when the database can't be reached or is shutting down, Internal otherwise.
// A pacs.Error stays as it is.
func failure(err error) error {
	if err == nil {
		return nil
	}
	var known *pacs.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return pacs.Wrap(pacs.Unavailable, err, "The request was cancelled")
	}
	var network net.Error
	var connect *pgconn.ConnectError
	var server *pgconn.PgError
	switch {
	case errors.As(err, &server):
		switch server.Code[:2] {
		case "08", "53", "57", "58": // connection, resources, operator intervention, system
			return pacs.Wrap(pacs.Unavailable, err, "The database does not answer. Try again in a moment")
		}
		return pacs.Wrap(pacs.Internal, err, "A database query failed")
	case errors.As(err, &connect), errors.As(err, &network), pgconn.SafeToRetry(err), pgconn.Timeout(err),
		errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, puddle.ErrClosedPool):
		return pacs.Wrap(pacs.Unavailable, err, "The database does not answer. Try again in a moment")
	}
	return pacs.Wrap(pacs.Internal, err, "A database query failed")
}

// SessionLife is how long a session lasts at most.
func (a *Access) SessionLife() time.Duration { return a.settings.SessionLife }
