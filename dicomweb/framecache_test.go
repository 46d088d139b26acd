package dicomweb

import (
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/bytecache"
)

// A frame that is far away is read once for all who ask, in whatever part; one in
// a file here each time. Whoever may not see the instance gets nothing from
// memory.
func TestFramesFromFarAwayAreKept(t *testing.T) {
	for _, remote := range []bool{true, false} {
		a := newArchive()
		a.put(t, partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 9), "1.2.840.10008.1.2.1"))
		cache := bytecache.New(1 << 20)
		h := serve(a, func(o *Options) { o.Cache, o.Remote = cache, func(string) bool { return remote } })
		frame := func(path string, headers ...string) string {
			t.Helper()
			w := get(t, h, ctPath+"/instances/1.2.3.1.1/frames/"+path, append([]string{"Accept", "application/octet-stream"}, headers...)...)
			if w.Code != 200 && w.Code != 206 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			return w.Body.String()
		}
		a.asked = nil
		first := frame("2")
		again, part := frame("2"), frame("2", "Range", "bytes=2-5")
		if again != first || part != first[2:6] {
			t.Errorf("%q, then %q and %q", first, again, part)
		}
		want := 3
		if remote {
			want = 1
		}
		if len(a.asked) != want {
			t.Errorf("remote %v: read %d times", remote, len(a.asked))
		}
		if frame("3") == first {
			t.Error("another frame is the same")
		}
		// Who asks for many frames gets them in one long read.
		a.asked = nil
		entries := cache.Stats().Entries
		get(t, h, ctPath+"/instances/1.2.3.1.1/frames/1,2,3,4,5,6")
		if cache.Stats().Entries != entries {
			t.Error("a long list fills the cache")
		}
		a.studies[0].Facility.ID = testFacility + 1
		if w := get(t, h, ctPath+"/instances/1.2.3.1.1/frames/2", "Accept", "application/octet-stream"); w.Code != 404 {
			t.Errorf("out of scope: %d", w.Code)
		}
	}
}

// A picture is made once for all who ask for the same.
func TestPicturesAreKept(t *testing.T) {
	a := newArchive()
	a.put(t, partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), "1.2.840.10008.1.2.1"))
	h := serve(a, func(o *Options) { o.Cache = bytecache.New(1 << 20) })
	path := ctPath + "/instances/1.2.3.1.1/rendered"
	first := get(t, h, path, "Accept", "image/png")
	want(t, first, 200)
	a.asked = nil
	second := get(t, h, path, "Accept", "image/png")
	want(t, second, 200)
	if second.Body.String() != first.Body.String() || len(a.asked) != 0 {
		t.Errorf("made anew, reading %d", a.asked)
	}
	want(t, get(t, h, path+"?window=1,2,linear", "Accept", "image/png"), 200)
	if len(a.asked) == 0 {
		t.Error("another window is the same picture")
	}
	a.asked = nil
	want(t, get(t, h, path, "Accept", "image/png", "If-None-Match", first.Header().Get("ETag")), 304)
	if len(a.asked) != 0 {
		t.Error("read for somebody who has it")
	}
}
