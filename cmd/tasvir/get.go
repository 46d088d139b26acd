package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// GetCmd fetches studies from a DICOM node into a folder: C-GET.
type GetCmd struct {
	peerFlags   `embed:""`
	Dir         string `arg:"" name:"folder" type:"path" help:"Where to write: folder/STUDY/SERIES/INSTANCE.dcm."`
	selectFlags `embed:""`
	JSON        bool `name:"json" help:"Print the result as one JSON object."`
}

// Run returns nil only when something came and all of it was written.
func (c *GetCmd) Run(ctx context.Context) error {
	return c.run(ctx, os.Stdout, newSendProgress(os.Stderr))
}

func (c *GetCmd) run(ctx context.Context, out io.Writer, progress *sendProgress) error {
	ds, patientRoot, err := c.identifier()
	if err != nil {
		return err
	}
	dialer, err := c.dialer()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return fmt.Errorf("can't make the folder: %w", err)
	}
	sopClass, findClass := dicom.StudyRootGetSOPClass, dicom.StudyRootFindSOPClass
	if patientRoot {
		sopClass, findClass = dicom.PatientRootGetSOPClass, dicom.PatientRootFindSOPClass
	}
	classes := c.classes(ctx, dialer, findClass, patientRoot)
	dialer.Contexts, dialer.Roles = getContexts(sopClass, classes)
	client, err := c.dial(ctx, dialer)
	if err != nil {
		return err
	}
	defer client.Close()

	start := time.Now()
	folder := &fileFolder{dir: c.Dir, progress: progress}
	var r dimse.Retrieved
	err = cancellable(ctx, client, func(ctx context.Context) error {
		r, err = client.Get(ctx, sopClass, ds, folder, func(n dimse.Suboperations) error {
			progress.counted(n)
			return nil
		})
		return err
	})
	progress.finish()
	switch {
	case err != nil && folder.written > 0:
		return fmt.Errorf("%w (%d instances were written before)", c.broken(err, sopClass), folder.written)
	case err != nil:
		return c.broken(err, sopClass)
	}
	_ = client.Release(ctx) // everything is written
	err = c.outcome(ctx, out, c.JSON, retrieval{
		Retrieved: r, field: dimse.CGetRQ, verb: "written to " + c.Dir, bytes: folder.bytes, took: time.Since(start),
	})
	switch {
	case folder.err != nil: // says more than the status that we answered with
		return fmt.Errorf("not everything could be written: %w", folder.err)
	case err == nil && folder.written < r.Completed+r.Warning:
		return fmt.Errorf("%s says that it sent %d instances, and %d came", c.Called, r.Completed+r.Warning, folder.written)
	}
	return err
}

// classes asks which SOP classes the studies have, so that each can be taken in
// every transfer syntax. Nodes that don't say (SOP Classes in Study, PS3.4 Table
// C.6-5, is optional) are offered all classes.
func (c *GetCmd) classes(ctx context.Context, dialer dimse.Dialer, findClass string, patientRoot bool) []string {
	dialer.Contexts = []ul.ProposedContext{dimse.ServiceContext(1, findClass)}
	client, err := dimse.Dial(ctx, c.Address, dialer)
	if err != nil {
		return nil
	}
	defer client.Close()
	ask := new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, "STUDY").
		SetString(dicom.TagSOPClassesInStudy, dicom.UI).SetString(dicom.TagStudyInstanceUID, dicom.UI, c.Study...)
	if patientRoot {
		ask.SetString(dicom.TagPatientID, dicom.LO, c.Patient)
	}
	var classes []string
	said := true
	status, err := client.Find(ctx, findClass, ask, func(match *dicom.Dataset, _ bool) error {
		in := match.Strings(dicom.TagSOPClassesInStudy)
		said = said && len(in) > 0 && !slices.Contains(in, "")
		classes = append(classes, in...)
		return nil
	})
	if err != nil || !status.OK() || !said {
		return nil
	}
	_ = client.Release(ctx)
	slices.Sort(classes)
	return slices.Compact(classes)
}

// takenSyntaxes are the transfer syntaxes in which instances are fetched, the
// commonest first. Which one a node sends depends on the context that it finds.
var takenSyntaxes = []string{
	dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian,
	"1.2.840.10008.1.2.4.70",  // JPEG Lossless SV1
	"1.2.840.10008.1.2.4.90",  // JPEG 2000 Lossless
	"1.2.840.10008.1.2.4.80",  // JPEG-LS Lossless
	"1.2.840.10008.1.2.4.50",  // JPEG Baseline
	"1.2.840.10008.1.2.5",     // RLE
	"1.2.840.10008.1.2.4.91",  // JPEG 2000
	"1.2.840.10008.1.2.4.81",  // JPEG-LS near lossless
	"1.2.840.10008.1.2.4.51",  // JPEG Extended
	"1.2.840.10008.1.2.4.57",  // JPEG Lossless
	"1.2.840.10008.1.2.4.201", // HTJ2K Lossless
	"1.2.840.10008.1.2.4.202", // HTJ2K Lossless RPCL
	"1.2.840.10008.1.2.4.203", // HTJ2K
	"1.2.840.10008.1.2.4.102", // MPEG-4
	"1.2.840.10008.1.2.4.100", // MPEG-2
	dicom.DeflatedExplicitVRLittleEndian,
	dicom.ExplicitVRBigEndian,
}

// getContexts proposes the retrieval and, with the SCP role, what it may bring.
// Each class gets a context for as many transfer syntaxes as fit, so that a node
// can send what it has as it has it; without known classes there is room for one
// context each, and the node's choice in it decides.
func getContexts(sopClass string, classes []string) (contexts []ul.ProposedContext, roles []ul.Role) {
	contexts = []ul.ProposedContext{dimse.ServiceContext(1, sopClass)}
	room := dimse.MaxContexts - 1
	if len(classes) == 0 || len(classes) > room {
		classes = nil
		for _, s := range dicom.StorageSOPClasses {
			if !s.Retired && len(classes) < room {
				classes = append(classes, s.UID)
			}
		}
	}
	each := max(room/len(classes), 1)
	for _, class := range classes {
		roles = append(roles, ul.Role{SOPClassUID: class, SCP: true})
		for i := range min(each, len(takenSyntaxes)) {
			syntaxes := takenSyntaxes[i : i+1]
			if i == each-1 { // the last one takes what is left
				syntaxes = takenSyntaxes[i:]
			}
			contexts = append(contexts, ul.ProposedContext{ID: byte(2*len(contexts) + 1), AbstractSyntax: class, TransferSyntaxes: syntaxes})
		}
	}
	return contexts, roles
}

// fileFolder writes instances as Part 10 files.
type fileFolder struct {
	dir      string
	progress *sendProgress

	mu      sync.Mutex
	written int
	bytes   int64
	err     error // the first
}

// Store writes one instance. Success is answered when the file is on disk under
// its name.
func (f *fileFolder) Store(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
	n, err := f.write(rq)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.written++
		f.bytes += n
		return dimse.Status{Code: dimse.Success}
	}
	f.err = cmp.Or(f.err, err)
	var bad *dicom.ScanError
	if errors.As(err, &bad) || errors.Is(err, errNoUID) {
		return dimse.Statusf(dimse.CannotUnderstand, "%v", err)
	}
	return dimse.Statusf(dimse.OutOfResources, "can't be written")
}

var errNoUID = errors.New("an instance came without valid study, series and instance UID")

// write puts the instance beside its place, makes it durable, and moves it there.
func (f *fileFolder) write(rq *dimse.StoreRequest) (n int64, err error) {
	file, err := os.CreateTemp(f.dir, ".part-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	out := bufio.NewWriterSize(file, 1<<20)
	if _, err = out.Write(dicom.AppendFileMeta(nil, dicom.FileMeta{
		SOPClassUID: rq.SOPClassUID, SOPInstanceUID: rq.SOPInstanceUID, TransferSyntaxUID: rq.TransferSyntaxUID,
		SourceAETitle: rq.Association.CalledAE,
	})); err != nil {
		return 0, err
	}
	h, err := dicom.Scan(io.TeeReader(rq.Data, out), dicom.ScanOptions{TransferSyntax: rq.TransferSyntaxUID})
	if err != nil {
		return 0, err
	}
	if err = out.Flush(); err != nil {
		return 0, err
	}
	if err = file.Sync(); err != nil {
		return 0, err
	}
	if err = file.Close(); err != nil {
		return 0, err
	}
	// The names come from the node: a UID has digits and dots and no path in it.
	uids := []string{h.Dataset.String(dicom.TagStudyInstanceUID), h.Dataset.String(dicom.TagSeriesInstanceUID), rq.SOPInstanceUID}
	for _, uid := range uids {
		if dicom.ValidUID(uid) != nil {
			return 0, errNoUID
		}
	}
	folder := filepath.Join(f.dir, uids[0], uids[1])
	if err = os.MkdirAll(folder, 0o750); err != nil {
		return 0, err
	}
	return h.Length, os.Rename(file.Name(), filepath.Join(folder, uids[2]+".dcm"))
}
