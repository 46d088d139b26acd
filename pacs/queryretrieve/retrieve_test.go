package queryretrieve

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/patients"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/transcode"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

const (
	studyMove   = dicom.StudyRootMoveSOPClass
	studyGet    = dicom.StudyRootGetSOPClass
	patientMove = dicom.PatientRootMoveSOPClass
)

// station takes what is sent to it.
type station struct {
	mu           sync.Mutex
	items        map[string]taken
	refuse       func(sop string) dimse.Code // nil takes everything
	discard      bool                        // keeps nothing
	associations int
	address      string
}

type taken struct {
	syntax, class string
	data          []byte
	originator    string
	message       uint16
}

func (s *station) Store(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
	if s.discard {
		_, _ = io.Copy(io.Discard, rq.Data)
		return dimse.Status{}
	}
	data, err := io.ReadAll(rq.Data)
	if err != nil {
		return dimse.Statusf(dimse.CannotUnderstand, "%v", err)
	}
	if s.refuse != nil {
		if code := s.refuse(rq.SOPInstanceUID); code != dimse.Success {
			return dimse.Status{Code: code}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items == nil {
		s.items = map[string]taken{}
	}
	s.items[rq.SOPInstanceUID] = taken{rq.TransferSyntaxUID, rq.SOPClassUID, data, rq.MoveOriginatorAE, rq.MoveOriginatorMessageID}
	return dimse.Status{}
}

// listen runs the station as a server.
func (s *station) listen(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	server := &dimse.Server{Store: s, DrainTimeout: time.Second, Observer: dimse.Observer{AssociationOpened: func(*dimse.AssociationInfo) {
		s.mu.Lock()
		s.associations++
		s.mu.Unlock()
	}}}
	running.Go(func() {
		if err := server.Serve(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// stations are the Destinations of a test, by AE title.
type stations struct {
	mu    sync.Mutex
	known directory
}

type directory map[string]Destination

func (s *stations) set(known directory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
}

func (s *stations) Destination(_ context.Context, ae string) (Destination, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to, ok := s.known[ae]
	if !ok {
		return to, pacs.Errorf(pacs.NotFound, "no such destination")
	}
	to.AETitle = ae
	return to, nil
}

func uidsOf(s *station) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for uid := range s.items {
		list = append(list, uid)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// What is moved is what was received, byte for byte, when the destination takes
// it in that transfer syntax; else the same attributes in one that it takes.
func TestMove(t *testing.T) {
	a := queried(t)
	var s station
	s.listen(t)
	a.stations.set(directory{
		"WS2": {Address: s.address}, "IMPLICIT": {Address: s.address, TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}},
		"DOWN": {Address: "127.0.0.1:1"}, "PARALLEL": {Address: s.address, Associations: 3},
	})
	const series = "1.2.3.1.1 1.2.3.1.2"
	tests := []struct {
		name, calling, class, to string
		query                    *dicom.Dataset
		refuse                   func(sop string) dimse.Code
		want                     string
		status                   dimse.Code
		n                        dimse.Suboperations
		failed                   string
	}{
		{name: "study", query: identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), want: series + " 1.2.3.2.1", n: dimse.Suboperations{Completed: 3}},
		{name: "studies", query: identifier("STUDY", dicom.TagStudyInstanceUID, []string{"1.2.4", "1.2.5"}), want: "1.2.4.1.1 1.2.5.1.1", n: dimse.Suboperations{Completed: 2}},
		{name: "series", query: identifier("SERIES", dicom.TagSeriesInstanceUID, "1.2.3.1"), want: series, n: dimse.Suboperations{Completed: 2}},
		{name: "image", query: identifier("IMAGE", dicom.TagStudyInstanceUID, "1.2.3", dicom.TagSeriesInstanceUID, "1.2.3.1", dicom.TagSOPInstanceUID, []string{"1.2.3.1.2", "1.2.3.1.9"}), want: "1.2.3.1.2", n: dimse.Suboperations{Completed: 1}},
		{name: "patient", class: patientMove, query: identifier("PATIENT", dicom.TagPatientID, "P1"), want: series + " 1.2.3.2.1 1.2.4.1.1", n: dimse.Suboperations{Completed: 4}},
		{name: "in another syntax", to: "IMPLICIT", query: identifier("SERIES", dicom.TagSeriesInstanceUID, "1.2.3.1"), want: series, n: dimse.Suboperations{Completed: 2}},
		{name: "over several associations", to: "PARALLEL", query: identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), want: series + " 1.2.3.2.1", n: dimse.Suboperations{Completed: 3}},
		{name: "nothing", query: identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.99")},
		{name: "of another facility", calling: "URGUT_WS", query: identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.5")},
		{name: "one refused", query: identifier("SERIES", dicom.TagSeriesInstanceUID, "1.2.3.1"), refuse: func(sop string) dimse.Code {
			if sop == "1.2.3.1.1" {
				return dimse.OutOfResources
			}
			return dimse.Success
		}, want: "1.2.3.1.2", status: dimse.SomeSuboperationsFailed, n: dimse.Suboperations{Completed: 1, Failed: 1}, failed: "1.2.3.1.1"},
		{name: "with a warning", query: identifier("SERIES", dicom.TagSeriesInstanceUID, "1.2.3.1"), refuse: func(string) dimse.Code {
			return dimse.CoercionOfDataElements
		}, status: dimse.SomeSuboperationsFailed, n: dimse.Suboperations{Warning: 2}},
		{name: "all refused", query: identifier("SERIES", dicom.TagSeriesInstanceUID, "1.2.3.1"), refuse: func(string) dimse.Code {
			return dimse.OutOfResources
		}, status: dimse.NoSuboperations, n: dimse.Suboperations{Failed: 2}, failed: series},
		{name: "destination down", to: "DOWN", query: identifier("SERIES", dicom.TagSeriesInstanceUID, "1.2.3.1"), status: dimse.NoSuboperations, n: dimse.Suboperations{Failed: 2}, failed: series},
		{name: "destination unknown", to: "NOWHERE", query: identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), status: dimse.MoveDestinationUnknown},
		{name: "who may not retrieve", calling: "NOBODY", query: identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), status: dimse.NotAuthorized},
		{name: "no unique key", query: identifier("STUDY", dicom.TagPatientID, "P1"), status: dimse.DataSetMismatch},
		{name: "patients with wild card", class: patientMove, query: identifier("PATIENT", dicom.TagPatientID, "P*"), status: dimse.DataSetMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.calling == "" {
				tt.calling = "WS1"
			}
			if tt.class == "" {
				tt.class = studyMove
			}
			if tt.to == "" {
				tt.to = "WS2"
			}
			s.items, s.refuse, s.associations = nil, tt.refuse, 0
			c := a.dial(tt.calling, nil, tt.class)
			got, err := c.Move(t.Context(), tt.class, tt.to, tt.query, nil)
			if tt.name == "with a warning" {
				s.items = nil
			}
			if err != nil || got.Code != tt.status || got.Suboperations != tt.n || uidsOf(&s) != tt.want {
				t.Errorf("%+v, %v; arrived %s", got, err, uidsOf(&s))
			}
			if slices.Sort(got.FailedInstances); strings.Join(got.FailedInstances, " ") != tt.failed {
				t.Errorf("failed %v", got.FailedInstances)
			}
			if tt.failed != "" && got.Comment == "" {
				t.Error("it does not say why")
			}
			for uid, item := range s.items {
				if item.originator != tt.calling || item.message != 1 {
					t.Errorf("%s: originator %q, message %d", uid, item.originator, item.message)
				}
				sent := image{study: "1.2.3", series: uid[:strings.LastIndexByte(uid, '.')], number: int(uid[len(uid)-1] - '0'), pixels: 128}.withDefaults()
				if sent.series != "1.2.3.1" {
					continue
				}
				sent.syntax = item.syntax
				if want := sent.encoded(t); !bytes.Equal(item.data, want) {
					t.Errorf("%s in %s: %d bytes arrived of %d", uid, item.syntax, len(item.data), len(want))
				}
				if implicit := item.syntax == dicom.ImplicitVRLittleEndian; implicit != (tt.to == "IMPLICIT") {
					t.Errorf("%s arrived in %s", uid, item.syntax)
				}
			}
		})
	}
	if got := s.associations; got > 3 {
		t.Errorf("%d associations", got)
	}
}

// getClient associates for C-GET, to take CT images in the syntaxes given.
func (a *archive) getClient(calling string, syntaxes ...string) *dimse.Client {
	a.t.Helper()
	d := dimse.Dialer{CallingAE: calling, CalledAE: "TASVIR", Contexts: []ul.ProposedContext{dimse.ServiceContext(1, studyGet)}, Roles: []ul.Role{{SOPClassUID: dicom.CTImageStorage, SCP: true}}}
	for i, ts := range syntaxes {
		d.Contexts = append(d.Contexts, ul.ProposedContext{ID: byte(2*i + 3), AbstractSyntax: dicom.CTImageStorage, TransferSyntaxes: []string{ts}})
	}
	c, err := dimse.Dial(a.t.Context(), a.address, d)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(c.Close)
	return c
}

func TestGet(t *testing.T) {
	decoder := &twoBytes{}
	a := newArchive(t, func(p *Provider) { p.Transcoder = decoder })
	big := image{study: "1.2.8", number: 1, pixels: 6 << 20} // too long to be read at once
	var images []image
	for n := range 40 {
		images = append(images, image{number: n + 1, pixels: 1024 * (n + 1)})
	}
	a.receive(append(images, big, image{study: "1.2.9", syntax: dicom.ImplicitVRLittleEndian, pixels: 256})...)
	a.take("URGUT", dicom.JPEG2000Lossless, dicom.CTImageStorage, "1.2.10.1.1", bytes.NewReader(compressed(t)))
	a.settled()
	get := func(c *dimse.Client, study string) (dimse.Retrieved, *station) {
		t.Helper()
		var s station
		r, err := c.Get(t.Context(), studyGet, identifier("STUDY", dicom.TagStudyInstanceUID, study), &s, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r, &s
	}
	check := func(r dimse.Retrieved, s *station, want ...image) {
		t.Helper()
		if r.Code != dimse.Success || r.Completed != len(want) || len(s.items) != len(want) {
			t.Errorf("%+v, %d arrived of %d", r, len(s.items), len(want))
		}
		for _, w := range want {
			w = w.withDefaults()
			got := s.items[w.sop()]
			w.syntax = got.syntax
			if !bytes.Equal(got.data, w.encoded(t)) {
				t.Errorf("%s in %s: %d bytes differ", w.sop(), got.syntax, len(got.data))
			}
		}
	}
	c := a.getClient("WS1", dicom.ExplicitVRLittleEndian)
	r, s := get(c, "1.2.3")
	check(r, s, images...)
	r, s = get(c, "1.2.8")
	check(r, s, big)
	r, s = get(c, "1.2.9")
	check(r, s, image{study: "1.2.9", pixels: 256})
	if r, _ := get(c, "1.2.77"); r.Code != dimse.Success || r.Completed != 0 {
		t.Errorf("nothing: %+v", r)
	}
	// Kept as it can't be taken.
	if r, _ := get(c, "1.2.10"); r.Code != dimse.NoSuboperations || r.Failed != 1 || !slices.Equal(r.FailedInstances, []string{"1.2.10.1.1"}) || !strings.Contains(r.Comment, "transfer syntax") {
		t.Errorf("compressed: %+v", r)
	}
	implicit := a.getClient("WS1", dicom.ImplicitVRLittleEndian)
	r, s = get(implicit, "1.2.3")
	check(r, s, images...)
	r, s = get(implicit, "1.2.8")
	check(r, s, big)
	other := a.getClient("WS1", dicom.ExplicitVRLittleEndian, dicom.JPEG2000Lossless)
	if r, s := get(other, "1.2.10"); r.Completed != 1 || s.items["1.2.10.1.1"].syntax != dicom.JPEG2000Lossless || !bytes.Equal(s.items["1.2.10.1.1"].data, compressed(t)) {
		t.Errorf("compressed, where it is taken: %+v", r)
	}
	decoder.works.Store(true)
	if r, s := get(c, "1.2.10"); r.Completed != 1 || !bytes.HasSuffix(s.items["1.2.10.1.1"].data, []byte("OW\x00\x00\x02\x00\x00\x00ab")) {
		t.Errorf("decoded: %+v, %q", r, s.items["1.2.10.1.1"].data)
	}
	elsewhere := a.getClient("NOBODY", dicom.ExplicitVRLittleEndian)
	if r, _ := get(elsewhere, "1.2.3"); r.Code != dimse.NotAuthorized {
		t.Errorf("who may not retrieve: %+v", r)
	}

	// Cancelled from inside a sub-operation: that one is completed.
	n := 0
	r, err := c.Get(t.Context(), studyGet, identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), dimse.StoreHandlerFunc(func(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
		if n++; n == 5 {
			_ = c.Cancel()
		}
		_, _ = io.Copy(io.Discard, rq.Data)
		return dimse.Status{}
	}), nil)
	if err != nil || r.Code != dimse.Cancelled || r.Completed != n || r.Completed+r.Remaining != len(images) || n >= len(images) {
		t.Errorf("cancelled: %+v, %v after %d", r, err, n)
	}
}

// twoBytes is a Transcoder to which every image in JPEG 2000 is the same, when it
// works.
type twoBytes struct {
	transcode.Transcoder
	works atomic.Bool
}

func (d *twoBytes) Transcode(ctx context.Context, i pacs.Instance, file pacs.File, taken []string) (string, io.ReadCloser, error) {
	if i.TransferSyntaxUID != dicom.JPEG2000Lossless || !d.works.Load() {
		return d.Transcoder.Transcode(ctx, i, file, taken)
	}
	source, err := transcode.Scan(ctx, file, i.Location.DatasetOffset, i.TransferSyntaxUID)
	if err != nil {
		return "", nil, err
	}
	w, err := source.Header.Rewrite(dicom.ExplicitVRLittleEndian, &dicom.PixelValue{VR: dicom.OW, Length: 2, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("ab")), nil
	}})
	if err != nil {
		return "", nil, err
	}
	return dicom.ExplicitVRLittleEndian, w.Open(ctx, source.Open), nil
}

// compressed is a data set with pixel data that nobody here can decode.
func compressed(t *testing.T) []byte {
	i := image{study: "1.2.10", more: func(ds *dicom.Dataset) {
		ds.SetInts(dicom.TagRows, dicom.US, 1).SetInts(dicom.TagColumns, dicom.US, 1)
	}}.withDefaults()
	return append(i.encoded(t), "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\x00\x00\x00\x00\xFE\xFF\x00\xE0\x04\x00\x00\x00code\xFE\xFF\xDD\xE0\x00\x00\x00\x00"...)
}

// A move that is cancelled, or whose association ends, stops; what is begun is
// completed and counted.
func TestMoveCancelled(t *testing.T) {
	files := &watchedFiles{first: make(chan context.Context, 1)}
	a := newArchive(t, func(p *Provider) { files.Files, p.Files = p.Files, files })
	var images []image
	for n := range 30 {
		images = append(images, image{number: n + 1, pixels: 512})
	}
	a.receive(images...)
	var s station
	arrived, proceed := make(chan struct{}, 100), make(chan struct{})
	s.refuse = func(string) dimse.Code {
		arrived <- struct{}{}
		<-proceed
		return dimse.Success
	}
	s.listen(t)
	a.stations.set(directory{"WS2": {Address: s.address}})
	c := a.dial("WS1", nil, studyMove)
	go func() {
		ctx := <-files.first
		<-arrived
		_ = c.Cancel()
		<-ctx.Done() // the cancel has arrived
		close(proceed)
	}()
	r, err := c.Move(t.Context(), studyMove, "WS2", identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), nil)
	if err != nil || r.Code != dimse.Cancelled || r.Completed == 0 || r.Completed+r.Remaining != len(images) || r.Remaining == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// watchedFiles tells with which context it is first read.
type watchedFiles struct {
	Files
	first chan context.Context
}

func (w *watchedFiles) Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error) {
	select {
	case w.first <- ctx:
	default:
	}
	return w.Files.Open(ctx, loc, offset, length)
}

// More kinds of images than one association has contexts for.
func TestMoveGroups(t *testing.T) {
	m := &Transfer{Kinds: map[dimse.Kind]int{}}
	for i := range 60 {
		uid := fmt.Sprintf("1.2.%d", i)
		m.Kinds[dimse.Kind{SOPClassUID: uid, TransferSyntaxUID: dicom.JPEG2000Lossless}] = 1
		m.Kinds[dimse.Kind{SOPClassUID: uid, TransferSyntaxUID: dicom.ExplicitVRLittleEndian}] = 2
	}
	groups := m.groups()
	classes := 0
	for _, g := range groups {
		if len(g.contexts) > dimse.MaxContexts || len(g.contexts) != 3*len(g.classes) {
			t.Errorf("%d contexts of %d classes", len(g.contexts), len(g.classes))
		}
		classes += len(g.classes)
		ids := map[byte]bool{}
		for _, c := range g.contexts {
			if c.ID%2 == 0 || ids[c.ID] {
				t.Errorf("context ID %d", c.ID)
			}
			ids[c.ID] = true
		}
	}
	if len(groups) != 2 || classes != 60 {
		t.Errorf("%d groups of %d classes", len(groups), classes)
	}
	m.To.TransferSyntaxes = []string{dicom.ExplicitVRLittleEndian}
	if groups := m.groups(); len(groups) != 1 || len(groups[0].contexts) != 120 {
		t.Errorf("%d groups for a destination that takes no JPEG 2000", len(groups))
	}
}

// A destination that breaks off is called again; one that keeps breaking off is
// given up.
func TestMoveOverLostAssociations(t *testing.T) {
	a := newArchive(t)
	var images []image
	for n := range 8 {
		images = append(images, image{number: n + 1, pixels: 512})
	}
	a.receive(images...)
	var mu sync.Mutex
	count := 0
	breaks := func(sop string) dimse.Code {
		mu.Lock()
		defer mu.Unlock()
		if count++; strings.HasSuffix(sop, ".3") {
			panic("the station dies")
		}
		return dimse.Success
	}
	var s station
	s.refuse = breaks
	s.listen(t)
	a.stations.set(directory{"WS2": {Address: s.address}})
	c := a.dial("WS1", nil, studyMove)
	r, err := c.Move(t.Context(), studyMove, "WS2", identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), nil)
	if err != nil || r.Code != dimse.SomeSuboperationsFailed || r.Completed != 7 || !slices.Equal(r.FailedInstances, []string{"1.2.3.1.3"}) {
		t.Errorf("%+v, %v", r, err)
	}
	s.refuse = func(string) dimse.Code { count++; panic("the station is dead") }
	count = 0
	r, err = c.Move(t.Context(), studyMove, "WS2", identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), nil)
	if err != nil || r.Code != dimse.NoSuboperations || r.Failed != 8 || count != maxRedials+1 {
		t.Errorf("%+v, %v after %d attempts", r, err, count)
	}
}

// An administrator's correction of a patient is in what is sent, verbatim or
// converted, and in what is found.
func TestRetrieveAmended(t *testing.T) {
	a := newArchive(t)
	if _, err := access.Open(t.Context(), a.index, access.Settings{}); err != nil {
		t.Fatal(err)
	}
	people, err := patients.New(t.Context(), a.index, a.store, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.receive(image{number: 1, pixels: 2048}, image{number: 2, pixels: 6 << 20})
	study, err := a.index.Study(t.Context(), pacs.System("test"), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	name, id := "Қаҳҳорова^Ўғилой", "777"
	if _, err := people.Correct(t.Context(), access.System("test"), study.Patient.ID, 1, patients.Demographics{Name: &name, PatientID: &id}, "mixed up"); err != nil {
		t.Fatal(err)
	}
	for _, syntax := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian} {
		c := a.getClient("WS1", syntax)
		var s station
		r, err := c.Get(t.Context(), studyGet, identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.3"), &s, nil)
		if err != nil || r.Completed != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		for uid, item := range s.items {
			h, err := dicom.Scan(bytes.NewReader(item.data), dicom.ScanOptions{TransferSyntax: syntax})
			if err != nil {
				t.Fatal(err)
			}
			original := h.Dataset.Item(dicom.TagOriginalAttributesSequence).Item(dicom.TagModifiedAttributesSequence)
			if h.Dataset.String(dicom.TagPatientName) != name || h.Dataset.String(dicom.TagPatientID) != id || original.String(dicom.TagPatientID) != "P1" {
				t.Errorf("%s in %s is of %q, %q, before of %q", uid, syntax, h.Dataset.String(dicom.TagPatientName), h.Dataset.String(dicom.TagPatientID), original.String(dicom.TagPatientID))
			}
			if h.PixelData == nil || h.PixelData.Length < 2048 {
				t.Errorf("%s has lost its pixels", uid)
			}
		}
	}
	c := a.dial("WS1", nil, studyFind)
	status, err := c.Find(t.Context(), studyFind, identifier("STUDY", dicom.TagPatientID, "777", dicom.TagPatientName, ""), func(match *dicom.Dataset, _ bool) error {
		if got := match.String(dicom.TagPatientName); got != name {
			t.Errorf("found %q", got)
		}
		return nil
	})
	if err != nil || !status.OK() {
		t.Errorf("%s, %v", status, err)
	}
}

// Whatever uncompressed form is kept, each of the two that everybody takes can be
// made of it.
func TestRetrieveConverted(t *testing.T) {
	a := newArchive(t)
	plain := image{study: "1.2.20", pixels: 512, more: func(ds *dicom.Dataset) {
		ds.SetString(dicom.TagImageComments, dicom.LT, strings.Repeat("Изоҳ ", 100))
	}}.withDefaults()
	explicit := plain.encoded(t)
	var packed bytes.Buffer
	z, _ := flate.NewWriter(&packed, 9)
	_, _ = z.Write(explicit)
	_ = z.Close()
	a.take("URGUT", dicom.DeflatedExplicitVRLittleEndian, dicom.CTImageStorage, plain.sop(), &packed)
	a.settled()
	for _, syntax := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian} {
		c := a.getClient("WS1", syntax)
		var s station
		r, err := c.Get(t.Context(), studyGet, identifier("STUDY", dicom.TagStudyInstanceUID, "1.2.20"), &s, nil)
		want := plain
		want.syntax = syntax
		if err != nil || r.Completed != 1 || !bytes.Equal(s.items[plain.sop()].data, want.encoded(t)) {
			t.Errorf("%s: %+v, %v", syntax, r, err)
		}
	}
}

// Many ask at once, and many of them go away in the midst of it; nothing is left
// of them (goleak) and the next one is answered.
func TestManyAtOnce(t *testing.T) {
	a := newArchive(t)
	var images []image
	for n := range 60 {
		images = append(images, image{study: fmt.Sprintf("1.3.%d", n%20), series: fmt.Sprintf("1.3.%d.1", n%20), number: n + 1, pixels: 4096})
	}
	a.receive(images...)
	var running sync.WaitGroup
	for n := range 60 {
		running.Go(func() {
			c := a.getClient("WS1", dicom.ExplicitVRLittleEndian)
			leave := errors.New("enough")
			taken := 0
			_, err := c.Get(t.Context(), studyGet, identifier("STUDY", dicom.TagStudyInstanceUID, fmt.Sprintf("1.3.%d", n%20)), dimse.StoreHandlerFunc(func(_ context.Context, rq *dimse.StoreRequest) dimse.Status {
				if taken++; n%3 == 0 {
					c.Close() // in the midst of an instance
				}
				_, _ = io.Copy(io.Discard, rq.Data)
				return dimse.Status{}
			}), func(dimse.Suboperations) error {
				if n%3 == 1 {
					return leave
				}
				return nil
			})
			if n%3 == 2 && (err != nil || taken != 3) {
				t.Errorf("%d took %d: %v", n, taken, err)
			}
		})
	}
	running.Wait()
	c := a.dial("WS1", nil, studyFind)
	found := 0
	if status, err := c.Find(t.Context(), studyFind, identifier("STUDY"), func(*dicom.Dataset, bool) error { found++; return nil }); err != nil || !status.OK() || found != 20 {
		t.Errorf("afterwards: %s, %v, %d found", status, err, found)
	}
}
