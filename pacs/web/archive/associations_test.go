package archive_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/associations"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
)

func TestAssociations(t *testing.T) {
	var log *associations.Log
	a := webtest.OpenArchive(t, func(ctx context.Context, ix *index.Index) error {
		_, err := associations.Open(ctx, ix, associations.Options{})
		return err
	}, func(a *webtest.Archive, server *web.Server) {
		var err error
		if log, err = associations.Open(t.Context(), a.Index, associations.Options{}); err != nil {
			t.Fatal(err)
		}
		(&archive.API{Index: a.Index, Associations: log}).Register(server.API())
	})
	if _, err := a.Access.AddDevice(t.Context(), access.System("test"), access.Device{AETitle: "WS1", FacilityCode: "A"}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		out := &dimse.Outgoing{
			Address: "10.0.0.1:104", CallingAE: "TASVIR", CalledAE: "WS1", Began: time.Now(), Duration: time.Second, Sent: i, Bytes: 10,
			Messages: map[dimse.Field]int{dimse.CStoreRQ: i},
			Proposed: []ul.ProposedContext{{ID: 1, AbstractSyntax: dicom.CTImageStorage, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian}}},
			Accepted: []ul.Context{{ID: 1, TransferSyntax: dicom.ExplicitVRLittleEndian}},
		}
		if i == 1 {
			out.CalledAE, out.Err = "STRANGER", &ul.RejectCalledAE
		}
		log.Outgoing(out)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := log.Run(ended); err != nil {
		t.Fatal(err)
	}

	admin, chief, doctor := a.Person("root", pacs.Administrator), a.Person("chief", pacs.FacilityAdministrator, "A"), a.Person("doc", pacs.Clinician, "A")
	const path = "/api/admin/associations"
	page := admin.Do("GET", path+"?limit=2", nil).Want(http.StatusOK)
	if page.Length("associations") != 2 || page.Field("associations.0.instances") != "2" || page.Field("associations.1.code") != "called_ae_title" {
		t.Errorf("%s", page.Body)
	}
	if rest := admin.Do("GET", path+"?limit=2&after="+page.Field("next"), nil).Want(http.StatusOK); rest.Length("associations") != 1 || rest.Field("next") != "" {
		t.Errorf("%s", rest.Body)
	}
	if list := admin.Do("GET", path+"?outcome=rejected&direction=out&ae=STR&from=2020-01-01T00:00:00Z", nil).Want(http.StatusOK); list.Length("associations") != 1 {
		t.Errorf("%s", list.Body)
	}
	if list := chief.Do("GET", path, nil).Want(http.StatusOK); list.Length("associations") != 2 {
		t.Errorf("%s", list.Body)
	}
	detail := chief.Do("GET", path+"/"+page.Field("associations.0.id"), nil).Want(http.StatusOK)
	if detail.Field("contexts.0.name") != "CT Image Storage" || detail.Field("messages.C-STORE-RQ") != "2" {
		t.Errorf("%s", detail.Body)
	}
	chief.Do("GET", path+"/"+page.Field("associations.1.id"), nil).Problem(http.StatusNotFound, "not_found", "")
	admin.Do("GET", path+"?outcome=nonsense", nil).Problem(http.StatusBadRequest, "invalid", "")
	admin.Do("GET", path+"?from=yesterday", nil).Problem(http.StatusBadRequest, "invalid", "")
	doctor.Do("GET", path, nil).Problem(http.StatusForbidden, "forbidden", "")
}
