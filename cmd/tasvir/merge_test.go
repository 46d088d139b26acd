package main

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/phantom"
)

// follower reads the feed of changes from place to place.
type follower struct {
	*person
	place string
}

// until waits for a change of a kind.
func (f *follower) until(kind string) {
	f.t.Helper()
	eventually(f.t, kind, func() bool {
		var page struct {
			Changes []struct{ Kind string }
			Next    string
		}
		f.must(http.StatusOK, f.call("GET", "/api/changes?limit=1&wait=20&after="+url.QueryEscape(f.place), nil, &page))
		f.place = page.Next
		return len(page.Changes) > 0 && page.Changes[0].Kind == kind
	})
}

// TestMergeWhileServing: a series that comes in parts is merged when its study
// is complete, again after the late images, and served as it came all the time.
func TestMergeWhileServing(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	study := phantom.Small(phantom.HeadCT, 6)
	files := writeFiles(t, t.TempDir(), study)
	if len(files) < 5 {
		t.Fatalf("%d files", len(files))
	}
	feed := &follower{person: h.admin}
	h.storescu("URGUT_CT1", files[3:]...)
	feed.until("study.received")
	feed.until("study.completed")
	h.sameBytes(files[3:])
	h.storescu("URGUT_CT1", files[:3]...)
	feed.until("study.completed")
	feed.until("series.merged")
	h.expect(study, len(files))
	h.sameBytes(files)
	// After a restart, too.
	a.kill()
	a.start()
	h.sameBytes(files)
}
