package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// TokenCmd manages bearer tokens of machines.
type TokenCmd struct {
	Create TokenCreateCmd `cmd:"" help:"Make a token and print it. It can't be shown again."`
	List   TokenListCmd   `cmd:"" help:"List tokens."`
	Revoke TokenRevokeCmd `cmd:"" help:"End a token for good."`
}

// TokenCreateCmd makes a token.
type TokenCreateCmd struct {
	DatabaseFlags
	Name     string        `arg:"" help:"What the token is for: A-Z, a-z, 0-9 and . _ -"`
	Scope    []string      `default:"dicomweb:read" help:"What it allows: dicomweb:read, dicomweb:write, api, orders."`
	Facility string        `help:"Code of the only facility it may see and write to; without it, all."`
	Life     time.Duration `help:"How long it is valid, for example 720h; without it, until revoked."`
}

// Run prints the token, alone, on standard output.
func (c *TokenCreateCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	value, _, err := a.IssueToken(ctx, operator(), access.NewToken{Name: c.Name, Scopes: c.Scope, Facility: c.Facility, Life: c.Life})
	if err != nil {
		return err
	}
	fmt.Println(value)
	return nil
}

// TokenListCmd lists tokens.
type TokenListCmd struct {
	DatabaseFlags
}

// Run prints a line for each token.
func (c *TokenListCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	tokens, err := a.Tokens(ctx, operator())
	if err != nil {
		return err
	}
	return table("NAME\tSCOPES\tFACILITY\tLAST USED\tSTATE", tokens, func(t access.Token) string {
		facility := t.Facility.Code
		if facility == "" {
			facility = "all"
		}
		state := "valid"
		switch {
		case !t.RevokedAt.IsZero():
			state = "revoked " + day(t.RevokedAt)
		case !t.ExpiresAt.IsZero() && t.ExpiresAt.Before(time.Now()):
			state = "expired " + day(t.ExpiresAt)
		case !t.ExpiresAt.IsZero():
			state = "valid until " + day(t.ExpiresAt)
		}
		return strings.Join([]string{t.Name, strings.Join(t.Scopes, ","), facility, day(t.LastUsedAt), state}, "\t")
	})
}

// TokenRevokeCmd ends a token.
type TokenRevokeCmd struct {
	DatabaseFlags
	Name string `arg:"" help:"The token's name."`
}

// Run revokes the token; running servers follow within seconds.
func (c *TokenRevokeCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	if err := a.RevokeToken(ctx, operator(), c.Name); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "The token %s is revoked.\n", c.Name)
	return nil
}

// day prints a time for a list; "-" for never.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}
