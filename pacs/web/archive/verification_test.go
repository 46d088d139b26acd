package archive_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/patrol"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func migratePatrol(ctx context.Context, ix *index.Index) error {
	_, err := patrol.New(ctx, patrol.Options{Index: ix})
	return err
}

func TestVerification(t *testing.T) {
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := webtest.OpenArchive(t, migratePatrol, func(a *webtest.Archive, server *web.Server) {
		p, err := patrol.New(t.Context(), patrol.Options{Index: a.Index, Store: store, Rate: 20 << 20})
		if err != nil {
			t.Fatal(err)
		}
		(&archive.API{Index: a.Index, Patrol: p}).Register(server.API())
	})
	admin := a.Person("head", pacs.Administrator)
	for _, other := range []*webtest.Caller{a.Person("local", pacs.FacilityAdministrator, "A"), a.Person("reader", pacs.Radiologist, "A")} {
		other.Do("GET", "/api/admin/verification", nil).Problem(http.StatusForbidden, pacs.Forbidden, "")
		other.Do("POST", "/api/admin/verification/run", nil).Problem(http.StatusForbidden, pacs.Forbidden, "")
		other.Do("POST", "/api/admin/verification/problems/1/repair", nil).Problem(http.StatusForbidden, pacs.Forbidden, "")
	}

	// The index names an object that is not there.
	if _, err := a.Index.Pool().Exec(t.Context(), `
		WITH p AS (INSERT INTO patient (facility_row, issuer, patient_id) VALUES ($1, 'A', '1') RETURNING id),
			s AS (INSERT INTO study (study_uid, patient_row, facility_row) SELECT '1.2', id, $1 FROM p RETURNING id),
			e AS (INSERT INTO series (study_row, series_uid) SELECT id, '1.2.1' FROM s RETURNING id)
		INSERT INTO pack (key, series_row, bytes, meta_offset, meta_length) SELECT 'packs/1.2/1.2.1/0.zip', id, 100, 10, 10 FROM e`, a.A.ID); err != nil {
		t.Fatal(err)
	}
	p, err := patrol.New(t.Context(), patrol.Options{Index: a.Index, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Pass(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	state := admin.Do("GET", "/api/admin/verification", nil).Want(http.StatusOK)
	for path, want := range map[string]string{
		"packs": "1", "bytes": "100", "verified": "0", "bytes_per_second": "2.097152e+07", "interval_seconds": "2.592e+06",
		"problems.0.kind": "missing", "problems.0.state": "open", "problems.0.study_uid": "1.2", "problems.0.facility": "A",
	} {
		if got := state.Field(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	admin.Do("POST", "/api/admin/verification/run", nil).Want(http.StatusAccepted)
	if state := admin.Do("GET", "/api/admin/verification", nil).Want(http.StatusOK); state.Field("pass.total") != "1" || state.Field("pass.done") != "0" {
		t.Errorf("%s", state.Body)
	}

	problem := "/api/admin/verification/problems/" + state.Field("problems.0.id") + "/repair"
	if after := admin.Do("POST", problem, nil).Want(http.StatusOK); after.Field("state") != "open" || after.Field("kind") != "missing" {
		t.Errorf("repaired from nothing: %s", after.Body)
	}
	if _, err := a.Index.Pool().Exec(t.Context(), `UPDATE pack SET retired_at = now()`); err != nil {
		t.Fatal(err)
	}
	if after := admin.Do("POST", problem, nil).Want(http.StatusOK); after.Field("state") != "gone" {
		t.Errorf("a pack that is not in use any more: %s", after.Body)
	}
	for _, id := range []string{"999", "x", "-1"} {
		admin.Do("POST", "/api/admin/verification/problems/"+id+"/repair", nil).Problem(http.StatusNotFound, pacs.NotFound, "")
	}
	var runs, repairs int
	if err := a.Index.Pool().QueryRow(t.Context(), `
		SELECT count(*) FILTER (WHERE action = 'verification.run'), count(*) FILTER (WHERE action = 'verification.repair') FROM audit_event`).Scan(&runs, &repairs); err != nil || runs != 1 || repairs != 2 {
		t.Errorf("the audit trail has %d runs and %d repairs, %v", runs, repairs, err)
	}
}
