package queryretrieve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// Transfer sends instances to a destination by C-STORE: for a C-MOVE, and for
// whatever else the archive sends of its own accord.
type Transfer struct {
	Files      Files
	Transcoder Transcoder // as Provider's
	AETitle    string     // ours
	To         Destination
	Log        *slog.Logger
	// OriginatorAE and OriginatorMessageID are those of a C-MOVE. PS3.7 9.1.1.1.
	OriginatorAE        string
	OriginatorMessageID uint16

	// Total and Kinds count what is to be sent, for the presentation contexts.
	Total int
	Kinds map[dimse.Kind]int
	// Pages calls each with page after page of what is to be sent, of some SOP
	// classes or (nil) of all.
	Pages func(ctx context.Context, classes []string, each func([]pacs.Instance) error) error
	// Sent is told what became of each instance, by several goroutines at once.
	Sent func(i pacs.Instance, status dimse.Status, err error)
	// Unreached is told of classes for which no association could be opened; nil
	// ends the transfer with an error instead, which is an *UnreachedError.
	Unreached func(ctx context.Context, classes []string, why error)
}

// UnreachedError says that no association to the destination could be opened.
type UnreachedError struct {
	AETitle string
	Err     error
}

func (e *UnreachedError) Error() string { return e.AETitle + " can't be reached: " + e.Err.Error() }

func (e *UnreachedError) Unwrap() error { return e.Err }

// Run sends everything. The classes are divided among as few associations as
// there must be for their contexts; each share may be sent by several at a time.
// When ctx is cancelled by dimse.ErrCancelled, what is begun is completed. An error
// is that of Pages, of ctx, or an *UnreachedError.
func (t *Transfer) Run(ctx context.Context) error {
	if t.Total == 0 {
		return nil
	}
	groups := t.groups()
	for _, g := range groups {
		classes := g.classes
		if len(groups) == 1 {
			classes = nil
		}
		err := t.send(ctx, classes, g)
		var unreached *UnreachedError
		if t.Unreached != nil && errors.As(err, &unreached) {
			t.Unreached(ctx, classes, err)
			err = nil
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// group is the contexts of one association.
type group struct {
	classes  []string
	contexts []ul.ProposedContext
}

// groups plans the contexts: for each class one for each transfer syntax in which
// instances are kept, where some are compressed one for each compression without
// loss that the destination is registered to take, and the two in which anything
// uncompressed can be sent. All of a class are in one association.
func (t *Transfer) groups() []group {
	var groups []group
	for _, c := range t.classes() {
		var syntaxes []string
		for _, ts := range slices.Concat(c.syntaxes, t.compressions(c), []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}) {
			allowed := len(t.To.TransferSyntaxes) == 0 || slices.Contains(t.To.TransferSyntaxes, ts) || ts == dicom.ImplicitVRLittleEndian
			if allowed && !slices.Contains(syntaxes, ts) && len(syntaxes) < dimse.MaxContexts {
				syntaxes = append(syntaxes, ts)
			}
		}
		if n := len(groups); n == 0 || len(groups[n-1].contexts)+len(syntaxes) > dimse.MaxContexts {
			groups = append(groups, group{})
		}
		g := &groups[len(groups)-1]
		g.classes = append(g.classes, c.uid)
		for _, ts := range syntaxes {
			g.contexts = append(g.contexts, ul.ProposedContext{ID: byte(2*len(g.contexts) + 1), AbstractSyntax: c.uid, TransferSyntaxes: []string{ts}})
		}
	}
	return groups
}

func (t *Transfer) dial(ctx context.Context, g group) (*dimse.Client, error) {
	c, err := dimse.Dial(ctx, t.To.Address, dimse.Dialer{
		CallingAE: t.AETitle, CalledAE: t.To.AETitle, Contexts: g.contexts, DialContext: t.To.DialContext, DialTimeout: dialTimeout,
		Observe: t.To.Observe,
	})
	if err != nil {
		return nil, &UnreachedError{t.To.AETitle, err}
	}
	return c, nil
}

// maxParallel bounds the associations of one transfer at a time: more of them don't
// make it quicker.
const maxParallel = 8

// dialTimeout bounds the wait for a destination that does not answer.
const dialTimeout = 15 * time.Second

// send sends a share. Instances are read by one goroutine and sent by as many
// associations as the destination allows, which all negotiate the same.
func (t *Transfer) send(ctx context.Context, classes []string, g group) error {
	// What is begun is completed when the move is cancelled, but not when its
	// association or the server ends.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	stopWatch := context.AfterFunc(ctx, func() {
		if err := context.Cause(ctx); !errors.Is(err, dimse.ErrCancelled) {
			end(err)
		}
	})
	defer stopWatch()

	leave, ok := t.To.Places.enter(ctx, t.To.AETitle, t.To.Limit, true)
	if !ok {
		if err := context.Cause(ctx); !errors.Is(err, dimse.ErrCancelled) {
			return err
		}
		return nil // nothing was begun
	}
	defer leave()
	client, err := t.dial(life, g)
	if err != nil {
		return err
	}
	takes := make(accepted)
	for _, pc := range client.Contexts() {
		takes[pc.AbstractSyntax] = append(takes[pc.AbstractSyntax], pc.TransferSyntax)
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ready := make(chan prepared, ahead)
	var failure error
	var running sync.WaitGroup
	running.Go(func() {
		defer close(ready)
		failure = t.feed(reading, classes, takes, ready)
	})
	for n := range max(1, min(t.To.Associations, t.Total, maxParallel)) {
		running.Go(func() {
			w := &worker{t: t, group: g}
			if n == 0 {
				w.client = client
			} else {
				leave, ok := t.To.Places.enter(ctx, t.To.AETitle, t.To.Limit, false)
				if !ok {
					return // the first does it all
				}
				defer leave()
			}
			w.run(ctx, life, ready)
		})
	}
	running.Wait()
	return failure
}

// worker sends over one association at a time.
type worker struct {
	t      *Transfer
	group  group
	client *dimse.Client
}

// maxRedials is how often in a row an association may be lost without an instance
// stored in between; then what is left has failed.
const maxRedials = 2

func (w *worker) run(ctx, life context.Context, ready <-chan prepared) {
	defer w.release(life)
	lost := 0
	for item := range ready {
		if ctx.Err() != nil {
			item.close()
			continue // read over what is ready
		}
		status, err := sendOne(item, func(i dimse.StoreItem) (dimse.Status, error) {
			if lost > maxRedials {
				return dimse.Status{}, fmt.Errorf("%s keeps breaking off", w.t.To.AETitle)
			}
			i.MoveOriginatorAE, i.MoveOriginatorMessageID = w.t.OriginatorAE, w.t.OriginatorMessageID
			status, err := w.store(life, i)
			var source *ul.SourceError
			switch {
			case err == nil:
				lost = 0
			case errors.Is(err, dimse.ErrNotAccepted), errors.As(err, &source) && !source.Aborted:
			default: // the association is over
				lost++
				w.drop()
			}
			return status, err
		})
		w.t.Sent(item.instance, status, err)
	}
}

// store sends one instance, over a new association if there is none.
func (w *worker) store(life context.Context, item dimse.StoreItem) (dimse.Status, error) {
	if w.client == nil {
		c, err := w.t.dial(life, w.group)
		if err != nil {
			return dimse.Status{}, err
		}
		w.client = c
	}
	return w.client.Store(life, item)
}

func (w *worker) drop() {
	if w.client != nil {
		w.client.Close()
		w.client = nil
	}
}

func (w *worker) release(ctx context.Context) {
	if w.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := w.client.Release(ctx); err != nil {
		w.t.logger().Debug("releasing an association", "to", w.t.To.AETitle, "error", err)
	}
	w.client = nil
}

// feed reads what is to be sent in order and hands it to out, ready to be sent,
// until ctx is done. Reading is ahead of sending by as much as out has room for.
func (t *Transfer) feed(ctx context.Context, classes []string, takes accepted, out chan<- prepared) error {
	r := &reader{files: t.Files, transcoder: t.Transcoder, accepted: takes}
	defer r.end()
	return t.Pages(ctx, classes, func(rows []pacs.Instance) error { return r.hand(ctx, rows, out) })
}

func (t *Transfer) logger() *slog.Logger {
	if t.Log != nil {
		return t.Log
	}
	return slog.New(slog.DiscardHandler)
}

// compressions are what compressed images of a class may be sent in instead.
func (t *Transfer) compressions(c class) (list []string) {
	if !slices.ContainsFunc(c.syntaxes, func(uid string) bool { ts, _ := dicom.LookupTransferSyntax(uid); return ts.Encapsulated }) {
		return nil
	}
	for _, uid := range t.To.TransferSyntaxes {
		if ts, known := dicom.LookupTransferSyntax(uid); known && ts.Encapsulated && !ts.Lossy {
			list = append(list, uid)
		}
	}
	return list
}

// classes are the SOP classes of what is sent with the transfer syntaxes in which
// instances of each are kept, the most frequent first.
func (t *Transfer) classes() []class {
	byUID := make(map[string]*class)
	for _, k := range slices.SortedFunc(maps.Keys(t.Kinds), func(a, b dimse.Kind) int {
		return cmp.Or(cmp.Compare(t.Kinds[b], t.Kinds[a]), cmp.Compare(a.SOPClassUID, b.SOPClassUID), cmp.Compare(a.TransferSyntaxUID, b.TransferSyntaxUID))
	}) {
		c := byUID[k.SOPClassUID]
		if c == nil {
			c = &class{uid: k.SOPClassUID}
			byUID[k.SOPClassUID] = c
		}
		c.syntaxes = append(c.syntaxes, k.TransferSyntaxUID)
	}
	var list []class
	for _, uid := range slices.Sorted(maps.Keys(byUID)) {
		list = append(list, *byUID[uid])
	}
	return list
}

type class struct {
	uid      string
	syntaxes []string
}
