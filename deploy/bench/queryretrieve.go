package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// asked is a system that may be asked by BENCH and send to MOVER.
type asked interface {
	system
	// know has it send to MOVER at this loopback port.
	know(ctx context.Context, port int) error
}

const (
	foundStudies = 1000
	// askedTimes is how often each operation is measured on a started system.
	askedTimes = 3
)

// queryRetrieve measures C-FIND of 1,000 studies, and C-GET and C-MOVE of a CT
// series. The other end is our own, for all systems, and throws away what it
// gets: what is measured is how fast they answer.
func queryRetrieve(ctx context.Context, r *run) error {
	ct, err := r.corpus.batches(r.corpus.ct, 1, ctSlices, 1)
	if err != nil {
		return err
	}
	study := renew(r.corpus.ct.instances[0].study, r.corpus.variants)
	small, err := r.corpus.batches(r.corpus.mr, 1, 1, foundStudies-1)
	if err != nil {
		return err
	}
	batches := append(ct, small...)
	defer remove(batches) //nolint:errcheck // the whole folder goes at the end
	for n := range r.repeat {
		for _, s := range []asked{&tasvir{run: r}, &orthanc{run: r}} {
			err := r.on(ctx, s, func() error {
				r.noteLoad(fmt.Sprintf("retrieve %d on %s", n+1, s.name()))
				return r.askedOn(ctx, s, batches, study)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) askedOn(ctx context.Context, s asked, batches []batch, study string) error {
	if _, err := r.storescu(ctx, s, batches, false); err != nil {
		return err
	}
	if _, err := awaitCount(ctx, s, total(batches), pollPause); err != nil {
		return err
	}
	mover := &sink{}
	port, end, err := mover.listen(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := s.know(ctx, port); err != nil {
		return err
	}
	settle()
	for _, m := range []struct {
		what, unit string
		target     target
		do         func() (float64, error)
	}{
		{"C-FIND of 1,000 studies", "matches/s", atLeast(5, "orthanc"), func() (float64, error) { return findRate(ctx, s) }},
		{"C-GET of 250 CT slices", "instances/s", atLeast(2, "orthanc"), func() (float64, error) { return getRate(ctx, s, study) }},
		{"C-MOVE of 250 CT slices", "instances/s", atLeast(2, "orthanc"), func() (float64, error) { return moveRate(ctx, s, mover, study) }},
	} {
		for range askedTimes {
			rate, err := m.do()
			if err != nil {
				return fmt.Errorf("%s on %s: %w", m.what, s.name(), err)
			}
			r.report.row(m.what, m.unit, "tasvir", m.target).add(s.name(), rate)
			r.say("  %-9s %-40s %7s %s", s.name(), m.what, figure(rate), m.unit)
		}
	}
	return nil
}

// askAs associates as BENCH.
func askAs(ctx context.Context, s system, contexts []ul.ProposedContext, roles ...ul.Role) (*dimse.Client, error) {
	address, aet := s.dicom()
	return dimse.Dial(ctx, address, dimse.Dialer{CallingAE: "BENCH", CalledAE: aet, Contexts: contexts, Roles: roles})
}

func rate(n int, began time.Time) float64 { return float64(n) / time.Since(began).Seconds() }

// findRate asks for all studies on an association that is there already.
func findRate(ctx context.Context, s system) (float64, error) {
	client, err := askAs(ctx, s, []ul.ProposedContext{dimse.ServiceContext(1, dicom.StudyRootFindSOPClass)})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	identifier := new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, "STUDY")
	for _, tag := range []dicom.Tag{
		dicom.TagStudyInstanceUID, dicom.TagStudyDate, dicom.TagStudyTime, dicom.TagAccessionNumber, dicom.TagPatientName, dicom.TagPatientID,
	} {
		identifier.SetString(tag, dicom.LookupVR(tag, false))
	}
	n, began := 0, time.Now()
	status, err := client.Find(ctx, dicom.StudyRootFindSOPClass, identifier, func(*dicom.Dataset, bool) error { n++; return nil })
	result := rate(n, began)
	if err == nil && (!status.OK() || n != foundStudies) {
		err = fmt.Errorf("%d matches, %s", n, status)
	}
	return result, errors.Join(err, client.Release(ctx))
}

func studyLevel(uid string) *dicom.Dataset {
	return new(dicom.Dataset).SetString(dicom.TagQueryRetrieveLevel, dicom.CS, "STUDY").SetString(dicom.TagStudyInstanceUID, dicom.UI, uid)
}

func checkRetrieved(r dimse.Retrieved, arrived int) error {
	if !r.OK() || r.Completed != ctSlices || arrived != ctSlices {
		return fmt.Errorf("%d of %d instances completed, %d arrived: %s", r.Completed, ctSlices, arrived, r.Status)
	}
	return nil
}

// getRate fetches the CT series over the association that asks.
func getRate(ctx context.Context, s system, study string) (float64, error) {
	contexts := []ul.ProposedContext{
		dimse.ServiceContext(1, dicom.StudyRootGetSOPClass),
		{ID: 3, AbstractSyntax: dicom.CTImageStorage, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian}},
	}
	client, err := askAs(ctx, s, contexts, ul.Role{SOPClassUID: dicom.CTImageStorage, SCP: true})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	taken := &sink{}
	began := time.Now()
	retrieved, err := client.Get(ctx, dicom.StudyRootGetSOPClass, studyLevel(study), taken, nil)
	result := rate(ctSlices, began)
	if err == nil {
		err = checkRetrieved(retrieved, taken.instances)
	}
	return result, errors.Join(err, client.Release(ctx))
}

// moveRate has the CT series sent to MOVER.
func moveRate(ctx context.Context, s system, to *sink, study string) (float64, error) {
	client, err := askAs(ctx, s, []ul.ProposedContext{dimse.ServiceContext(1, dicom.StudyRootMoveSOPClass)})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	to.instances = 0
	began := time.Now()
	retrieved, err := client.Move(ctx, dicom.StudyRootMoveSOPClass, "MOVER", studyLevel(study), nil)
	result := rate(ctSlices, began)
	if err == nil {
		err = checkRetrieved(retrieved, to.instances)
	}
	return result, errors.Join(err, client.Release(ctx))
}

// sink takes instances and forgets them. Only one association at a time sends
// to it.
type sink struct{ instances int }

// Store implements dimse.StoreHandler.
func (k *sink) Store(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
	if _, err := io.Copy(io.Discard, rq.Data); err != nil {
		return dimse.Statusf(dimse.ProcessingFailure, "%v", err)
	}
	k.instances++
	return dimse.Status{}
}

// listen has it answer as MOVER until end is called.
func (k *sink) listen(ctx context.Context) (port int, end func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&dimse.Server{AETitle: "MOVER", Store: k}).Serve(ctx, ln)
	}()
	return ln.Addr().(*net.TCPAddr).Port, func() { cancel(); <-done }, nil
}
