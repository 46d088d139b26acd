package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// visible measures how long an acknowledged instance takes until QIDO-RS
// counts it, with packs in files and in MinIO: at full speed on four
// associations, and at the pace of a scanner.
func visible(ctx context.Context, r *run) error {
	slices, paced := ctSlices, 200
	if r.quick {
		paced = 50
	}
	for _, s := range []*tasvir{{run: r}, {run: r, minio: true}} {
		err := r.on(ctx, s, func() error {
			limit := below(1)
			if s.minio {
				limit = below(2)
			}
			r.noteLoad("visible on " + s.name())
			for _, way := range []struct {
				what         string
				associations int
				slices       int
				pause        time.Duration
				target       []target
			}{
				{"", 1, 50, 0, nil}, // to warm up
				{"4 associations at full speed", 4, slices, 0, []target{limit}},
				{"1 association, 10 slices/s", 1, paced, 100 * time.Millisecond, []target{limit}},
			} {
				settle()
				lags, err := r.lags(ctx, s, way.associations, way.slices, way.pause)
				if err != nil {
					return err
				}
				if way.what == "" {
					continue
				}
				p95 := percentile(lags, 95)
				r.report.row("acknowledged to visible in QIDO, p95, "+way.what+", "+s.place(), "s", s.name(), way.target...).add(s.name(), p95)
				r.report.note("Acknowledged to visible, %s, %s: %d instances, p50 %s s, p95 %s s, most %s s.", way.what, s.place(), len(lags),
					figure(percentile(lags, 50)), figure(p95), figure(percentile(lags, 100)))
				r.say("  %s, %s: p95 %s s", way.what, s.place(), figure(p95))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// place is where packs are kept.
func (t *tasvir) place() string {
	if t.minio {
		return "MinIO"
	}
	return "files"
}

// watched is a study on its way.
type watched struct {
	acknowledged []time.Time // by instance, in order
	visible      int
}

// lags sends CT studies, one on each association, and returns for each
// instance the seconds from its acknowledgement until its study's count in
// QIDO-RS had reached it. Instances of a study become visible in the order in
// which they were acknowledged, but for those that go into one transaction.
func (r *run) lags(ctx context.Context, s *tasvir, associations, slices int, pause time.Duration) ([]float64, error) {
	var mu sync.Mutex
	studies := map[string]*watched{}
	var senders sync.WaitGroup
	errs := make([]error, associations)
	for n := range associations {
		instances := r.corpus.study(r.corpus.ct, slices)
		w := &watched{}
		studies[instances[0].study] = w
		senders.Go(func() {
			errs[n] = sendStudy(ctx, s, instances, pause, func(when time.Time) {
				mu.Lock()
				defer mu.Unlock()
				w.acknowledged = append(w.acknowledged, when)
			})
		})
	}
	sent := make(chan struct{})
	go func() { senders.Wait(); close(sent) }()

	var lags []float64
	var finished time.Time // when the last was acknowledged
	for {
		var rows []studyRow
		if err := qido(ctx, s.qido()+"/studies?includefield=00201208&limit=500", &rows); err != nil {
			return nil, err
		}
		now := time.Now()
		mu.Lock()
		for _, row := range rows {
			if len(row.Study.Value) == 0 || studies[row.Study.Value[0]] == nil {
				continue
			}
			w := studies[row.Study.Value[0]]
			// One acknowledged after the answer was made has no lag yet, but
			// one visible before its answer arrived has none at all.
			for w.visible < min(row.instances(), len(w.acknowledged)) {
				lags = append(lags, max(0, now.Sub(w.acknowledged[w.visible]).Seconds()))
				w.visible++
			}
		}
		mu.Unlock()
		if len(lags) == associations*slices {
			return lags, errors.Join(errs...)
		}
		select {
		case <-sent:
			if err := errors.Join(errs...); err != nil {
				return nil, err
			}
			if finished.IsZero() {
				finished = now
			}
			if time.Since(finished) > countPatience {
				return nil, fmt.Errorf("%s shows %d of %d instances %s after the last was acknowledged", s.name(), len(lags), associations*slices, countPatience)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
		}
		time.Sleep(pollPause)
	}
}
