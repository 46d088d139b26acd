package dimse

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Every user identity that dcmtk can present arrives as it is, and a tool that
// wants it confirmed goes on only if it is.
func TestInteropUserIdentity(t *testing.T) {
	list := samples(t, 1)
	if len(list) == 0 {
		t.Skip("no samples")
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ticket, assertion, token := "\x6E\x82\x01\x00ticket", "<saml:Assertion/>", "eyJhbGciOiJub25lIn0.e30."
	tests := []struct {
		name string
		args []string
		want ul.UserIdentity
	}{
		{"user name", []string{"-usr", "karim"}, ul.UserIdentity{Type: ul.IdentityUsername, Primary: []byte("karim")}},
		{"user name and passcode", []string{"-usr", "karim", "-pwd", "s3cret"}, ul.UserIdentity{Type: ul.IdentityUsernamePasscode, Primary: []byte("karim"), Secondary: []byte("s3cret")}},
		{"Kerberos", []string{"-kt", file("ticket", ticket)}, ul.UserIdentity{Type: ul.IdentityKerberos, Primary: []byte(ticket)}},
		{"SAML", []string{"--saml", file("saml", assertion)}, ul.UserIdentity{Type: ul.IdentitySAML, Primary: []byte(assertion)}},
		{"JWT", []string{"--jwt", file("jwt", token)}, ul.UserIdentity{Type: ul.IdentityJWT, Primary: []byte(token)}},
	}
	for _, tt := range tests {
		for _, confirm := range []bool{true, false} {
			name := tt.name
			if confirm {
				name += ", confirmed"
			}
			t.Run(name, func(t *testing.T) {
				var handler shelf
				var got *ul.UserIdentity
				addr, _ := start(t, &Server{Store: &handler, Admit: func(_ context.Context, caller Caller) (Admission, error) {
					got = caller.Request.User.Identity
					if confirm {
						return Admission{Identity: &ul.UserIdentityResponse{}}, nil
					}
					return Admission{}, nil
				}})
				host, port, _ := strings.Cut(addr, ":")
				out := run(t, nil, "storescu", append(append([]string{"-v", "-rsp"}, tt.args...), host, port, list[0].path)...)
				if got == nil {
					t.Fatalf("no identity arrived\n%s", out)
				}
				want := tt.want
				want.ResponseRequested = true
				if diff := cmp.Diff(want, *got); diff != "" {
					t.Error(diff)
				}
				// dcmtk 3.6.7 looks for the answer to user names only.
				byName := want.Type == ul.IdentityUsername || want.Type == ul.IdentityUsernamePasscode
				if accepted := strings.Contains(out, "Association Accepted"); byName && accepted != confirm {
					t.Errorf("storescu goes on: %t\n%s", accepted, out)
				}
			})
		}
	}
}
