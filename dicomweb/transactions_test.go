package dicomweb

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tables of TRANSACTIONS.md and the tour in doc.go name tests that exist.
func TestEveryNamedTestExists(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	// What needs the worklist or the administration, too, is shown where they meet.
	for _, folder := range []string{filepath.Join("..", "cmd", "tasvir"), filepath.Join("..", "worklist", "*"), filepath.Join("..", "pacs", "web", "archive")} {
		more, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	tests := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
	}
	for _, f := range []string{"TRANSACTIONS.md", "doc.go"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`\bTest\w+(…)?`).FindAllString(string(b), -1)
		if len(named) < 5 {
			t.Errorf("%s names %d tests", f, len(named))
		}
		for _, name := range named {
			beginning, open := strings.CutSuffix(name, "…")
			found := tests[name]
			for test := range tests {
				found = found || open && strings.HasPrefix(test, beginning)
			}
			if !found {
				t.Errorf("%s names %s, which is no test of these packages", f, name)
			}
		}
	}
}
