package ul

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"
)

// A length is refused or disbelieved before memory is taken for it, of every
// kind of PDU, before and after the association.
func TestAcceptance01LengthsAreCappedBeforeAllocation(t *testing.T) {
	const claims = 50
	types := []PDUType{TypeAssociateRQ, TypeAssociateAC, TypeAssociateRJ, TypeData, TypeReleaseRQ, TypeReleaseRP, TypeAbort, 0x42}
	header := func(kind PDUType, n uint32) []byte {
		b := []byte{byte(kind), 0, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(b[2:], n)
		return b
	}
	for _, established := range []bool{false, true} {
		for _, kind := range types {
			for _, n := range []uint32{MaxAssociateLen, MaxAssociateLen + 1, 1 << 31, 1<<32 - 1} {
				t.Run(fmt.Sprintf("%t %s of %d", established, kind, n), func(t *testing.T) {
					peers := make([]peer, claims)
					done := make([]<-chan error, claims)
					for i := range claims {
						peers[i], done[i] = serve(t, acceptorConfig(), readAll)
						if established {
							peers[i].associate()
						}
					}
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					for i := range claims {
						_, _ = peers[i].Write(append(header(kind, n), make([]byte, 100)...))
					}
					for i := range claims {
						believed := n <= MaxAssociateLen && (kind == TypeAssociateRQ || kind == TypeAssociateAC)
						if !believed {
							if pdu, ok := peers[i].read().(*Abort); !ok || established && pdu.Source != AbortedByProvider {
								t.Errorf("answered %v", pdu)
							}
						}
						_ = peers[i].Close()
						err := <-done[i]
						var ab *AbortError
						if believed != errors.Is(err, ErrClosed) || !believed != (errors.As(err, &ab) && !ab.Remote) {
							t.Errorf("ended with %v", err)
						}
					}
					runtime.ReadMemStats(&after)
					// What comes is 106 bytes each; buffers and bookkeeping are allowed.
					if got := after.TotalAlloc - before.TotalAlloc; got > claims*128<<10 {
						t.Errorf("%d bytes allocated for %d claims of %d", got, claims, n)
					}
				})
			}
		}
	}
}
