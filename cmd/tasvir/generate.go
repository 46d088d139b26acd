package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
	"github.com/tasvir-pacs/tasvir/pacs/index/synthetic"
)

// GenerateCmd fills an index for measuring.
type GenerateCmd struct {
	DatabaseFlags
	Studies    int    `default:"100000" help:"How many studies."`
	Facilities int    `default:"200" help:"Of how many facilities."`
	Instances  int    `default:"2" help:"Instances in a usual series."`
	Seed       uint64 `default:"1" help:"The same seed gives the same studies, another one others."`
	Until      string `placeholder:"YYYYMMDD" help:"Day of the last study, eight years after the first (default: today)."`
	Remove     bool   `help:"Take the synthetic studies out again."`
	Yes        bool   `help:"Fill, or clean, an index that has real studies too."`
}

// Run fills the index, or empties it.
func (c *GenerateCmd) Run(ctx context.Context) error {
	ix, close, err := openDatabase(ctx, c.DatabaseFlags)
	if pacs.CodeOf(err) == pacs.NotFound && !c.Remove {
		// No server has run here yet.
		if err = makeDatabase(ctx, c.DatabaseFlags); err == nil {
			ix, close, err = openDatabase(ctx, c.DatabaseFlags)
		}
	}
	if err != nil {
		return err
	}
	defer close()
	real, _, err := synthetic.Count(ctx, ix.Pool())
	if err != nil {
		return err
	}
	if real > 0 && !c.Yes {
		return pacs.Errorf(pacs.Conflict, "the index has %d real studies; measure on another one, or say --yes", real)
	}
	began := time.Now()
	line := newStatusLine(os.Stderr)
	report := func(what string, done, total int) {
		if line.due() {
			line.show("%s: %d of %d done", what, done, total)
		}
	}
	if c.Remove {
		err = synthetic.Remove(ctx, ix.Pool(), func(done, total int) { report("removing studies", done, total) })
	} else {
		o := synthetic.Options{Studies: c.Studies, Facilities: c.Facilities, Instances: c.Instances, Seed: c.Seed, Progress: report}
		if c.Until != "" {
			if o.Until, err = time.Parse("20060102", c.Until); err != nil {
				return pacs.Wrap(pacs.Invalid, err, "--until takes a day as YYYYMMDD")
			}
		}
		err = synthetic.Fill(ctx, ix.Pool(), o)
	}
	if line.terminal {
		fmt.Fprintln(os.Stderr)
	}
	if err != nil {
		return err
	}
	_, made, err := synthetic.Count(ctx, ix.Pool())
	if err != nil {
		return err
	}
	var size string
	if err := ix.Pool().QueryRow(ctx, `SELECT pg_size_pretty(pg_database_size(current_database()))`).Scan(&size); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "The index has %d synthetic studies now and takes %s; it took %s.\n", made, size, time.Since(began).Round(time.Second))
	return nil
}

// makeDatabase makes the private database of a node that has never run.
func makeDatabase(ctx context.Context, flags DatabaseFlags) error {
	if err := os.MkdirAll(flags.dir(), 0o755); err != nil {
		return pacs.Wrap(pacs.Invalid, err, "The data folder can't be made; choose another with --data")
	}
	c, err := cluster.Start(ctx, cluster.Options{Dir: flags.clusterDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return c.Stop(ctx)
}
