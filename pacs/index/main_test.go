package index

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
)

func TestMain(m *testing.M) {
	// indextest keeps its cluster until the process ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tasvir-pacs/tasvir/pacs/index/cluster.startBound.func1"))
}

func migrate(ctx context.Context, url string) error {
	ix, err := Open(ctx, url)
	if err != nil {
		return err
	}
	ix.Close()
	return nil
}

func open(t testing.TB) *Index {
	t.Helper()
	ix, err := Open(t.Context(), indextest.New(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ix.Close)
	return ix
}

var system = pacs.System("test")

// addition is one series of a study with some instances, as a pack brings it.
func addition(study, series string, instances int, change ...func(*Addition)) Addition {
	a := Addition{
		Facility: "TMA",
		Patient:  pacs.Patient{Issuer: "TMA", PatientID: "P1", Name: "Karimov^Ali", Sex: "M", BirthDate: "19700101"},
		Study:    pacs.Study{StudyInstanceUID: study, Date: "20260302", Time: "101530", ReceivedAt: time.Now()},
		Series:   pacs.Series{StudyInstanceUID: study, SeriesInstanceUID: series, Modality: "CT"},
		Pack:     Pack{Key: "packs/" + study + "/" + series + "/1.zip", Bytes: 1000},
	}
	for n := range instances {
		a.Instances = append(a.Instances, instance(series, n+1))
	}
	for _, f := range change {
		f(&a)
	}
	return a
}

func instance(series string, number int) NewInstance {
	sop := fmt.Sprint(series, ".", number)
	sum := sha256.Sum256([]byte(sop))
	return NewInstance{
		Instance: pacs.Instance{
			SeriesInstanceUID: series, SOPInstanceUID: sop, SOPClassUID: "1.2.840.10008.5.1.4.1.1.2",
			TransferSyntaxUID: "1.2.840.10008.1.2.1", Number: &number, Rows: 512, Columns: 512, FrameCount: 1,
			SHA256: sum[:], Version: 1, ReceivedAt: time.Now(),
			Location: pacs.Location{Offset: int64(100 * number), Length: 100, DatasetOffset: 20},
		},
		Sender: "CT1", Channel: pacs.ChannelDIMSE,
	}
}

func fill(t testing.TB, ix *Index, additions ...Addition) {
	t.Helper()
	for _, a := range additions {
		if err := ix.Add(t.Context(), a, nil); err != nil {
			t.Fatalf("%s: %v", a.Study.StudyInstanceUID, err)
		}
	}
}

func patient(issuer, id, name string) func(*Addition) {
	return func(a *Addition) { a.Patient = pacs.Patient{Issuer: issuer, PatientID: id, Name: name} }
}

func facilityOf(t testing.TB, ix *Index, code string) pacs.Scope {
	t.Helper()
	var id int64
	if err := ix.pool.QueryRow(t.Context(), `SELECT id FROM facility WHERE code = $1`, code).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return pacs.Scope{Who: "test", FacilityIDs: []int64{id}}
}

func count(t testing.TB, ix *Index, want int, sql string, args ...any) {
	t.Helper()
	var n int
	if err := ix.pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != want {
		t.Errorf("%s: %d, want %d", sql, n, want)
	}
}

func attributes(s string) json.RawMessage { return json.RawMessage(s) }
