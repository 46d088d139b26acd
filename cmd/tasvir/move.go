package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// MoveCmd asks a DICOM node to send studies to a third one: C-MOVE.
type MoveCmd struct {
	peerFlags   `embed:""`
	selectFlags `embed:""`
	To          string `name:"to" required:"" placeholder:"AET" help:"The AE title to send to. The node must know its address."`
	JSON        bool   `name:"json" help:"Print the result as one JSON object."`
}

// retrieveResult is what --json prints.
type retrieveResult struct {
	Address   string   `json:"address"`
	Calling   string   `json:"callingAET"`
	Called    string   `json:"calledAET"`
	Status    string   `json:"status"` // four hexadecimal digits
	Message   string   `json:"message"`
	Completed int      `json:"completed"`
	Warnings  int      `json:"warnings"`
	Failed    int      `json:"failed"`
	Remaining int      `json:"remaining"`
	Instances []string `json:"failedInstances"`
	Bytes     int64    `json:"bytes,omitempty"`
	Seconds   float64  `json:"seconds"`
}

// Run returns nil only when something was sent and all of it arrived.
func (c *MoveCmd) Run(ctx context.Context) error {
	return c.run(ctx, os.Stdout, newSendProgress(os.Stderr))
}

func (c *MoveCmd) run(ctx context.Context, out io.Writer, progress *sendProgress) error {
	ds, patientRoot, err := c.identifier()
	if err != nil {
		return err
	}
	dialer, err := c.dialer()
	if err != nil {
		return err
	}
	sopClass := dicom.StudyRootMoveSOPClass
	if patientRoot {
		sopClass = dicom.PatientRootMoveSOPClass
	}
	dialer.Contexts = []ul.ProposedContext{dimse.ServiceContext(1, sopClass)}
	client, err := c.dial(ctx, dialer)
	if err != nil {
		return err
	}
	defer client.Close()
	start := time.Now()
	var r dimse.Retrieved
	err = cancellable(ctx, client, func(ctx context.Context) error {
		r, err = client.Move(ctx, sopClass, c.To, ds, func(n dimse.Suboperations) error {
			progress.counted(n)
			return nil
		})
		return err
	})
	progress.finish()
	if err != nil {
		return c.broken(err, sopClass)
	}
	_ = client.Release(ctx) // the answer is in
	return c.outcome(ctx, out, c.JSON, retrieval{Retrieved: r, field: dimse.CMoveRQ, verb: "sent to " + c.To, took: time.Since(start)})
}

// broken says why a retrieval has no final answer.
func (p *peerFlags) broken(err error, sopClass string) error {
	if errors.Is(err, dimse.ErrNotAccepted) {
		return fmt.Errorf("%s does not offer this retrieval (%s)", p.Called, sopClassLabel(sopClass))
	}
	return fmt.Errorf("%s did not answer to the end: %w", p.Called, err)
}

// retrieval is what came of a C-MOVE or C-GET.
type retrieval struct {
	dimse.Retrieved
	field dimse.Field
	verb  string // what happened to the instances
	bytes int64
	took  time.Duration
}

// outcome prints a retrieval and returns nil only when it was complete.
func (p *peerFlags) outcome(ctx context.Context, out io.Writer, asJSON bool, r retrieval) error {
	arrived := r.Completed + r.Warning
	answer := r.Code.Of(r.field) + comment(r.Status)
	if asJSON {
		if err := printJSON(out, retrieveResult{
			Address: p.Address, Calling: p.AET, Called: p.Called, Status: fmt.Sprintf("%04X", uint16(r.Code)), Message: answer,
			Completed: r.Completed, Warnings: r.Warning, Failed: r.Failed, Remaining: r.Remaining,
			Instances: append([]string{}, r.FailedInstances...), Bytes: r.bytes, Seconds: r.took.Seconds(),
		}); err != nil {
			return err
		}
	} else {
		rate := ""
		if s := r.took.Seconds(); s > 0 && arrived > 0 {
			rate = fmt.Sprintf(", %.0f instances/s", float64(arrived)/s)
		}
		if _, err := fmt.Fprintf(out, "%d instances %s in %.1f s%s\n", arrived, r.verb, r.took.Seconds(), rate); err != nil {
			return err
		}
		for _, uid := range r.FailedInstances {
			fmt.Fprintf(out, "failed: %s\n", printable(uid))
		}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %d instances %s", arrived, r.verb)
	case r.Failed > 0:
		return fmt.Errorf("%d of %d instances failed: %s answered %s", r.Failed, arrived+r.Failed, p.Called, answer)
	case r.Code != dimse.Success && r.Code.Category() != dimse.CategoryWarning:
		return fmt.Errorf("%s answered %s", p.Called, answer)
	case arrived == 0:
		return fmt.Errorf("%s has nothing of this, or nothing that we may have", p.Called)
	}
	return nil
}

// counted shows what the node says about its sub-operations.
func (p *sendProgress) counted(n dimse.Suboperations) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = n.Completed + n.Failed + n.Warning
	p.total = p.done + n.Remaining
	p.show()
}
