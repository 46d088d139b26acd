package archive_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/retention"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func openRetention(t *testing.T) (*webtest.Archive, *retention.Retention) {
	t.Helper()
	store, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var r *retention.Retention
	a := webtest.OpenArchive(t, func(ctx context.Context, ix *index.Index) error {
		_, err := retention.Open(ctx, retention.Options{Index: ix})
		return err
	}, func(a *webtest.Archive, server *web.Server) {
		if r, err = retention.Open(t.Context(), retention.Options{Index: a.Index, Store: store}); err != nil {
			t.Fatal(err)
		}
		(&archive.API{Index: a.Index, Retention: r}).Register(server.API())
	})
	return a, r
}

func TestRetention(t *testing.T) {
	a, r := openRetention(t)
	const study = "1.2.826.0.1.3680043.10.80.1"
	sum := sha256.Sum256([]byte(study))
	old := time.Now().AddDate(-3, 0, 0)
	if err := a.Index.Add(t.Context(), index.Addition{
		Facility: "A", Patient: pacs.Patient{Issuer: "A", PatientID: "1", Name: "Karimov^Ali"}, Study: pacs.Study{StudyInstanceUID: study, Date: "20200101", ReceivedAt: old},
		Series: pacs.Series{SeriesInstanceUID: study + ".1", Modality: "CT"}, Pack: index.Pack{Key: "packs/1", Bytes: 10},
		Instances: []index.NewInstance{{Instance: pacs.Instance{
			SOPInstanceUID: study + ".1.1", SOPClassUID: "1.2", TransferSyntaxUID: "1.2.840.10008.1.2.1", SHA256: sum[:], Version: 1, ReceivedAt: old, FrameCount: 1,
			Location: pacs.Location{Length: 10},
		}, Channel: "dimse"}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Index.Pool().Exec(t.Context(), `UPDATE study SET updated_at = $1, completed_at = $1`, old); err != nil {
		t.Fatal(err)
	}
	admin := a.Person("admin2", pacs.Administrator)

	admin.Do("GET", "/api/admin/retention/policies", nil).Want(http.StatusOK)
	admin.Do("GET", "/api/admin/retention/runs", nil).Want(http.StatusOK)
	policy := map[string]any{"name": "Old CT", "facility": "A", "modality": "CT", "days": 365, "action": "delete_all", "enabled": true}
	id := admin.Do("POST", "/api/admin/retention/policies", policy).Want(http.StatusCreated).Field("id")
	at := "/api/admin/retention/policies/" + id
	admin.Do("PUT", at, policy).Want(http.StatusConflict)
	if body := string(admin.Do("POST", at+"/preview", nil).Want(http.StatusOK).Body); !strings.Contains(body, `"studies":1,`) && !strings.Contains(body, `"studies":1}`) || !strings.Contains(body, study) {
		t.Errorf("the preview is %s", body)
	}
	admin.Do("PUT", at, policy).Want(http.StatusOK)
	admin.Do("POST", "/api/admin/retention/policies", map[string]any{"name": "", "days": 1, "action": "keep"}).Want(http.StatusUnprocessableEntity)
	cold := map[string]any{"name": "Cold", "days": 1, "action": "move_to_cold"}
	coldID := admin.Do("POST", "/api/admin/retention/policies", cold).Want(http.StatusCreated).Field("id")
	admin.Do("POST", "/api/admin/retention/policies/"+coldID+"/preview", nil).Want(http.StatusOK)
	cold["enabled"] = true
	admin.Do("PUT", "/api/admin/retention/policies/"+coldID, cold).Want(http.StatusUnprocessableEntity)
	admin.Do("DELETE", "/api/admin/retention/policies/"+coldID, nil).Want(http.StatusNoContent)
	admin.Do("POST", "/api/admin/retention/policies/"+coldID+"/preview", nil).Want(http.StatusNotFound)

	hold := "/api/admin/studies/" + study + "/hold"
	admin.Do("PUT", hold, map[string]string{"why": "Court"}).Want(http.StatusOK)
	admin.Do("PUT", "/api/admin/studies/1.2.3/hold", map[string]string{"why": "Court"}).Want(http.StatusNotFound)
	if body := string(admin.Do("GET", "/api/admin/holds", nil).Want(http.StatusOK).Body); !strings.Contains(body, study) || !strings.Contains(body, "Court") {
		t.Errorf("the holds are %s", body)
	}
	if err := r.Pass(t.Context(), "1", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Index.Study(t.Context(), pacs.System("test"), study); err != nil {
		t.Errorf("a held study is gone: %v", err)
	}
	admin.Do("DELETE", hold, nil).Want(http.StatusNoContent)
	admin.Do("DELETE", hold, nil).Want(http.StatusNotFound)
	if err := r.Pass(t.Context(), "2", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if body := string(admin.Do("GET", "/api/admin/retention/runs", nil).Want(http.StatusOK).Body); !strings.Contains(body, "Old CT") {
		t.Errorf("the runs are %s", body)
	}

	// For administrators of everything only.
	for _, who := range []*webtest.Caller{a.Person("fa", pacs.FacilityAdministrator, "A"), a.Person("rad", pacs.Radiologist), a.Machine("m", "", "api")} {
		for _, request := range [][2]string{
			{"GET", "/api/admin/retention/policies"},
			{"GET", "/api/admin/retention/runs"},
			{"GET", "/api/admin/holds"},
			{"DELETE", at},
			{"POST", at + "/preview"},
			{"DELETE", hold},
		} {
			who.Do(request[0], request[1], nil).Want(http.StatusForbidden)
		}
		who.Do("PUT", hold, map[string]string{"why": "x"}).Want(http.StatusForbidden)
		who.Do("POST", "/api/admin/retention/policies", policy).Want(http.StatusForbidden)
		who.Do("PUT", at, policy).Want(http.StatusForbidden)
	}
}
