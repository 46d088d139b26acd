package modality

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

// site has a DICOM port that answers worklist and MPPS.
type site struct {
	*worklisttest.Site
	addr  string
	steps *Steps
	ended []string // studies that Ended was called for
}

// open starts a site with devices; each may use both services unless its
// Services say otherwise.
func open(t *testing.T, devices ...access.Device) *site {
	t.Helper()
	s := &site{Site: worklisttest.Open(t)}
	var err error
	if s.steps, err = New(t.Context(), s.Index, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	s.steps.Ended = func(_ context.Context, _ pgx.Tx, study string) error {
		s.ended = append(s.ended, study)
		return nil
	}
	known := map[string]access.Device{}
	for _, d := range devices {
		d.FacilityID = map[string]int64{"A": s.A.ID, "B": s.B.ID}[d.FacilityCode]
		if d.Services == nil {
			d.Services = []access.Service{access.Worklist, access.MPPS}
		}
		known[d.AETitle] = d
	}
	told := &Worklist{Orders: s.Orders, Log: slog.New(slog.DiscardHandler)}
	server := &dimse.Server{
		Admit: func(_ context.Context, c dimse.Caller) (dimse.Admission, error) {
			return dimse.Admission{Value: known[c.Request.CallingAE]}, nil
		},
		Services: []dimse.Service{told.Service(), s.steps.Service()},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) dial(calling string) *dimse.Client {
	s.Helper()
	c, err := dimse.Dial(s.Context(), s.addr, dimse.Dialer{CallingAE: calling, CalledAE: "TASVIR", Contexts: []ul.ProposedContext{
		dimse.ServiceContext(1, dicom.ModalityWorklistFindSOPClass),
		dimse.ServiceContext(3, dicom.ModalityPerformedProcedureStepSOPClass),
		dimse.ServiceContext(5, RetrieveSOPClass),
	}})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	return c
}

// at is a time of 22 November 2026 on the wall.
func at(hour, minute int) time.Time { return time.Date(2026, 11, 22, hour, minute, 0, 0, time.UTC) }

func (s *site) order(change ...func(*orders.Order)) orders.Order {
	s.Helper()
	o := orders.Order{
		Facility: pacs.Facility{Code: "A"},
		Patient:  pacs.Patient{PatientID: "P1", Name: "Каримов^Али^Бахтиёрович", Sex: "M", BirthDate: "19580512", PINFL: "31205580000044"},
		Reason:   "Bosh\nogʻrigʻi", Question: "Qon quyilishi bormi?", Department: "Неврология", Physician: "Эргашев^Жасур", Priority: worklist.Urgent, Placer: "",
		Procedure: orders.Procedure{Description: "Bosh miya KT", Code: orders.Code{Value: "CT01", Scheme: "99UZ", Meaning: "Head CT"}},
		Steps:     []orders.Step{{Modality: "CT", Stations: []string{"CT1"}, Start: at(9, 30), Location: "1-qavat", Medication: "Yoʻq", Physician: "Қодирова^Ҳилола"}},
	}
	for _, f := range change {
		f(&o)
	}
	o, _, err := s.Orders.Create(s.Context(), access.System("test"), o)
	if err != nil {
		s.Fatal(err)
	}
	return o
}

// find asks for the worklist.
func (s *site) find(calling string, identifier *dicom.Dataset) ([]*dicom.Dataset, bool) {
	s.Helper()
	var found []*dicom.Dataset
	anyIgnored := false
	status, err := s.dial(calling).Find(s.Context(), dicom.ModalityWorklistFindSOPClass, identifier, func(match *dicom.Dataset, ignored bool) error {
		found, anyIgnored = append(found, match), anyIgnored || ignored
		return nil
	})
	if err != nil || status.Code != dimse.Success {
		s.Fatalf("%s, %v", status, err)
	}
	return found, anyIgnored
}
