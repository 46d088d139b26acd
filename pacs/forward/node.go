package forward

import (
	"context"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/queryretrieve"
)

// Storer stores instances at a DICOMweb node (STOW-RS, PS3.18 10.5).
type Storer interface {
	// Store sends instances as they are served, in one request, and says of each
	// what became of it: nil when the node has stored it. An error is one of the
	// request as a whole, after which nothing is known of any of them.
	Store(ctx context.Context, node Target, instances []pacs.Instance) ([]*Refusal, error)
}

// Refusal is why an instance was not stored.
type Refusal struct {
	// Permanent: to repeat it does not help.
	Permanent bool
	// Text is for people.
	Text string
}

// NodeError is why a request to a DICOMweb node came to nothing.
type NodeError struct {
	// Down: nothing can be stored there at the moment. Otherwise it is the matter
	// of the request.
	Down bool
	Err  error
}

func (e *NodeError) Error() string { return e.Err.Error() }

func (e *NodeError) Unwrap() error { return e.Err }

// Bounds of one request: a node answers when it has all of it.
const (
	batchCount = 100
	batchBytes = 64 << 20
)

// sendToNode sends what is left to a DICOMweb node, some at a time.
func (f *Forwarding) sendToNode(ctx context.Context, c claimed, left *remainder, r *record) error {
	// The secret is read for this alone.
	if err := f.pool.QueryRow(ctx, `SELECT secret FROM forward_target WHERE id = $1`, c.rule.Target.ID).Scan(&c.rule.Target.Secret); err != nil {
		return err
	}
	var batch []pacs.Instance
	var size int64
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := f.storeBatch(ctx, c.rule.Target, batch, r)
		batch, size = batch[:0], 0
		return err
	}
	err := left.pages(ctx, nil, func(rows []pacs.Instance) error {
		for _, i := range rows {
			if len(batch) > 0 && (len(batch) == batchCount || size+i.Location.Length > batchBytes) {
				if err := flush(); err != nil {
					return err
				}
			}
			batch, size = append(batch, i), size+i.Location.Length
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

func (f *Forwarding) storeBatch(ctx context.Context, to Target, batch []pacs.Instance, r *record) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	refusals, err := f.o.Nodes.Store(ctx, to, batch)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e, ok := err.(*NodeError); ok && e.Down { //nolint:errorlint // it is the Storer's own
			return &queryretrieve.UnreachedError{AETitle: to.Name, Err: e.Err}
		}
		return err
	}
	for i, refused := range refusals {
		var why *failed
		if refused != nil {
			why = &failed{permanent: refused.Permanent, refused: true, text: refused.Text}
		}
		r.outcome(ctx, batch[i], why)
	}
	return nil
}
