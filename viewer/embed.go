package viewer

import (
	"embed"
	"io/fs"
)

// The prefix all: takes dist/.gitkeep too, so that the package compiles
// before the client has ever been built.
//
//go:embed all:dist
var dist embed.FS

// Files returns the built client: index.html at the root, everything else
// under assets/ with a content hash in its name (so those may be cached
// forever, and index.html never).
func Files() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // "dist" is a valid path; embed guarantees that it exists
	}
	return sub
}

// Built reports whether the client was built before the binary was.
func Built() bool {
	_, err := fs.Stat(Files(), "index.html")
	return err == nil
}
