package ups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// queued are the events that wait for an AE: type, UID, and the state or what
// else is told.
func (s *site) queued(ae string) []string {
	s.Helper()
	var id int64
	if err := s.Index.Pool().QueryRow(s.Context(), `SELECT coalesce((SELECT id FROM ups_subscriber WHERE ae_title = $1 AND owner = ''), 0)`, ae).Scan(&id); err != nil {
		s.Fatal(err)
	}
	list, err := s.steps.waiting(s.Context(), id, 1000)
	if err != nil {
		s.Fatal(err)
	}
	var words []string
	for _, e := range list {
		words = append(words, told(uint16(e.Type), e.StepUID, e.Information))
	}
	return words
}

func told(kind uint16, uid string, ds *dicom.Dataset) string {
	word := ds.String(dicom.TagProcedureStepState)
	switch kind {
	case cancelRequested:
		word = ds.String(dicom.TagRequestingAE) + ": " + ds.Text(dicom.TagReasonForCancellation)
	case progressReport:
		word = ds.Item(dicom.TagProcedureStepProgressInformationSequence).String(dicom.TagProcedureStepProgress)
	case statusChange:
		word = ds.String(dicom.TagSCPStatus)
	case assigned:
		word = ds.Item(dicom.TagScheduledStationNameCodeSequence).String(dicom.TagCodeValue)
	}
	return fmt.Sprintf("%d %s %s", kind, uid, word)
}

// forgetEvents empties the queues.
func (s *site) forgetEvents() {
	s.Helper()
	if _, err := s.Index.Pool().Exec(s.Context(), `DELETE FROM ups_event`); err != nil {
		s.Fatal(err)
	}
}

// subscribed is the state of PULLER's subscription to a step.
func (s *site) subscribed(uid string) string {
	s.Helper()
	var lock *bool
	if err := s.Index.Pool().QueryRow(s.Context(), `SELECT (SELECT x.lock FROM ups_subscription x JOIN ups_subscriber s ON s.id = x.subscriber_row JOIN ups u ON u.id = x.ups_row
		WHERE s.ae_title = 'PULLER' AND u.sop_uid = $1)`, uid).Scan(&lock); err != nil {
		s.Fatal(err)
	}
	switch {
	case lock == nil:
		return "not"
	case *lock:
		return "lock"
	}
	return "no lock"
}

// Every cell of PS3.4 Table CC.2.3-2, typed from the standard: the state of the
// subscription after, and whether an initial event is sent.
func TestEveryCellOfTheSubscriptionTable(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	off := func(uid string, kind uint16) dimse.Code {
		return p.action(WatchSOPClass, uid, kind, receiving("PULLER")).Code
	}
	n := 0
	for _, row := range []struct {
		name  string
		ask   func(uid string) dimse.Code
		after [3]string // from: not, lock, no lock
		event [3]bool
	}{
		{"globally with lock", func(string) dimse.Code { return p.subscribe(GlobalSubscription, true) }, [3]string{"lock", "lock", "no lock"}, [3]bool{true, false, false}},
		{"globally without", func(string) dimse.Code { return p.subscribe(GlobalSubscription, false) }, [3]string{"no lock", "lock", "no lock"}, [3]bool{}},
		{"specific with lock", func(uid string) dimse.Code { return p.subscribe(uid, true) }, [3]string{"lock", "lock", "lock"}, [3]bool{true, true, true}},
		{"specific without", func(uid string) dimse.Code { return p.subscribe(uid, false) }, [3]string{"no lock", "no lock", "no lock"}, [3]bool{true, true, true}},
		{"unsubscribe specific", func(uid string) dimse.Code { return off(uid, actUnsubscribe) }, [3]string{"not", "not", "not"}, [3]bool{}},
		{"unsubscribe globally", func(string) dimse.Code { return off(GlobalSubscription, actUnsubscribe) }, [3]string{"not", "not", "not"}, [3]bool{}},
		{"suspend", func(string) dimse.Code { return off(GlobalSubscription, actSuspend) }, [3]string{"not", "lock", "no lock"}, [3]bool{}},
	} {
		for i, from := range []string{"not", "lock", "no lock"} {
			wantCode(t, "clear", off(GlobalSubscription, actUnsubscribe), 0)
			n++
			uid := fmt.Sprintf("1.2.7.%d", n)
			wantCode(t, "create", p.create(uid, pushable()).Code, 0)
			if from != "not" {
				wantCode(t, "from", p.subscribe(uid, from == "lock"), 0)
			}
			s.forgetEvents()
			what := row.name + " from " + from
			wantCode(t, what, row.ask(uid), 0)
			if got := s.subscribed(uid); got != row.after[i] {
				t.Errorf("%s: %s, want %s", what, got, row.after[i])
			}
			if got := slices.Contains(s.queued("PULLER"), "1 "+uid+" SCHEDULED"); got != row.event[i] {
				t.Errorf("%s: initial event %v, want %v", what, got, row.event[i])
			}
		}
	}
	// A step that is created: null.
	for _, row := range []struct {
		before func() dimse.Code
		after  string
	}{
		{func() dimse.Code { return off(GlobalSubscription, actUnsubscribe) }, "not"},
		{func() dimse.Code { return p.subscribe(GlobalSubscription, true) }, "lock"},
		{func() dimse.Code { return p.subscribe(GlobalSubscription, false) }, "no lock"},
		{func() dimse.Code { return off(GlobalSubscription, actSuspend) }, "not"},
	} {
		wantCode(t, "before", row.before(), 0)
		s.forgetEvents()
		n++
		uid := fmt.Sprintf("1.2.7.%d", n)
		wantCode(t, "create", p.create(uid, pushable()).Code, 0)
		if got := s.subscribed(uid); got != row.after || (len(s.queued("PULLER")) == 1) != (row.after != "not") {
			t.Errorf("created: %s, %v, want %s", got, s.queued("PULLER"), row.after)
		}
	}
	for what, row := range map[string]struct{ got, want dimse.Code }{
		"unknown step":     {p.subscribe("1.2.999", false), NoSuchStep},
		"suspend a step":   {off("1.2.7.1", actSuspend), NotAppropriate},
		"unknown receiver": {p.action(WatchSOPClass, GlobalSubscription, actSubscribe, receiving("NOBODY").SetString(dicom.TagDeletionLock, dicom.LO, "FALSE")).Code, UnknownReceiver},
		"not allowed":      {p.action(WatchSOPClass, GlobalSubscription, actSubscribe, receiving("CT1").SetString(dicom.TagDeletionLock, dicom.LO, "FALSE")).Code, UnknownReceiver},
		"another hospital": {p.action(WatchSOPClass, GlobalSubscription, actSubscribe, receiving("OTHER").SetString(dicom.TagDeletionLock, dicom.LO, "FALSE")).Code, UnknownReceiver},
		"no lock said":     {p.action(WatchSOPClass, GlobalSubscription, actSubscribe, receiving("PULLER")).Code, dimse.MissingAttribute},
		"a strange lock":   {p.action(WatchSOPClass, GlobalSubscription, actSubscribe, receiving("PULLER").SetString(dicom.TagDeletionLock, dicom.LO, "MAYBE")).Code, dimse.InvalidAttributeValue},
		"no filter":        {p.subscribe(FilteredSubscription, false), dimse.MissingAttribute},
	} {
		wantCode(t, what, row.got, row.want)
	}
}

// What happens is told: the events of PS3.4 Table CC.2.4-1 and when they are sent.
func TestEvents(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	wantCode(t, "filter", p.subscribe(FilteredSubscription, false, func(ds *dicom.Dataset) { ds.SetString(dicom.TagWorklistLabel, dicom.LO, "CAD*") }), 0)
	wantCode(t, "no match", p.create("1.2.1", pushable(func(ds *dicom.Dataset) { ds.SetString(dicom.TagWorklistLabel, dicom.LO, "Print") })).Code, 0)
	station := func(ds *dicom.Dataset) {
		ds.SetSequence(dicom.TagScheduledStationNameCodeSequence, code("GPU1", "99TEST", "First"))
	}
	wantCode(t, "create", p.create("1.2.2", pushable(station)).Code, 0)
	wantCode(t, "ready", p.set("1.2.2", "", keys(dicom.TagInputReadinessState, "INCOMPLETE")).Code, 0)
	again := keys(dicom.TagInputReadinessState, "INCOMPLETE")
	wantCode(t, "no change", p.set("1.2.2", "", again).Code, 0)
	wantCode(t, "assign", p.set("1.2.2", "", new(dicom.Dataset).SetSequence(dicom.TagScheduledStationNameCodeSequence, code("GPU2", "99TEST", "Second"))).Code, 0)
	wantCode(t, "claim", p.state("1.2.2", InProgress, right), 0)
	wantCode(t, "progress", p.set("1.2.2", right, new(dicom.Dataset).SetSequence(dicom.TagProcedureStepProgressInformationSequence,
		new(dicom.Dataset).SetString(dicom.TagProcedureStepProgress, dicom.DS, "40"))).Code, 0)
	wantCode(t, "ask", s.dial("NATION").cancel("1.2.2", new(dicom.Dataset).SetString(dicom.TagReasonForCancellation, dicom.LT, "бекор қилинди").
		SetString(dicom.TagContactURI, dicom.UR, "tel:+998")), 0)
	wantCode(t, "give up", p.state("1.2.2", Canceled, right), 0)
	wantCode(t, "scheduled and canceled", p.create("1.2.3", pushable()).Code, 0)
	wantCode(t, "cancel", p.cancel("1.2.3", new(dicom.Dataset).SetString(dicom.TagReasonForCancellation, dicom.LT, "twice")), 0)
	want := []string{
		"1 1.2.2 SCHEDULED", "5 1.2.2 GPU1", "1 1.2.2 SCHEDULED", "5 1.2.2 GPU2", "1 1.2.2 IN PROGRESS", "3 1.2.2 40", "2 1.2.2 NATION: бекор қилинди", "1 1.2.2 CANCELED",
		"1 1.2.3 SCHEDULED", "2 1.2.3 PULLER: twice", "1 1.2.3 IN PROGRESS", "1 1.2.3 CANCELED",
	}
	if got := s.queued("PULLER"); !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	ds := p.get("1.2.3").DataSet
	info := ds.Item(dicom.TagProcedureStepProgressInformationSequence)
	if info.Text(dicom.TagReasonForCancellation) != "twice" || info.String(dicom.TagProcedureStepCancellationDateTime) == "" || !info.Has(dicom.TagProcedureStepDiscontinuationReasonCodeSequence) {
		t.Errorf("canceled without saying why: %v", info)
	}
	// Who sees nothing of it hears nothing: another hospital, subscribed to all.
	o := s.dial("OTHER")
	wantCode(t, "other", o.action(WatchSOPClass, GlobalSubscription, actSubscribe, receiving("OTHER").SetString(dicom.TagDeletionLock, dicom.LO, "TRUE")).Code, 0)
	wantCode(t, "create", p.create("1.2.4", pushable()).Code, 0)
	if got := s.queued("OTHER"); len(got) != 0 {
		t.Errorf("another hospital hears %v", got)
	}
	// A reading's changes are told, too, whoever makes them.
	s.forgetEvents()
	wantCode(t, "all", p.subscribe(GlobalSubscription, false), 0)
	person := s.Person("karimova", pacs.Radiologist)
	task := s.Task("A")
	if _, err := s.Worklist.Claim(t.Context(), pacs.System("test"), task.ID, person.ID); err != nil {
		t.Fatal(err)
	}
	uid := s.stepOf(task.ID)
	if got, want := s.queued("PULLER"), []string{"1 " + uid + " SCHEDULED", "1 " + uid + " IN PROGRESS"}; !slices.Equal(got, want) {
		t.Errorf("of a reading: %v, want %v", got, want)
	}
}

// receiver is a device that takes event reports.
type receiver struct {
	mu    sync.Mutex
	heard []string
}

func (r *receiver) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.heard)
}

func (r *receiver) service() dimse.Service {
	return dimse.Service{SOPClasses: []string{EventSOPClass, PushSOPClass}, PeerSCP: true, NEventReport: func(_ context.Context, rq *dimse.Request) dimse.NResponse {
		r.mu.Lock()
		defer r.mu.Unlock()
		if rq.SOPClassUID != PushSOPClass || rq.AbstractSyntax != EventSOPClass {
			r.heard = append(r.heard, "of "+rq.SOPClassUID+" in "+rq.AbstractSyntax)
		}
		r.heard = append(r.heard, told(rq.EventTypeID, rq.SOPInstanceUID, rq.DataSet))
		return dimse.NResponse{}
	}}
}

// at registers where a device answers.
func (s *site) at(ae, addr string) {
	s.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.Access.UpdateDevice(s.Context(), access.System("test"), ae, func(d *access.Device) error {
		d.Host = host
		d.Port, _ = strconv.Atoi(port)
		return nil
	}); err != nil {
		s.Fatal(err)
	}
}

// run runs the delivery for as long as the test, or until the function that it
// returns is called.
func (s *site) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.steps.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				s.Error(err)
			}
		})
	}
	s.Cleanup(stop)
	return stop
}

// Events reach a device at its registered address, in order, also one that was
// off when they happened, and after the server was killed while it told them.
func TestEventsAreDelivered(t *testing.T) {
	s := open(t)
	s.steps.o.Alone = true
	ln, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers there yet
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	s.at("PULLER", addr)
	p := s.dial("PUSHER")
	wantCode(t, "subscribe", p.action(WatchSOPClass, GlobalSubscription, actSubscribe, receiving("PULLER").SetString(dicom.TagDeletionLock, dicom.LO, "FALSE")).Code, 0)
	stop := s.run()
	for i := range 100 {
		wantCode(t, "create", p.create(fmt.Sprintf("1.2.5.%d", i), pushable()).Code, 0)
	}
	s.eventually("an attempt", func() bool {
		var attempts int
		if err := s.Index.Pool().QueryRow(t.Context(), `SELECT attempts FROM ups_subscriber WHERE ae_title = 'PULLER'`).Scan(&attempts); err != nil {
			t.Fatal(err)
		}
		return attempts > 0
	})
	stop()
	// As after kill -9: a claim that nobody gave up, which ends by itself.
	if _, err := s.Index.Pool().Exec(t.Context(), `UPDATE ups_subscriber SET claimed_by = gen_random_uuid(), claimed_until = clock_timestamp() + interval '1 second', next_attempt_at = '-infinity'`); err != nil {
		t.Fatal(err)
	}
	r := &receiver{}
	if ln, err = net.Listen("tcp", addr); err != nil {
		t.Skip("the port was taken by somebody else")
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- (&dimse.Server{AETitle: "PULLER", Services: []dimse.Service{r.service()}, Admit: func(context.Context, dimse.Caller) (dimse.Admission, error) {
			return dimse.Admission{}, nil
		}}).Serve(ctx, ln)
	}()
	defer func() { cancel(); <-served }()
	stop = s.run()
	s.eventually("all events", func() bool { return len(r.list()) >= 101 })
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprintf("1 1.2.5.%d SCHEDULED", i))
	}
	got := r.list()
	// RESTARTED comes once more with each start, at its place.
	if of := slices.DeleteFunc(slices.Clone(got), func(e string) bool { return strings.HasPrefix(e, "4 ") }); !slices.Equal(of, want) {
		t.Errorf("told %d:\n%s", len(of), strings.Join(of, "\n"))
	}
	if !slices.Contains(got, "4 "+GlobalSubscription+" RESTARTED") {
		t.Error("the restart is not told")
	}
	stop()
	if got := r.list(); got[len(got)-1] != "4 "+GlobalSubscription+" GOING DOWN" {
		t.Errorf("at last %q", got[len(got)-1])
	}
}

// A device that has an association open, with the event class, is told there.
func TestEventsOverTheOpenAssociation(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER") // without an address
	var heard []string
	p.OnEvent(func(_ context.Context, n dimse.NRequest) dimse.Status {
		heard = append(heard, told(n.EventTypeID, n.SOPInstanceUID, n.DataSet))
		return dimse.Status{}
	})
	s.run()
	wantCode(t, "create", p.create("1.2.6", pushable()).Code, 0)
	wantCode(t, "subscribe", p.subscribe("1.2.6", false), 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(heard) == 0 {
		if err := p.AwaitEvent(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(heard, []string{"1 1.2.6 SCHEDULED"}) {
		t.Errorf("told %v", heard)
	}
	s.eventually("nothing is left", func() bool { return len(s.queued("PULLER")) == 0 })
}

// A step that has ended is kept while it is locked, and no longer than that.
func TestDeletionLock(t *testing.T) {
	s := open(t)
	p := s.dial("PULLER")
	for uid, lock := range map[string]bool{"1.2.8.1": true, "1.2.8.2": false} {
		wantCode(t, "create", p.create(uid, pushable()).Code, 0)
		wantCode(t, "subscribe", p.subscribe(uid, lock), 0)
		wantCode(t, "cancel", p.cancel(uid, nil), 0)
	}
	old := func(age string) {
		t.Helper()
		if _, err := s.Index.Pool().Exec(t.Context(), `UPDATE ups SET ended_at = now() - $1::interval`, age); err != nil {
			t.Fatal(err)
		}
		if err := s.steps.forget(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	old("31 days")
	wantCode(t, "locked", p.get("1.2.8.1").Code, 0)
	wantCode(t, "not locked", p.get("1.2.8.2").Code, NoSuchStep)
	wantCode(t, "unlock", p.subscribe("1.2.8.1", false), 0)
	old("31 days")
	wantCode(t, "unlocked", p.get("1.2.8.1").Code, NoSuchStep)
}

// The server is killed in the middle of its work, again and again: what was
// committed is told, what is told was committed.
func TestKilledServerLosesNoEvent(t *testing.T) {
	s := open(t)
	p := s.dial("PUSHER")
	r := &receiver{}
	s.at("PULLER", s.serve(&dimse.Server{AETitle: "PULLER", Services: []dimse.Service{r.service()}, Admit: func(context.Context, dimse.Caller) (dimse.Admission, error) {
		return dimse.Admission{}, nil
	}}))
	wantCode(t, "subscribe", p.action(WatchSOPClass, GlobalSubscription, actSubscribe, receiving("PULLER").SetString(dicom.TagDeletionLock, dicom.LO, "FALSE")).Code, 0)
	const rounds, each = 4, 25
	for round := range rounds {
		for i := range each {
			wantCode(t, "create", p.create(fmt.Sprintf("1.2.9.%d", round*each+i), pushable()).Code, 0)
		}
		before := len(r.list())
		child := exec.Command(os.Args[0], "-test.run=^TestDeliveryProcess$", "-test.timeout=60s")
		child.Env = append(os.Environ(), "UPS_TEST_DATABASE="+s.URL)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed when it has told a few.
		s.eventually("the process tells", func() bool { return len(r.list()) >= before+3 })
		_ = child.Process.Kill()
		_ = child.Wait()
		if _, err := s.Index.Pool().Exec(t.Context(), `UPDATE ups_subscriber SET claimed_until = '-infinity'`); err != nil { // a minute later
			t.Fatal(err)
		}
	}
	s.run()
	s.eventually("all events", func() bool { return len(s.queued("PULLER")) == 0 })
	heard := map[string]bool{}
	for _, e := range r.list() {
		heard[e] = true
	}
	for i := range rounds * each {
		if !heard[fmt.Sprintf("1 1.2.9.%d SCHEDULED", i)] {
			t.Errorf("the creation of 1.2.9.%d was not told", i)
		}
	}
}

// TestDeliveryProcess is the process that TestKilledServerLosesNoEvent kills.
func TestDeliveryProcess(t *testing.T) {
	url := os.Getenv("UPS_TEST_DATABASE")
	if url == "" {
		t.Skip("run by TestKilledServerLosesNoEvent")
	}
	ix, err := index.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	people, err := access.Open(t.Context(), ix, access.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	work, err := worklist.New(t.Context(), ix)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := New(t.Context(), Options{Worklist: work, AETitle: "TASVIR", Log: slog.New(slog.DiscardHandler), Dial: func(ctx context.Context, aeTitle string, how dimse.Dialer) (*dimse.Client, error) {
		d, err := people.Remote(ctx, aeTitle)
		if err != nil {
			return nil, err
		}
		how.CallingAE, how.CalledAE = "TASVIR", aeTitle
		return dimse.Dial(ctx, d.Address(), how)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(steps.Run(t.Context()))
}

// Over HTTP one person or token is told under a bounded number of AE titles, and
// one that nothing is left of makes room.
func TestSubscribersOfOneOwner(t *testing.T) {
	s := open(t)
	by := Caller{Scope: pacs.Scope{All: true}}
	subscribe := func(n int, owner string) dimse.Code {
		t.Helper()
		status, err := s.steps.Subscribe(t.Context(), by, Subscriber{AETitle: fmt.Sprint("WEB", n), Owner: owner}, GlobalSubscription, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		return status.Code
	}
	for n := range maxOwned {
		if code := subscribe(n, "token:a"); code != dimse.Success {
			t.Fatalf("subscriber %d: %04X", n, uint16(code))
		}
	}
	if code := subscribe(maxOwned, "token:a"); code != dimse.ResourceLimitation {
		t.Errorf("one more: %04X", uint16(code))
	}
	if err := s.steps.Listen(t.Context(), by, Subscriber{AETitle: "MORE", Owner: "token:a"}, nil); pacs.CodeOf(err) != pacs.TooLarge {
		t.Errorf("one more listens: %v", err)
	}
	if again, other := subscribe(0, "token:a"), subscribe(maxOwned, "token:b"); again != dimse.Success || other != dimse.Success {
		t.Errorf("again %04X, another owner %04X", uint16(again), uint16(other))
	}
	if status, err := s.steps.Unsubscribe(t.Context(), by, Subscriber{AETitle: "WEB7", Owner: "token:a"}, GlobalSubscription); err != nil || !status.OK() {
		t.Fatal(status, err)
	}
	if err := s.steps.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := subscribe(maxOwned, "token:a"); code != dimse.Success {
		t.Errorf("after one is gone: %04X", uint16(code))
	}
}
