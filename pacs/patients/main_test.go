package patients

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/file"
)

func TestMain(m *testing.M) {
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.(*server).wait"))
}

// archive is an index, a store and what is done to patients.
type archive struct {
	testing.TB
	*Patients
	store storage.Store
}

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	defer ix.Close()
	if _, err := access.Open(ctx, ix, access.Settings{}); err != nil {
		return err
	}
	_, err = New(ctx, ix, nil, nil)
	return err
}

func open(t testing.TB) *archive {
	t.Helper()
	store, err := file.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return openOver(t, store)
}

// openOver is a new, empty database over a store.
func openOver(t testing.TB, store storage.Store) *archive {
	t.Helper()
	ix, err := index.Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	p, err := New(t.Context(), ix, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &archive{t, p, store}
}

var admin = access.System("test")

// person is somebody as devices know them.
func person(id, name string) pacs.Patient {
	return pacs.Patient{Issuer: "A", PatientID: id, Name: name, Sex: "M", BirthDate: "19700101"}
}

// add is one instance of a study in a pack of its own.
func add(study, series string, p pacs.Patient) index.Addition {
	number := 1
	sum := sha256.Sum256([]byte(series))
	return index.Addition{
		Facility: "A", Patient: p,
		Study:  pacs.Study{StudyInstanceUID: study, Date: "20261121", ReceivedAt: time.Now()},
		Series: pacs.Series{StudyInstanceUID: study, SeriesInstanceUID: series, Modality: "CT"},
		Pack:   index.Pack{Key: "packs/" + study + "/" + series + ".zip", Bytes: 100},
		Instances: []index.NewInstance{{
			Instance: pacs.Instance{
				SeriesInstanceUID: series, SOPInstanceUID: series + ".1", SOPClassUID: "1.2.840.10008.5.1.4.1.1.2",
				TransferSyntaxUID: "1.2.840.10008.1.2.1", Number: &number, SHA256: sum[:], Version: 1, ReceivedAt: time.Now(),
				Location: pacs.Location{Offset: 10, Length: 100, DatasetOffset: 20},
			},
			Sender: "CT1", Channel: pacs.ChannelDIMSE,
		}},
	}
}

// receive indexes an instance, as the publisher does, and says whose study it
// is then.
func (a *archive) receive(study string, p pacs.Patient) int64 {
	a.Helper()
	known, err := a.index.Known(a.Context(), study, nil)
	if err == nil {
		err = known.Contradicts("A", p)
	}
	var series int
	if err == nil {
		err = a.pool.QueryRow(a.Context(), `SELECT count(*) FROM series`).Scan(&series)
	}
	if err == nil {
		err = a.index.Add(a.Context(), add(study, fmt.Sprint(study, ".", series+1), p), nil)
	}
	if err != nil {
		a.Fatalf("receiving %s of %s: %v", study, p.PatientID, err)
	}
	return a.ownerOf(study)
}

func (a *archive) ownerOf(study string) (row int64) {
	a.Helper()
	if err := a.pool.QueryRow(a.Context(), `SELECT patient_row FROM study WHERE study_uid = $1`, study).Scan(&row); err != nil {
		a.Fatal(err)
	}
	return row
}

func (a *archive) get(id int64) *Detail {
	a.Helper()
	return must(a)(a.Get(a.Context(), pacs.System("test"), id))
}

func must(a *archive) func(*Detail, error) *Detail {
	return func(d *Detail, err error) *Detail {
		a.Helper()
		if err != nil {
			a.Fatal(err)
		}
		return d
	}
}

func (a *archive) refused(err error, code pacs.Code) {
	a.Helper()
	if pacs.CodeOf(err) != code {
		a.Errorf("%v, want %s", err, code)
	}
}

func (a *archive) correct(id int64, d Demographics) *Detail {
	a.Helper()
	return must(a)(a.Correct(a.Context(), admin, id, a.get(id).Revision, d, "test"))
}

func (a *archive) merge(id, into int64) *Detail {
	a.Helper()
	return must(a)(a.Merge(a.Context(), admin, id, into, a.get(id).Revision, "test"))
}

func (a *archive) undo(operation int64) *Detail {
	a.Helper()
	return must(a)(a.Undo(a.Context(), admin, operation, "test"))
}

// picture is everything about patients and studies that an operation may
// change, by names that last.
func (a *archive) picture() []string {
	a.Helper()
	rows, err := a.pool.Query(a.Context(), `
		SELECT format('study %s of %s/%s/%s came under %s amended %s', s.study_uid, p.issuer, p.patient_id, p.variant,
			(SELECT r.patient_id || '/' || r.variant FROM patient r WHERE r.id = s.received_patient), s.amended)
		FROM study s JOIN patient p ON p.id = s.patient_row
		UNION ALL
		SELECT format('patient %s/%s/%s %s %s %s %s into %s amended %s known as %s', p.issuer, p.patient_id, p.variant, p.name, p.sex, p.birth_date, p.pinfl,
			(SELECT r.patient_id || '/' || r.variant FROM patient r WHERE r.id = p.merged_into), p.amended,
			(SELECT string_agg(format('%s/%s/%s %s', a.issuer, a.patient_id, a.variant, a.name), ',' ORDER BY position) FROM patient_alias a WHERE a.patient_row = p.id))
		FROM patient p
		ORDER BY 1`)
	if err != nil {
		a.Fatal(err)
	}
	var out []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			a.Fatal(err)
		}
		out = append(out, line)
	}
	return out
}

func text(s string) *string { return &s }
