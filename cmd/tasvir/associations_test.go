package main

import (
	"fmt"
	"net/http"
	"testing"
)

// A running archive: an administrator gives a device an address, tests it, and
// reads in the log who called and who was called.
func TestAssociationLog(t *testing.T) {
	a := startArchive(t, nil)
	h := furnish(a)
	if err := a.echo("STRANGER"); err == nil {
		t.Fatal("a stranger is answered")
	}
	// The archive is a device of its own here: both ends of a test are logged.
	a.tasvir("", "device", "add", "TASVIR", "URGUT", "--address", a.dicom)
	var found struct {
		OK    bool
		Steps []struct{ Stage, Code, Detail string }
	}
	eventually(t, "the archive knows itself", func() bool {
		h.admin.must(http.StatusOK, h.admin.call("POST", "/api/admin/devices/TASVIR/test", nil, &found))
		return found.OK
	})
	if len(found.Steps) != 5 || found.Steps[4].Code != "ok" {
		t.Errorf("%+v", found)
	}
	h.clinician.must(http.StatusForbidden, h.clinician.call("POST", "/api/admin/devices/TASVIR/test", nil, nil))

	count := func(query string) (n int) {
		var page struct {
			Associations []struct{ ID, Calling, Called, Outcome, Code string }
		}
		h.admin.must(http.StatusOK, h.admin.call("GET", "/api/admin/associations?limit=200&"+query, nil, &page))
		for _, entry := range page.Associations {
			var detail struct {
				Contexts []struct{ Accepted string }
				Messages map[string]int
			}
			h.admin.must(http.StatusOK, h.admin.call("GET", "/api/admin/associations/"+entry.ID, nil, &detail))
			if len(detail.Contexts) == 0 || entry.Outcome == "released" && detail.Contexts[0].Accepted == "" {
				t.Errorf("%+v: %+v", entry, detail)
			}
		}
		return len(page.Associations)
	}
	for _, query := range []string{
		"ae=URGUT_CT1&direction=in&outcome=released&facility=URGUT",
		"ae=STRANGER&direction=in&outcome=rejected",
		"ae=TASVIR&direction=in&outcome=released",
		"ae=TASVIR&direction=out&outcome=released",
	} {
		eventually(t, fmt.Sprintf("the log has %s", query), func() bool { return count(query) > 0 })
	}
	a.stop()
}
