package report

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/worklist"
)

func TestSign(t *testing.T) {
	d := open(t)
	task := d.claimed(d.me)
	_, err := d.sign(task, d.me, 0)
	wantCode(t, err, pacs.Invalid, "empty_report")
	for _, nothing := range []string{"", " \n\t", "\u202E\u200B", "\x00"} {
		draft := d.mustSave(task, d.me, nothing)
		_, err = d.sign(task, d.me, draft.Revision)
		wantCode(t, err, pacs.Invalid, "empty_report")
	}
	seen := d.mustSave(task, d.me, "Norma")
	for _, revision := range []int{0, seen.Revision - 1, seen.Revision + 1} {
		_, err = d.sign(task, d.me, revision)
		wantCode(t, err, pacs.Conflict, "stale_revision")
	}
	_, err = d.sign(task, d.colleague, seen.Revision)
	wantCode(t, err, pacs.Conflict, "claimed_by_other")
	if d.count("report_version")+d.count("report_delivery")+len(d.queued) != 0 {
		t.Error("what was refused has left something")
	}

	r, err := d.sign(task, d.me, seen.Revision)
	if err != nil {
		t.Fatal(err)
	}
	v := r.Versions[0]
	if len(r.Versions) != 1 || r.Draft != nil || v.Version != 1 || v.Kind != Final || v.Language != "uz-Latn" || v.Sections.Findings != "Norma" ||
		v.SignerID != d.me.ID || v.SignedBy != d.me.Name || v.Delivery == nil || v.Delivery.State != Queued {
		t.Errorf("%+v", r)
	}
	if after := d.TaskOf(pacs.Study{ID: task.StudyID}); after.State != worklist.Signed || !after.DraftSavedAt.IsZero() {
		t.Errorf("the task is %+v", after)
	}
	if len(d.queued) != 1 || d.queued[0] != reference(r.ID, 1) {
		t.Errorf("queued for delivery: %v", d.queued)
	}
	d.WantAudited("report.sign", "test report:"+r.ID+"/1")
	_, err = d.sign(task, d.me, seen.Revision)
	wantCode(t, err, pacs.Conflict, "already_signed")

	// The printed form is made once and kept.
	pdf, err := d.PDF(t.Context(), everywhere, r.ID, 1)
	if err != nil || !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		t.Fatalf("%.20q %v", pdf, err)
	}
	kept, err := d.Get(t.Context(), r.ID, 1)
	if err != nil || !bytes.Equal(kept.PDF, pdf) || kept.TaskID != task.ID || kept.StudyID != task.StudyID || kept.Before != nil {
		t.Errorf("%+v %v", kept.Version, err)
	}
}

// What the printed report says of hospital and signer comes from their records.
func TestPrintedReportNamesHospitalAndSigner(t *testing.T) {
	if _, err := exec.LookPath("pdftotext"); err != nil {
		t.Skip("poppler's pdftotext is not installed")
	}
	d := open(t)
	_, r := d.signed()
	pdf, err := d.PDF(t.Context(), everywhere, r.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	read := exec.Command("pdftotext", "-layout", "-", "-")
	read.Stdin = bytes.NewReader(pdf)
	text, err := read.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Hospital A", "STIR 300000002", "Karimova Nilufar Rustamovna", "Vrach-rentgenolog, Argos DEMO-0001",
		"Каримов Али Бахтиёрович", "12.05.1958", "21.11.2026 08:42", "Norma",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestExactlyOneVersionIsSigned(t *testing.T) {
	d := open(t)
	task := d.claimed(d.me)
	draft := d.mustSave(task, d.me, "Norma")
	// More than there are connections to the database: none may wait for
	// another one while it holds one.
	for round, want := range []int{1, 2} {
		signed := 0
		for _, err := range atOnce(20, func(int) error {
			_, err := d.sign(task, d.me, draft.Revision)
			return err
		}) {
			if err == nil {
				signed++
			} else {
				wantCode(t, err, pacs.Conflict, "already_signed")
			}
		}
		if signed != 1 || d.count("report_version") != want || d.count("report_delivery") != want || len(d.queued) != want {
			t.Fatalf("round %d: signed %d times, %d versions, %d deliveries, %d jobs", round, signed, d.count("report_version"), d.count("report_delivery"), len(d.queued))
		}
		r, err := d.Amend(t.Context(), everywhere, task.ID, d.me.ID, Correction)
		if err != nil {
			t.Fatal(err)
		}
		draft = *r.Draft
	}
}

// Many sign different reports at once.
func TestManySignAtOnce(t *testing.T) {
	d := open(t)
	var tasks []worklist.Task
	for range 8 {
		task := d.claimed(d.me)
		d.mustSave(task, d.me, "Norma")
		tasks = append(tasks, task)
	}
	for _, err := range atOnce(len(tasks), func(i int) error {
		_, err := d.sign(tasks[i], d.me, 1)
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
}

// Without a job there is no signature.
func TestNothingIsSignedThatIsNotDelivered(t *testing.T) {
	d := open(t)
	task := d.claimed(d.me)
	draft := d.mustSave(task, d.me, "Norma")
	d.broken = true
	if _, err := d.sign(task, d.me, draft.Revision); err == nil {
		t.Fatal("signed without a job")
	}
	r := d.report(task)
	if len(r.Versions) != 0 || r.Draft == nil || d.count("report_version")+d.count("report_delivery") != 0 {
		t.Errorf("%+v", r)
	}
	if got := d.TaskOf(pacs.Study{ID: task.StudyID}); got.State != worklist.Claimed {
		t.Errorf("the task is %s", got.State)
	}
	d.WantAudited("report.sign")
	d.broken = false
	if r, err := d.sign(task, d.me, draft.Revision); err != nil || len(r.Versions) != 1 {
		t.Errorf("once the queue works: %+v %v", r, err)
	}
	// Without a platform there is nothing to deliver.
	d.Deliver = nil
	if _, r := d.signed(); r.Versions[0].Delivery != nil {
		t.Errorf("%+v", r.Versions[0].Delivery)
	}
}

// The database itself keeps what is signed.
func TestSignedVersionsNeverChange(t *testing.T) {
	d := open(t)
	_, r := d.signed()
	before, err := d.Get(t.Context(), r.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`UPDATE report_version SET sections = '{}'`,
		`UPDATE report_version SET signed_by = 'someone else' WHERE version = 1`,
		`UPDATE report_version SET pdf = ''`,
		`DELETE FROM report_version`,
		`DELETE FROM report_version WHERE false`,
		`TRUNCATE report_version CASCADE`,
		`DELETE FROM report`,
		`DELETE FROM reading_task`,
		`DELETE FROM user_account WHERE login = 'me'`,
		`INSERT INTO report_version SELECT report_id, 1, kind, language, '{}', signer, signed_by, signed_at, pdf FROM report_version`,
		`INSERT INTO report_version SELECT report_id, 0, kind, language, '{}', signer, signed_by, signed_at, pdf FROM report_version`,
	} {
		if _, err := d.Index.Pool().Exec(t.Context(), sql); err == nil {
			t.Errorf("the database accepts %s", sql)
		}
	}
	after, err := d.Get(t.Context(), r.ID, 1)
	if err != nil || after.Sections != before.Sections || !bytes.Equal(after.PDF, before.PDF) || after.SignedBy != before.SignedBy {
		t.Errorf("%+v %v", after.Version, err)
	}
}

func TestScopeOfPrintedReports(t *testing.T) {
	d := open(t)
	_, r := d.signed()
	for _, c := range []struct {
		scope   pacs.Scope
		id      string
		version int
	}{
		{only(d.B), r.ID, 1},
		{pacs.Scope{}, r.ID, 1},
		{everywhere, r.ID, 2},
		{everywhere, r.ID, 0},
		{everywhere, r.ID, -1},
		{everywhere, r.ID, 1 << 40},
		{everywhere, "00000000-0000-0000-0000-000000000000", 1},
		{everywhere, "../../etc/passwd", 1},
		{everywhere, "\x00", 1},
	} {
		if _, err := d.PDF(t.Context(), c.scope, c.id, c.version); pacs.CodeOf(err) != pacs.NotFound {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := d.PDF(t.Context(), only(d.A), r.ID, 1); err != nil {
		t.Error(err)
	}
	if _, err := d.Get(t.Context(), r.ID, 2); pacs.CodeOf(err) != pacs.NotFound {
		t.Errorf("a version that is not there: %v", err)
	}
	byStudy, err := d.OfStudies(t.Context(), []int64{d.TaskOf(pacs.Study{ID: 1}).StudyID, 999})
	if err != nil || len(byStudy) != 1 || len(byStudy[1]) != 1 || byStudy[1][0].ReportID != r.ID {
		t.Errorf("%+v %v", byStudy, err)
	}
}

func TestStudyTime(t *testing.T) {
	for _, c := range []struct{ date, clock, want string }{
		{"20261121", "084233.5", "2026-11-21T08:42:33+05:00"},
		{"20261121", "0842", "2026-11-21T08:42:00+05:00"},
		{"20261121", "08", "2026-11-21T08:00:00+05:00"},
		{"20261121", "", "2026-11-21T00:00:00+05:00"},
		{"20261121", "99", "2026-11-21T00:00:00+05:00"},
		{"20261121", "garbage", "2026-11-21T00:00:00+05:00"},
		{"", "084233", "0001-01-01T00:00:00Z"},
		{"20261399", "084233", "0001-01-01T00:00:00Z"},
	} {
		if got := StudyTime(pacs.Study{Date: c.date, Time: c.clock}).Format(time.RFC3339); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.date, c.clock, got, c.want)
		}
	}
}
