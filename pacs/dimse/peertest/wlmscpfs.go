package peertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Wlmscpfs runs dcmtk's worklist server, which answers to the AE title WLM with
// those of its worklist files, by name, that match.
func Wlmscpfs(t testing.TB, items map[string][]byte) (address string) {
	t.Helper()
	binary := Path(t, "wlmscpfs")
	root := t.TempDir()
	dir := filepath.Join(root, "WLM")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("lockfile", nil)
	for name, content := range items {
		write(name+".wl", content)
	}
	addresses, _ := Serve(t, 1, func(ports []string) *exec.Cmd { return exec.Command(binary, "-dfp", root, ports[0]) })
	return addresses[0]
}
