package render

import (
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

func TestMain(m *testing.M) {
	if !pixeltest.Serve() {
		m.Run()
	}
}
