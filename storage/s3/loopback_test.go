package s3

import "testing"

// TestOnThisMachine: only where nobody is between us and the server may a body
// go over plain HTTP without its SHA-256 in the signature.
func TestOnThisMachine(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"localhost:9000": true, "localhost": true, "127.0.0.1:9000": true, "127.8.0.1": true, "[::1]:9000": true, "::1": true,
		"minio:9000": false, "10.0.0.1:9000": false, "127.0.0.1.example.org:9000": false, "localhost.example.org": false, "[fe80::1]:9000": false, "": false,
	} {
		if got := (Config{Endpoint: endpoint}).onThisMachine(); got != want {
			t.Errorf("%q: %t", endpoint, got)
		}
	}
}
