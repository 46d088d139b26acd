package ups

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

// site has a DICOM port that answers for steps, and devices.
type site struct {
	*worklisttest.Site
	addr  string
	steps *Steps
}

// Devices of every site: two of hospital A, one of B, one that sees all, one
// without the service.
var known = []access.Device{
	{AETitle: "PULLER", FacilityCode: "A", Services: []access.Service{access.UPS}},
	{AETitle: "PUSHER", FacilityCode: "A", Services: []access.Service{access.UPS}, AnswerCharset: "ISO_IR 6"},
	{AETitle: "OTHER", FacilityCode: "B", Services: []access.Service{access.UPS}},
	{AETitle: "NATION", FacilityCode: "B", AllFacilities: true, Services: []access.Service{access.UPS}},
	{AETitle: "CT1", FacilityCode: "A", Services: []access.Service{access.Store}},
}

func open(t *testing.T) *site {
	t.Helper()
	s := &site{Site: worklisttest.Open(t)}
	devices := map[string]access.Device{}
	for _, d := range known {
		added, err := s.Access.AddDevice(t.Context(), access.System("test"), d)
		if err != nil {
			t.Fatal(err)
		}
		devices[d.AETitle] = added
	}
	var err error
	s.steps, err = New(t.Context(), Options{
		Worklist: s.Worklist, AETitle: "TASVIR", Log: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, aeTitle string, how dimse.Dialer) (*dimse.Client, error) {
			d, err := s.Access.Remote(ctx, aeTitle)
			if err != nil {
				return nil, err
			}
			how.CallingAE, how.CalledAE = "TASVIR", aeTitle
			return dimse.Dial(ctx, d.Address(), how)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.addr = s.serve(&dimse.Server{
		Admit: func(_ context.Context, c dimse.Caller) (dimse.Admission, error) {
			return dimse.Admission{Value: devices[c.Request.CallingAE]}, nil
		},
		Services: []dimse.Service{s.steps.Service()},
	})
	return s
}

// serve runs a server for as long as the test and returns where.
func (s *site) serve(server *dimse.Server) string {
	s.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, ln) }()
	s.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			s.Error(err)
		}
	})
	return ln.Addr().String()
}

var classes = []string{PushSOPClass, WatchSOPClass, PullSOPClass, EventSOPClass, QuerySOPClass}

// peer is a device that calls.
type peer struct {
	*dimse.Client
	s *site
}

func (s *site) dial(calling string) *peer {
	s.Helper()
	var contexts []ul.ProposedContext
	for i, class := range classes {
		contexts = append(contexts, dimse.ServiceContext(byte(2*i+1), class))
	}
	c, err := dimse.Dial(s.Context(), s.addr, dimse.Dialer{CallingAE: calling, CalledAE: "TASVIR", Contexts: contexts})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	return &peer{c, s}
}

func (p *peer) must(rsp dimse.NResponse, err error) dimse.NResponse {
	p.s.Helper()
	if err != nil {
		p.s.Fatal(err)
	}
	return rsp
}

func (p *peer) create(uid string, ds *dicom.Dataset) dimse.NResponse {
	p.s.Helper()
	return p.must(p.NCreate(p.s.Context(), dimse.NRequest{SOPClassUID: PushSOPClass, SOPInstanceUID: uid, DataSet: ds}))
}

func (p *peer) get(uid string, tags ...dicom.Tag) dimse.NResponse {
	p.s.Helper()
	return p.must(p.NGet(p.s.Context(), dimse.NRequest{SOPClassUID: PushSOPClass, AbstractSyntax: PullSOPClass, SOPInstanceUID: uid, Attributes: tags}))
}

func (p *peer) action(abstract, uid string, kind uint16, ds *dicom.Dataset) dimse.NResponse {
	p.s.Helper()
	return p.must(p.NAction(p.s.Context(), dimse.NRequest{SOPClassUID: PushSOPClass, AbstractSyntax: abstract, SOPInstanceUID: uid, ActionTypeID: kind, DataSet: ds}))
}

func (p *peer) state(uid string, to State, transaction string) dimse.Code {
	p.s.Helper()
	return p.action(PullSOPClass, uid, actChange, new(dicom.Dataset).SetString(dicom.TagProcedureStepState, dicom.CS, string(to)).
		SetString(dicom.TagTransactionUID, dicom.UI, transaction)).Code
}

func (p *peer) cancel(uid string, why *dicom.Dataset) dimse.Code {
	p.s.Helper()
	return p.action(WatchSOPClass, uid, actCancel, why).Code
}

func (p *peer) set(uid, transaction string, ds *dicom.Dataset) dimse.NResponse {
	p.s.Helper()
	if transaction != "" {
		ds.SetString(dicom.TagTransactionUID, dicom.UI, transaction)
	}
	return p.must(p.NSet(p.s.Context(), dimse.NRequest{SOPClassUID: PushSOPClass, AbstractSyntax: PullSOPClass, SOPInstanceUID: uid, DataSet: ds}))
}

func (p *peer) subscribe(uid string, lock bool, keys ...func(*dicom.Dataset)) dimse.Code {
	p.s.Helper()
	ds := receiving(p.s.calling(p)).SetString(dicom.TagDeletionLock, dicom.LO, map[bool]string{true: "TRUE", false: "FALSE"}[lock])
	for _, f := range keys {
		f(ds)
	}
	return p.action(WatchSOPClass, uid, actSubscribe, ds).Code
}

func (s *site) calling(*peer) string { return "PULLER" }

func receiving(ae string) *dicom.Dataset {
	return new(dicom.Dataset).SetString(dicom.TagReceivingAE, dicom.AE, ae)
}

// find asks for steps.
func (p *peer) find(keys *dicom.Dataset) []*dicom.Dataset {
	p.s.Helper()
	list, _ := p.ask(keys)
	return list
}

func (p *peer) ask(keys *dicom.Dataset) (found []*dicom.Dataset, anyIgnored bool) {
	p.s.Helper()
	status, err := p.Find(p.s.Context(), PullSOPClass, keys, func(match *dicom.Dataset, ignored bool) error {
		found, anyIgnored = append(found, match), anyIgnored || ignored
		return nil
	})
	if err != nil || status.Code != dimse.Success {
		p.s.Fatalf("%s, %v", status, err)
	}
	return found, anyIgnored
}

// keys are those of a query: tag and value in turn.
func keys(pairs ...any) *dicom.Dataset {
	ds := new(dicom.Dataset)
	for i := 0; i < len(pairs); i += 2 {
		tag := pairs[i].(dicom.Tag)
		ds.SetString(tag, dicom.LookupVR(tag, false), pairs[i+1].(string))
	}
	return ds
}

// pushable is what an N-CREATE must have, of image processing.
func pushable(change ...func(*dicom.Dataset)) *dicom.Dataset {
	ds := keys(
		dicom.TagProcedureStepState, "SCHEDULED", dicom.TagScheduledProcedureStepPriority, "MEDIUM", dicom.TagProcedureStepLabel, "Lung CAD",
		dicom.TagWorklistLabel, "CAD", dicom.TagScheduledProcedureStepStartDateTime, "20261122093000", dicom.TagInputReadinessState, "READY",
		dicom.TagPatientName, "Каримов^Али", dicom.TagPatientID, "P77",
	)
	ds.SetSequence(dicom.TagScheduledWorkitemCodeSequence, code("110004", "DCM", "Computer Aided Detection"))
	for _, f := range change {
		f(ds)
	}
	return ds
}

// ofStudy makes a step ask for a study to be read.
func ofStudy(uid string) func(*dicom.Dataset) {
	return func(ds *dicom.Dataset) {
		ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, uid).SetSequence(dicom.TagScheduledWorkitemCodeSequence, interpretation)
	}
}

// performedAll is what a performer sets before it says COMPLETED.
func performedAll() *dicom.Dataset {
	return new(dicom.Dataset).SetSequence(dicom.TagUnifiedProcedureStepPerformedProcedureSequence, new(dicom.Dataset).
		SetSequence(dicom.TagPerformedStationNameCodeSequence, code("CAD1", "99TEST", "CAD server")).
		SetSequence(dicom.TagPerformedWorkitemCodeSequence, code("110004", "DCM", "Computer Aided Detection")).
		SetString(dicom.TagPerformedProcedureStepStartDateTime, dicom.DT, "20261122093100").
		SetString(dicom.TagPerformedProcedureStepEndDateTime, dicom.DT, "20261122093200").SetSequence(dicom.TagOutputInformationSequence))
}

// stepOf is the UID of the step that a task is now.
func (s *site) stepOf(task string) string {
	s.Helper()
	found, err := find(s.Context(), s.Index.Pool(), `u.task_id = $1 ORDER BY u.id DESC LIMIT 1`, task)
	if err != nil || found == nil {
		s.Fatalf("no step of task %s: %v", task, err)
	}
	return found.uid
}

// stateOf is the state of a step.
func (s *site) stateOf(uid string) State {
	s.Helper()
	ds, err := s.steps.Get(s.Context(), everybody, uid)
	if err != nil {
		s.Fatal(err)
	}
	return State(ds.String(dicom.TagProcedureStepState))
}

var everybody = Caller{Scope: pacs.System("test")}

// eventually waits until f holds.
func (s *site) eventually(what string, f func() bool) {
	s.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			s.Fatalf("not in time: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func wantCode(t testing.TB, what string, got, want dimse.Code) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}
