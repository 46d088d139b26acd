package orders_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
	"github.com/tasvir-pacs/tasvir/worklist/worklisttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

// site has orders and somebody who enters them everywhere.
type site struct {
	*worklisttest.Site
	by *access.Identity
}

func open(t *testing.T) *site {
	t.Helper()
	return &site{worklisttest.Open(t), access.System("test")}
}

// at is a time of 22 November 2026 on the wall.
func at(hour, minute int) time.Time { return time.Date(2026, 11, 22, hour, minute, 0, 0, time.UTC) }

// headCT is a CT of the head that somebody wants at 9:30 in hospital A.
func headCT() orders.Order {
	return orders.Order{
		Facility: pacs.Facility{Code: "A"},
		Patient:  pacs.Patient{PatientID: "P1", Name: "Каримов^Али^Бахтиёрович", Sex: "M", BirthDate: "19580512"},
		Reason:   "Insult", Question: "Qon quyilishi bormi?", Department: "Nevrologiya", Physician: "Ergashev^Jasur", Priority: worklist.Urgent,
		Procedure: orders.Procedure{Description: "Bosh KT"},
		Steps:     []orders.Step{{Modality: "CT", Stations: []string{"CT1"}, Start: at(9, 30)}},
	}
}

func (s *site) enter(change ...func(*orders.Order)) orders.Order {
	s.Helper()
	o := headCT()
	for _, f := range change {
		f(&o)
	}
	entered, created, err := s.Orders.Create(s.Context(), s.by, o)
	if err != nil || !created {
		s.Fatalf("created %v, %v", created, err)
	}
	return entered
}

func (s *site) get(id string) orders.Order {
	s.Helper()
	o, err := s.Orders.Get(s.Context(), s.by.Scope, id)
	if err != nil {
		s.Fatal(err)
	}
	return o
}

func (s *site) wantState(id string, want orders.State) orders.Order {
	s.Helper()
	o := s.get(id)
	if o.State != want {
		s.Errorf("the order is %s, want %s", o.State, want)
	}
	return o
}

// person is the identity of somebody with a role at facilities.
func (s *site) person(login string, role pacs.Role, facilities ...string) *access.Identity {
	s.Helper()
	token, _, err := s.Access.StartSession(s.Context(), s.Person(login, role, facilities...), "127.0.0.1")
	if err != nil {
		s.Fatal(err)
	}
	identity, err := s.Access.SessionByToken(s.Context(), token)
	if err != nil {
		s.Fatal(err)
	}
	return identity
}
