package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// ImportCmd brings files in through the same door as everything else: a
// journal of its own in the data folder, published like the server's. The
// server may run or not. The command returns when all is published, so what it
// counts as imported is in storage and index.
type ImportCmd struct {
	DatabaseFlags
	QuarantineFlags
	Store    string        `env:"TASVIR_STORE" placeholder:"URL" help:"Where images are kept; as for serve."`
	Facility string        `required:"" placeholder:"CODE" help:"Facility that owns what is imported (tasvir facility list)."`
	Charset  string        `placeholder:"NAME" help:"Character set of text that declares none, e.g. windows-1251."`
	Quiet    time.Duration `default:"60s" env:"TASVIR_QUIET" help:"A study is complete when nothing has arrived for so long."`
	Paths    []string      `arg:"" name:"path" type:"path" help:"Files, and folders to search for files."`
}

// importResult counts what became of the files.
type importResult struct {
	mu       sync.Mutex
	imported int
	foreign  int      // not DICOM
	aside    []string // can't be indexed
	refused  []string
	bytes    int64

	quarantined atomic.Int64 // of imported; those aside, and what contradicts the index
}

// Run imports; the error says how many files were refused.
func (c *ImportCmd) Run(ctx context.Context) error {
	ix, closeDatabase, err := openDatabase(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer closeDatabase()
	a, err := access.Open(ctx, ix, access.Settings{})
	if err != nil {
		return err
	}
	if _, err := a.FacilityByCode(ctx, operator().Scope, c.Facility); err != nil {
		return fmt.Errorf("there is no facility %s; tasvir facility add %s NAME makes it: %w", c.Facility, c.Facility, err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	incoming, err := journal.Open(journal.Options{Dir: filepath.Join(c.dir(), "import"), Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = incoming.Close() }()
	var result importResult
	publishing, err := c.publisher(ctx, ix, incoming, &result, log)
	if err != nil {
		return err
	}
	stop, done := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = publishing.Run(stop) })
	defer running.Wait()
	defer done()

	files, err := findFiles(c.Paths)
	if err != nil {
		return err
	}
	progress := newImportProgress(os.Stderr, len(files))
	c.receiveAll(ctx, incoming, files, &result, progress)
	if err := drain(ctx, incoming, progress); err != nil {
		progress.finish()
		return fmt.Errorf("interrupted; run the same command again to finish: %w", err)
	}
	progress.finish()
	return result.report(incoming.Stats().Held)
}

func (c *ImportCmd) publisher(ctx context.Context, ix *index.Index, incoming *journal.Journal, result *importResult, log *slog.Logger) (*publish.Publisher, error) {
	store, err := openStore(ctx, ServerFlags{DatabaseFlags: c.DatabaseFlags, Store: c.Store})
	if err != nil {
		return nil, err
	}
	// This process only enqueues; the server's workers complete the studies.
	jobs, err := enqueuer(ctx, ix, log)
	if err != nil {
		return nil, err
	}
	ward, err := openWard(ctx, ix, store, incoming, c.QuarantineFlags, log)
	if err != nil {
		return nil, err
	}
	return ward.publisher(publish.Options{
		Journal: incoming, Index: ix, Store: store, Log: log,
		InTransaction: followUp(jobs, c.Quiet),
		Observer:      publish.Observer{Quarantined: func(pacs.QuarantineReason) { result.quarantined.Add(1) }},
	}), nil
}

// findFiles lists the regular files under the paths.
func findFiles(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.Type().IsRegular() {
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (c *ImportCmd) receiveAll(ctx context.Context, receiver pacs.Receiver, files []string, result *importResult, progress *importProgress) {
	work := make(chan string)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for name := range work {
				receipt, err := c.receiveFile(ctx, receiver, name)
				result.add(name, receipt, err)
				progress.received(receipt.Bytes)
			}
		})
	}
	for _, name := range files {
		if ctx.Err() != nil {
			break
		}
		work <- name
	}
	close(work)
	workers.Wait()
}

func (c *ImportCmd) receiveFile(ctx context.Context, receiver pacs.Receiver, name string) (pacs.Receipt, error) {
	if strings.EqualFold(filepath.Base(name), "DICOMDIR") {
		return pacs.Receipt{}, errDirectory
	}
	f, err := os.Open(name)
	if err != nil {
		return pacs.Receipt{}, err
	}
	defer func() { _ = f.Close() }()
	return receiver.Receive(ctx, pacs.Incoming{
		Data: f, Channel: pacs.ChannelImport, Facility: c.Facility, Sender: "import", Charset: c.Charset,
	})
}

// drain waits until everything received is published.
func drain(ctx context.Context, incoming *journal.Journal, progress *importProgress) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting := incoming.Stats()
		progress.publishing(waiting.Records)
		if waiting.Records == 0 && !waiting.Recovering {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// errDirectory is a DICOMDIR: it lists the images beside it and is none itself.
var errDirectory = errors.New("a list of files")

// notAnImage reports whether a file is none of the archive's business.
func notAnImage(err error) bool {
	reason, _ := pacs.ReasonOf(err)
	return reason == pacs.ReasonNotDICOM || errors.Is(err, errDirectory)
}

func (r *importResult) add(name string, receipt pacs.Receipt, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.imported++
		r.bytes += receipt.Bytes
		if receipt.Unfit != "" {
			r.aside = append(r.aside, fmt.Sprintf("%s: %s", name, receipt.Problem))
		}
	case notAnImage(err):
		r.foreign++
	default:
		r.refused = append(r.refused, fmt.Sprintf("%s: %s", name, oneLine(err)))
	}
}

// shownFiles is how many files of a kind are named one by one.
const shownFiles = 20

func showSome(what string, files []string) {
	for i, file := range files {
		if i == shownFiles {
			fmt.Fprintf(os.Stderr, "… and %d more\n", len(files)-i)
			return
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", what, file)
	}
}

func (r *importResult) report(held int) error {
	quarantined := int(r.quarantined.Load())
	fmt.Printf("imported %d instances (%d MB), passed over %d files that are not DICOM images\n", max(0, r.imported-held-quarantined), r.bytes>>20, r.foreign)
	showSome("kept aside", r.aside)
	showSome("refused", r.refused)
	switch {
	case held > 0:
		return fmt.Errorf("%d instances can't be indexed, and the quarantine has no room for them; they wait in the data folder under import for the next import (--quarantine-quota)", held)
	case quarantined > 0:
		return fmt.Errorf("%d instances can't be indexed, or contradict what the archive has, and are in quarantine; an administrator finds them in the client", quarantined)
	case len(r.refused) > 0:
		return fmt.Errorf("%d files were refused", len(r.refused))
	case r.imported == 0:
		return errors.New("there was no DICOM image to import")
	}
	return nil
}
