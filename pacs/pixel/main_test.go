package pixel

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs/pixel/charls"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/openjpeg"
)

// codecVariable tells the test binary that it is the codecs' process.
const codecVariable = "TASVIR_TEST_CODECS"

// The test binary is its own codecs' process.
func TestMain(m *testing.M) {
	if os.Getenv(codecVariable) != "" {
		// No limit on memory: the race detector has reserved more already.
		if err := ServeCodecs(os.Stdin, os.Stdout, 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// newWorker is a Worker that ends with the test.
func newWorker(t testing.TB) *Worker {
	t.Helper()
	if !charls.Available || !openjpeg.Available {
		if os.Getenv("TASVIR_TEST_REQUIRE") != "" {
			t.Fatal("the tests must be built with -tags charls,openjpeg")
		}
		t.Skip("built without -tags charls,openjpeg: codecs are missing")
	}
	w := &Worker{Command: []string{os.Args[0]}, Env: []string{codecVariable + "=1"}}
	t.Cleanup(w.Close)
	return w
}

func newCodecs(t testing.TB) *Codecs {
	t.Helper()
	return &Codecs{Worker: newWorker(t)}
}
