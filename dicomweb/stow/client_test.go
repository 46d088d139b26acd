package stow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
)

// files are instances as they are served, by SOP Instance UID.
type files map[string]string

func (f files) Instance(_ context.Context, i pacs.Instance) (pacs.File, error) {
	text, ok := f[i.SOPInstanceUID]
	if !ok {
		return pacs.File{}, pacs.Errorf(pacs.Unavailable, "The store can't be reached")
	}
	return pacs.File{Length: int64(len(text)), Open: func(_ context.Context, offset, length int64) (io.ReadCloser, error) {
		if strings.HasPrefix(text, "damaged") {
			return io.NopCloser(iotest.ErrReader(errors.New("damaged"))), nil
		}
		return io.NopCloser(strings.NewReader(text[offset : offset+length])), nil
	}}, nil
}

var kept = files{"1.1": "first", "1.2": strings.Repeat("second ", 100_000), "1.3": "third", "1.4": "damaged"}

func instances(uids ...string) (list []pacs.Instance) {
	for _, uid := range uids {
		list = append(list, pacs.Instance{SOPInstanceUID: uid})
	}
	return list
}

// node is a DICOMweb node that answers as it is told, and remembers the requests.
type node struct {
	*httptest.Server
	requests [][]string // contents of the parts
}

func newNode(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, parts []string)) *node {
	n := &node{}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media != "multipart/related" || params["type"] != "application/dicom" || r.ContentLength <= 0 || r.URL.Path != "/dicom-web/studies" {
			t.Errorf("%s %s, %d bytes: %v", r.URL, r.Header, r.ContentLength, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if int64(len(body)) != r.ContentLength {
			t.Errorf("%d bytes of %d", len(body), r.ContentLength)
		}
		var parts []string
		for mr := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
			p, err := mr.NextRawPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Error(err)
				break
			}
			raw, _ := io.ReadAll(p)
			if p.Header.Get("Content-Type") != "application/dicom" {
				t.Errorf("a part is %v", p.Header)
			}
			parts = append(parts, string(raw))
		}
		n.requests = append(n.requests, parts)
		answer(w, r, parts)
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *node) target() forward.Target {
	return forward.Target{Name: "N", URL: n.URL + "/dicom-web", Authorization: forward.Bearer, Secret: "t0ken"}
}

func listed(w http.ResponseWriter, status int, stored, failed string) {
	w.Header().Set("Content-Type", "application/dicom+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"00081199":{"vr":"SQ","Value":[%s]},"00081198":{"vr":"SQ","Value":[%s]}}`, stored, failed)
}

func reference1(uid string, reason int) string {
	if reason == 0 {
		return fmt.Sprintf(`{"00081155":{"vr":"UI","Value":[%q]}}`, uid)
	}
	return fmt.Sprintf(`{"00081155":{"vr":"UI","Value":[%q]},"00081197":{"vr":"US","Value":[%d]}}`, uid, reason)
}

// What the node says of each instance is what is known of it; what it does not name
// was not stored.
func TestStore(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, r *http.Request, _ []string) {
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			t.Errorf("authorization %q", r.Header.Get("Authorization"))
		}
		listed(w, http.StatusAccepted, reference1("1.1", 0), reference1("1.2", 0xA900))
	})
	c := &Client{Files: kept}
	defer c.Close()
	got, err := c.Store(t.Context(), n.target(), instances("1.1", "1.2", "1.3", "1.9"))
	if err != nil {
		t.Fatal(err)
	}
	if len(n.requests) != 1 || len(n.requests[0]) != 3 || n.requests[0][1] != kept["1.2"] {
		t.Error("not all of it was sent as it is")
	}
	if got[0] != nil || got[1] == nil || !got[1].Permanent || got[2] == nil || got[2].Permanent || got[3] == nil || got[3].Permanent {
		t.Errorf("%+v", got)
	}
}

func TestAnswers(t *testing.T) {
	text := func(status int, contentType, body string) func(http.ResponseWriter, *http.Request, []string) {
		return func(w http.ResponseWriter, _ *http.Request, _ []string) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for what, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, []string)
		stored bool
		down   bool // and nothing is known
		broken bool // nothing is known
		why    string
	}{
		"nothing but OK":     {answer: text(200, "", ""), stored: true},
		"an array of one":    {answer: text(200, "application/json", `[{"00081199":{"Value":[`+reference1("1.1", 0)+`]}}]`), stored: true},
		"a page for people":  {answer: text(200, "text/html", "<html>sign in</html>"), broken: true, why: "not understood"},
		"accepted and mute":  {answer: text(202, "application/dicom+json", "{}"), broken: true, why: "names no instance"},
		"half of JSON":       {answer: text(200, "application/dicom+json", `{"00081199`), broken: true},
		"a password changed": {answer: text(401, "", ""), down: true, why: "password or token"},
		"no such service":    {answer: text(404, "", ""), down: true, why: "check the address"},
		"overloaded":         {answer: text(503, "", ""), down: true},
		"refused":            {answer: text(400, "text/plain", "no such patient"), why: "no such patient"},
		"conflict": {answer: func(w http.ResponseWriter, _ *http.Request, _ []string) {
			listed(w, 409, "", reference1("1.1", 0x0122))
		}, why: "refused"},
		"a defect":     {answer: text(500, "text/plain", "panic"), why: "500"},
		"far too much": {answer: text(200, "application/dicom+json", strings.Repeat(" ", maxAnswer+1)), broken: true, why: "longer"},
		"hangs up":     {answer: func(http.ResponseWriter, *http.Request, []string) { panic(http.ErrAbortHandler) }, broken: true},
	} {
		n := newNode(t, c.answer)
		client := &Client{Files: kept}
		got, err := client.Store(t.Context(), n.target(), instances("1.1"))
		client.Close()
		var failed *forward.NodeError
		switch {
		case (c.down || c.broken) != errors.As(err, &failed), failed != nil && failed.Down != c.down:
			t.Errorf("%s: %v", what, err)
		case failed != nil && !strings.Contains(err.Error(), c.why):
			t.Errorf("%s: %v", what, err)
		case failed == nil && c.stored != (got[0] == nil):
			t.Errorf("%s: %+v", what, got[0])
		case got[0] != nil && !strings.Contains(got[0].Text, c.why):
			t.Errorf("%s: %+v", what, got[0])
		}
	}
}

// A node that takes only short requests gets such.
func TestStoreInSmallerRequests(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, _ *http.Request, parts []string) {
		if len(parts) > 1 || parts[0] == kept["1.2"] {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
	c := &Client{Files: kept}
	defer c.Close()
	got, err := c.Store(t.Context(), n.target(), instances("1.1", "1.2", "1.3"))
	if err != nil || got[0] != nil || got[1] == nil || !got[1].Permanent || got[2] != nil {
		t.Errorf("%+v %v", got, err)
	}
}

// A secret goes nowhere but to the address that it was given for.
func TestStoreIsNotRedirected(t *testing.T) {
	elsewhere := newNode(t, func(_ http.ResponseWriter, r *http.Request, _ []string) { t.Errorf("%v came elsewhere", r.Header) })
	n := newNode(t, func(w http.ResponseWriter, r *http.Request, _ []string) {
		http.Redirect(w, r, elsewhere.URL+"/dicom-web/studies", http.StatusTemporaryRedirect)
	})
	c := &Client{Files: kept}
	defer c.Close()
	_, err := c.Store(t.Context(), n.target(), instances("1.1"))
	var failed *forward.NodeError
	if !errors.As(err, &failed) || !failed.Down || !strings.Contains(err.Error(), elsewhere.URL) {
		t.Error(err)
	}
}

// Nobody is there.
func TestStoreAtNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	c := &Client{Files: kept}
	defer c.Close()
	var failed *forward.NodeError
	if _, err := c.Store(t.Context(), forward.Target{URL: "http://" + ln.Addr().String()}, instances("1.1")); !errors.As(err, &failed) || !failed.Down {
		t.Error(err)
	}
}

// What can't be read here keeps nothing else from being sent.
func TestStoreWithoutWhatIsDamaged(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, _ *http.Request, _ []string) { w.WriteHeader(http.StatusOK) })
	c := &Client{Files: kept}
	defer c.Close()
	got, err := c.Store(t.Context(), n.target(), instances("1.1", "1.4", "1.3"))
	if err != nil || got[0] != nil || got[2] != nil || got[1] == nil || got[1].Permanent || !strings.Contains(got[1].Text, "damaged") {
		t.Errorf("%+v %v", got, err)
	}
	if last := n.requests[len(n.requests)-1]; len(last) != 2 || last[1] != "third" {
		t.Errorf("%q was sent", last)
	}
}
