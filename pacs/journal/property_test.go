package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is what a journal must hold.
type model struct {
	t       *rapid.T
	root    string // of all folders
	j       *Journal
	next    int
	sizes   map[string]int  // padding of each instance ever received
	live    map[string]bool // acknowledged and not dropped
	dropped map[string]bool // may come again after a crash
	flipped map[string]bool // bits, by segment: a second time would mend what the first has broken
}

func (m *model) open(dir string) {
	j, err := Open(Options{Dir: dir, SegmentSize: 48 << 10, MinFree: 1})
	if err != nil {
		m.t.Fatal(err)
	}
	<-j.recovered
	m.j = j
}

func (m *model) folder() string {
	dir, err := os.MkdirTemp(m.root, "")
	if err != nil {
		m.t.Fatal(err)
	}
	return dir
}

func (m *model) receive() {
	m.next++
	sop, size := fmt.Sprintf("1.%d", m.next), rapid.IntRange(0, 9000).Draw(m.t, "size")
	if _, err := m.j.Receive(m.t.Context(), incoming(sop, size)); err != nil {
		m.t.Fatal(err)
	}
	m.sizes[sop], m.live[sop] = size, true
}

// breakOff receives the beginning of an instance, that of a giant at times.
func (m *model) breakOff() {
	m.next++
	in := incoming(fmt.Sprintf("1.%d", m.next), rapid.SampledFrom([]int{100, 60_000, 2 * bufferLength}).Draw(m.t, "size"))
	in.Data = brokenOff{in.Data}
	if _, err := m.j.Receive(m.t.Context(), in); err == nil {
		m.t.Fatal("what broke off was acknowledged")
	}
}

// drop publishes some of what waits and gives back the rest.
func (m *model) drop() {
	m.j.mu.Lock()
	waiting := len(m.j.queue)
	m.j.mu.Unlock()
	if waiting == 0 {
		return
	}
	records, err := m.j.Take(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, r := range records {
		if rapid.Bool().Draw(m.t, "drop") {
			m.j.Drop(r)
			delete(m.live, r.SOPInstanceUID)
			m.dropped[r.SOPInstanceUID] = true
		} else {
			m.j.GiveBack(r)
		}
	}
}

// crash goes on with a copy of what is on the disk, after harm was done to it:
// it returns the instance that this has cost.
func (m *model) crash(harm func(dir string) (lost string)) {
	from, to := m.j.options.Dir, m.folder()
	for _, name := range m.segments(from) {
		content, err := os.ReadFile(name)
		if err != nil {
			m.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), content, 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	lost := harm(to)
	_ = m.j.Close()
	m.open(to)
	delete(m.live, lost)
	m.check(lost)
}

func (m *model) segments(dir string) []string {
	names, err := filepath.Glob(filepath.Join(dir, "*.segment"))
	if err != nil {
		m.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// check compares what is in the journal after a recovery.
func (m *model) check(lost string) {
	there := map[string]bool{}
	m.j.mu.Lock()
	records := slices.Clone(m.j.queue)
	m.j.mu.Unlock()
	for _, r := range records {
		sop := r.SOPInstanceUID
		if there[sop] {
			m.t.Fatalf("%s is there twice", sop)
		}
		there[sop] = true
		size, known := m.sizes[sop]
		if !known || !m.live[sop] && !m.dropped[sop] || sop == lost {
			m.t.Fatalf("%s must not be there", sop)
		}
		body := make([]byte, r.Length)
		if _, err := r.Body().ReadAt(body, 0); err != nil || !bytes.Equal(body[r.DatasetOffset:], dataset(sop, size)) {
			m.t.Fatalf("%s is not what was sent, %v", sop, err)
		}
		delete(m.dropped, sop)
		m.live[sop] = true // it is offered again, and must stay until it is dropped
	}
	for sop := range m.live {
		if !there[sop] {
			m.t.Fatalf("%s is lost", sop)
		}
	}
}

// tear leaves of a segment's unused end what a write may leave that was cut
// off: rubbish, or the beginning of a record.
func (m *model) tear(dir string) string {
	names := m.segments(dir)
	if len(names) == 0 {
		return ""
	}
	name := rapid.SampledFrom(names).Draw(m.t, "segment")
	content, records := m.read(name)
	_, id, err := parseSegmentName(name)
	if err != nil {
		m.t.Fatal(err)
	}
	end := int64(0)
	for _, r := range records {
		end = max(end, r.next)
	}
	torn := make([]byte, rapid.IntRange(1, 5000).Draw(m.t, "length"))
	for i := range torn {
		torn[i] = byte(i*31 + i>>8)
	}
	if rapid.Bool().Draw(m.t, "with header") {
		copy(torn, header{bodyLength: 1 << 20, trailerLength: 100, segment: id, offset: end}.encode())
	}
	content = append(content[:end:end], torn...)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		m.t.Fatal(err)
	}
	return ""
}

// flip changes one bit.
func (m *model) flip(dir string) (lost string) {
	names := m.segments(dir)
	if len(names) == 0 {
		return ""
	}
	name := rapid.SampledFrom(names).Draw(m.t, "segment")
	content, records := m.read(name)
	if len(content) == 0 {
		return ""
	}
	at := rapid.Int64Range(0, int64(len(content))-1).Draw(m.t, "byte")
	if len(records) > 0 && rapid.Bool().Draw(m.t, "in a record") {
		r := rapid.SampledFrom(records).Draw(m.t, "record")
		at = rapid.Int64Range(r.at, r.next-1).Draw(m.t, "byte of it")
	}
	bit := rapid.IntRange(0, 7).Draw(m.t, "bit")
	where := fmt.Sprint(filepath.Base(name), " ", at, " ", bit)
	if m.flipped[where] {
		return ""
	}
	m.flipped[where] = true
	content[at] ^= 1 << bit
	for _, r := range records {
		if r.at <= at && at < r.next {
			lost = r.sop
		}
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		m.t.Fatal(err)
	}
	return lost
}

type placed struct {
	sop      string
	at, next int64
}

// read returns a segment and the records in it.
func (m *model) read(name string) (content []byte, records []placed) {
	content, err := os.ReadFile(name)
	if err != nil {
		m.t.Fatal(err)
	}
	_, id, err := parseSegmentName(name)
	if err != nil {
		m.t.Fatal(err)
	}
	f, size := bytes.NewReader(content), int64(len(content))
	for at := int64(0); at < size; {
		if at, err = findRecord(f, id, size, at); err != nil {
			m.t.Fatal(err)
		}
		if at < 0 {
			break
		}
		_, e, next, err := readRecord(f, id, size, at)
		if err != nil {
			m.t.Fatal(err)
		}
		records = append(records, placed{e.SOPInstanceUID, at, next})
		at = next
	}
	return content, records
}

// TestAnySequence: whatever is received, broken off, published and crashed in
// whatever order, and whatever a crash leaves behind the last record or a disk
// does to one, every other sealed record is there once, byte for byte.
func TestAnySequence(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, root: root, sizes: map[string]int{}, live: map[string]bool{}, dropped: map[string]bool{}, flipped: map[string]bool{}}
		m.open(m.folder())
		t.Repeat(map[string]func(*rapid.T){
			"receive":   func(*rapid.T) { m.receive() },
			"more":      func(*rapid.T) { m.receive(); m.receive(); m.receive() },
			"break off": func(*rapid.T) { m.breakOff() },
			"drop":      func(*rapid.T) { m.drop() },
			"crash":     func(*rapid.T) { m.crash(func(string) string { return "" }) },
			"tear":      func(*rapid.T) { m.crash(m.tear) },
			"flip":      func(*rapid.T) { m.crash(m.flip) },
		})
		m.crash(func(string) string { return "" })
		if err := m.j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(m.j.options.Dir); err != nil {
			t.Fatal(err)
		}
	})
}
