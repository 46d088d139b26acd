package archive_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

func TestMain(m *testing.M) {
	if pixeltest.Serve() {
		return
	}
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}
