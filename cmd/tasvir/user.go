package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// UserCmd manages people from the archive's own machine, with an
// administrator's rights.
type UserCmd struct {
	Add    UserAddCmd    `cmd:"" help:"Add a person."`
	List   UserListCmd   `cmd:"" help:"List people."`
	Passwd UserPasswdCmd `cmd:"" help:"Set a person's password and end their sessions."`
}

// openAccess opens the database and access control; close must be called.
func openAccess(ctx context.Context, flags DatabaseFlags) (a *access.Access, close func(), err error) {
	ix, close, err := openDatabase(ctx, flags)
	if err != nil {
		return nil, nil, err
	}
	a, err = access.Open(ctx, ix, access.Settings{})
	if err != nil {
		close()
		return nil, nil, err
	}
	return a, close, nil
}

// operator is who runs the command line.
func operator() *access.Identity { return access.System("cli") }

// passwordFlags say where a new password comes from.
type passwordFlags struct {
	Generate bool `help:"Generate the password and print it."`
}

// password asks for it twice on a terminal, reads a line from anything else,
// or generates one.
func (f *passwordFlags) password(login string) (string, error) {
	stdin := int(os.Stdin.Fd())
	switch {
	case f.Generate:
		return access.GeneratePassword(), nil
	case !term.IsTerminal(stdin):
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("the password can't be read from standard input: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", errors.New("no password: write it to standard input, or use --generate")
		}
		return line, nil
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(os.Stderr, prompt)
		typed, err := term.ReadPassword(stdin)
		fmt.Fprintln(os.Stderr)
		return string(typed), err
	}
	first, err := ask("New password for " + login + ": ")
	if err != nil {
		return "", err
	}
	again, err := ask("The same again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two passwords differ: try again")
	}
	return first, nil
}

// UserAddCmd adds a person.
type UserAddCmd struct {
	DatabaseFlags
	passwordFlags
	Login         string   `arg:"" help:"Login: a-z, 0-9 and . _ @ -"`
	Name          string   `required:"" help:"Name, family name first."`
	Role          []string `required:"" help:"Roles: radiologist, clinician, technician, registrar, facility_administrator, administrator."`
	Facility      []string `help:"Codes of the facilities the person belongs to."`
	AllFacilities bool     `help:"The person sees every facility (radiologists)."`
	Language      string   `default:"uz-Latn" enum:"uz-Latn,uz-Cyrl,ru,en" help:"Language of the interface: uz-Latn, uz-Cyrl, ru or en."`
	Pinfl         string   `name:"pinfl" help:"Personal number, 14 digits."`
	Argos         string   `name:"argos" help:"Id in the national register of health workers."`
}

// Run adds the person and prints the password if it was generated.
func (c *UserAddCmd) Run(ctx context.Context) error {
	password, err := c.password(c.Login)
	if err != nil {
		return err
	}
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	in := access.NewUser{
		Login: c.Login, Name: c.Name, Password: password, Facilities: c.Facility, AllFacilities: c.AllFacilities,
		PINFL: c.Pinfl, ARGOS: c.Argos, Language: c.Language,
	}
	for _, role := range c.Role {
		in.Roles = append(in.Roles, pacs.Role(role))
	}
	user, err := a.CreateUser(ctx, operator(), in)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Added %s (%s).\n", user.Login, user.Name)
	if c.Generate {
		fmt.Println(password)
	}
	return nil
}

// UserListCmd lists people.
type UserListCmd struct {
	DatabaseFlags
}

// Run prints a line for each person.
func (c *UserListCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	users, err := a.Users(ctx, operator())
	if err != nil {
		return err
	}
	return table("LOGIN\tNAME\tROLES\tFACILITIES\tSTATE", users, func(u access.User) string {
		roles := make([]string, len(u.Roles))
		for i, role := range u.Roles {
			roles[i] = string(role)
		}
		var codes []string
		for _, facility := range u.Facilities {
			codes = append(codes, facility.Code)
		}
		if u.AllFacilities || slices.Contains(u.Roles, pacs.Administrator) {
			codes = []string{"all"}
		}
		state := "active"
		if !u.Active {
			state = "inactive"
		}
		return strings.Join([]string{u.Login, u.Name, strings.Join(roles, ","), strings.Join(codes, ","), state}, "\t")
	})
}

// UserPasswdCmd sets a password.
type UserPasswdCmd struct {
	DatabaseFlags
	passwordFlags
	Login string `arg:"" help:"The person's login."`
}

// Run sets the password, ends the person's sessions and prints the password if
// it was generated.
func (c *UserPasswdCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	user, err := a.UserByLogin(ctx, operator(), c.Login)
	if err != nil {
		return fmt.Errorf("%q: %w; tasvir user list shows everybody", c.Login, err)
	}
	password, err := c.password(user.Login)
	if err != nil {
		return err
	}
	if _, err := a.UpdateUser(ctx, operator(), user.ID, access.UserChange{Password: &password}); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "The password of %s is set; their sessions have ended.\n", user.Login)
	if c.Generate {
		fmt.Println(password)
	}
	return nil
}

// table prints rows under a header, both with tabs between columns.
func table[T any](header string, rows []T, line func(T) string) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, header)
	for _, row := range rows {
		fmt.Fprintln(w, line(row))
	}
	return w.Flush()
}
