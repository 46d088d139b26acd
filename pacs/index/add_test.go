package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func TestAddAndReadBack(t *testing.T) {
	ix := open(t)
	a := addition("1.1", "1.1.1", 2, func(a *Addition) {
		a.Patient.PINFL = "30101700000001"
		a.Study.AccessionNumber, a.Study.StudyID, a.Study.Description = "ACC", "7", "КТ"
		a.Study.ReferringPhysician, a.Study.Question = "Usmonov^Jasur", "stroke?"
		a.Study.Attributes = attributes(`{"00080080": {"vr": "LO", "Value": ["Klinika"]}}`)
		a.Series.Number, a.Series.Description, a.Series.BodyPart = ptr(3), "Axial", "HEAD"
		a.Series.Attributes = attributes(`{"00080070": {"vr": "LO"}}`)
		a.Instances[0].Attributes = attributes(`{"00080008": {"vr": "CS"}}`)
		a.Instances[0].Location.PixelData = &pacs.PixelLocation{
			Offset: 700, Length: -1, Encapsulated: true, Fragments: [][]pacs.Range{{{Offset: 708, Length: 20}, {Offset: 736, Length: 2}}, {{Offset: 746, Length: 9}}},
		}
	})
	fill(t, ix, a)
	study, err := ix.Study(t.Context(), system, "1.1")
	if err != nil {
		t.Fatal(err)
	}
	want := a.Study
	want.Patient, want.Facility = a.Patient, pacs.Facility{Code: "TMA", Name: "TMA"}
	want.Modalities, want.BodyParts, want.SeriesCount, want.InstanceCount, want.Bytes = []string{"CT"}, []string{"HEAD"}, 1, 2, 200
	ids := cmpopts.IgnoreFields(pacs.Study{}, "ID", "Facility.ID", "Patient.ID", "UpdatedAt")
	if diff := cmp.Diff(want, study, ids, cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
		t.Error(diff)
	}
	series, _, err := ix.Series(t.Context(), system, pacs.SeriesFilter{})
	if err != nil || len(series) != 1 {
		t.Fatal(len(series), err)
	}
	wantSeries := a.Series
	wantSeries.InstanceCount, wantSeries.HasPixels, wantSeries.StudyID = 2, true, study.ID
	if diff := cmp.Diff(wantSeries, series[0], cmpopts.IgnoreFields(pacs.Series{}, "ID")); diff != "" {
		t.Error(diff)
	}
	instances, _, err := ix.Instances(t.Context(), system, pacs.InstanceFilter{})
	if err != nil || len(instances) != 2 {
		t.Fatal(len(instances), err)
	}
	for i, got := range instances {
		want := a.Instances[i].Instance
		want.StudyID, want.SeriesID, want.StudyInstanceUID = study.ID, series[0].ID, "1.1"
		want.Location.PackKey = a.Pack.Key
		want.Attributes = object(want.Attributes)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(pacs.Location{}, "PackID"), cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
			t.Error(diff)
		}
	}
	packs, err := ix.PacksOf(t.Context(), system, "1.1", "1.1.1")
	if err != nil || len(packs) != 1 || packs[0].Key != a.Pack.Key || packs[0].Total != 2 || !slices.Equal(packs[0].Current, []string{"1.1.1.1", "1.1.1.2"}) {
		t.Errorf("%+v, %v", packs, err)
	}
}

func TestAddAgain(t *testing.T) {
	ix := open(t)
	a := addition("1.1", "1.1.1", 600) // more than one trip
	for i, want := range []int{600, 0} {
		var got Added
		if err := ix.Add(t.Context(), a, func(_ context.Context, _ pgx.Tx, added Added) error { got = added; return nil }); err != nil || got.New != want {
			t.Errorf("addition %d: %d new, want %d: %v", i+1, got.New, want, err)
		}
	}
	count(t, ix, 600, `SELECT count(*) FROM instance`)
	count(t, ix, 600, `SELECT instance_count FROM study`)
	count(t, ix, 60000, `SELECT bytes FROM study`)
	count(t, ix, 1, `SELECT count(*) FROM pack`)
	// Other bytes under the same version: someone was quicker.
	a.Instances[7].SHA256 = []byte("other")
	if err := ix.Add(t.Context(), a, nil); !errors.Is(err, ErrRaced) {
		t.Error(err)
	}
}

// TestAddIsOneTransaction: when what hangs on it fails, nothing is left.
func TestAddIsOneTransaction(t *testing.T) {
	ix := open(t)
	broken := errors.New("broken on purpose")
	if err := ix.Add(t.Context(), addition("1.1", "1.1.1", 3), func(context.Context, pgx.Tx, Added) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	for _, table := range []string{"patient", "study", "series", "pack", "instance"} {
		count(t, ix, 0, `SELECT count(*) FROM `+table)
	}
}

func TestContradictions(t *testing.T) {
	ix := open(t)
	fill(t, ix, addition("1.1", "1.1.1", 1))
	for _, c := range []struct {
		name   string
		change func(*Addition)
	}{
		{"another patient", patient("TMA", "P2", "Karimov^Ali")},
		{"another issuer", patient("SAM", "P1", "Karimov^Ali")},
		{"another facility", func(a *Addition) { a.Facility = "SAM" }},
	} {
		a := addition("1.1", "1.1.2", 1, c.change)
		err := ix.Add(t.Context(), a, nil)
		if pacs.CodeOf(err) != pacs.Conflict || !errors.Is(err, ErrContradiction) {
			t.Errorf("%s: %v", c.name, err)
		}
		known, err := ix.Known(t.Context(), "1.1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := known.Contradicts(a.Facility, a.Patient); !errors.Is(err, ErrContradiction) {
			t.Errorf("%s is not known beforehand: %v", c.name, err)
		}
	}
	known, err := ix.Known(t.Context(), "1.1", nil)
	if err != nil || known.Contradicts("TMA", pacs.Patient{Issuer: "TMA", PatientID: "P1", Name: "Another^Name"}) != nil {
		t.Errorf("another spelling of the name: %v", err)
	}
	if known, err := ix.Known(t.Context(), "1.9", nil); err != nil || known.Contradicts("SAM", pacs.Patient{}) != nil {
		t.Errorf("a study that is new: %v", err)
	}
	count(t, ix, 1, `SELECT count(*) FROM patient`)
	count(t, ix, 1, `SELECT count(*) FROM instance`)
}

// One ID may stand for several people: a number given twice, a device that
// sends none, a sender that names another hospital as the issuer. Nobody may
// be shown, linked or overwritten as another.
func TestWhoIsOnePatient(t *testing.T) {
	person := func(id, name, sex, born, pinfl string) pacs.Patient {
		return pacs.Patient{Issuer: "TMA", PatientID: id, Name: name, Sex: sex, BirthDate: born, PINFL: pinfl}
	}
	is := func(p pacs.Patient) func(*Addition) { return func(a *Addition) { a.Patient = p } }
	const pinfl, other = "31205581234567", "41703892345671"
	karimov := person("P1", "Karimov^Ali", "M", "19580512", pinfl)
	for _, c := range []struct {
		name             string
		first, second    pacs.Patient
		secondFacility   string
		one              bool
		firstIsCalled    string // afterwards
		secondIsCalled   string
		secondsBirthDate string
	}{
		{"the same again", karimov, karimov, "TMA", true, "Karimov^Ali", "Karimov^Ali", "19580512"},
		{"the other script, less known", karimov, person("P1", "Каримов^Али", "", "", ""), "TMA", true, "Karimov^Ali", "Karimov^Ali", "19580512"},
		{"filled in later", person("P1", "", "", "", ""), karimov, "TMA", true, "Karimov^Ali", "Karimov^Ali", "19580512"},
		{"a married name", person("P1", "Yusupova^Malika", "F", "19841015", ""), person("P1", "Karimova^Malika", "F", "19841015", ""), "TMA", true, "Yusupova^Malika", "Yusupova^Malika", "19841015"},
		{"another name", karimov, person("P1", "Valiyev^Bobur", "", "", ""), "TMA", false, "Karimov^Ali", "Valiyev^Bobur", ""},
		{"another birth date", karimov, person("P1", "Karimov^Ali", "M", "20020423", ""), "TMA", false, "Karimov^Ali", "Karimov^Ali", "20020423"},
		{"another sex", karimov, person("P1", "Karimov^Ali", "F", "", ""), "TMA", false, "Karimov^Ali", "Karimov^Ali", ""},
		{"another PINFL", karimov, person("P1", "Karimov^Ali", "M", "", other), "TMA", false, "Karimov^Ali", "Karimov^Ali", ""},
		{"no ID at all", person("", "Aliyev^Anvar", "", "", ""), person("", "Aliyev^Anvar", "", "", ""), "TMA", false, "Aliyev^Anvar", "Aliyev^Anvar", ""},
		{"another facility that names the first as issuer", karimov, person("P1", "X^Y", "", "", ""), "SAM", false, "Karimov^Ali", "X^Y", ""},
		{"another facility with the same name", karimov, person("P1", "Karimov^Ali", "", "", ""), "SAM", false, "Karimov^Ali", "Karimov^Ali", ""},
		{"an overwrite prepared by another facility", person("P9", "Evil^Name", "", "19990101", other), person("P9", "Ismoilova^Haqiqiy", "F", "19700202", ""), "SAM", false, "Evil^Name", "Ismoilova^Haqiqiy", "19700202"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ix := open(t)
			fill(t, ix, addition("1.1", "1.1.1", 1, is(c.first)))
			second := addition("1.2", "1.2.1", 1, is(c.second))
			second.Facility = c.secondFacility
			fill(t, ix, second)
			a, err := ix.Study(t.Context(), system, "1.1")
			if err != nil {
				t.Fatal(err)
			}
			b, err := ix.Study(t.Context(), system, "1.2")
			if err != nil {
				t.Fatal(err)
			}
			if (a.Patient.ID == b.Patient.ID) != c.one {
				t.Errorf("one patient: %v, want %v", a.Patient.ID == b.Patient.ID, c.one)
			}
			if a.Patient.Name != c.firstIsCalled || b.Patient.Name != c.secondIsCalled || b.Patient.BirthDate != c.secondsBirthDate {
				t.Errorf("shown are %q and %q born %q", a.Patient.Name, b.Patient.Name, b.Patient.BirthDate)
			}
			if sameFacility := c.secondFacility == "TMA"; sameFacility && !c.one && c.first.PatientID != "" && b.Patient.Variant == 0 {
				t.Error("the second person's ID passes as identifying")
			}
		})
	}
}

func TestImagesOfOneStudyAreOfOnePatient(t *testing.T) {
	ix := open(t)
	fill(t, ix, addition("1.1", "1.1.1", 1, patient("TMA", "", "")))
	fill(t, ix, addition("1.1", "1.1.2", 1, patient("TMA", "", "Karimov^Ali")))
	fill(t, ix, addition("1.1", "1.1.3", 1, patient("TMA", "", "Misspelt^Name")))
	s, err := ix.Study(t.Context(), system, "1.1")
	if err != nil || s.Patient.Name != "Karimov^Ali" || s.SeriesCount != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	count(t, ix, 1, `SELECT count(*) FROM patient`)
}

func TestManyAddAtOnce(t *testing.T) {
	ix := open(t)
	var running sync.WaitGroup
	for n := range 40 {
		running.Go(func() {
			// Eight studies of three patients in each of two facilities, five
			// series each.
			study := fmt.Sprintf("1.%d", n%8+1)
			a := addition(study, fmt.Sprintf("%s.%d", study, n/8+1), 3, patient("X", fmt.Sprint("P", n%8%3), "N"))
			a.Facility = []string{"TMA", "SAM"}[n%8%2]
			if err := ix.Add(t.Context(), a, nil); err != nil {
				t.Errorf("%s: %v", a.Series.SeriesInstanceUID, err)
			}
		})
	}
	running.Wait()
	count(t, ix, 8, `SELECT count(*) FROM study WHERE series_count = 5 AND instance_count = 15`)
	count(t, ix, 6, `SELECT count(*) FROM patient`)
}

func TestMiddleInstances(t *testing.T) {
	ix := open(t)
	fill(t, ix,
		addition("1.1", "1.1.1", 5),
		addition("1.1", "1.1.2", 4),
		addition("1.1", "1.1.3", 1),
		addition("1.1", "1.1.4", 3, func(a *Addition) { // a report
			for i := range a.Instances {
				a.Instances[i].FrameCount = 0
			}
		}),
		addition("1.1", "1.1.5", 3, func(a *Addition) { // no numbers, and one without pixels
			for i := range a.Instances {
				a.Instances[i].Number = nil
			}
			a.Instances[0].FrameCount = 0
		}),
		addition("1.2", "1.2.1", 3))
	s, err := ix.Study(t.Context(), system, "1.1")
	if err != nil {
		t.Fatal(err)
	}
	middle, err := ix.MiddleInstances(t.Context(), system, s.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, len(middle))
	for _, uid := range middle {
		got = append(got, uid)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"1.1.1.3", "1.1.2.3", "1.1.3.1", "1.1.5.3"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTotals(t *testing.T) {
	ix := open(t)
	if got, err := ix.Totals(t.Context(), system); err != nil || got != (Totals{}) {
		t.Errorf("empty: %+v, %v", got, err)
	}
	fill(t, ix, addition("1.1", "1.1.1", 3), addition("1.2", "1.2.1", 2, func(a *Addition) { a.Facility = "SAM" }))
	if got, err := ix.Totals(t.Context(), system); err != nil || got != (Totals{2, 5, 500}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ix.Totals(t.Context(), facilityOf(t, ix, "SAM")); err != nil || got != (Totals{1, 2, 200}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestComplete(t *testing.T) {
	ix := open(t)
	fill(t, ix, addition("1.1", "1.1.1", 1))
	s, err := ix.Study(t.Context(), system, "1.1")
	if err != nil {
		t.Fatal(err)
	}
	var completed []pacs.Study
	note := func(_ context.Context, _ pgx.Tx, s pacs.Study) error { completed = append(completed, s); return nil }
	complete := func(quiet time.Duration, inTx func(context.Context, pgx.Tx, pacs.Study) error) time.Duration {
		t.Helper()
		left, err := ix.Complete(t.Context(), s.ID, quiet, inTx)
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	if left := complete(time.Hour, note); left < 59*time.Minute || left > time.Hour || len(completed) != 0 {
		t.Errorf("not quiet yet: %v left, completed %d times", left, len(completed))
	}
	broken := errors.New("broken on purpose")
	if _, err := ix.Complete(t.Context(), s.ID, 0, func(context.Context, pgx.Tx, pacs.Study) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	count(t, ix, 1, `SELECT count(*) FROM study WHERE completed_at IS NULL AND completions = 0`)
	if left := complete(0, note); left != 0 || len(completed) != 1 || completed[0].CompletedAt.IsZero() || completed[0].StudyInstanceUID != "1.1" {
		t.Errorf("%v left, %+v", left, completed)
	}
	if complete(0, note); len(completed) != 1 {
		t.Error("completed again without anything new")
	}
	fill(t, ix, addition("1.1", "1.1.2", 1))
	count(t, ix, 1, `SELECT count(*) FROM study WHERE completed_at IS NULL AND completions = 1`)
	complete(0, nil)
	count(t, ix, 1, `SELECT count(*) FROM study WHERE completed_at IS NOT NULL AND completions = 2`)
	if left, err := ix.Complete(t.Context(), 1<<40, 0, note); left != 0 || err != nil {
		t.Errorf("a study that is gone: %v, %v", left, err)
	}
}

func TestText(t *testing.T) {
	long := strings.Repeat("қ", 5000)
	for _, s := range []string{"", "plain", "a\x00b", "\xff", long, "\x00", strings.Repeat("\xff", 600), strings.Repeat("\x00", 600)} {
		for _, limit := range []int{1, 2, 3, 128, 512} {
			got := text(s, limit)
			if len(got) > limit || !utf8.ValidString(got) || strings.Contains(got, "\x00") {
				t.Errorf("text(%.20q, %d) = %.20q, %d bytes", s, limit, got, len(got))
			}
		}
		got := identity(s)
		if len(got) > maxIdentity || !utf8.ValidString(got) || strings.Contains(got, "\x00") || identity(got) != got {
			t.Errorf("identity(%.20q) = %.20q, %d bytes", s, got, len(got))
		}
	}
	if text("plain", 5) != "plain" || identity("plain") != "plain" {
		t.Error("a plain text has changed")
	}
	if identity(long+"1") == identity(long+"2") {
		t.Error("two long identities became one")
	}
}

func TestObject(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "{}"},
		{`{"a":"b"}`, `{"a":"b"}`},
		{`{"a":"\u0000b"}`, `{"a":"\ufffdb"}`},
		{`{"a":"\\u0000b"}`, `{"a":"\\u0000b"}`},
		{`{"a":"\\\u0000\u0000"}`, `{"a":"\\\ufffd\ufffd"}`},
		{`{"a":"\"\u0000"}`, `{"a":"\"\ufffd"}`},
		{"{\"a\":\"\xff\"}", "{\"a\":\"\uFFFD\"}"},
		{`{"a":"` + strings.Repeat("x", maxAttributes) + `"}`, "{}"},
	} {
		if got := object([]byte(c.in)); !bytes.Equal(got, []byte(c.want)) {
			t.Errorf("%.40s became %.40s, want %s", c.in, got, c.want)
		}
	}
}

// TestValuesNobodyExpects: what reaches the index past the publisher is held
// or cut, never a reason to repeat for ever.
func TestValuesNobodyExpects(t *testing.T) {
	ix := open(t)
	nasty := "a\x00\xff" + strings.Repeat("long ", 20_000)
	fill(t, ix, addition("1.1", "1.1.1", 1, func(a *Addition) {
		a.Patient = pacs.Patient{Issuer: nasty, PatientID: nasty, Name: nasty, Sex: nasty, BirthDate: nasty, PINFL: nasty}
		s := &a.Study
		s.Date, s.Time, s.AccessionNumber, s.StudyID, s.Description, s.ReferringPhysician, s.Question = nasty, nasty, nasty, nasty, nasty, nasty, nasty
		a.Series.Modality, a.Series.Description, a.Series.BodyPart = nasty, nasty, nasty
		a.Instances[0].Sender = nasty
	}))
	err := ix.Add(t.Context(), addition("1.2", "1.2.1", 1, func(a *Addition) { a.Facility = "not a code" }), nil)
	if !errors.Is(err, ErrUnfit) || pacs.CodeOf(err) != pacs.Invalid {
		t.Errorf("a facility that can't be: %v", err)
	}
}

func TestFailures(t *testing.T) {
	ix := open(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ix.Totals(cancelled, system); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	if err := ix.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	for sql, want := range map[string]pacs.Code{
		`SELECT pg_terminate_backend(pg_backend_pid())`: pacs.Unavailable,
		`SELECT 1/0`:                                 pacs.Invalid,
		`SELECT * FROM no_such_table`:                pacs.Internal,
		`SELECT chr(1114112)`:                        pacs.Invalid,
		`BEGIN READ ONLY; DELETE FROM study; COMMIT`: pacs.Unavailable,
	} {
		conn, err := ix.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		if err = fail(err); pacs.CodeOf(err) != want {
			t.Errorf("%s: %q (%v), want %q", sql, pacs.CodeOf(err), err, want)
		}
		_, _ = conn.Exec(t.Context(), `ROLLBACK`)
		conn.Release()
	}
	own := pacs.Errorf(pacs.Conflict, "ours")
	for err, want := range map[error]pacs.Code{
		own: pacs.Conflict, context.Canceled: pacs.Unavailable, context.DeadlineExceeded: pacs.Unavailable, errors.New("strange"): pacs.Internal,
	} {
		if got := Failure("tests", err); pacs.CodeOf(got) != want || !errors.Is(got, err) {
			t.Errorf("%v: %v, want %q", err, got, want)
		}
	}
	if err := Failure("tests", nil); err != nil {
		t.Errorf("no error: %v", err)
	}
	for _, url := range []string{"postgres://nobody@127.0.0.1:1/none?connect_timeout=1", "postgres://nobody@/none?host=/nonexistent"} {
		if _, err := Open(t.Context(), url); pacs.CodeOf(err) != pacs.Unavailable {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := Open(t.Context(), "http://example.org"); pacs.CodeOf(err) != pacs.Invalid {
		t.Errorf("no address of a database: %v", err)
	}
}
