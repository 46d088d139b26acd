package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Argon2 is the cost of a password hash (RFC 9106).
type Argon2 struct {
	MemoryKiB uint32
	Passes    uint32
	Lanes     uint8
}

// DefaultArgon2 is between OWASP's two recommendations (19 MiB and 2 passes,
// 46 MiB and 1 pass): about 60 ms of one core of a small server.
var DefaultArgon2 = Argon2{MemoryKiB: 32 * 1024, Passes: 2, Lanes: 1}

const (
	saltLength = 16
	hashLength = 32
	// MinPassword and MaxPassword bound the length of a password: characters
	// and bytes.
	MinPassword = 8
	MaxPassword = 256
)

// hasher makes and checks argon2id hashes. No more than a few run at once:
// each takes Argon2.MemoryKiB, and a crowd that signs in at eight in the
// morning shall wait a moment rather than eat the server's memory.
type hasher struct {
	cost  Argon2
	slots *semaphore.Weighted
}

func newHasher(cost Argon2) *hasher {
	return &hasher{cost: cost, slots: semaphore.NewWeighted(int64(min(max(runtime.GOMAXPROCS(0), 2), 8)))}
}

// hash returns a PHC string: $argon2id$v=19$m=…,t=…,p=…$salt$hash.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	sum, err := h.derive(ctx, password, salt, h.cost, hashLength)
	if err != nil {
		return "", err
	}
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, h.cost.MemoryKiB, h.cost.Passes, h.cost.Lanes, encode(salt), encode(sum)), nil
}

// verify reports whether password belongs to the PHC string, and whether the
// hash was made with another cost than today's.
func (h *hasher) verify(ctx context.Context, password, phc string) (ok, outdated bool, err error) {
	cost, salt, want, err := parsePHC(phc)
	if err != nil {
		return false, false, err
	}
	got, err := h.derive(ctx, password, salt, cost, uint32(len(want)))
	if err != nil {
		return false, false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, cost != h.cost, nil
}

func (h *hasher) derive(ctx context.Context, password string, salt []byte, cost Argon2, length uint32) ([]byte, error) {
	if err := h.slots.Acquire(ctx, 1); err != nil {
		return nil, pacs.Wrap(pacs.Unavailable, err, "Too many people are signing in at this moment. Try again")
	}
	defer h.slots.Release(1)
	// The same letters typed on another keyboard may be composed differently.
	return argon2.IDKey(norm.NFC.Bytes([]byte(password)), salt, cost.Passes, cost.MemoryKiB, cost.Lanes, length), nil
}

func parsePHC(phc string) (cost Argon2, salt, sum []byte, err error) {
	broken := func() (Argon2, []byte, []byte, error) {
		return Argon2{}, nil, nil, pacs.Errorf(pacs.Internal, "A stored password hash can't be read")
	}
	part := strings.Split(phc, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" {
		return broken()
	}
	var version int
	if n, err := fmt.Sscanf(part[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return broken()
	}
	if n, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &cost.MemoryKiB, &cost.Passes, &cost.Lanes); n != 3 || err != nil {
		return broken()
	}
	// A hash is data: no row may make a sign-in cost gigabytes or minutes.
	if cost.MemoryKiB > 1<<20 || cost.Passes < 1 || cost.Passes > 16 || cost.Lanes < 1 || cost.Lanes > 16 {
		return broken()
	}
	if salt, err = base64.RawStdEncoding.DecodeString(part[4]); err != nil {
		return broken()
	}
	if sum, err = base64.RawStdEncoding.DecodeString(part[5]); err != nil || len(sum) < 16 || len(sum) > 64 {
		return broken()
	}
	return cost, salt, sum, nil
}

// checkPassword says whether a password may be set.
func checkPassword(login, password string) error {
	refuse := func(format string, args ...any) error {
		return pacs.Errorf(pacs.Invalid, format, args...).WithReason("weak_password", "")
	}
	switch {
	case !utf8.ValidString(password):
		return refuse("The password is not valid text")
	case utf8.RuneCountInString(password) < MinPassword:
		return refuse("The password needs at least %d characters", MinPassword)
	case len(password) > MaxPassword:
		return refuse("The password may have at most %d bytes", MaxPassword)
	case strings.EqualFold(password, login):
		return refuse("The password must not be the login")
	case strings.Count(password, password[:1]) == len(password):
		return refuse("The password must not repeat one character")
	}
	return nil
}

// randomToken returns 256 random bits, base64url without padding (43
// characters).
func randomToken() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// GeneratePassword returns a password of 20 letters and digits (about 100
// bits) that can be read aloud: no 0, O, 1, l or I.
func GeneratePassword() string {
	const letters = "abcdefghjkmnpqrstuvwxyz23456789"
	password := make([]byte, 0, 20)
	raw := make([]byte, 1)
	for len(password) < cap(password) {
		_, _ = rand.Read(raw)
		if int(raw[0]) < 256/len(letters)*len(letters) { // keep the draw uniform
			password = append(password, letters[int(raw[0])%len(letters)])
		}
	}
	return string(password)
}
