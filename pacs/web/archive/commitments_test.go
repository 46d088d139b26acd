package archive_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/commitment"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
)

// An administrator sees what devices asked for, of their facilities, and has a
// request answered again, which is in the audit trail.
func TestCommitments(t *testing.T) {
	var enqueued []int64
	a := webtest.OpenArchive(t, func(ctx context.Context, ix *index.Index) error {
		_, err := commitment.New(ctx, commitment.Options{Index: ix})
		return err
	}, func(a *webtest.Archive, server *web.Server) {
		commitments, err := commitment.New(t.Context(), commitment.Options{Index: a.Index, Enqueue: func(_ context.Context, _ pgx.Tx, id int64) error {
			enqueued = append(enqueued, id)
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		(&archive.API{Index: a.Index, Commitments: commitments}).Register(server.API())
	})
	for ae, facility := range map[string]string{"CT_A": "A", "CT_B": "B"} {
		if _, err := a.Access.AddDevice(t.Context(), access.System("test"), access.Device{AETitle: ae, FacilityCode: facility}); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := a.Index.Pool().Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO commitment (ae_title, transaction_uid, state, ended_at, last_error) VALUES
		('CT_A', '1.1', 'reported', now(), ''), ('CT_A', '1.2', 'checking', NULL, ''), ('CT_B', '1.3', 'failed', now(), 'connection refused'), ('GONE', '1.4', 'reporting', NULL, 'no such device')`)
	exec(`INSERT INTO commitment_instance SELECT id, n, '1.2', '1.2.' || n, CASE WHEN n < 3 THEN 0 WHEN n = 3 THEN 274 WHEN state = 'checking' THEN NULL ELSE 0 END FROM commitment, generate_series(1, 5) n`)

	admin, chief, doctor := a.Person("root", pacs.Administrator), a.Person("chief", pacs.FacilityAdministrator, "A"), a.Person("doc", pacs.Clinician, "A")
	const path = "/api/admin/commitments"
	page := admin.Do("GET", path+"?limit=3", nil).Want(http.StatusOK)
	if page.Length("commitments") != 3 || page.Field("commitments.0.ae_title") != "GONE" || page.Field("commitments.1.last_error") != "connection refused" || page.Field("commitments.1.facility") != "B" {
		t.Errorf("%s", page.Body)
	}
	if rest := admin.Do("GET", path+"?limit=3&after="+page.Field("next"), nil).Want(http.StatusOK); rest.Length("commitments") != 1 || rest.Field("next") != "" {
		t.Errorf("%s", rest.Body)
	}
	own := chief.Do("GET", path, nil).Want(http.StatusOK)
	if own.Length("commitments") != 2 || own.Field("commitments.0.transaction_uid") != "1.2" || own.Field("commitments.0.instances") != "5" ||
		own.Field("commitments.0.safe") != "2" || own.Field("commitments.0.unsafe") != "1" || own.Field("commitments.0.ended_at") != "" || own.Field("commitments.1.safe") != "4" {
		t.Errorf("%s", own.Body)
	}
	if list := admin.Do("GET", path+"?state=failed&ae=CT", nil).Want(http.StatusOK); list.Length("commitments") != 1 || list.Field("commitments.0.transaction_uid") != "1.3" {
		t.Errorf("%s", list.Body)
	}
	// Underscore and per cent are no wildcards.
	if list := admin.Do("GET", path+"?ae=%25", nil).Want(http.StatusOK); list.Length("commitments") != 0 {
		t.Errorf("%s", list.Body)
	}
	admin.Do("GET", path+"?state=nonsense", nil).Problem(http.StatusBadRequest, "invalid", "")
	doctor.Do("GET", path, nil).Problem(http.StatusForbidden, "forbidden", "")

	foreign := page.Field("commitments.1.id")
	chief.Do("POST", path+"/"+foreign+"/retry", nil).Problem(http.StatusNotFound, "not_found", "")
	chief.Do("POST", path+"/nonsense/retry", nil).Problem(http.StatusNotFound, "not_found", "")
	doctor.Do("POST", path+"/"+foreign+"/retry", nil).Problem(http.StatusForbidden, "forbidden", "")
	if len(enqueued) != 0 {
		t.Errorf("enqueued %v", enqueued)
	}
	admin.Do("POST", path+"/"+foreign+"/retry", nil).Want(http.StatusAccepted)
	again := admin.Do("GET", path+"?ae=CT_B", nil).Want(http.StatusOK)
	if again.Field("commitments.0.state") != "checking" || again.Field("commitments.0.safe") != "0" || again.Field("commitments.0.last_error") != "" || len(enqueued) != 1 {
		t.Errorf("%s, enqueued %v", again.Body, enqueued)
	}
	// One that has no answer yet keeps what is known of it.
	chief.Do("POST", path+"/"+own.Field("commitments.0.id")+"/retry", nil).Want(http.StatusAccepted)
	if list := chief.Do("GET", path+"?state=checking", nil).Want(http.StatusOK); list.Field("commitments.0.safe") != "2" || len(enqueued) != 2 {
		t.Errorf("%s, enqueued %v", list.Body, enqueued)
	}
	var trail []string
	rows, err := a.Index.Pool().Query(t.Context(), `SELECT row_to_json(a)::text FROM audit_event a WHERE action = 'commitment.retry'`)
	if err == nil {
		trail, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil || len(trail) != 2 || !strings.Contains(trail[0], "device:CT_B") || !strings.Contains(trail[0], "transaction 1.3") {
		t.Errorf("the audit trail: %q, %v", trail, err)
	}
}
