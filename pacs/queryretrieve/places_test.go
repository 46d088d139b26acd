package queryretrieve

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

func TestPlaces(t *testing.T) {
	var p Places
	enter := func(ae string, limit int) func() {
		t.Helper()
		leave, ok := p.enter(t.Context(), ae, limit, false)
		if !ok {
			t.Fatalf("no place at %s", ae)
		}
		return leave
	}
	first := enter("A", 2)
	second := enter("A", 2)
	if _, ok := p.enter(t.Context(), "A", 2, false); ok {
		t.Error("a third place of two")
	}
	enter("B", 1)()
	enter("C", 0) // any number

	// Who waits is served in order; who gives up is passed over.
	type waiter struct {
		limit int
		ok    chan func()
		stop  context.CancelFunc
	}
	var queue []waiter
	for n, limit := range []int{1, 2, 2} {
		ctx, cancel := context.WithCancel(t.Context())
		w := waiter{limit, make(chan func(), 1), cancel}
		go func() {
			leave, _ := p.enter(ctx, "A", limit, true)
			w.ok <- leave
		}()
		for waiting := 0; waiting <= n; time.Sleep(time.Millisecond) {
			p.mu.Lock()
			waiting = len(p.waiting["A"])
			p.mu.Unlock()
		}
		queue = append(queue, w)
	}
	first() // one is left, and the first wants to be alone
	first() // once is enough
	if _, ok := p.enter(t.Context(), "A", 2, false); ok {
		t.Error("somebody has pushed in")
	}
	queue[0].stop()
	if leave := <-queue[0].ok; leave != nil {
		t.Error("who gave up has a place")
	}
	third := <-queue[1].ok
	second()
	fourth := <-queue[2].ok
	third()
	fourth()
	for _, w := range queue {
		w.stop()
	}
	if len(p.taken)+len(p.waiting) != 0 {
		t.Errorf("left over: %v, %v", p.taken, p.waiting)
	}
}

// Six C-MOVEs at once to a device that takes two associations: never more than
// two are open, every image arrives, and one that is cancelled while it waits has
// sent nothing.
func TestMovesKeepToTheLimit(t *testing.T) {
	a := newArchive(t)
	const moves, each = 6, 8
	var images []image
	for n := range moves * each {
		study := fmt.Sprintf("1.4.%d", n/each)
		images = append(images, image{study: study, series: study + ".1", number: n%each + 1, pixels: 4096})
	}
	a.receive(images...)
	var mu sync.Mutex
	open, most, stored := 0, 0, 0
	hold := make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	count := func(d int) {
		mu.Lock()
		defer mu.Unlock()
		if open += d; open > most {
			most = open
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &dimse.Server{
		Store: dimse.StoreHandlerFunc(func(context.Context, *dimse.StoreRequest) dimse.Status {
			<-hold
			mu.Lock()
			defer mu.Unlock()
			stored++
			return dimse.Status{}
		}),
		Observer: dimse.Observer{
			AssociationOpened:  func(*dimse.AssociationInfo) { count(1) },
			AssociationClosed:  func(*dimse.AssociationInfo, time.Duration) { count(-1) },
			AssociationAborted: func(*dimse.AssociationInfo, time.Duration, error) { count(-1) },
		},
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ctx, ln) })
	defer running.Wait()
	defer cancel()
	places := &Places{}
	a.stations.set(directory{"WS2": {Address: ln.Addr().String(), Associations: 2, Limit: 2, Places: places}})

	var moving sync.WaitGroup
	for n := range moves {
		moving.Go(func() {
			r, err := a.dial("WS1", nil, studyMove).Move(t.Context(), studyMove, "WS2", identifier("STUDY", dicom.TagStudyInstanceUID, fmt.Sprintf("1.4.%d", n)), nil)
			if err != nil || r.Code != dimse.Success || r.Completed != each {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	waiting := func() int {
		places.mu.Lock()
		defer places.mu.Unlock()
		return len(places.waiting["WS2"])
	}
	for deadline := time.Now().Add(time.Minute); waiting() < moves-2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait", waiting())
		}
	}
	c := a.dial("WS1", nil, studyMove)
	r, err := c.Move(t.Context(), studyMove, "WS2", identifier("STUDY", dicom.TagStudyInstanceUID, "1.4.0"), func(dimse.Suboperations) error {
		return c.Cancel()
	})
	if err != nil || r.Code != dimse.Cancelled || r.Completed != 0 || r.Remaining != each {
		t.Errorf("cancelled while it waited: %+v, %v", r, err)
	}
	close(hold)
	moving.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most > 2 || most == 0 || stored != moves*each {
		t.Errorf("%d associations at a time, %d instances", most, stored)
	}
	if len(places.taken)+len(places.waiting) != 0 {
		t.Errorf("left over: %v, %v", places.taken, places.waiting)
	}
}

func residentMB(t testing.TB) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc here")
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	var kb int
	if _, err := fmt.Sscanf(rest, "%d kB", &kb); err != nil {
		t.Fatal(err)
	}
	return kb >> 10
}

// Five hundred associations, all open before the first asks, query at once, and
// again: each has its answer, nothing is left (goleak, too), and the second storm
// takes no more memory than the first.
func TestStormOfQueries(t *testing.T) {
	a := newArchive(t)
	var images []image
	for n := range 20 {
		study := fmt.Sprintf("1.5.%d", n)
		images = append(images, image{study: study, series: study + ".1", number: 1})
	}
	a.receive(images...)
	const many = 500
	storm := func() {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		server := &dimse.Server{MaxAssociations: 1000, Services: a.provider.Services()}
		var running sync.WaitGroup
		running.Go(func() { _ = server.Serve(ctx, ln) })
		defer running.Wait() // nothing of it is left when memory is looked at
		defer cancel()
		var associated, finished sync.WaitGroup
		associated.Add(many)
		for n := range many {
			finished.Go(func() {
				// Several hosts: one has no more than its share of connections.
				from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n%200))}}
				c, err := dimse.Dial(t.Context(), ln.Addr().String(), dimse.Dialer{CallingAE: "WS1", CalledAE: "TASVIR", Contexts: []ul.ProposedContext{dimse.ServiceContext(1, studyFind)}, DialContext: from.DialContext})
				associated.Done()
				if err != nil {
					t.Errorf("%d: %v", n, err)
					return
				}
				defer c.Close()
				associated.Wait()
				found := 0
				status, err := c.Find(t.Context(), studyFind, identifier("STUDY", dicom.TagStudyInstanceUID, "", dicom.TagPatientName, ""), func(*dicom.Dataset, bool) error { found++; return nil })
				if err != nil || !status.OK() || found != len(images) {
					t.Errorf("%d found %d: %s, %v", n, found, status, err)
				}
				if err := c.Release(t.Context()); err != nil {
					t.Errorf("%d: %v", n, err)
				}
			})
		}
		finished.Wait()
	}
	settled := func() (heap, resident int) {
		runtime.GC() // what pools keep is gone after the second
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc >> 20), residentMB(t)
	}
	storm()
	heapBefore, residentBefore := settled()
	storm()
	heap, resident := settled()
	t.Logf("%d MB in use and %d resident after two storms, %d and %d after one", heap, resident, heapBefore, residentBefore)
	if heap > heapBefore+16 {
		t.Errorf("%d MB in use after two storms, %d after one", heap, heapBefore)
	}
	if !raceEnabled && resident > residentBefore+32 { // the detector keeps what it took
		t.Errorf("%d MB resident after two storms, %d after one", resident, residentBefore)
	}
}
