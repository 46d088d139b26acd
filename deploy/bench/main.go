package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// run is one run of the benchmark.
type run struct {
	options
	dir    string // scratch: the corpus and the systems' data
	corpus *corpus
	report *report
	own    map[string]time.Duration // storescu's own time, by batch
	// The processors' time that the last sending cost receiver and senders.
	lastServer, lastSender time.Duration
	windows                int // asked for, each of them once
}

// options are what the environment asks for.
type options struct {
	binary  string // the tasvir to measure
	earlier string // another build of it, to compare with; "" for none
	scratch string // where the run's own folder is made
	out     string // where results are written
	parts   []string
	repeat  int
	studies int // in the large index
	quick   bool
}

// parts are what a run consists of, in this order.
var parts = []struct {
	name, what string
	run        func(context.Context, *run) error
}{
	{"receive", "storescu to each system, one and four associations", receive},
	{"sustained", "3,000 CT slices until all are visible in QIDO-RS", sustained},
	{"minio", "the rate of receiving with packs in MinIO instead of files", onMinIO},
	{"visible", "from acknowledged to visible in QIDO-RS", visible},
	{"memory", "resident memory for an instance of 1 GB", memory},
	{"scale", "receiving and QIDO-RS with millions of studies in the index", scale},
	{"merge", "objects and bytes in storage after merging", merged},
	{"retrieve", "C-FIND, C-GET and C-MOVE", queryRetrieve},
	{"dicomweb", "WADO-RS beside Orthanc and nginx: series, metadata, frames, pictures", dicomWeb},
	{"slide", "frame 9,000 of 10,000 beside frame 1", slide},
	{"pullers", "resident memory while 20 clients fetch 20 series", pullers},
	{"earlier", "this build and another in turns", earlier},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

func optionsFromEnvironment() (o options, err error) {
	o = options{
		binary: setting("TASVIR_BIN", "bin/tasvir"), scratch: setting("BENCH_DIR", "/var/tmp"), out: setting("BENCH_OUT", "bench-results"),
		earlier: os.Getenv("BENCH_EARLIER"),
		quick:   os.Getenv("BENCH_QUICK") == "1", repeat: 3, studies: 3_000_000, parts: partNames(),
	}
	if o.quick {
		o.repeat, o.studies = 1, 100_000
	}
	if o.repeat, err = number("BENCH_REPEAT", o.repeat); err != nil {
		return o, err
	}
	if o.studies, err = number("BENCH_STUDIES", o.studies); err != nil {
		return o, err
	}
	if o.earlier == "" {
		o.parts = slices.DeleteFunc(o.parts, func(name string) bool { return name == "earlier" })
	}
	if text := os.Getenv("BENCH"); text != "" {
		o.parts = strings.Split(text, ",")
		for _, name := range o.parts {
			if !slices.Contains(partNames(), name) {
				return o, fmt.Errorf("BENCH=%s: there is no part %q; there are %s", text, name, strings.Join(partNames(), ", "))
			}
		}
	}
	o.binary, err = filepath.Abs(o.binary)
	return o, err
}

func setting(name, usual string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return usual
}

func number(name string, usual int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s=%s is not a number above zero", name, text)
	}
	return n, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// bench measures the parts that are asked for. A part that can't be measured
// is named, and the others still are.
func bench(ctx context.Context) (err error) {
	o, err := optionsFromEnvironment()
	if err != nil {
		return err
	}
	r := &run{options: o, own: map[string]time.Duration{}}
	if r.dir, err = newHome(o.scratch, "tasvir-bench"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if r.report, err = newReport(ctx, r); err != nil {
		return err
	}
	r.say("generating %d CT and %d MR slices", ctSlices, mrSlices)
	if r.corpus, err = newCorpus(r.dir); err != nil {
		return err
	}
	var failed []error
	for _, p := range parts {
		if !slices.Contains(o.parts, p.name) || ctx.Err() != nil {
			continue
		}
		r.say("%s: %s", p.name, p.what)
		if err := p.run(ctx, r); err != nil {
			r.say("  failed: %v", err)
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
			r.report.Failed = append(r.report.Failed, fmt.Sprintf("%s: %v", p.name, err))
		}
	}
	return errors.Join(append(failed, ctx.Err(), r.report.write(o.out))...)
}

// say tells what is being done, and when.
func (r *run) say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// settle lets the disk catch up, so that a system does not pay for what was
// written before it.
func settle() { syscall.Sync() }

// on starts a system, lets f use it and stops it.
func (r *run) on(ctx context.Context, s system, f func() error) (err error) {
	defer func() {
		if stopped := s.stop(); stopped != nil {
			err = errors.Join(err, fmt.Errorf("stopping %s: %w", s.name(), stopped))
		}
	}()
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("starting %s: %w", s.name(), err)
	}
	return f()
}
