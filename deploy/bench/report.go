package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is what a run has found.
type report struct {
	Machine  machine       `json:"machine"`
	Began    time.Time     `json:"began"`
	Duration float64       `json:"duration_seconds"`
	Repeat   int           `json:"repeat"`
	Studies  int           `json:"studies"`
	Load     []loadAverage `json:"load"`
	Rows     []*row        `json:"rows"`
	Notes    []string      `json:"notes,omitempty"`
	Failed   []string      `json:"failed,omitempty"`
}

// row is one line of the table: one thing measured on one or several systems.
type row struct {
	What    string               `json:"what"`
	Unit    string               `json:"unit"`
	Subject string               `json:"subject"` // the system that must reach the targets
	Samples map[string][]float64 `json:"samples"` // by system, in the order in which they were measured
	Medians map[string]float64   `json:"medians"`
	Targets []target             `json:"targets,omitempty"`
}

// target is a number to reach: of the subject's median, or of its ratio to
// another system's.
type target struct {
	Against string  `json:"against,omitempty"`
	AtLeast float64 `json:"at_least,omitempty"`
	Below   float64 `json:"below,omitempty"`
	Reached *bool   `json:"reached,omitempty"` // nil when it was not measured
}

func atLeast(ratio float64, against string) target { return target{Against: against, AtLeast: ratio} }
func below(value float64) target                   { return target{Below: value} }

// loadAverage is how busy the machine was when something was measured.
type loadAverage struct {
	What string  `json:"what"`
	Load float64 `json:"load_1min"`
}

func newReport(ctx context.Context, r *run) (*report, error) {
	m, err := examine(ctx, r)
	return &report{Machine: m, Began: time.Now(), Repeat: r.repeat, Studies: r.studies}, err
}

// row returns the line of this name, made at its first use.
func (p *report) row(what, unit, subject string, targets ...target) *row {
	for _, have := range p.Rows {
		if have.What == what {
			return have
		}
	}
	made := &row{What: what, Unit: unit, Subject: subject, Samples: map[string][]float64{}, Targets: slices.Clone(targets)}
	p.Rows = append(p.Rows, made)
	return made
}

func (w *row) add(system string, value float64) { w.Samples[system] = append(w.Samples[system], value) }

func (p *report) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

func median(samples []float64) float64 { return percentile(samples, 50) }

// percentile is the nearest-rank percentile, between two ranks for a median.
func percentile(samples []float64, p float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	if n := len(sorted); p == 50 && n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}

// judge computes medians and says which targets are reached.
func (w *row) judge() {
	w.Medians = map[string]float64{}
	for system, samples := range w.Samples {
		w.Medians[system] = median(samples)
	}
	for i := range w.Targets {
		t := &w.Targets[i]
		value, measured := w.Medians[w.Subject]
		if t.Against != "" {
			other, there := w.Medians[t.Against]
			value, measured = value/other, measured && there
		}
		if measured {
			reached := (t.AtLeast == 0 || value >= t.AtLeast) && (t.Below == 0 || value < t.Below)
			t.Reached = &reached
		}
	}
}

// figure writes a number with three significant digits or more.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// cells are a row of the Markdown table.
func (w *row) cells() []string {
	own, measured := w.Medians[w.Subject]
	value := "not measured"
	if measured {
		value = figure(own) + " " + w.Unit
	}
	var others []string
	for _, system := range slices.Sorted(maps.Keys(w.Medians)) {
		if system != w.Subject {
			others = append(others, fmt.Sprintf("%s %s (%s×)", system, figure(w.Medians[system]), figure(own/w.Medians[system])))
		}
	}
	var targets, reached []string
	for _, t := range w.Targets {
		targets = append(targets, t.text(w.Unit))
		switch {
		case t.Reached == nil:
			reached = append(reached, "?")
		case *t.Reached:
			reached = append(reached, "yes")
		default:
			reached = append(reached, "NO")
		}
	}
	return []string{w.What, value, strings.Join(others, ", "), strings.Join(targets, ", "), strings.Join(reached, ", ")}
}

func (t target) text(unit string) string {
	switch {
	case t.Against != "" && t.AtLeast != 0:
		return fmt.Sprintf("≥ %s × %s", figure(t.AtLeast), t.Against)
	case t.AtLeast != 0:
		return fmt.Sprintf("≥ %s %s", figure(t.AtLeast), unit)
	}
	return fmt.Sprintf("< %s %s", figure(t.Below), unit)
}

// markdown is the whole report as text.
func (p *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmark of %s\n\n", p.Began.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "%s\n\nMedians of %d repetitions, alternating between the systems; the run took %s.\n\n",
		p.Machine.text(), p.Repeat, time.Duration(p.Duration*float64(time.Second)).Round(time.Second))
	b.WriteString(table([]string{"what", "measured", "others (ratio)", "target", "reached"}, p.Rows))
	if len(p.Failed) > 0 {
		b.WriteString("\nCould not be measured:\n\n")
		for _, text := range p.Failed {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	if len(p.Notes) > 0 {
		b.WriteString("\nNotes:\n\n")
		for _, text := range p.Notes {
			fmt.Fprintf(&b, "- %s\n", text)
		}
	}
	b.WriteString("\nLoad of the machine (1 minute) before each measurement: ")
	for i, l := range p.Load {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %.2f", l.What, l.Load)
	}
	b.WriteString(".\n\nSamples:\n\n")
	for _, w := range p.Rows {
		for _, system := range slices.Sorted(maps.Keys(w.Samples)) {
			samples := w.Samples[system]
			if len(samples) > 12 {
				fmt.Fprintf(&b, "- %s, %s: %d samples, p50 %s, p95 %s, most %s\n", w.What, system, len(samples),
					figure(percentile(samples, 50)), figure(percentile(samples, 95)), figure(slices.Max(samples)))
				continue
			}
			var texts []string
			for _, v := range samples {
				texts = append(texts, figure(v))
			}
			fmt.Fprintf(&b, "- %s, %s: %s\n", w.What, system, strings.Join(texts, ", "))
		}
	}
	return b.String()
}

// table is a Markdown table that can be read as it is.
func table(head []string, rows []*row) string {
	lines := [][]string{head, make([]string, len(head))}
	for _, w := range rows {
		lines = append(lines, w.cells())
	}
	widths := make([]int, len(head))
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for n, cells := range lines {
		for i, cell := range cells {
			fill, edge := " ", "| "
			if n == 1 {
				fill = "-"
			}
			b.WriteString(edge + cell + strings.Repeat(fill, widths[i]-len([]rune(cell))) + " ")
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// write prints the table and writes both files.
func (p *report) write(dir string) error {
	p.Duration = time.Since(p.Began).Seconds()
	for _, w := range p.Rows {
		w.judge()
	}
	text := p.markdown()
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, p.Began.Format("2006-01-02-150405"))
	if err := os.WriteFile(name+".json", append(raw, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(name+".md", []byte(text), 0o644); err != nil {
		return err
	}
	fmt.Printf("\n%s\nwritten to %s.md and .json\n", text, name)
	return nil
}
