package ul

import (
	"context"
	"log/slog"
	"strings"
	"testing"
)

// What can't be expressed is refused before a byte of it is sent.
func TestRequestsThatCannotBeExpressed(t *testing.T) {
	long := strings.Repeat("x", 40_000)
	tests := []struct {
		name string
		edit func(*AssociateRequest)
		want string
	}{
		{"no called AE", func(rq *AssociateRequest) { rq.CalledAE = "" }, "AE title"},
		{"calling AE of 17", func(rq *AssociateRequest) { rq.CallingAE = strings.Repeat("A", 17) }, "AE title"},
		{"no contexts", func(rq *AssociateRequest) { rq.Contexts = nil }, "0 presentation contexts"},
		{"129 contexts", func(rq *AssociateRequest) { rq.Contexts = make([]ProposedContext, 129) }, "129 presentation contexts"},
		{"even ID", func(rq *AssociateRequest) { rq.Contexts[0].ID = 2 }, "ID 2"},
		{"ID used twice", func(rq *AssociateRequest) { rq.Contexts[0].ID = rq.Contexts[1].ID }, "used twice"},
		{"too many transfer syntaxes", func(rq *AssociateRequest) { rq.Contexts[0].TransferSyntaxes = []string{long, long} }, "too long"},
		{"identity", func(rq *AssociateRequest) {
			rq.User.Identity = &UserIdentity{Type: IdentityUsernamePasscode, Primary: []byte(long), Secondary: []byte(long)}
		}, "user identity of 80000 bytes"},
		{"extended negotiation", func(rq *AssociateRequest) {
			rq.User.Extended = []ExtendedNegotiation{{ctStorage, []byte(long + long)}}
		}, "extended negotiation"},
		{"all together", func(rq *AssociateRequest) {
			rq.User.Identity = &UserIdentity{Type: IdentityJWT, Primary: []byte(long)}
			rq.User.Extended = []ExtendedNegotiation{{ctStorage, []byte(long)}}
		}, "user information of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := pipe(t)
			rq := testRequest()
			tt.edit(rq)
			_, err := Request(context.Background(), ours, rq, Config{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
			peer{t, theirs}.wantClosed()
		})
	}
}

func TestIdentitiesAreNotLogged(t *testing.T) {
	id := UserIdentity{Type: IdentityUsernamePasscode, Primary: []byte("karim"), Secondary: []byte("s3cret")}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "identity", id, "pointer", &id)
	if s := b.String(); strings.Contains(s, "karim") || strings.Contains(s, "s3cret") || !strings.Contains(s, "user name and passcode of 5 bytes") {
		t.Error(s)
	}
	if got := (UserIdentity{Type: 9}).String(); got != "identity type 9 of 0 bytes" {
		t.Error(got)
	}
}
