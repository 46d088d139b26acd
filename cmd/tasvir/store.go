package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// StoreCmd sends DICOM files to a node: C-STORE.
type StoreCmd struct {
	peerFlags `embed:""`
	Paths     []string `arg:"" name:"path" type:"path" help:"Files, and folders to search for files."`
	Jobs      int      `name:"jobs" default:"1" help:"How many associations to send over at a time."`
	JSON      bool     `name:"json" help:"Print the result as one JSON object."`
}

// storeFile is one instance to send.
type storeFile struct {
	path     string
	kind     dimse.Kind
	instance string
	offset   int64 // where the data set begins
	length   int64 // of the data set
	attempts int
}

// storeFailure is one instance that was not stored.
type storeFailure struct {
	File        string `json:"file"`
	InstanceUID string `json:"sopInstanceUID,omitempty"`
	Status      string `json:"status,omitempty"` // four hexadecimal digits
	Message     string `json:"message"`
}

// storeResult is what --json prints.
type storeResult struct {
	Address   string         `json:"address"`
	Calling   string         `json:"callingAET"`
	Called    string         `json:"calledAET"`
	Instances int            `json:"instances"`
	Stored    int            `json:"stored"`
	Warnings  int            `json:"warnings"` // of the stored ones
	Failed    int            `json:"failed"`
	Skipped   int            `json:"skipped"` // files that are not DICOM
	Bytes     int64          `json:"bytes"`
	Seconds   float64        `json:"seconds"`
	Failures  []storeFailure `json:"failures"`
}

// Run sends everything it finds. It returns nil only when there was something
// to send and every instance was answered with success or a warning.
func (c *StoreCmd) Run(ctx context.Context) error {
	_, err := c.run(ctx, os.Stdout, newSendProgress(os.Stderr))
	return err
}

func (c *StoreCmd) run(ctx context.Context, out io.Writer, progress *sendProgress) (storeResult, error) {
	dialer, err := c.dialer()
	if err != nil {
		return storeResult{}, err
	}
	if c.Jobs < 1 {
		return storeResult{}, errors.New("--jobs must be at least 1")
	}
	run := &storeRun{cmd: c, dialer: dialer, progress: progress}
	run.result = storeResult{Address: c.Address, Calling: c.AET, Called: c.Called, Failures: []storeFailure{}}
	start := time.Now()
	files, err := run.collect(ctx)
	if err != nil {
		return run.result, err
	}
	run.send(ctx, files)
	progress.finish()
	run.result.Seconds = time.Since(start).Seconds()
	if err := run.report(out); err != nil {
		return run.result, err
	}
	r := run.result
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("interrupted: %d of %d instances were stored", r.Stored, r.Instances)
	case r.Instances == 0:
		return r, errors.New("no DICOM files found: name files or folders that hold some")
	case r.Failed > 0:
		return r, fmt.Errorf("%d of %d instances were not stored: %s", r.Failed, r.Instances, mainReason(r.Failures))
	}
	return r, nil
}

// mainReason is the message of most failures, with the first file it is about.
func mainReason(failures []storeFailure) string {
	count := map[string]int{}
	for _, f := range failures {
		count[f.Message]++
	}
	main := slices.MaxFunc(failures, func(a, b storeFailure) int { return cmp.Compare(count[a.Message], count[b.Message]) })
	if n := count[main.Message]; n > 1 {
		return fmt.Sprintf("%s (%d of them, for example %s)", main.Message, n, main.File)
	}
	return fmt.Sprintf("%s: %s", main.File, main.Message)
}

// storeRun is one run of StoreCmd. mu guards result.
type storeRun struct {
	cmd      *StoreCmd
	dialer   dimse.Dialer
	progress *sendProgress
	mu       sync.Mutex
	result   storeResult
}

// collect reads the headers of all files: what is not DICOM is skipped, what is
// broken counts as failed.
func (r *storeRun) collect(ctx context.Context) ([]*storeFile, error) {
	var files []*storeFile
	for _, root := range r.cmd.Paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return fmt.Errorf("can't read %s: %w", path, err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			info, err := os.Stat(path) // follows links to files
			if err != nil || !info.Mode().IsRegular() {
				return nil //nolint:nilerr // a dangling link is nothing to send
			}
			switch f, err := readStoreFile(path, info.Size()); {
			case errors.Is(err, errNotDICOM):
				r.result.Skipped++
			case err != nil:
				r.result.Instances++
				r.failed(&storeFile{path: path}, "", err.Error())
			default:
				r.result.Instances++
				files = append(files, f)
				r.progress.found(len(files))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

var errNotDICOM = errors.New("not a DICOM file")

// readStoreFile reads the header of a Part 10 file. Pixel data is jumped over.
func readStoreFile(path string, size int64) (*storeFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var magic [4]byte
	if _, err := file.ReadAt(magic[:], 128); err != nil || string(magic[:]) != "DICM" {
		return nil, errNotDICOM
	}
	h, err := dicom.Scan(dicom.NewSkipReader(file, 0, size), dicom.ScanOptions{})
	if h != nil && h.Meta != nil && h.Meta.String(dicom.TagMediaStorageSOPClassUID) == dicom.MediaStorageDirectorySOPClass {
		return nil, errNotDICOM // a DICOMDIR, no instance of anything
	}
	if err != nil {
		return nil, fmt.Errorf("can't be sent: %w", err)
	}
	f := &storeFile{path: path, offset: h.DatasetOffset, length: size - h.DatasetOffset}
	f.kind = dimse.Kind{SOPClassUID: h.Dataset.String(dicom.TagSOPClassUID), TransferSyntaxUID: h.TransferSyntax}
	f.instance = h.Dataset.String(dicom.TagSOPInstanceUID)
	if h.Meta != nil {
		f.kind.SOPClassUID = cmp.Or(f.kind.SOPClassUID, h.Meta.String(dicom.TagMediaStorageSOPClassUID))
		f.instance = cmp.Or(f.instance, h.Meta.String(dicom.TagMediaStorageSOPInstanceUID))
	}
	if f.kind.SOPClassUID == "" || f.instance == "" {
		return nil, errors.New("can't be sent: it has no SOP Class UID or no SOP Instance UID")
	}
	return f, nil
}

// send plans the associations and runs --jobs at a time.
func (r *storeRun) send(ctx context.Context, files []*storeFile) {
	r.progress.start(len(files))
	kinds := make([]dimse.Kind, 0, len(files))
	for _, f := range files {
		kinds = append(kinds, f.kind)
	}
	for _, group := range dimse.GroupContexts(kinds) {
		q := &storeQueue{contexts: group.Contexts}
		for _, f := range files {
			if slices.Contains(group.Kinds, f.kind) {
				q.files = append(q.files, f)
			}
		}
		r.sendGroup(ctx, q)
	}
}

// storeQueue is what is still to send of one group.
type storeQueue struct {
	contexts []ul.ProposedContext

	mu    sync.Mutex
	files []*storeFile
	err   error // why the last association could not be had
}

func (q *storeQueue) take() *storeFile {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.files) == 0 {
		return nil
	}
	f := q.files[0]
	q.files = q.files[1:]
	return f
}

func (q *storeQueue) putBack(f *storeFile, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.files = append(q.files, f)
	q.err = err
}

// afterLoss is the pause before associations that were lost are tried again.
const afterLoss = 2 * time.Second

// sendGroup sends a group in rounds: a link that breaks is tried again as long
// as the round before got anything across.
func (r *storeRun) sendGroup(ctx context.Context, q *storeQueue) {
	for {
		before := r.answered()
		var workers sync.WaitGroup
		for range min(r.cmd.Jobs, len(q.files)) {
			workers.Go(func() { r.sendQueue(ctx, q) })
		}
		workers.Wait()
		if len(q.files) == 0 {
			return
		}
		if r.answered() == before || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(afterLoss):
		case <-ctx.Done():
		}
	}
	for _, f := range q.files {
		r.failed(f, "", cmp.Or(q.err, ctx.Err()).Error())
	}
}

func (r *storeRun) answered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result.Stored + r.result.Failed
}

const storeAttempts = 3

// sendQueue sends what it takes from the queue over one association, and over a
// new one when that breaks. It returns when the queue is empty or no association
// can be had.
func (r *storeRun) sendQueue(ctx context.Context, q *storeQueue) {
	var client *dimse.Client
	for f := q.take(); f != nil; f = q.take() {
		if client == nil {
			var err error
			dialer := r.dialer
			dialer.Contexts = q.contexts
			if client, err = r.cmd.dial(ctx, dialer); err != nil {
				q.putBack(f, err)
				return
			}
		}
		lost, err := r.sendOne(ctx, client, f)
		if !lost {
			continue
		}
		client.Close()
		client = nil
		if f.attempts++; f.attempts == storeAttempts || ctx.Err() != nil {
			r.failed(f, "", err.Error())
		} else {
			q.putBack(f, err)
		}
	}
	if client != nil {
		_ = client.Release(ctx) // every answer is in already
	}
}

// sendOne sends one instance and records the answer. lost says that there is
// none because the association broke.
func (r *storeRun) sendOne(ctx context.Context, client *dimse.Client, f *storeFile) (lost bool, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		r.failed(f, "", err.Error())
		return false, nil
	}
	defer file.Close()
	status, err := client.Store(ctx, dimse.StoreItem{
		SOPClassUID: f.kind.SOPClassUID, SOPInstanceUID: f.instance,
		TransferSyntaxUID: f.kind.TransferSyntaxUID, Data: io.NewSectionReader(file, f.offset, f.length),
	})
	switch {
	case errors.Is(err, dimse.ErrNotAccepted):
		r.failed(f, "", fmt.Sprintf("%s takes no %s in %s", r.cmd.Called, sopClassLabel(f.kind.SOPClassUID),
			transferSyntaxLabel(f.kind.TransferSyntaxUID)))
	case err != nil:
		return true, err
	case !status.OK():
		r.failed(f, fmt.Sprintf("%04X", uint16(status.Code)), fmt.Sprintf("%s answered %s", r.cmd.Called, status))
	default:
		r.stored(f, status)
	}
	return false, nil
}

func sopClassLabel(uid string) string { return cmp.Or(dicom.SOPClassName(uid), uid) }

func transferSyntaxLabel(uid string) string {
	if ts, ok := dicom.LookupTransferSyntax(uid); ok {
		return ts.Name
	}
	return uid
}

func (r *storeRun) stored(f *storeFile, status dimse.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Stored++
	r.result.Bytes += f.length
	if status.Code != dimse.Success {
		r.result.Warnings++
	}
	r.progress.sent(f.length)
}

func (r *storeRun) failed(f *storeFile, status, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Failed++
	r.result.Failures = append(r.result.Failures, storeFailure{File: f.path, InstanceUID: f.instance, Status: status, Message: message})
	r.progress.sent(0)
}

// report prints the result: JSON, or lines for people.
func (r *storeRun) report(w io.Writer) error {
	res := r.result
	if r.cmd.JSON {
		return printJSON(w, res)
	}
	out := bufio.NewWriter(w)
	const sameShown = 3 // files named for the same reason
	same := map[string]int{}
	for _, f := range res.Failures {
		if same[f.Message]++; same[f.Message] <= sameShown {
			fmt.Fprintf(out, "not stored: %s: %s\n", f.File, f.Message)
		}
	}
	for _, message := range slices.Sorted(maps.Keys(same)) {
		if more := same[message] - sameShown; more > 0 {
			fmt.Fprintf(out, "not stored: %d more: %s\n", more, message)
		}
	}
	rate := ""
	if res.Seconds > 0 && res.Stored > 0 {
		rate = fmt.Sprintf(", %.0f instances/s, %.1f MB/s", float64(res.Stored)/res.Seconds, float64(res.Bytes)/1e6/res.Seconds)
	}
	fmt.Fprintf(out, "%d of %d instances stored at %s", res.Stored, res.Instances, res.Called)
	if res.Warnings > 0 {
		fmt.Fprintf(out, " (%d with a warning)", res.Warnings)
	}
	if res.Skipped > 0 {
		fmt.Fprintf(out, ", %d files skipped that are not DICOM instances", res.Skipped)
	}
	fmt.Fprintf(out, " in %.1f s%s\n", res.Seconds, rate)
	return out.Flush()
}

// sendProgress shows on w how far the sending is: a bar on a terminal, a line
// now and then elsewhere.
type sendProgress struct {
	mu          sync.Mutex
	line        statusLine
	begun       time.Time
	total, done int
	bytes       int64
}

func newSendProgress(f *os.File) *sendProgress {
	return &sendProgress{line: newStatusLine(f), begun: time.Now()}
}

func (p *sendProgress) found(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line.due() {
		p.line.show("reading headers: %d instances", n)
	}
}

func (p *sendProgress) start(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.total, p.done, p.bytes = time.Now(), total, 0, 0
}

func (p *sendProgress) sent(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total == 0 {
		return
	}
	p.done++
	p.bytes += n
	p.show()
}

// show draws the bar, or a line, when it is time to.
func (p *sendProgress) show() {
	if p.done == 0 || p.total == 0 || !p.line.due() {
		return
	}
	elapsed := time.Since(p.begun)
	left := time.Duration(float64(elapsed) / float64(p.done) * float64(p.total-p.done)).Round(time.Second)
	if !p.line.terminal {
		p.line.show("sent %d of %d instances, %.1f MB, %s left", p.done, p.total, float64(p.bytes)/1e6, left)
		return
	}
	const width = 30
	full := width * p.done / p.total
	p.line.show("[%s%s] %d/%d  %.1f MB  %s left", strings.Repeat("#", full), strings.Repeat(".", width-full),
		p.done, p.total, float64(p.bytes)/1e6, left)
}

// finish clears the bar.
func (p *sendProgress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line.terminal {
		fmt.Fprint(p.line.w, "\r\x1b[K")
	}
}
