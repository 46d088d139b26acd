package report

import (
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/worklist"
)

func TestDraftsHaveRevisions(t *testing.T) {
	d := open(t)
	task := d.claimed(d.me)
	if r := d.report(task); r.ID != "" || r.Draft != nil || len(r.Versions) != 0 || r.TaskID != task.ID {
		t.Errorf("before anything is written: %+v", r)
	}
	_, err := d.save(task, d.me, "x", 1)
	wantCode(t, err, pacs.Conflict, "stale_revision")
	first, err := d.save(task, d.me, "first", 0)
	if err != nil || first.Revision != 1 || first.Kind != Final || first.SavedAt.IsZero() {
		t.Fatalf("the first save: %+v %v", first, err)
	}
	// Another window of the same person still has nothing.
	_, err = d.save(task, d.me, "other window", 0)
	wantCode(t, err, pacs.Conflict, "stale_revision")
	second, err := d.save(task, d.me, "second", 1)
	if err != nil || second.Revision != 2 {
		t.Fatalf("the second save: %+v %v", second, err)
	}
	for _, based := range []int{-1, 0, 1, 3, 1 << 40} {
		_, err = d.save(task, d.me, "stale", based)
		wantCode(t, err, pacs.Conflict, "stale_revision")
	}
	r := d.report(task)
	if r.Draft == nil || r.Draft.Sections.Findings != "second" || r.Draft.Author != d.me.Name || r.Draft.Language != "uz-Latn" {
		t.Errorf("the draft is %+v", r.Draft)
	}
	if seen, err := d.Worklist.Task(t.Context(), everywhere, task.ID); err != nil || seen.DraftSavedAt.IsZero() {
		t.Errorf("the task does not say that there is a draft: %+v %v", seen, err)
	}
	if r.ID == "" || d.count("report") != 1 {
		t.Errorf("the report is %q, there are %d", r.ID, d.count("report"))
	}
}

// Of windows that save the same revision at once, one saves.
func TestDraftsSavedAtOnce(t *testing.T) {
	d := open(t)
	task := d.claimed(d.me)
	for round := range 3 {
		saved := 0
		for _, err := range atOnce(8, func(int) error {
			_, err := d.save(task, d.me, "x", round)
			return err
		}) {
			if err == nil {
				saved++
			} else {
				wantCode(t, err, pacs.Conflict, "stale_revision")
			}
		}
		if saved != 1 {
			t.Errorf("round %d: %d windows saved", round, saved)
		}
	}
}

func TestWhoMayWrite(t *testing.T) {
	d := open(t)
	task := d.Task("A")
	_, err := d.save(task, d.me, "x", 0)
	wantCode(t, err, pacs.Conflict, "")
	d.claim(task, d.me)
	_, err = d.save(task, d.colleague, "x", 0)
	wantCode(t, err, pacs.Conflict, "claimed_by_other")
	if _, who := pacs.ReasonOf(err); who != d.me.Name {
		t.Errorf("held by %q, they say", who)
	}
	// Another facility's report does not exist.
	_, err = d.SaveDraft(t.Context(), only(d.B), task.ID, d.me.ID, Sections{}, "ru", 0)
	wantCode(t, err, pacs.NotFound, "")
	wantCode(t, d.DiscardDraft(t.Context(), only(d.B), task.ID, d.me.ID), pacs.NotFound, "")
	_, err = d.Amend(t.Context(), only(d.B), task.ID, d.me.ID, Correction)
	wantCode(t, err, pacs.NotFound, "")
	_, err = d.OfTask(t.Context(), only(d.B), task.ID)
	wantCode(t, err, pacs.NotFound, "")
	_, err = d.Sign(t.Context(), only(d.B), task.ID, signer(d.me), 1)
	wantCode(t, err, pacs.NotFound, "")
	for _, language := range []string{"", "uz", "de", "RU", "ru\x00"} {
		_, err = d.SaveDraft(t.Context(), everywhere, task.ID, d.me.ID, Sections{}, language, 0)
		wantCode(t, err, pacs.Invalid, "")
	}
	for _, language := range Languages {
		if _, err = d.SaveDraft(t.Context(), everywhere, d.claimed(d.me).ID, d.me.ID, Sections{}, language, 0); err != nil {
			t.Errorf("%s: %v", language, err)
		}
	}
}

// Who claims a task that was given back goes on from the draft that is there.
func TestDraftIsTakenOverWithTheTask(t *testing.T) {
	d := open(t)
	task := d.claimed(d.me)
	d.mustSave(task, d.me, "half a report")
	if _, err := d.Worklist.Release(t.Context(), everywhere, task.ID, d.me.ID); err != nil {
		t.Fatal(err)
	}
	_, err := d.save(task, d.me, "without the task", 1)
	wantCode(t, err, pacs.Conflict, "")
	d.claim(task, d.colleague)

	// The first author can neither write on, nor throw it away, nor sign.
	_, err = d.save(task, d.me, "mine still", 1)
	wantCode(t, err, pacs.Conflict, "claimed_by_other")
	wantCode(t, d.DiscardDraft(t.Context(), everywhere, task.ID, d.me.ID), pacs.Conflict, "claimed_by_other")
	_, err = d.sign(task, d.me, 1)
	wantCode(t, err, pacs.Conflict, "claimed_by_other")

	_, err = d.save(task, d.colleague, "unseen", 0)
	wantCode(t, err, pacs.Conflict, "stale_revision")
	taken, err := d.save(task, d.colleague, "half a report, and the rest", 1)
	if err != nil || taken.Revision != 2 {
		t.Fatalf("%+v %v", taken, err)
	}
	if draft := d.report(task).Draft; draft.AuthorID != d.colleague.ID || draft.Author != d.colleague.Name {
		t.Errorf("the author is %q", draft.Author)
	}
	r, err := d.sign(task, d.colleague, 2)
	if err != nil || r.Versions[0].SignedBy != d.colleague.Name {
		t.Errorf("%+v %v", r, err)
	}
}

func TestDiscard(t *testing.T) {
	d := open(t)
	task := d.claimed(d.me)
	discard := func(by int64) error { return d.DiscardDraft(t.Context(), everywhere, task.ID, by) }
	for range 2 {
		if err := discard(d.me.ID); err != nil {
			t.Errorf("discarding nothing: %v", err)
		}
	}
	d.mustSave(task, d.me, "x")
	wantCode(t, discard(d.colleague.ID), pacs.Conflict, "claimed_by_other")
	if err := discard(d.me.ID); err != nil || d.report(task).Draft != nil {
		t.Errorf("the draft is still there (%v)", err)
	}
	// It begins anew, as the same report.
	id := d.report(task).ID
	if saved, err := d.save(task, d.me, "y", 0); err != nil || saved.Revision != 1 || d.report(task).ID != id {
		t.Errorf("%+v %v", saved, err)
	}
	if _, err := d.Worklist.Release(t.Context(), everywhere, task.ID, d.me.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, discard(d.colleague.ID), pacs.Conflict, "draft_by_other")
	d.claim(task, d.colleague)
	if err := discard(d.colleague.ID); err != nil || d.report(task).Draft != nil {
		t.Errorf("the holder can't discard what came with the task: %v", err)
	}
}

// Whatever is pasted into a report can be saved, signed, printed and read back,
// or is refused with words.
func TestHostileText(t *testing.T) {
	d := open(t)
	for what, c := range map[string]struct{ text, kept string }{
		"NUL":                {"a\x00b", "ab"},
		"not UTF-8":          {"a\xff\xfeb", "a\uFFFDb"},
		"half a character":   {"Қ"[:1] + "Қ", "\uFFFDҚ"},
		"right to left":      {"benign \u202Etnangilam\u202C", "benign \u202Etnangilam\u202C"},
		"isolates":           {"\u2066x\u2069\u200F", "\u2066x\u2069\u200F"},
		"controls":           {"a\x01\x1b[31mb\x7f", "a\x01\x1b[31mb\x7f"},
		"lone surrogate":     {"a\xed\xa0\x80b", "a\uFFFDb"},
		"markup":             {"</text:p><script>alert(1)</script>%s%n'\";--", "</text:p><script>alert(1)</script>%s%n'\";--"},
		"many combining":     {"o" + strings.Repeat("\u0301", 5_000), "o" + strings.Repeat("\u0301", 5_000)},
		"one long word":      {strings.Repeat("W", 20_000), strings.Repeat("W", 20_000)},
		"only line breaks":   {"x" + strings.Repeat("\n", 19_999), "x" + strings.Repeat("\n", 19_999)},
		"outside of the BMP": {strings.Repeat("𐍈", 20_000), strings.Repeat("𐍈", 20_000)},
	} {
		task := d.claimed(d.me)
		if _, err := d.save(task, d.me, c.text, 0); err != nil {
			t.Errorf("%s: saving: %v", what, err)
			continue
		}
		if got := d.report(task).Draft.Sections.Findings; got != c.kept {
			t.Errorf("%s: kept is %.60q, want %.60q", what, got, c.kept)
		}
		r, err := d.sign(task, d.me, 1)
		if err != nil {
			t.Errorf("%s: signing: %v", what, err)
			continue
		}
		if got := r.Versions[0].Sections.Findings; got != c.kept {
			t.Errorf("%s: signed is %.60q", what, got)
		}
		if pdf, err := d.PDF(t.Context(), everywhere, r.ID, 1); err != nil || !strings.HasPrefix(string(pdf), "%PDF-") {
			t.Errorf("%s: the PDF: %.20q %v", what, pdf, err)
		}
	}
	task := d.claimed(d.me)
	for i := range 4 {
		sections := [4]string{}
		sections[i] = strings.Repeat("я", 20_001)
		_, err := d.SaveDraft(t.Context(), everywhere, task.ID, d.me.ID, Sections{sections[0], sections[1], sections[2], sections[3]}, "ru", 0)
		wantCode(t, err, pacs.Invalid, "")
	}
}

func TestAmend(t *testing.T) {
	d := open(t)
	ctx := t.Context()
	unsigned := d.claimed(d.me)
	_, err := d.Amend(ctx, everywhere, unsigned.ID, d.me.ID, Correction)
	wantCode(t, err, pacs.Conflict, "")
	task, _ := d.signed()
	for _, kind := range []Kind{Final, "", "retraction"} {
		_, err := d.Amend(ctx, everywhere, task.ID, d.me.ID, kind)
		wantCode(t, err, pacs.Invalid, "")
	}
	_, err = d.save(task, d.me, "over what is signed", 0)
	wantCode(t, err, pacs.Conflict, "already_signed")

	// A correction begins with what stands; whoever reads may write one.
	r, err := d.Amend(ctx, everywhere, task.ID, d.colleague.ID, Correction)
	if err != nil || r.Draft == nil || r.Draft.Kind != Correction || r.Draft.Sections.Findings != "Norma" || r.Draft.Language != "uz-Latn" {
		t.Fatalf("%+v %v", r.Draft, err)
	}
	if again, err := d.Amend(ctx, everywhere, task.ID, d.colleague.ID, Correction); err != nil || again.Draft.Revision != r.Draft.Revision {
		t.Errorf("beginning again: %+v %v", again.Draft, err)
	}
	_, err = d.Amend(ctx, everywhere, task.ID, d.colleague.ID, Addendum)
	wantCode(t, err, pacs.Conflict, "")
	_, err = d.Amend(ctx, everywhere, task.ID, d.me.ID, Correction)
	wantCode(t, err, pacs.Conflict, "draft_by_other")
	_, err = d.save(task, d.me, "mine", r.Draft.Revision)
	wantCode(t, err, pacs.Conflict, "draft_by_other")
	wantCode(t, d.DiscardDraft(ctx, everywhere, task.ID, d.me.ID), pacs.Conflict, "draft_by_other")
	_, err = d.sign(task, d.me, r.Draft.Revision)
	wantCode(t, err, pacs.Conflict, "draft_by_other")

	saved := d.mustSave(task, d.colleague, "Insult")
	r, err = d.sign(task, d.colleague, saved.Revision)
	if err != nil || len(r.Versions) != 2 || r.Draft != nil {
		t.Fatalf("%+v %v", r, err)
	}
	if one, two := r.Versions[0], r.Versions[1]; one.Sections.Findings != "Norma" || one.SignerID != d.me.ID || two.Kind != Correction || two.Sections.Findings != "Insult" || two.SignerID != d.colleague.ID {
		t.Errorf("%+v", r.Versions)
	}

	// An addendum begins with nothing; a correction after it with the last text
	// that stands alone.
	r, err = d.Amend(ctx, everywhere, task.ID, d.me.ID, Addendum)
	if err != nil || r.Draft.Sections != (Sections{}) {
		t.Fatalf("%+v %v", r.Draft, err)
	}
	_, err = d.sign(task, d.me, r.Draft.Revision)
	wantCode(t, err, pacs.Invalid, "empty_report")
	saved = d.mustSave(task, d.me, "Dinamikada kuzatuv")
	if _, err = d.sign(task, d.me, saved.Revision); err != nil {
		t.Fatal(err)
	}
	r, err = d.Amend(ctx, everywhere, task.ID, d.me.ID, Correction)
	if err != nil || r.Draft.Sections.Findings != "Insult" || len(r.Versions) != 3 || r.Versions[2].Kind != Addendum {
		t.Errorf("%+v %v", r.Draft, err)
	}
	// Given up, it leaves nothing behind, and the task stays signed.
	if err := d.DiscardDraft(ctx, everywhere, task.ID, d.me.ID); err != nil {
		t.Error(err)
	}
	if r := d.report(task); r.Draft != nil || len(r.Versions) != 3 || d.TaskOf(pacs.Study{ID: task.StudyID}).State != worklist.Signed {
		t.Errorf("%+v", r)
	}
}

func TestTwoAmendAtOnce(t *testing.T) {
	d := open(t)
	task, _ := d.signed()
	began := 0
	for _, err := range atOnce(8, func(i int) error {
		by := []int64{d.me.ID, d.colleague.ID}[i%2]
		_, err := d.Amend(d.Context(), everywhere, task.ID, by, Correction)
		return err
	}) {
		if err == nil {
			began++ // once, and again by the same person
		} else {
			wantCode(t, err, pacs.Conflict, "draft_by_other")
		}
	}
	if began != 4 || d.count("report_draft") != 1 {
		t.Errorf("%d began, there are %d drafts", began, d.count("report_draft"))
	}
}
