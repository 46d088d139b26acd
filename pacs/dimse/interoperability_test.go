package dimse

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// INTEROPERABILITY.md names tests of the whole repository: they exist, and there is
// one for each acceptance point.
func TestEveryNamedTestExists(t *testing.T) {
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, room := range []string{"cmd", "pacs", "worklist"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && entry.Name() == "node_modules":
				return filepath.SkipDir
			case !strings.HasSuffix(path, "_test.go"):
				return nil
			}
			raw, err := os.ReadFile(path)
			for _, m := range declared.FindAllSubmatch(raw, -1) {
				tests[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile("INTEROPERABILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(raw), -1)
	if len(named) < 50 {
		t.Errorf("%d tests are named", len(named))
	}
	for _, m := range named {
		if !tests[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
	for point := 1; point <= 15; point++ {
		if name := fmt.Sprintf("`TestAcceptance%02d", point); !strings.Contains(string(raw), name) {
			t.Errorf("acceptance point %d has no test", point)
		}
	}
	for _, tool := range []string{
		"echoscu", "storescu", "dcmsend", "storescp", "findscu", "movescu", "getscu", "dcmqrscp", "wlmscpfs", "termscu", "gdcmscu", "Orthanc", "dcmjs-dimse",
	} {
		if !strings.Contains(string(raw), tool) {
			t.Errorf("%s is not in the tables", tool)
		}
	}
}
