package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	pullerCount = 20
	pullerTimes = 3 // each client fetches its series so often
)

// pullers measures the archive's resident memory, above that of the server when
// it has just started, while 20 clients fetch a series of 250 CT slices each, as
// files, as metadata and as single frames.
func pullers(ctx context.Context, r *run) error {
	batches, err := r.corpus.batches(r.corpus.ct, 4, ctSlices, pullerCount/4)
	if err != nil {
		return err
	}
	defer remove(batches) //nolint:errcheck // the whole folder goes at the end
	var studies []pulled
	for k := range pullerCount {
		studies = append(studies, r.pulledStudy(r.corpus.variants-pullerCount+1+k))
	}
	for _, s := range []*tasvir{{run: r, flags: []string{"--quiet", "2s"}}, {run: r, minio: true, flags: []string{"--quiet", "2s"}}} {
		err := r.on(ctx, s, func() error {
			r.noteLoad("pullers on " + s.name())
			if _, err := r.storescu(ctx, s, batches, false); err != nil {
				return err
			}
			if _, err := awaitCount(ctx, s, total(batches), pollPause); err != nil {
				return err
			}
			if err := settled(ctx, s, pullerCount); err != nil {
				return err
			}
			// Idle is a server that has just started, and not one that has received.
			if err := s.server.stop(); err != nil {
				return err
			}
			if err := s.serve(); err != nil {
				return err
			}
			idle, _ := residentOf(s.server.pid())
			watch := watchMemory(s.server.pid())
			began, bytes := time.Now(), int64(0)
			var (
				all    sync.WaitGroup
				mu     sync.Mutex
				failed error
			)
			for _, p := range studies {
				all.Go(func() {
					n, err := pullStudy(ctx, s, p)
					mu.Lock()
					defer mu.Unlock()
					bytes += n
					failed = errors.Join(failed, err)
				})
			}
			all.Wait()
			took := time.Since(began)
			most := watch.end()
			if failed != nil {
				return failed
			}
			const mb = 1 << 20
			r.report.row("resident memory above idle while 20 clients fetch 20 series, "+s.place(), "MB", s.name(), below(200)).add(s.name(), float64(most.ours-idle)/mb)
			r.report.note("20 clients, %s: idle %d MB, at most %d MB, %.0f MB/s.", s.place(), idle/mb, most.ours/mb, float64(bytes)/1e6/took.Seconds())
			r.say("  %s: idle %d MB, at most %d MB, %.0f MB/s", s.name(), idle/mb, most.ours/mb, float64(bytes)/1e6/took.Seconds())
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pullStudy fetches a series as viewers do.
func pullStudy(ctx context.Context, s *tasvir, p pulled) (bytes int64, err error) {
	for range pullerTimes {
		if err := checkMetadata(ctx, s.qido()+p.path()+"/metadata", len(p.instances)); err != nil {
			return bytes, err
		}
		n, err := drain(ctx, s.qido()+p.path(), acceptFiles)
		bytes += n
		if err == nil && n < p.bytes {
			err = fmt.Errorf("%d of %d bytes of a series came", n, p.bytes)
		}
		if err != nil {
			return bytes, err
		}
		for _, sop := range p.instances[:50] {
			n, err := drain(ctx, s.qido()+p.path()+"/instances/"+sop+"/frames/1", acceptFrames)
			bytes += n
			if err != nil {
				return bytes, err
			}
		}
	}
	return bytes, nil
}
