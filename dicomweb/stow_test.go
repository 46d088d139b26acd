package dicomweb

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

const stowType = `multipart/related; type="application/dicom"; boundary=XX`

// body joins parts; each is its Content-Type line (or "") and its bytes.
func body(parts ...partOf) *bytes.Buffer {
	var b bytes.Buffer
	for _, p := range parts {
		b.WriteString("\r\n--XX\r\n")
		if p.contentType != "" {
			b.WriteString("Content-Type: " + p.contentType + "\r\n")
		}
		b.WriteString("\r\n")
		b.Write(p.body)
	}
	b.WriteString("\r\n--XX--")
	return &b
}

func dicomPart(b []byte) partOf { return partOf{"application/dicom", b} }

// outcome is a Store Instances Response in short: stored SOP instances,
// reasons by failed SOP instance, reasons of the others.
type outcome struct {
	Stored []string
	Failed map[string]int
	Other  []int
}

func outcomeOf(t *testing.T, w *httptest.ResponseRecorder) (o outcome) {
	t.Helper()
	type sequence struct {
		Value []map[string]struct{ Value []any }
	}
	var r struct {
		Stored sequence `json:"00081199"`
		Failed sequence `json:"00081198"`
		Other  sequence `json:"0008119A"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	reason := func(item map[string]struct{ Value []any }) int { return int(item["00081197"].Value[0].(float64)) }
	for _, item := range r.Stored.Value {
		uid := "" // of what has none
		if named := item["00081155"].Value; len(named) > 0 {
			uid = named[0].(string)
		}
		o.Stored = append(o.Stored, uid)
	}
	for _, item := range r.Failed.Value {
		if o.Failed == nil {
			o.Failed = map[string]int{}
		}
		o.Failed[item["00081155"].Value[0].(string)] = reason(item)
	}
	for _, item := range r.Other.Value {
		o.Other = append(o.Other, reason(item))
	}
	return o
}

const goldenStore = `{
	"00080005":{"vr":"CS","Value":["ISO_IR 192"]},
	"00081190":{"vr":"UR","Value":["http://pacs.test/dicom-web/studies/1.2.3"]},
	"00081199":{"vr":"SQ","Value":[
		{"00081150":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},
		 "00081155":{"vr":"UI","Value":["1.2.3.1.1"]},
		 "00081190":{"vr":"UR","Value":["http://pacs.test/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"]}}]}}`

func TestStoreKeepsTheBytes(t *testing.T) {
	b := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian)
	for _, c := range []struct {
		name, target, contentType string
		body                      io.Reader
	}{
		{"as dicomweb-client", "/studies", `multipart/related; type="application/dicom"; boundary="XX"`, body(dicomPart(b))},
		{"to a study", "/studies/1.2.3", stowType, body(dicomPart(b))},
		{"type without quotes", "/studies", "multipart/related;type=application/dicom;boundary=XX", body(dicomPart(b))},
		{"without a type", "/studies", "Multipart/Related; boundary=XX", body(dicomPart(b))},
		{"part with a transfer syntax", "/studies", stowType, body(partOf{"application/dicom; transfer-syntax=1.2.840.10008.1.2.1", b})},
		{"part without Content-Type", "/studies", stowType, body(partOf{"", b})},
		{"a single part", "/studies", "application/dicom", bytes.NewReader(b)},
		{"byte by byte", "/studies", stowType, iotest.OneByteReader(body(dicomPart(b)))},
		{"with a preamble", "/studies", stowType, io.MultiReader(strings.NewReader("This is a message in several parts.\r\n"), body(dicomPart(b)))},
		{"with an epilogue", "/studies", stowType, io.MultiReader(body(dicomPart(b)), strings.NewReader("\r\nignored"))},
	} {
		a := newArchive()
		w := call(t, serve(a), "POST", c.target, c.body, "Content-Type", c.contentType)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			continue
		}
		sameJSON(t, goldenStore, w.Body.Bytes())
		if !bytes.Equal(a.bytes["1.2.3.1.1"], b) {
			t.Errorf("%s: other bytes are kept", c.name)
		}
		in := a.lastArrival
		if in.Channel != pacs.ChannelSTOW || in.Sender != "test" || in.Facility != "HOSPITAL" || in.Charset != "windows-1251" || in.TransferSyntaxUID != "" {
			t.Errorf("%s: %+v", c.name, in)
		}
	}
}

func TestStoreTellsWhatBecameOfEachPart(t *testing.T) {
	one := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian)
	two := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.2", 2, 1), dicom.ExplicitVRLittleEndian)
	other := partFile(t, image(otherUID, otherUID+".1", otherUID+".1.1", 2, 1), dicom.ExplicitVRLittleEndian)
	nameless := partFile(t, image(ctStudy, ctSeries, "", 1, 1).Delete(dicom.TagSOPInstanceUID), dicom.ExplicitVRLittleEndian)
	for _, c := range []struct {
		name, target string
		parts        []partOf
		status       int
		want         outcome
	}{
		{"all", "/studies", []partOf{dicomPart(one), dicomPart(two)}, 200, outcome{Stored: []string{"1.2.3.1.1", "1.2.3.1.2"}}},
		{
			"cut within the pixels", "/studies",
			[]partOf{dicomPart(one[:len(one)-3]), dicomPart(two)},
			202,
			outcome{Stored: []string{"1.2.3.1.2"}, Failed: map[string]int{"1.2.3.1.1": 0xC000}},
		},
		{"cut within an element", "/studies", []partOf{dicomPart(one[:400])}, 409, outcome{Failed: map[string]int{"1.2.3.1.1": 0xC000}}},
		{
			"another study", "/studies/1.2.3",
			[]partOf{dicomPart(other), dicomPart(one)},
			202,
			outcome{Stored: []string{"1.2.3.1.1"}, Failed: map[string]int{otherUID + ".1.1": 0xA900}},
		},
		{"not DICOM", "/studies", []partOf{dicomPart([]byte("GIF89a")), dicomPart(two)}, 202, outcome{Stored: []string{"1.2.3.1.2"}, Other: []int{0xC000}}},
		{"no SOP Instance UID", "/studies", []partOf{dicomPart(nameless)}, 409, outcome{Other: []int{0xC000}}},
		{"another type", "/studies", []partOf{{"text/plain", []byte("hello")}, dicomPart(two)}, 202, outcome{Stored: []string{"1.2.3.1.2"}, Other: []int{0xC000}}},
		{"empty", "/studies", []partOf{dicomPart(nil)}, 409, outcome{Other: []int{0xC000}}},
	} {
		a := newArchive()
		w := call(t, serve(a), "POST", c.target, body(c.parts...), "Content-Type", stowType)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, w.Code, c.status, w.Body)
			continue
		}
		if diff := cmp.Diff(c.want, outcomeOf(t, w)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if len(a.instances) != len(c.want.Stored) {
			t.Errorf("%s: %d instances kept", c.name, len(a.instances))
		}
	}
}

func TestFailureReasonByCode(t *testing.T) {
	b := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian)
	for _, c := range []struct {
		err    error
		status int
		reason int // 0: the request ends with a problem
	}{
		{pacs.Errorf(pacs.Invalid, "bad"), 409, 0xC000},
		{pacs.Errorf(pacs.Unsupported, "bad"), 409, 0xC122},
		{pacs.Errorf(pacs.TooLarge, "bad"), 409, 0xA700},
		{pacs.Errorf(pacs.Forbidden, "bad"), 409, 0x0124},
		{errors.New("a defect"), 409, 0x0110},
		// Nothing can be stored: no use in taking the rest of the request.
		{pacs.Errorf(pacs.OutOfResources, "the disk is full"), 507, 0},
		{pacs.Errorf(pacs.Unavailable, "shutting down"), 503, 0},
	} {
		a := newArchive()
		a.receiveErr = c.err
		w := call(t, serve(a), "POST", "/studies", body(dicomPart(b)), "Content-Type", stowType)
		want(t, w, c.status)
		if c.reason == 0 {
			continue
		}
		// The Receiver read nothing, so nobody knows which instance it was.
		if diff := cmp.Diff(outcome{Other: []int{c.reason}}, outcomeOf(t, w)); diff != "" {
			t.Errorf("%v: %s", c.err, diff)
		}
		if strings.Contains(w.Body.String(), "a defect") {
			t.Error("the text of an internal error is shown")
		}
	}
}

func TestABodyThatBreaksOffKeepsWhatWasComplete(t *testing.T) {
	one := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian)
	two := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.2", 2, 1), dicom.ExplicitVRLittleEndian)
	whole := body(dicomPart(one), dicomPart(two)).Bytes()
	second := bytes.LastIndex(whole, []byte("\r\n--XX\r\n"))
	for _, c := range []struct {
		name string
		end  int
		err  error
	}{
		{"in the second part", second + 200, nil},
		{"behind the last byte of the second part", len(whole) - len("\r\n--XX--"), nil},
		{"in the second part's headers", second + 20, nil},
		{"within the last boundary", len(whole) - 3, nil},
		{"by a lost connection", second + 200, errors.New("connection reset")},
	} {
		a := newArchive()
		var src io.Reader = bytes.NewReader(whole[:c.end])
		if c.err != nil {
			src = io.MultiReader(src, iotest.ErrReader(c.err))
		}
		w := call(t, serve(a), "POST", "/studies", src, "Content-Type", stowType)
		if w.Code != 202 {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			continue
		}
		if diff := cmp.Diff(outcome{Stored: []string{"1.2.3.1.1"}, Other: []int{0xC000}}, outcomeOf(t, w)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if len(a.instances) != 1 {
			t.Errorf("%s: %d instances kept", c.name, len(a.instances))
		}
		if !strings.Contains(w.Body.String(), "breaks off") {
			t.Errorf("%s: the answer does not say so: %s", c.name, w.Body)
		}
	}
}

// endless yields a pattern n times and counts what was read.
type endless struct {
	pattern []byte
	left    int64
	read    int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && e.left > 0 {
		m := copy(p[n:], e.pattern[e.read%int64(len(e.pattern)):])
		n += m
		e.left -= int64(m)
		e.read += int64(m)
	}
	return n, nil
}

func TestHostileBodies(t *testing.T) {
	const huge = 4 << 30
	good := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian)
	noise := func(pattern string) *endless { return &endless{pattern: []byte(pattern), left: huge} }
	for _, c := range []struct {
		name, contentType string
		head              string
		tail              *endless
		status            int
		says              string
	}{
		{"4 GB of header lines", stowType, "--XX\r\n", noise("X-A: b\r\n"), 400, "headers"},
		{"one header of 4 GB", stowType, "--XX\r\nX-A: ", noise("aaaaaaaa"), 400, "headers"},
		{"4 GB without the boundary", stowType, "", noise("no boundary here\r\n"), 400, "boundary"},
		{"4 GB without a line end", stowType, "", noise("aaaaaaaa"), 400, "boundary"},
		{"the wrong boundary", `multipart/related; type="application/dicom"; boundary=YY`, "--XX\r\nContent-Type: application/dicom\r\n\r\n", noise("\r\n--XX"), 400, "boundary"},
		{"4 GB of headers after an instance", stowType, "--XX\r\n\r\n" + string(good) + "\r\n--XX\r\n", noise("X-A: b\r\n"), 202, "headers"},
	} {
		a := newArchive()
		w := call(t, serve(a), "POST", "/studies", io.MultiReader(strings.NewReader(c.head), c.tail), "Content-Type", c.contentType)
		want(t, w, c.status)
		if !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %s", c.name, w.Body)
		}
		if c.tail.read > 1<<20 {
			t.Errorf("%s: %d bytes were read before it was refused", c.name, c.tail.read)
		}
	}

	for _, c := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"no Content-Type", "", "", 415},
		{"JSON without UIDs", "application/json", "{}", 409},
		{"metadata that are none", `multipart/related; type="application/dicom+json"; boundary=XX`, "--XX--", 400},
		{"parts of pictures", `multipart/related; type="image/jpeg"; boundary=XX`, "--XX--", 415},
		{"no boundary", `multipart/related; type="application/dicom"`, "", 400},
		{"a boundary of 71 characters", "multipart/related; boundary=" + strings.Repeat("b", 71), "", 400},
		{"an empty body", stowType, "", 400},
		{"no part", stowType, "--XX--\r\n", 400},
		{"no part, CRLF first", stowType, "\r\n--XX--", 400},
	} {
		w := call(t, serve(newArchive()), "POST", "/studies", strings.NewReader(c.body), "Content-Type", c.contentType)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, w.Code, c.status, w.Body)
		}
	}
	want(t, call(t, serve(newArchive()), "POST", "/studies", body(dicomPart(good)), "Content-Type", stowType, "Accept", "image/png"), 406)
	want(t, call(t, serve(newArchive()), "POST", "/studies", body(dicomPart(good)), "Content-Type", stowType, "Content-Encoding", "br"), 415)
}

func TestManyEmptyParts(t *testing.T) {
	var parts []partOf
	for range 10_000 {
		parts = append(parts, dicomPart(nil))
	}
	w := call(t, serve(newArchive()), "POST", "/studies", body(parts...), "Content-Type", stowType)
	want(t, w, 409)
	if n := len(outcomeOf(t, w).Other); n != 10_000 {
		t.Errorf("%d parts are accounted for", n)
	}
	w = call(t, serve(newArchive(), func(o *Options) { o.MaxParts = 10 }), "POST", "/studies", body(parts...), "Content-Type", stowType)
	want(t, w, 409)
	if n := len(outcomeOf(t, w).Other); n != 11 || !strings.Contains(w.Body.String(), "at most 10") {
		t.Errorf("%d parts are accounted for: %.200s", n, w.Body)
	}
}

func TestPartsOverTheLimit(t *testing.T) {
	small := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian)
	large := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.2", 1, 100), dicom.ExplicitVRLittleEndian)
	a := newArchive()
	h := serve(a, func(o *Options) { o.MaxPartSize = int64(len(small)) })
	w := call(t, h, "POST", "/studies", body(dicomPart(large), dicomPart(small)), "Content-Type", stowType)
	want(t, w, 202)
	if diff := cmp.Diff(outcome{Stored: []string{"1.2.3.1.1"}, Failed: map[string]int{"1.2.3.1.2": 0xA700}}, outcomeOf(t, w)); diff != "" {
		t.Error(diff)
	}
}

func TestStoringNeedsAFacility(t *testing.T) {
	identity := func(o *Options) {
		inner := o.Identity
		o.Identity = func(c *gin.Context) (pacs.Scope, string, string, string, bool) {
			scope, sender, _, charset, ok := inner(c)
			return scope, sender, "", charset, ok
		}
	}
	w := call(t, serve(newArchive(), identity), "POST", "/studies", body(), "Content-Type", stowType)
	want(t, w, 403)
}

// What a multipart writer of the standard library makes is read back part by
// part; whatever else comes must end without a panic and within the limits.
func FuzzMultipart(f *testing.F) {
	f.Add([]byte("--XX\r\nContent-Type: application/dicom\r\n\r\nabc\r\n--XX--"), "XX")
	f.Add([]byte("\r\n--XX\r\n\r\n\r\n--XX\r\n\r\n\r\n--XX--"), "XX")
	f.Add([]byte("--XX\nContent-Type: a\n\nabc\n--XX--\n"), "XX")
	f.Add([]byte("--XX\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41\r\n--XX--"), "XX")
	f.Add([]byte("--XX--"), "XX")
	f.Fuzz(func(t *testing.T, b []byte, boundary string) {
		if len(boundary) == 0 || len(boundary) > 70 {
			return
		}
		m := newMultipart(bytes.NewReader(b), boundary)
		total := 0
		for range len(b) + 2 {
			p, err := m.next()
			if err != nil {
				if err != io.EOF && pacs.CodeOf(err) != pacs.Invalid {
					t.Fatalf("%v", err)
				}
				return
			}
			n, _ := io.Copy(io.Discard, p)
			if total += int(n); total > len(b) {
				t.Fatalf("%d bytes out of %d", total, len(b))
			}
		}
		t.Fatal("more parts than bytes")
	})
}

func TestMultipartReadsWhatIsWritten(t *testing.T) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	var sent [][]byte
	for n := range 20 {
		// Contents that look like boundaries, of sizes around the buffers.
		content := bytes.Repeat([]byte("\r\n--"+w.Boundary()[:10]), n*n*7)
		sent = append(sent, content)
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
		if err != nil {
			t.Fatal(err)
		}
		p.Write(content)
	}
	w.Close()
	m := newMultipart(iotest.HalfReader(&b), w.Boundary())
	for n, want := range sent {
		p, err := m.next()
		if err != nil {
			t.Fatal(err)
		}
		if n%3 == 2 {
			continue // not read: the next call skips it
		}
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("part %d: %d bytes, %v", n, len(got), err)
		}
	}
	if _, err := m.next(); err != io.EOF {
		t.Fatalf("after the last part: %v", err)
	}
}

func TestIdentifyReadsTheBeginning(t *testing.T) {
	b := partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian)
	for n := 0; n <= len(b); n += 7 {
		p := partReader{head: b[:min(n, maxHead)]}
		class, instance := p.identify()
		if (class == "") != (instance == "") || instance != "" && (instance != "1.2.3.1.1" || class != ctClass) {
			t.Fatalf("of %d bytes: %q %q", n, class, instance)
		}
	}
	p := partReader{head: b}
	if _, instance := p.identify(); instance == "" {
		t.Error("nothing found in a whole file")
	}
}
