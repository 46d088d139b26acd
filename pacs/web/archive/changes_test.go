package archive_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
)

func openFeed(t *testing.T, closing <-chan struct{}) *webtest.Archive {
	return webtest.OpenArchive(t, nil, func(a *webtest.Archive, server *web.Server) {
		(&archive.API{Index: a.Index, Closing: closing}).Register(server.API())
	})
}

func recordChange(t testing.TB, ix *index.Index, change index.Change) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), ix.Pool(), func(tx pgx.Tx) error { return index.RecordChange(t.Context(), tx, change) }); err != nil {
		t.Fatal(err)
	}
}

func TestChanges(t *testing.T) {
	a := openFeed(t, nil)
	for n := range 5 {
		recordChange(t, a.Index, index.Change{Kind: index.StudyReceived, FacilityID: a.A.ID, StudyUID: fmt.Sprint("1.", n), SeriesUID: "1.2", Instances: n + 1})
	}
	recordChange(t, a.Index, index.Change{Kind: index.PatientMerged, FacilityID: a.B.ID, Patient: 7, Into: 8})
	everything, onlyB := a.Machine("follower", "", "api"), a.Machine("follower-B", "B", "api")
	var ids []string
	for place := ""; ; {
		page := everything.Do("GET", "/api/changes?limit=2&after="+url.QueryEscape(place), nil).Want(http.StatusOK)
		for i := range page.Length("changes") {
			ids = append(ids, page.Field(fmt.Sprintf("changes.%d.id", i)))
		}
		place = page.Field("next")
		if page.Length("changes") < 2 {
			break
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d changes, want 6", len(ids))
	}
	// A change's id is a place to go on from, too.
	if rest := everything.Do("GET", "/api/changes?after="+ids[3], nil).Want(http.StatusOK); rest.Length("changes") != 2 || rest.Field("changes.0.study_uid") != "1.4" || rest.Field("changes.0.instances") != "5" {
		t.Errorf("%s", rest.Body)
	}
	if b := onlyB.Do("GET", "/api/changes", nil).Want(http.StatusOK); b.Length("changes") != 1 || b.Field("changes.0.patient") != "7" || b.Field("changes.0.into") != "8" || b.Field("changes.0.facility") != "B" {
		t.Errorf("%s", b.Body)
	}
	everything.Do("GET", "/api/changes?after=yesterday", nil).Problem(http.StatusBadRequest, pacs.Invalid, "")
	everything.Do("GET", "/api/changes?after=99999999999.1.1", nil).Problem(http.StatusConflict, pacs.Conflict, "ahead")
	for _, role := range []pacs.Role{pacs.Radiologist, pacs.Clinician, pacs.Technician, pacs.FacilityAdministrator} {
		a.Person(string(role), role, "A").Do("GET", "/api/changes", nil).Problem(http.StatusForbidden, pacs.Forbidden, "")
	}
	a.Person("boss", pacs.Administrator).Do("GET", "/api/changes", nil).Want(http.StatusOK)
}

func TestWaitingForAChange(t *testing.T) {
	closing := make(chan struct{})
	a := openFeed(t, closing)
	follower := a.Machine("follower", "A", "api")
	place := follower.Do("GET", "/api/changes", nil).Want(http.StatusOK).Field("next")
	ask := func() chan *webtest.Answer {
		answered := make(chan *webtest.Answer, 1)
		go func() { answered <- follower.Do("GET", "/api/changes?wait=60&after="+place, nil) }()
		return answered
	}
	waiting := ask()
	recordChange(t, a.Index, index.Change{Kind: index.StudyReceived, FacilityID: a.B.ID, StudyUID: "not theirs"})
	select {
	case answer := <-waiting:
		t.Fatalf("answered with %s", answer.Body)
	case <-time.After(700 * time.Millisecond): // more than one look
	}
	recordChange(t, a.Index, index.Change{Kind: index.StudyReceived, FacilityID: a.A.ID, StudyUID: "1.2.3"})
	if answer := (<-waiting).Want(http.StatusOK); answer.Length("changes") != 1 || answer.Field("changes.0.study_uid") != "1.2.3" {
		t.Errorf("%s", answer.Body)
	} else {
		place = answer.Field("next")
	}
	// The end of the server is not held up.
	waiting = ask()
	close(closing)
	if answer := (<-waiting).Want(http.StatusOK); answer.Length("changes") != 0 || answer.Field("next") == "" {
		t.Errorf("%s", answer.Body)
	}
}
