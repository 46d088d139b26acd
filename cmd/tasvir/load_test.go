package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// parcel is one instance of the load. Everything in it follows from its sender
// and number, so that what comes back can be compared without keeping it.
type parcel struct{ sender, number int }

const parcelsPerStudy = 40

func (p parcel) study() string {
	return fmt.Sprintf("2.25.7%03d.%d", p.sender, p.number/parcelsPerStudy)
}
func (p parcel) series() string { return fmt.Sprintf("%s.%d", p.study(), p.number%2+1) }
func (p parcel) sop() string    { return fmt.Sprintf("%s.%d", p.series(), p.number) }

// dataset is a CT image of the parcel; every tenth is large enough to be on
// its way when something happens.
func (p parcel) dataset() []byte {
	size := 4 << 10
	if p.number%10 == 9 {
		size = 400 << 10
	}
	pixels := make([]byte, size)
	seed := sha256.Sum256([]byte(p.sop()))
	_, _ = rand.NewChaCha8(seed).Read(pixels)
	return join(
		element(0x0008, 0x0016, "UI", ctImageStorage), element(0x0008, 0x0018, "UI", p.sop()),
		element(0x0008, 0x0020, "DA", "20261102"), element(0x0008, 0x0060, "CS", "CT"),
		element(0x0010, 0x0010, "PN", fmt.Sprintf("Load^Sender%d", p.sender)), element(0x0010, 0x0020, "LO", fmt.Sprintf("LOAD-%d", p.sender)),
		element(0x0020, 0x000D, "UI", p.study()), element(0x0020, 0x000E, "UI", p.series()), element(0x0020, 0x0013, "IS", fmt.Sprint(p.number)),
		element(0x0028, 0x0010, "US", "\x10\x00"), element(0x0028, 0x0011, "US", "\x10\x00"),
		longElement(0x7FE0, 0x0010, "OW", uint32(size), pixels))
}

// load is modalities that send without end. What isn't acknowledged is sent
// again, as modalities do, and now and then something that was acknowledged.
type load struct {
	t       *testing.T
	address atomic.Pointer[string]
	pause   time.Duration // between two instances of a sender
	strict  bool          // a lost association is a failure: nothing may be noticed
	refused func(dimse.Status)

	stopped chan struct{}
	senders sync.WaitGroup

	mu           sync.Mutex
	acknowledged []parcel
	slowest      time.Duration // an answer took
}

func newLoad(t *testing.T) *load { return &load{t: t, stopped: make(chan struct{})} }

// to points the senders at an archive as it runs now.
func (l *load) to(a *archive) {
	address := a.dicom
	l.address.Store(&address)
}

func (l *load) start(senders ...int) {
	for _, sender := range senders {
		l.senders.Go(func() { l.send(sender) })
	}
}

// stop lets every sender finish what it is at.
func (l *load) stop() {
	close(l.stopped)
	l.senders.Wait()
}

func (l *load) over() bool {
	select {
	case <-l.stopped:
		return true
	default:
		return false
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

// more waits until n further instances were acknowledged.
func (l *load) more(n int) {
	l.t.Helper()
	from := l.count()
	eventually(l.t, "instances are acknowledged", func() bool { return l.count() >= from+n })
}

// send is one sender: it associates, sends until the association or the load
// ends, and begins again with what was not acknowledged.
func (l *load) send(sender int) {
	random := rand.New(rand.NewPCG(uint64(sender), 1))
	next := 0
	for !l.over() {
		err := l.associate(sender, &next, random)
		if err == nil {
			return
		}
		if l.strict {
			l.t.Errorf("sender %d noticed something: %v", sender, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (l *load) associate(sender int, next *int, random *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	kinds := []dimse.Kind{{SOPClassUID: ctImageStorage, TransferSyntaxUID: dicom.ExplicitVRLittleEndian}}
	client, err := dimse.Dial(ctx, *l.address.Load(), dimse.Dialer{
		CallingAE: fmt.Sprintf("LOAD%d", sender), CalledAE: "TASVIR", Contexts: dimse.GroupContexts(kinds)[0].Contexts,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	for !l.over() {
		p := parcel{sender, *next}
		again := *next > 0 && random.IntN(20) == 0
		if again {
			p.number = random.IntN(*next)
		}
		began := time.Now()
		status, err := client.Store(ctx, dimse.StoreItem{
			SOPClassUID: ctImageStorage, SOPInstanceUID: p.sop(), TransferSyntaxUID: dicom.ExplicitVRLittleEndian, Data: bytes.NewReader(p.dataset()),
		})
		if err != nil {
			return err
		}
		took := time.Since(began)
		if !status.OK() {
			if l.refused == nil {
				return fmt.Errorf("C-STORE of %s: %s", p.sop(), status)
			}
			l.refused(status)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		l.mu.Lock()
		l.slowest = max(l.slowest, took)
		if !again {
			l.acknowledged = append(l.acknowledged, p)
			*next++
		}
		l.mu.Unlock()
		time.Sleep(l.pause)
	}
	return client.Release(ctx)
}

// published waits until the archive has as many instances as are acknowledged
// by now: for as long as they become more.
func (l *load) published(database string) {
	t := l.t
	t.Helper()
	want := l.count()
	conn := connect(t, database)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	last, progress := 0, time.Now()
	for {
		var have int
		asked := time.Now()
		if err := conn.QueryRow(t.Context(), `SELECT count(DISTINCT sop_uid) FROM instance`).Scan(&have); err != nil {
			t.Fatal(err)
		}
		if have >= want {
			return
		}
		if have > last {
			last, progress = have, time.Now()
		}
		if time.Since(progress) > patience {
			t.Fatalf("%d of %d acknowledged instances are published, and no more for %s", have, want, patience)
		}
		// Counting a hundred thousand rows must not be what publishing waits for.
		time.Sleep(max(200*time.Millisecond, 10*time.Since(asked)))
	}
}

func connect(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// arrived waits until everything is published, and compares: each acknowledged
// instance is there once, byte for byte, and nothing else, but for what was
// sent and whose acknowledgement was lost.
func (l *load) arrived(a *archive, database string) {
	t := l.t
	t.Helper()
	l.published(database)
	conn := connect(t, database)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var rows, distinct, versions int
	if err := conn.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT sop_uid), coalesce(max(version), 0) FROM instance`).Scan(&rows, &distinct, &versions); err != nil {
		t.Fatal(err)
	}
	// Repeated ones are recognised, not kept as versions.
	if rows != distinct || versions > 1 {
		t.Errorf("the index has %d rows of %d instances, up to version %d", rows, distinct, versions)
	}
	l.compare(a)
	l.nothingElse(conn)
}

// compare retrieves every acknowledged instance, a series at a time.
func (l *load) compare(a *archive) {
	t := l.t
	t.Helper()
	bySeries := map[string]map[string]parcel{} // by series and SOP Instance UID
	for _, p := range l.acknowledged {
		if bySeries[p.series()] == nil {
			bySeries[p.series()] = map[string]parcel{}
		}
		bySeries[p.series()][p.sop()] = p
	}
	todo := make(chan map[string]parcel)
	var wrong atomic.Int64
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for parcels := range todo {
				err := a.took(parcels) // those that come back as they were sent
				if len(parcels) == 0 {
					continue
				}
				if wrong.Add(int64(len(parcels))) <= 5*parcelsPerStudy {
					for _, p := range parcels {
						t.Errorf("acknowledged, and now lost or changed: %s (%v)", p.sop(), err)
					}
				}
			}
		})
	}
	for _, parcels := range bySeries {
		todo <- parcels
	}
	close(todo)
	readers.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d of %d acknowledged instances are lost or changed", n, len(l.acknowledged))
	}
}

// took retrieves a series and strikes out those of its parcels that come back
// as they were sent. The error is why it could not be read to its end.
func (a *archive) took(parcels map[string]parcel) error {
	var one parcel
	for _, one = range parcels {
		break
	}
	rq, err := http.NewRequest("GET", fmt.Sprintf("%s/dicom-web/studies/%s/series/%s", a.web, one.study(), one.series()), nil)
	if err != nil {
		return err
	}
	rq.Header.Set("Accept", `multipart/related; type="application/dicom"; transfer-syntax=*`)
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	_, parameters, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil || answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
		return fmt.Errorf("%s %w %s", answer.Status, err, text)
	}
	parts := multipart.NewReader(answer.Body, parameters["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		file, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		header, err := dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
		if err != nil {
			return err
		}
		p, wanted := parcels[header.Dataset.String(dicom.TagSOPInstanceUID)]
		if wanted && bytes.Equal(file[header.DatasetOffset:], p.dataset()) {
			delete(parcels, p.sop())
		}
	}
}

// nothingElse checks that the index has nothing that was not sent.
func (l *load) nothingElse(conn *pgx.Conn) {
	t := l.t
	t.Helper()
	sent := map[string]bool{}
	last := map[int]int{}
	for _, p := range l.acknowledged {
		sent[p.sop()] = true
		last[p.sender] = max(last[p.sender], p.number)
	}
	for sender, number := range last {
		sent[parcel{sender, number + 1}.sop()] = true // its answer may have been lost at the end
	}
	rows, err := conn.Query(t.Context(), `SELECT sop_uid FROM instance`)
	if err != nil {
		t.Fatal(err)
	}
	var sop string
	if _, err := pgx.ForEachRow(rows, []any{&sop}, func() error {
		if !sent[sop] {
			t.Errorf("the archive has %s, which nobody sent", sop)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// packsInPlace checks that every pack in use is a file of the right length, and returns how many files no pack needs.
func packsInPlace(t *testing.T, database, store string) (orphans int) {
	t.Helper()
	conn := connect(t, database)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	files := map[string]int64{}
	err := filepath.WalkDir(filepath.Join(store, "packs"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		key, err := filepath.Rel(store, path)
		files[filepath.ToSlash(key)] = info.Size()
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `SELECT key, bytes, retired_at IS NULL FROM pack WHERE swept_at IS NULL`)
	if err != nil {
		t.Fatal(err)
	}
	var key string
	var bytes int64
	var inUse bool // else retired, or the place of a merge that was killed
	if _, err := pgx.ForEachRow(rows, []any{&key, &bytes, &inUse}, func() error {
		if size, there := files[key]; inUse && (!there || size != bytes) {
			t.Errorf("the pack %s should have %d bytes and has %d (there: %t)", key, bytes, size, there)
		}
		delete(files, key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return len(files)
}
