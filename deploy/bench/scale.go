package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// large is an archive whose index "tasvir generate" has filled. It is asked
// for the studies of this run only.
type large struct {
	tasvir
	label    string
	studies  int
	patients []string // whose instances count
}

func (l *large) name() string { return l.label }

// start fills the index before the server starts.
func (l *large) start(ctx context.Context) (err error) {
	if l.home, err = newHome(l.run.dir, "tasvir"); err != nil {
		return err
	}
	if l.studies > 0 {
		began := time.Now()
		cmd := exec.CommandContext(ctx, l.run.binary, "generate", "--data", l.data(), "--studies", strconv.Itoa(l.studies))
		// Ctrl-C ends it in order, and PostgreSQL with it.
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("tasvir generate: %w: %.1000s", err, out)
		}
		l.run.report.note("Generating %d studies took %s.", l.studies, time.Since(began).Round(time.Second))
	}
	return l.serve()
}

func (l *large) count(ctx context.Context) (int, error) {
	sum := 0
	for _, id := range l.patients {
		var rows []studyRow
		if err := qido(ctx, l.qido()+"/studies?includefield=00201208&PatientID="+id, &rows); err != nil {
			return 0, err
		}
		for _, r := range rows {
			sum += r.instances()
		}
	}
	return sum, nil
}

// scale measures an index of millions of studies: receiving beside an empty
// one, and pages of QIDO-RS.
func scale(ctx context.Context, r *run) error {
	empty := &large{tasvir: tasvir{run: r}, label: "empty index"}
	full := &large{tasvir: tasvir{run: r}, label: fmt.Sprintf("%d studies", r.studies), studies: r.studies}
	return r.on(ctx, full, func() error {
		err := r.on(ctx, empty, func() error { return r.receiveAtScale(ctx, full, empty) })
		return errors.Join(err, r.pages(ctx, full))
	})
}

func (r *run) receiveAtScale(ctx context.Context, full, empty *large) error {
	for repetition := range r.repeat + 1 { // the first warms up
		for _, kind := range []struct {
			what   string
			recipe *recipe
			slices int
		}{{"CT", r.corpus.ct, ctSlices}, {"MR", r.corpus.mr, mrSlices}} {
			for _, s := range []*large{empty, full} {
				first := r.corpus.variants + 1
				batches, err := r.corpus.batches(kind.recipe, 4, kind.slices, 1)
				if err != nil {
					return err
				}
				s.patients = nil
				for v := first; v <= r.corpus.variants; v++ {
					s.patients = append(s.patients, patientOf(v))
				}
				r.noteLoad(fmt.Sprintf("scale %d, %s, %s", repetition, kind.what, s.name()))
				settle()
				began := time.Now()
				took, err := r.storescu(ctx, s, batches, false)
				if err != nil {
					return err
				}
				visible, err := awaitCount(ctx, s, total(batches), pollPause)
				if err != nil {
					return err
				}
				own, err := r.ownTime(ctx, batches) // known by now
				if err != nil {
					return err
				}
				if err := remove(batches); err != nil {
					return err
				}
				if repetition == 0 {
					continue
				}
				n := float64(total(batches))
				until := n / (visible.Sub(began) - own).Seconds()
				r.report.row(fmt.Sprintf("%s, 4 associations, with %d studies in the index", kind.what, full.studies), "instances/s", full.name(), atLeast(0.9, empty.name())).add(s.name(), n/took.Seconds())
				r.report.row(fmt.Sprintf("%s, 4 associations, until visible, with %d studies in the index", kind.what, full.studies), "instances/s", full.name(), atLeast(0.9, empty.name())).add(s.name(), until)
				r.say("  %-16s %s: %s instances/s, %s until visible", s.name(), kind.what, figure(n/took.Seconds()), figure(until))
			}
		}
	}
	return nil
}

// found is a study in the index, as QIDO-RS shows it.
type found struct {
	UID        struct{ Value []string }                      `json:"0020000D"`
	Date       struct{ Value []string }                      `json:"00080020"`
	Accession  struct{ Value []string }                      `json:"00080050"`
	PatientID  struct{ Value []string }                      `json:"00100020"`
	Name       struct{ Value []struct{ Alphabetic string } } `json:"00100010"`
	Modalities struct{ Value []string }                      `json:"00080061"`
}

func one(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// family is the family name, without what matching gives a meaning.
func (f found) family() []rune {
	if len(f.Name.Value) == 0 {
		return nil
	}
	family, _, _ := strings.Cut(f.Name.Value[0].Alphabetic, "^")
	return []rune(strings.Map(func(c rune) rune {
		if strings.ContainsRune(`*?=\`, c) {
			return -1
		}
		return c
	}, family))
}

const (
	pageLength   = 50
	pageRequests = 200 // of each shape, with different values
	generated    = 8   // years over which generated studies are spread
)

// pages measures pages of 50 studies over HTTP, one request after the other on
// a connection that stays open.
func (r *run) pages(ctx context.Context, s *large) error {
	r.noteLoad("pages of QIDO-RS")
	random := rand.New(rand.NewPCG(20261102, 3))
	samples, err := s.sample(ctx, random, 2*pageRequests)
	if err != nil {
		return err
	}
	base := s.qido() + "/studies?limit=" + strconv.Itoa(pageLength)
	shapes := []struct {
		what  string
		limit float64 // ms
		query func(found) string
	}{
		{"study UID", 10, func(f found) string { return "&StudyInstanceUID=" + one(f.UID.Value) }},
		{"patient ID", 10, func(f found) string { return "&PatientID=" + url.QueryEscape(one(f.PatientID.Value)) }},
		{"accession number", 10, func(f found) string { return "&AccessionNumber=" + url.QueryEscape(one(f.Accession.Value)) }},
		{"day and modality", 10, func(f found) string {
			return "&StudyDate=" + one(f.Date.Value) + "&ModalitiesInStudy=" + one(f.Modalities.Value)
		}},
		{"month", 10, func(f found) string {
			day, _ := time.Parse("20060102", one(f.Date.Value))
			first := day.AddDate(0, 0, 1-day.Day())
			return "&StudyDate=" + first.Format("20060102") + "-" + first.AddDate(0, 1, -1).Format("20060102")
		}},
		{"name prefix", 10, func(f found) string {
			name := f.family()
			return "&PatientName=" + url.QueryEscape(string(name[:min(5, len(name))])) + "*"
		}},
		{"none", 10, func(found) string { return "" }},
		{"name contains", 40, func(f found) string {
			name := f.family()
			return "&PatientName=*" + url.QueryEscape(string(name[1:min(6, len(name))])) + "*"
		}},
	}
	for _, shape := range shapes {
		var times []float64
		for n, f := range samples { // the first half warms up
			began := time.Now()
			raw, _, err := ask(ctx, base+shape.query(f))
			if err != nil {
				return err
			}
			if n >= len(samples)/2 {
				times = append(times, time.Since(began).Seconds()*1000)
			}
			var rows []found
			if len(raw) > 0 {
				if err := json.Unmarshal(raw, &rows); err != nil {
					return err
				}
			}
			if len(rows) == 0 {
				return fmt.Errorf("%s: %s finds nothing, though there is such a study", shape.what, shape.query(f))
			}
		}
		r.notePage(s, shape.what, shape.limit, times)
	}
	times, err := s.deepPages(ctx)
	if err != nil {
		return err
	}
	r.notePage(s, "page 1,000 by keyset", 10, times)
	return nil
}

func (r *run) notePage(s *large, what string, limit float64, times []float64) {
	p50, p95 := percentile(times, 50), percentile(times, 95)
	r.report.row(fmt.Sprintf("QIDO page of %d at %d studies: %s, p95", pageLength, s.studies, what), "ms", s.name(), below(limit)).add(s.name(), p95)
	r.report.note("QIDO page of %d at %d studies, %s: %d requests, p50 %s ms, p95 %s ms, most %s ms.", pageLength, s.studies, what, len(times), figure(p50), figure(p95), figure(slices.Max(times)))
	r.say("  page of QIDO-RS, %-22s p50 %s ms, p95 %s ms", what, figure(p50), figure(p95))
}

// sample finds n studies of days taken at random.
func (l *large) sample(ctx context.Context, random *rand.Rand, n int) ([]found, error) {
	var list []found
	for try := 0; len(list) < n; try++ {
		if try > 20*n {
			return nil, fmt.Errorf("only %d of %d studies could be found by their day", len(list), n)
		}
		day := time.Now().AddDate(0, 0, -random.IntN(365*generated)).Format("20060102")
		var rows []found
		if err := qido(ctx, fmt.Sprintf("%s/studies?StudyDate=%s&limit=1&offset=%d", l.qido(), day, random.IntN(20)), &rows); err != nil {
			return nil, err
		}
		for _, f := range rows {
			if len(f.family()) > 4 && one(f.Accession.Value) != "" && one(f.PatientID.Value) != "" && one(f.Modalities.Value) != "" {
				list = append(list, f)
			}
		}
	}
	return list, nil
}

// deepPages follows the links to the next page, and times those from page
// 1,000 on.
func (l *large) deepPages(ctx context.Context) ([]float64, error) {
	next := l.qido() + "/studies?limit=" + strconv.Itoa(pageLength)
	var times []float64
	for page := 1; len(times) < pageRequests; page++ {
		began := time.Now()
		_, link, err := ask(ctx, next)
		if err != nil {
			return nil, err
		}
		if page >= 1000 {
			times = append(times, time.Since(began).Seconds()*1000)
		}
		if link == "" {
			return nil, fmt.Errorf("the archive has only %d pages", page)
		}
		next = link
	}
	return times, nil
}
