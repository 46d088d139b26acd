package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// notInStorage is what an index rebuilt from storage does not have. It is in
// the help and the output, where whoever lost a database sees it.
const notInStorage = `Object storage does not hold users, passwords, tokens, devices (AE titles), reading groups, rules, tasks, reports, deliveries, the audit trail and settings. Back PostgreSQL up too: it is small next to the images.`

// ReindexCmd rebuilds the index from object storage.
type ReindexCmd struct {
	DatabaseFlags
	Store     string        `env:"TASVIR_STORE" placeholder:"URL" help:"Where images are kept; as for serve."`
	ColdStore string        `name:"cold-store" env:"TASVIR_COLD_STORE" placeholder:"URL" help:"The cold store; as for serve."`
	Add       bool          `help:"Add what is missing to an index that is not empty."`
	DryRun    bool          `help:"Read and check all packs, and change nothing."`
	Parallel  int           `default:"4" help:"Packs read at once (${default})."`
	Quiet     time.Duration `default:"60s" env:"TASVIR_QUIET" help:"With --add, a study to which images are added is complete when nothing has arrived for so long."`
}

// Help is shown by --help.
func (*ReindexCmd) Help() string {
	return `Reads every pack in storage, checks it, and writes the index of patients, studies, series, instances and versions anew, into an empty database. Stop the server first. A run that was interrupted goes on where it was when it is repeated. Damaged packs give what is sound in them and are listed at the end; the exit code is 3 then.

` + notInStorage
}

// Run rebuilds the index.
func (c *ReindexCmd) Run(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := openStore(ctx, ServerFlags{DatabaseFlags: c.DatabaseFlags, Store: c.Store, RetentionFlags: RetentionFlags{ColdStore: c.ColdStore}})
	if err != nil {
		return err
	}
	progress := &packProgress{line: newStatusLine(os.Stderr), began: time.Now()}
	r := publish.Reindex{
		Store: store, Parallel: c.Parallel, Add: c.Add, DryRun: c.DryRun, Log: log,
		Progress: func(p publish.ReindexProgress) { progress.reindex(p) },
	}
	if !c.DryRun {
		ix, closeDatabase, err := openOrMakeDatabase(ctx, c.DatabaseFlags)
		if err != nil {
			return err
		}
		defer closeDatabase()
		if err := c.prepare(ctx, ix, &r, log); err != nil {
			return err
		}
	}
	report, err := r.Run(ctx)
	progress.end()
	if err != nil {
		return err
	}
	return c.tell(report, progress)
}

// openOrMakeDatabase is openDatabase, and makes the private database when it
// is gone: that is why the index is rebuilt.
func openOrMakeDatabase(ctx context.Context, flags DatabaseFlags) (*index.Index, func(), error) {
	if flags.Database != "" {
		return openDatabase(ctx, flags)
	}
	if _, err := os.Stat(filepath.Join(flags.clusterDir(), "data", "PG_VERSION")); err == nil {
		return openDatabase(ctx, flags)
	}
	if err := os.MkdirAll(flags.dir(), 0o755); err != nil {
		return nil, nil, err
	}
	c, err := cluster.Start(ctx, cluster.Options{Dir: flags.clusterDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	stop := func() { _ = c.Stop(context.WithoutCancel(ctx)) }
	ix, err := index.Open(ctx, c.URL(cluster.Database))
	if err != nil {
		stop()
		return nil, nil, err
	}
	return ix, func() { ix.Close(); stop() }, nil
}

// prepare brings the tables of those up to date that take part.
func (c *ReindexCmd) prepare(ctx context.Context, ix *index.Index, r *publish.Reindex, log *slog.Logger) error {
	r.Index = ix
	var err error
	if r.Restorers, err = restorers(ctx, ix, r.Store); err != nil {
		return err
	}
	if !c.Add {
		return nil
	}
	jobs, err := enqueuer(ctx, ix, log)
	if err != nil {
		return err
	}
	r.InTransaction = followUp(jobs, c.Quiet)
	return nil
}

// shownBadPacks is how many damaged packs are named one by one.
const shownBadPacks = 100

func (c *ReindexCmd) tell(report *publish.ReindexReport, progress *packProgress) error {
	verb := "Indexed"
	if c.DryRun {
		verb = "Found"
	}
	fmt.Printf("%s %d instances in %d packs (%d MB) in %s", verb, report.Instances, report.Packs, report.Bytes>>20, progress.elapsed())
	if report.Contained > 0 {
		fmt.Printf("; %d packs hold nothing that others don't", report.Contained)
	}
	if report.Deleted > 0 {
		fmt.Printf("; %d packs that a retention policy has deleted are left out", report.Deleted)
	}
	if report.Restored > 0 {
		fmt.Printf("; %d more objects restored", report.Restored)
	}
	fmt.Println(".")
	if !c.DryRun && !c.Add {
		fmt.Println(notInStorage)
	}
	for i, bad := range report.Bad {
		if i == shownBadPacks {
			fmt.Fprintf(os.Stderr, "… and %d more\n", len(report.Bad)-i)
			break
		}
		fmt.Fprintf(os.Stderr, "damaged: %s: %s (%d instances in it are sound)\n", bad.Key, strings.ReplaceAll(strings.Join(bad.Problems, "; "), "\n", "; "), bad.Indexed)
	}
	if len(report.Bad) > 0 {
		return exitError{exitProblems, fmt.Errorf("%d packs have problems; tasvir verify --repair --copy URL repairs them from a copy of the store", len(report.Bad))}
	}
	return nil
}

// packProgress shows how far reading packs is.
type packProgress struct {
	line  statusLine
	began time.Time
	shown bool
}

func (p *packProgress) elapsed() time.Duration { return time.Since(p.began).Round(time.Second) }

func (p *packProgress) reindex(now publish.ReindexProgress) {
	if !p.line.due() {
		return
	}
	p.shown = true
	if now.Adding {
		p.line.show("adding packs to the index: %d of %d", now.Added, now.Packs)
		return
	}
	p.reading(now.Packs, now.TotalPacks, now.Bytes, now.TotalBytes)
}

func (p *packProgress) reading(packs, totalPacks int, bytes, totalBytes int64) {
	seconds := time.Since(p.began).Seconds()
	left := "?"
	if rate := float64(bytes) / seconds; rate > 0 {
		left = time.Duration(float64(totalBytes-bytes) / rate * float64(time.Second)).Round(time.Second).String()
	}
	p.line.show("%d of %d packs, %d of %d MB, %.0f MB/s, %s left", packs, totalPacks, bytes>>20, totalBytes>>20, float64(bytes)/seconds/(1<<20), left)
}

func (p *packProgress) end() {
	if p.shown && p.line.terminal {
		fmt.Fprintln(p.line.w)
	}
}
