package peertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// DcmqrscpMaxPDU is the longest PDU that Dcmqrscp's archive takes.
const DcmqrscpMaxPDU = 16384

// Dcmqrscp runs dcmtk's archive, empty, under an AE title. It may send to the
// others, by AE title their address.
func Dcmqrscp(t testing.TB, aeTitle string, others map[string]string) (address string) {
	t.Helper()
	binary := Path(t, "dcmqrscp")
	addresses, _ := Serve(t, 1, func(ports []string) *exec.Cmd {
		dir := t.TempDir()
		kept := filepath.Join(dir, "images")
		if err := os.Mkdir(kept, 0o700); err != nil {
			t.Fatal(err)
		}
		var hosts strings.Builder
		for title, at := range others {
			host, port, err := net.SplitHostPort(at)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&hosts, "%s = (%s, %s, %s)\n", strings.ToLower(title), title, host, port)
		}
		config := fmt.Sprintf(`NetworkTCPPort = %s
MaxPDUSize = %d
MaxAssociations = 16
HostTable BEGIN
%sHostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
%s %s RW (200, 1024mb) ANY
AETable END
`, ports[0], DcmqrscpMaxPDU, hosts.String(), aeTitle, kept)
		file := filepath.Join(dir, "dcmqrscp.cfg")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, "-c", file)
		cmd.Dir = dir
		return cmd
	})
	return addresses[0]
}
