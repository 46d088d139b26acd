package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// storescu sends batches with dcmtk's sender, one process and association for
// each, all at once, and returns the time from the start of the first to the
// end of the last, less the time it takes them to look through their files.
// With nagle they run as shipped; else with TCP_NODELAY=1.
func (r *run) storescu(ctx context.Context, s system, batches []batch, nagle bool) (time.Duration, error) {
	own, err := r.ownTime(ctx, batches)
	if err != nil {
		return 0, err
	}
	address, aet := s.dicom()
	before := processorTime(s.pids())
	took, sender, errs := sendAll(ctx, address, aet, batches, nagle)
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("sending to %s: %w", s.name(), err)
	}
	r.lastServer, r.lastSender = processorTime(s.pids())-before, sender
	if took <= own {
		return 0, fmt.Errorf("sending %d files to %s took %s, no longer than looking through them (%s): send more", total(batches), s.name(), took, own)
	}
	return took - own, nil
}

// sendAll also returns the processors' time that the senders took.
func sendAll(ctx context.Context, address, aet string, batches []batch, nagle bool) (took, processors time.Duration, errs []error) {
	host, port, _ := strings.Cut(address, ":")
	errs = make([]error, len(batches))
	var used atomic.Int64
	var senders sync.WaitGroup
	began := time.Now()
	for i, b := range batches {
		senders.Go(func() {
			cmd := exec.CommandContext(ctx, "storescu", "--aetitle", "BENCH", "--call", aet, "--scan-directories", host, port, b.dir)
			cmd.Env = withoutNagle(os.Environ(), nagle)
			if out, err := cmd.CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("storescu: %w: %.1000s", err, out)
			}
			if state := cmd.ProcessState; state != nil {
				used.Add(int64(state.UserTime() + state.SystemTime()))
			}
		})
	}
	senders.Wait()
	return time.Since(began), time.Duration(used.Load()), errs
}

// withoutNagle is the environment with TCP_NODELAY=1, or without that variable.
func withoutNagle(environment []string, nagle bool) []string {
	var out []string
	for _, entry := range environment {
		if !strings.HasPrefix(entry, "TCP_NODELAY=") {
			out = append(out, entry)
		}
	}
	if !nagle {
		out = append(out, "TCP_NODELAY=1")
	}
	return out
}

// ownTime is what the senders need before they associate: they run against a
// listener that hangs up at once.
func (r *run) ownTime(ctx context.Context, batches []batch) (time.Duration, error) {
	key := batches[0].dir
	if own, known := r.own[key]; known {
		return own, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	var samples []float64
	for range 3 { // the first also brings the files into memory
		took, _, errs := sendAll(ctx, l.Addr().String(), "NOBODY", batches, false)
		for _, err := range errs {
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				return 0, fmt.Errorf("measuring storescu's own time: %w", err)
			}
		}
		samples = append(samples, took.Seconds())
	}
	own := time.Duration(median(samples) * float64(time.Second))
	r.own[key] = own
	return own, nil
}

// untilVisible sends batches and returns the rate at which they have become
// visible in QIDO-RS, in instances per second; before is what was visible
// already.
func (r *run) untilVisible(ctx context.Context, s system, batches []batch, before int) (float64, error) {
	own, err := r.ownTime(ctx, batches)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := r.storescu(ctx, s, batches, false); err != nil {
		return 0, err
	}
	visible, err := awaitCount(ctx, s, before+total(batches), pollPause)
	if err != nil {
		return 0, err
	}
	return float64(total(batches)) / (visible.Sub(began) - own).Seconds(), nil
}

// pollPause is how often a count is asked for while a clock runs.
const pollPause = 20 * time.Millisecond
