package main

import (
	"os"

	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// CodecsCmd is the process in which the codecs run (pixel.Worker).
type CodecsCmd struct{}

// Run serves until standard input ends.
func (c *CodecsCmd) Run() error { return pixel.ServeCodecs(os.Stdin, os.Stdout, pixel.CodecMemory) }
