package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// FindCmd asks a DICOM node what it has: C-FIND.
type FindCmd struct {
	peerFlags  `embed:""`
	Level      string   `name:"level" default:"study" enum:"patient,study,series,image,worklist" help:"What to look for: patient, study, series, image, or the modality worklist."`
	Key        []string `name:"key" short:"k" sep:"none" placeholder:"ATTRIBUTE=VALUE" help:"What must match: PatientName=KARIM*, StudyDate=20260101-, 00100020=12345, within a sequence ScheduledProcedureStepSequence.Modality=CT. Without a value: only return it."`
	Model      string   `name:"model" default:"study" enum:"patient,study" help:"Information model: patient or study root."`
	Relational bool     `name:"relational" help:"Ask for relational queries: keys of levels above may be left out."`
	Fuzzy      bool     `name:"fuzzy" help:"Ask for fuzzy matching of names."`
	Limit      int      `name:"limit" placeholder:"N" help:"Stop after so many matches."`
	JSON       bool     `name:"json" help:"Print the matches as a JSON array (DICOM JSON)."`
}

// errEnough ends a query whose limit is reached.
var errEnough = errors.New("enough")

// Run prints each match as it comes: a line of columns separated by tabs, or
// DICOM JSON. It returns nil when the node answered the query to its end, or to
// the limit, also when nothing matched.
func (c *FindCmd) Run(ctx context.Context) error { return c.run(ctx, os.Stdout, os.Stderr) }

func (c *FindCmd) run(ctx context.Context, out, remarks io.Writer) error {
	sopClass, id, err := c.query()
	if err != nil {
		return err
	}
	dialer, err := c.dialer()
	if err != nil {
		return err
	}
	dialer.Contexts = []ul.ProposedContext{dimse.ServiceContext(1, sopClass)}
	if c.Relational || c.Fuzzy {
		// PS3.4 Table C.5-2: relational, date-time combined, fuzzy names, time zone.
		info := []byte{0, 0, 0, 0}
		if c.Relational {
			info[0] = 1
		}
		if c.Fuzzy {
			info[2] = 1
		}
		dialer.Extended = []ul.ExtendedNegotiation{{SOPClassUID: sopClass, Info: info}}
	}
	client, err := c.dial(ctx, dialer)
	if err != nil {
		return err
	}
	defer client.Close()
	c.remarkRefused(client.Extended(sopClass), remarks)

	printer := newMatchPrinter(out, id.columns, c.JSON)
	n := 0
	var status dimse.Status
	err = cancellable(ctx, client, func(ctx context.Context) error {
		status, err = client.Find(ctx, sopClass, id.dataset, func(match *dicom.Dataset, _ bool) error {
			if err := printer.print(match); err != nil {
				return err
			}
			if n++; n == c.Limit {
				return errEnough
			}
			return nil
		})
		return err
	})
	if e := printer.finish(); e != nil {
		return e
	}
	enough := errors.Is(err, errEnough)
	switch {
	case errors.Is(err, dimse.ErrNotAccepted):
		return fmt.Errorf("%s does not offer this query (%s)", c.Called, sopClassLabel(sopClass))
	case err != nil && !enough:
		return fmt.Errorf("%s did not answer to the end, after %d matches: %w", c.Called, n, err)
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted after %d matches", n)
	case !enough && status.Code != dimse.Success:
		return fmt.Errorf("%s answered %s%s, after %d matches", c.Called, status.Code.Of(dimse.CFindRQ), comment(status), n)
	}
	if n == 0 {
		fmt.Fprintln(remarks, "nothing matches")
	}
	_ = client.Release(ctx) // the answers are in
	return nil
}

// query is the SOP class and the identifier that the flags ask for.
func (c *FindCmd) query() (sopClass string, id *identifier, err error) {
	level := queryLevel(c.Level)
	sopClass = dicom.StudyRootFindSOPClass
	switch {
	case level == worklistLevel:
		sopClass = dicom.ModalityWorklistFindSOPClass
	case c.Model == "patient" || level == patientLevel:
		sopClass = dicom.PatientRootFindSOPClass
	}
	if id, err = newIdentifier(level, c.Key); err != nil {
		return "", nil, err
	}
	return sopClass, id, id.ask(returned[level])
}

// remarkRefused says which extension the node does not offer: the query is
// asked all the same and may find less.
func (c *FindCmd) remarkRefused(answer []byte, remarks io.Writer) {
	has := func(i int) bool { return len(answer) > i && answer[i] == 1 }
	if c.Relational && !has(0) {
		fmt.Fprintf(remarks, "%s offers no relational queries\n", c.Called)
	}
	if c.Fuzzy && !has(2) {
		fmt.Fprintf(remarks, "%s offers no fuzzy matching of names\n", c.Called)
	}
}

func comment(s dimse.Status) string {
	if s.Comment == "" {
		return ""
	}
	return ": " + printable(s.Comment)
}

// matchPrinter prints matches one by one. Its writer keeps an error until it is
// flushed.
type matchPrinter struct {
	w       *bufio.Writer
	columns []attributePath
	json    bool
	n       int
}

func newMatchPrinter(w io.Writer, columns []attributePath, json bool) *matchPrinter {
	return &matchPrinter{w: bufio.NewWriter(w), columns: columns, json: json}
}

func (p *matchPrinter) print(match *dicom.Dataset) error {
	p.n++
	if p.json {
		before := ",\n"
		if p.n == 1 {
			before = "[\n"
		}
		fmt.Fprintf(p.w, "%s%s", before, dicom.AppendJSON(nil, match, dicom.JSONOptions{}))
		return p.w.Flush()
	}
	if p.n == 1 {
		p.line(attributePath.column)
	}
	p.line(func(path attributePath) string { return path.text(match) })
	return p.w.Flush()
}

func (p *matchPrinter) line(cell func(attributePath) string) {
	cells := make([]string, len(p.columns))
	for i, path := range p.columns {
		cells[i] = cell(path)
	}
	fmt.Fprintln(p.w, strings.Join(cells, "\t"))
}

// finish ends the output; without a match it is an empty array or nothing.
func (p *matchPrinter) finish() error {
	if p.json {
		if p.n == 0 {
			fmt.Fprint(p.w, "[")
		}
		fmt.Fprint(p.w, "\n]\n")
	}
	return p.w.Flush()
}
