package dicomweb

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	ix.Close()
	return nil
}

// realArchive is the service over journal, publisher, index and file storage.
// held is called with what the publisher keeps back.
func realArchive(t *testing.T, held func(error)) *httptest.Server {
	t.Helper()
	server, _, _ := openReal(t, held)
	return server
}

// openReal is realArchive with what it works on.
func openReal(t *testing.T, held func(error), edit ...func(*Options)) (*httptest.Server, *index.Index, *file.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ix, err := index.Open(ctx, indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	store, err := file.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{Dir: filepath.Join(t.TempDir(), "journal"), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := publish.New(publish.Options{
		Journal: j, Index: ix, Store: store,
		InTransaction: func(context.Context, pgx.Tx, string, index.Added) error { return nil },
		Observer:      publish.Observer{Held: held, Failed: func(err error) { t.Errorf("not published: %v", err) }},
	})
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(serve(nil, func(o *Options) {
		o.Index, o.Packs, o.Receiver, o.Problem = ix, &publish.Packs{Index: ix, Store: store}, j, web.Problem
		if pixeltest.Available {
			o.Codecs = pixeltest.Codecs(t)
		}
		o.Identity = func(c *gin.Context) (pacs.Scope, string, string, string, bool) {
			if c.GetHeader("X-Test-Caller") == "elsewhere" {
				return pacs.Scope{Who: "elsewhere", FacilityIDs: []int64{99}}, "elsewhere", "ELSEWHERE", "", true
			}
			return pacs.System("test"), "test", pacs.Unassigned, "", true
		}
		for _, e := range edit {
			e(o)
		}
	}))
	t.Cleanup(server.Close)
	return server, ix, store
}

// The same clients against the archive as it is: what they store goes through
// journal and publisher and comes back from index and packs.
func TestClientsOfTheRealArchive(t *testing.T) {
	needNode(t, clienttest, "dicomweb-client")
	server := realArchive(t, heldBack(t))
	studies := clientStudies(t)
	for i := range studies {
		studies[i].URL = server.URL + "/dicom-web"
		studies[i].WaitForStudy = true
	}
	script(t, studies, "dicomweb-client.mjs")
	if t.Failed() {
		return
	}
	if _, err := os.Stat(loader); err == nil {
		script(t, studies, "cornerstone.mjs", loader)
	}
}

// heldBack is for tests in which nothing may be held back.
func heldBack(t *testing.T) func(error) { return func(err error) { t.Errorf("held back: %v", err) } }

// encoded is a data set as an Explicit Little Endian file.
func encoded(t *testing.T, ds *dicom.Dataset) []byte {
	t.Helper()
	return partFile(t, ds, dicom.ExplicitVRLittleEndian)
}

// post stores at /studies, or below it.
func post(t *testing.T, server *httptest.Server, b io.Reader, below ...string) *httptest.ResponseRecorder {
	t.Helper()
	resp, err := http.Post(server.URL+"/dicom-web/studies"+strings.Join(below, ""), stowType, b)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	w := httptest.NewRecorder()
	w.Code = resp.StatusCode
	if _, err := io.Copy(w.Body, resp.Body); err != nil {
		t.Fatal(err)
	}
	return w
}

// Who belongs to another facility sees nothing of the study, by any route.
func TestScopeOfTheRealArchive(t *testing.T) {
	server := realArchive(t, heldBack(t))
	if w := post(t, server, body(dicomPart(encoded(t, image("2.25.5", "2.25.5.1", "2.25.5.1.1", 1, 1))))); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	fetch := func(caller, target string) (int, string) {
		r, err := http.NewRequest("GET", server.URL+"/dicom-web"+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Test-Caller", caller)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	const study = "/studies/2.25.5"
	const series = study + "/series/2.25.5.1"
	const instance = series + "/instances/2.25.5.1.1"
	for deadline := time.Now().Add(time.Minute); ; {
		if _, found := fetch("owner", "/studies"); found != "[]" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the study is not published")
		}
	}
	for _, target := range []string{"/studies", "/series", "/instances", study + "/series", study + "/instances", series + "/instances"} {
		if code, found := fetch("elsewhere", target); code != 200 || found != "[]" {
			t.Errorf("%s elsewhere: %d %s", target, code, found)
		}
		if code, found := fetch("owner", target); code != 200 || found == "[]" {
			t.Errorf("%s by the owner: %d %s", target, code, found)
		}
	}
	for _, target := range []string{
		study, series, instance, study + "/metadata", series + "/metadata", instance + "/metadata",
		instance + "/frames/1", instance + "/bulkdata/7FE00010", instance + "/bulkdata/00100010?offset=0&length=10",
	} {
		if code, _ := fetch("elsewhere", target); code != 404 {
			t.Errorf("%s elsewhere: %d", target, code)
		}
		if code, got := fetch("owner", target); code != 200 {
			t.Errorf("%s by the owner: %d %s", target, code, got)
		}
	}
}

// Malformed files that were seen in the wild or are made to hurt: what is
// DICOM at all is kept, with a warning, what isn't is refused with a reason, and
// the next request is served.
func TestMalformedFilesInTheRealArchive(t *testing.T) {
	server := realArchive(t, func(error) {})
	good := func() []byte {
		return encoded(t, image("2.25.5", "2.25.5.1", "2.25.5.1.1", 1, 1))
	}
	deep := &dicom.Dataset{}
	for range 4000 {
		deep = (&dicom.Dataset{}).SetSequence(dicom.TagReferencedSeriesSequence, deep)
	}
	nested := image("2.25.5", "2.25.5.1", "2.25.5.1.2", 1, 1)
	nested.Elements = append(deep.Elements, nested.Elements...)
	withUID := func(uid string) []byte { return encoded(t, image("2.25.5", "2.25.5.1", uid, 1, 1)) }
	// (0009,1001) OB that announces 4 GB
	announced := append(bytes.Clone(good()), 0x09, 0x00, 0x01, 0x10, 'O', 'B', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF)
	for _, c := range []struct {
		name   string
		body   []byte
		status int
		want   outcome
	}{
		{"not DICOM", []byte("hello"), 409, outcome{Other: []int{0xC000}}},
		{"cut within PixelData", good()[:len(good())-1], 202, outcome{Stored: []string{"2.25.5.1.1"}}},
		{"a UID of 70 characters", withUID("1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.6.7.8.9.0.1.2.3.4.5"), 202, outcome{Stored: []string{""}}},
		{"a path as UID", withUID("../../etc/passwd"), 202, outcome{Stored: []string{""}}},
		{"4,000 nested sequences", encoded(t, nested), 202, outcome{Stored: []string{"2.25.5.1.2"}}},
		{"4 GB announced", announced, 202, outcome{Stored: []string{"2.25.5.1.1"}}},
	} {
		w := post(t, server, body(dicomPart(c.body)))
		if w.Code != c.status {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			continue
		}
		if diff := cmp.Diff(c.want, outcomeOf(t, w)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if c.status == 202 && !strings.Contains(w.Body.String(), `"00081196":{"vr":"US","Value":[45063]}`) {
			t.Errorf("%s: no Warning Reason B007: %s", c.name, w.Body)
		}
	}
	if w := post(t, server, body(dicomPart(good()))); w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
	// Another study than the one of the address.
	w := post(t, server, body(dicomPart(good())), "/1.2.3")
	if w.Code != 409 || outcomeOf(t, w).Failed["2.25.5.1.1"] != 0xA900 {
		t.Errorf("to another study: %d %s", w.Code, w.Body)
	}
}
