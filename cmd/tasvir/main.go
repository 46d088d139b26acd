package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = "development"

// CLI is the command line. Every flag of the server has an environment twin
// TASVIR_….
type CLI struct {
	Serve       ServeCmd         `cmd:"" help:"Run the archive."`
	Demo        DemoCmd          `cmd:"" help:"Run the archive with demo facilities, people and studies."`
	Import      ImportCmd        `cmd:"" help:"Bring DICOM files of a folder into a running archive."`
	Store       StoreCmd         `cmd:"" help:"Send DICOM files to a DICOM node (C-STORE)."`
	Echo        EchoCmd          `cmd:"" help:"Ask a DICOM node whether it answers (C-ECHO)."`
	Find        FindCmd          `cmd:"" help:"Ask a DICOM node what it has (C-FIND), or for its modality worklist."`
	Move        MoveCmd          `cmd:"" help:"Ask a DICOM node to send studies to a third one (C-MOVE)."`
	Get         GetCmd           `cmd:"" help:"Fetch studies from a DICOM node (C-GET)."`
	Verify      VerifyCmd        `cmd:"" help:"Read everything that is kept, and repair damage."`
	Reindex     ReindexCmd       `cmd:"" help:"Rebuild the index from object storage."`
	Facility    FacilityCmd      `cmd:"" help:"Hospitals and clinics."`
	Device      DeviceCmd        `cmd:"" help:"AE titles that may send."`
	User        UserCmd          `cmd:"" help:"People."`
	Token       TokenCmd         `cmd:"" help:"Tokens for machines."`
	Conformance ConformanceCmd   `cmd:"" help:"Print the DICOM Conformance Statement of this version, as Markdown."`
	Generate    GenerateCmd      `cmd:"" help:"Fill an index with synthetic studies, to measure how it answers."`
	Codecs      CodecsCmd        `cmd:"" hidden:"" help:"The process of the codecs; started by the archive itself."`
	Version     kong.VersionFlag `help:"Print the version."`
}

func main() { os.Exit(run(os.Args[1:])) }

// commandLine is the parser of the command line.
func commandLine() (*kong.Kong, error) {
	return kong.New(new(CLI),
		kong.Name("tasvir"),
		kong.Description("A DICOM archive and teleradiology system."),
		kong.Vars{"version": version},
		kong.UsageOnError(),
	)
}

// run executes one command line and returns the exit code: 0 done, 1 it
// failed, 2 the command line is wrong, 3 it was done and found problems.
func run(args []string) int {
	parser, err := commandLine()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tasvir:", err)
		return 2
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "tasvir: %s (tasvir --help lists the commands)\n", err)
		return 2
	}
	// The first signal ends the command in order; a second one at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "tasvir:", oneLine(err))
		var coded exitError
		if errors.As(err, &coded) {
			return coded.code
		}
		return 1
	}
	return 0
}

// exitError ends a command with an exit code of its own.
type exitError struct {
	code int
	error
}

// exitProblems: the command did its work and found something wrong.
const exitProblems = 3

// oneLine is what the person at the terminal reads: the message and its cause.
func oneLine(err error) string {
	var own *pacs.Error
	if errors.As(err, &own) && own.Err != nil {
		return fmt.Sprintf("%s (%s)", own.Message, own.Err)
	}
	return err.Error()
}
