package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// tokenPrefix makes a leaked token recognisable to people and to scanners.
const tokenPrefix = "tasvir_"

// Token is a machine's permission. Its value is known only when it is issued.
type Token struct {
	ID         int64
	Name       string
	Scopes     []string
	Facility   pacs.Facility // zero: every facility
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: until revoked
	RevokedAt  time.Time // zero: valid
	LastUsedAt time.Time // to the minute

	hash [32]byte
}

// NewToken is what IssueToken needs.
type NewToken struct {
	Name     string   // unique; [A-Za-z0-9._-], at most 64
	Scopes   []string // of TokenScopes
	Facility string   // code; empty for every facility
	Life     time.Duration
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// IssueToken makes a token and returns its value, which can't be seen again.
// by needs AdminTokens. A zero Life means until revoked.
//
//	Invalid   name, scope, facility or life can't be accepted
//	Conflict  there is a token of this name, perhaps a revoked one
func (a *Access) IssueToken(ctx context.Context, by *Identity, in NewToken) (value string, token *Token, err error) {
	if err := by.must(AdminTokens); err != nil {
		return "", nil, err
	}
	if !tokenName.MatchString(in.Name) {
		return "", nil, pacs.Errorf(pacs.Invalid, "A token's name has 1 to 64 of A-Z, a-z, 0-9 and . _ - and begins with a letter or digit")
	}
	scopes := slices.Compact(slices.Sorted(slices.Values(in.Scopes)))
	if len(scopes) == 0 {
		return "", nil, pacs.Errorf(pacs.Invalid, "Give the token at least one scope: %s", strings.Join(TokenScopes, ", "))
	}
	for _, scope := range scopes {
		if !slices.Contains(TokenScopes, scope) {
			return "", nil, pacs.Errorf(pacs.Invalid, "There is no scope %q; there are %s", scope, strings.Join(TokenScopes, ", "))
		}
	}
	if in.Life < 0 {
		return "", nil, pacs.Errorf(pacs.Invalid, "The token would have expired already. Give it a life of more than nothing")
	}
	token = &Token{Name: in.Name, Scopes: scopes}
	value = tokenPrefix + randomToken()
	hash := sha256.Sum256([]byte(value))
	err = a.inTx(ctx, func(tx pgx.Tx) error {
		var facility *int64
		if in.Facility != "" {
			list, err := facilitiesByCode(ctx, tx, []string{in.Facility})
			if err != nil {
				return err
			}
			token.Facility, facility = list[0], &list[0].ID
		}
		if in.Life > 0 {
			token.ExpiresAt = time.Now().Add(in.Life)
		}
		err := tx.QueryRow(ctx, `INSERT INTO access_token (name, hash, scopes, facility_row, expires_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (name) DO NOTHING RETURNING id, created_at`, token.Name, hash[:], token.Scopes, facility, orNull(token.ExpiresAt)).
			Scan(&token.ID, &token.CreatedAt)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.Conflict, "There is a token %q already. Names are never used again; choose another", in.Name)
		}
		if err != nil {
			return err
		}
		return Audit(ctx, tx, by.Event("token.issue", "token:"+token.Name, token.Facility.ID))
	})
	if err != nil {
		return "", nil, err
	}
	return value, token, nil
}

// TokenByValue returns the identity behind a bearer token. A token revoked on
// another node may be honoured here for recentFor longer.
//
//	Unauthenticated  unknown, revoked or expired
//	Unavailable      the database is down
func (a *Access) TokenByValue(ctx context.Context, value string) (*Identity, error) {
	hash := sha256.Sum256([]byte(value))
	return a.recentTokens.get(hash, func() (*Identity, error) { return a.tokenByHash(ctx, hash) })
}

func (a *Access) tokenByHash(ctx context.Context, hash [32]byte) (*Identity, error) {
	tokens, err := a.tokensWhere(ctx, `t.hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())`, hash[:])
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, pacs.Errorf(pacs.Unauthenticated, "The token is unknown, expired or revoked. Ask an administrator for a new one (tasvir token create)")
	}
	token := &tokens[0]
	token.hash = hash
	if time.Since(token.LastUsedAt) > time.Minute {
		if _, err := a.pool.Exec(ctx, `UPDATE access_token SET last_used_at = now() WHERE id = $1`, token.ID); err != nil {
			return nil, failure(err)
		}
	}
	identity := &Identity{
		Token: token, FacilityCode: token.Facility.Code, rows: token.Scopes,
		Scope: pacs.Scope{Who: "token:" + token.Name, All: token.Facility.ID == 0},
	}
	if token.Facility.ID != 0 {
		identity.Scope.FacilityIDs = []int64{token.Facility.ID}
	}
	return identity, nil
}

// Tokens lists all tokens, by name. by needs AdminTokens.
func (a *Access) Tokens(ctx context.Context, by *Identity) ([]Token, error) {
	if err := by.must(AdminTokens); err != nil {
		return nil, err
	}
	return a.tokensWhere(ctx, `true`)
}

// RevokeToken ends a token for good. by needs AdminTokens. NotFound when no
// valid token has the name.
func (a *Access) RevokeToken(ctx context.Context, by *Identity, name string) error {
	if err := by.must(AdminTokens); err != nil {
		return err
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE access_token SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL`, name)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return pacs.Errorf(pacs.NotFound, "There is no valid token %q; tasvir token list shows them", name)
		}
		return Audit(ctx, tx, by.event("token.revoke", "token:"+name))
	})
}

func (a *Access) tokensWhere(ctx context.Context, condition string, args ...any) ([]Token, error) {
	rows, err := a.pool.Query(ctx, `SELECT t.id, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at, t.last_used_at,
			coalesce(f.id, 0), coalesce(f.code, ''), coalesce(f.name, ''), coalesce(f.tax_id, '')
		FROM access_token t LEFT JOIN facility f ON f.id = t.facility_row WHERE `+condition+` ORDER BY t.name`, args...)
	if err != nil {
		return nil, failure(err)
	}
	tokens, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Token, err error) {
		var expires, revoked, used *time.Time
		err = row.Scan(&t.ID, &t.Name, &t.Scopes, &t.CreatedAt, &expires, &revoked, &used,
			&t.Facility.ID, &t.Facility.Code, &t.Facility.Name, &t.Facility.TaxID)
		t.ExpiresAt, t.RevokedAt, t.LastUsedAt = orZero(expires), orZero(revoked), orZero(used)
		return t, err
	})
	return tokens, failure(err)
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
