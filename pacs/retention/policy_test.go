package retention

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Which studies a policy is for.
func TestConditions(t *testing.T) {
	s := openSite(t)
	old := row{facility: "A", date: "20200101", received: 2000, modalities: []string{"CT"}}
	change := func(f func(*row)) row { r := old; f(&r); return r }
	for _, test := range []struct {
		name   string
		study  row
		policy Policy
		fits   bool
	}{
		{"old enough", old, Policy{Days: 365}, true},
		{"not old enough", old, Policy{Days: 3000}, false},
		{"on the day", change(func(r *row) { r.date = "20251121" }), Policy{Days: 365}, true},
		{"a day too early", change(func(r *row) { r.date = "20251122" }), Policy{Days: 365}, false},
		{"an old study that was received lately", change(func(r *row) { r.received = 100 }), Policy{Days: 365}, false},
		{"without a date, by when it was received", change(func(r *row) { r.date = "" }), Policy{Days: 365}, true},
		{"a date that is none, by when it was received", change(func(r *row) { r.date = "00000000" }), Policy{Days: 365}, true},
		{"of the future", change(func(r *row) { r.date = "99991231" }), Policy{Days: 365}, false},
		{"its facility", old, Policy{Days: 365, Facility: "A"}, true},
		{"another facility", old, Policy{Days: 365, Facility: "B"}, false},
		{"its modality", old, Policy{Days: 365, Modality: "CT"}, true},
		{"another modality", old, Policy{Days: 365, Modality: "MR"}, false},
		{"one series of another modality", change(func(r *row) { r.modalities = []string{"CT", "SR"} }), Policy{Days: 365, Modality: "CT"}, false},
		{"one series of no modality", change(func(r *row) { r.modalities = []string{"CT", ""} }), Policy{Days: 365, Modality: "CT"}, false},
		{"two series of one modality", change(func(r *row) { r.modalities = []string{"CT", "CT"} }), Policy{Days: 365, Modality: "CT"}, true},
		{"any modality", change(func(r *row) { r.modalities = []string{"CT", "SR"} }), Policy{Days: 365}, true},
		{"images still arrive", change(func(r *row) { r.incomplete = true }), Policy{Days: 365}, false},
		{"changed 29 days ago", change(func(r *row) { r.changed = 29 }), Policy{Days: 365}, false},
		{"changed 31 days ago", change(func(r *row) { r.changed = 31 }), Policy{Days: 365}, true},
	} {
		study := s.add(test.study)
		test.policy.Action = DeleteAll
		p := s.policy(test.policy)
		preview := s.preview(p)
		got := slices.ContainsFunc(preview.Samples, func(x Sample) bool { return x.StudyUID == study.StudyInstanceUID })
		if got != test.fits {
			t.Errorf("%s: fits is %v", test.name, got)
		}
		if err := s.RemovePolicy(t.Context(), s.admin, p.ID); err != nil {
			t.Fatal(err)
		}
		s.exec(`UPDATE study SET deleted_at = now() WHERE id = $1`, study.ID) // out of the way
	}
}

// The first policy that fits decides, also when it does nothing.
func TestTheFirstPolicyDecides(t *testing.T) {
	s := openSite(t)
	a := s.add(row{facility: "A", received: 1000, modalities: []string{"CT"}})
	b := s.add(row{facility: "B", received: 1000, modalities: []string{"CT"}})
	mr := s.add(row{facility: "B", received: 1000, modalities: []string{"MR"}})
	held := s.add(row{facility: "B", received: 1000, modalities: []string{"CT"}})
	busy := s.add(row{facility: "B", received: 1000, modalities: []string{"CT"}})
	if _, err := s.Hold(t.Context(), s.admin, held.StudyInstanceUID, "Court"); err != nil {
		t.Fatal(err)
	}
	s.busyWith[busy.ID] = true
	s.enabled(Policy{Name: "Keep A", Facility: "A", Days: 1, Action: Keep})
	s.enabled(Policy{Name: "Keep MR", Modality: "MR", Days: 1, Action: Keep})
	all := s.policy(Policy{Name: "All", Days: 365, Action: DeleteAll})
	if p := s.preview(all); p.Studies != 1 || p.Held != 1 || p.Instances != 1 || p.Bytes != 1000 || len(p.Samples) != 1 || p.Samples[0].StudyUID != b.StudyInstanceUID {
		t.Errorf("the preview is %+v", p)
	}
	all.Enabled = true
	if _, err := s.ChangePolicy(t.Context(), s.admin, all); err != nil {
		t.Fatal(err)
	}
	s.pass()
	if got := s.deleted(); !slices.Equal(got, []string{b.StudyInstanceUID}) {
		t.Errorf("%q are deleted, want %s; %s and %s are kept", got, b.StudyInstanceUID, a.StudyInstanceUID, mr.StudyInstanceUID)
	}
	s.wantAudited("retention.delete_all", "system:retention study:"+b.StudyInstanceUID)
	if got := s.query(`SELECT why FROM audit_event WHERE action = 'retention.delete_all'`); len(got) != 1 || got[0] != fmt.Sprintf("policy %d, All: delete_all after 365 days (every facility, any modality)", all.ID) {
		t.Errorf("the reason on record is %q", got)
	}
	if got := s.query(`SELECT kind || ' ' || study_uid || ' ' || instances FROM change WHERE kind LIKE 'study.%deleted'`); !slices.Equal(got, []string{"study.deleted " + b.StudyInstanceUID + " 1"}) {
		t.Errorf("the feed says %q", got)
	}
}

// A policy runs only as it was previewed, behind the policies it was previewed
// behind.
func TestEnablingNeedsAPreview(t *testing.T) {
	s := openSite(t)
	ctx := t.Context()
	change := func(p Policy, f func(*Policy)) (Policy, error) {
		f(&p)
		return s.ChangePolicy(ctx, s.admin, p)
	}
	must := func(p Policy, f func(*Policy)) Policy {
		t.Helper()
		p, err := change(p, f)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	enable := func(p *Policy) { p.Enabled = true }
	p := s.policy(Policy{Position: 10, Days: 400, Action: DeleteAll, Enabled: true})
	if p.Enabled || p.Previewed {
		t.Errorf("a new policy is %+v", p)
	}
	_, err := change(p, enable)
	wantCode(t, err, pacs.Conflict, "preview_needed")
	s.preview(p)
	_, err = change(p, func(p *Policy) { p.Days, p.Enabled = 300, true })
	wantCode(t, err, pacs.Conflict, "preview_needed")
	p = must(p, enable)
	if !p.Enabled || !p.Previewed {
		t.Errorf("the policy is %+v", p)
	}
	// The name is no condition.
	if p = must(p, func(p *Policy) { p.Name = "Other" }); !p.Enabled || !p.Previewed {
		t.Errorf("a new name makes it %+v", p)
	}
	for what, f := range map[string]func(*Policy){
		"days": func(p *Policy) { p.Days-- }, "facility": func(p *Policy) { p.Facility = "A" },
		"modality": func(p *Policy) { p.Modality = "ct" }, "action": func(p *Policy) { p.Action = MoveToCold },
	} {
		if changed := must(p, f); changed.Enabled || changed.Previewed {
			t.Errorf("another value of %s leaves it %+v", what, changed)
		}
		p = must(p, func(p *Policy) { p.Enabled = false }) // as it was
		s.preview(p)
		p = must(p, enable)
	}

	// A policy before it that goes, or comes behind it, uncovers studies.
	keep := s.enabled(Policy{Name: "Keep", Position: p.Position - 1, Facility: "A", Days: 1, Action: Keep})
	enabled := func() bool {
		t.Helper()
		list, err := s.Policies(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return list[slices.IndexFunc(list, func(x Policy) bool { return x.ID == p.ID })].Enabled
	}
	if !enabled() {
		t.Error("a policy that takes studies away has disabled those behind it")
	}
	for what, f := range map[string]func(){
		"disabled": func() { keep = must(keep, func(p *Policy) { p.Enabled = false }) },
		"narrowed": func() { keep = must(keep, func(p *Policy) { p.Modality = "CT" }) },
		"moved":    func() { keep = must(keep, func(k *Policy) { k.Position = p.Position + 1 }) },
	} {
		keep = must(keep, func(k *Policy) { k.Position, k.Modality = p.Position-1, "" })
		s.preview(keep)
		keep = must(keep, enable)
		s.preview(p) // behind keep
		p = must(p, enable)
		f()
		if enabled() {
			t.Errorf("a policy stays enabled when one before it is %s", what)
		}
	}
	keep = must(keep, func(k *Policy) { k.Position, k.Modality = p.Position-1, "" })
	s.preview(keep)
	must(keep, enable)
	s.preview(p)
	p = must(p, enable)
	if err := s.RemovePolicy(ctx, s.admin, keep.ID); err != nil {
		t.Fatal(err)
	}
	if enabled() {
		t.Error("a policy stays enabled when one before it is removed")
	}
	if n := len(s.audited("retention.policy_disabled")); n < 4 {
		t.Errorf("%d times a policy was disabled on record", n)
	}

	wantCode(t, s.RemovePolicy(ctx, s.admin, 12345), pacs.NotFound, "")
	_, err = s.ChangePolicy(ctx, s.admin, Policy{ID: 12345, Name: "x", Days: 1, Action: Keep})
	wantCode(t, err, pacs.NotFound, "")
	_, err = s.Preview(ctx, s.admin, 12345)
	wantCode(t, err, pacs.NotFound, "")
	for _, bad := range []Policy{
		{Name: " ", Days: 1, Action: Keep},
		{Name: "x", Days: 0, Action: Keep},
		{Name: "x", Days: 1, Action: "burn"},
		{Name: "x", Days: 1 << 30, Action: Keep},
		{Name: "x", Days: 1, Action: Keep, Facility: "NONE"},
		{Name: "x", Days: 1, Action: Keep, Facility: "A\x00"},
		{Name: "x", Days: 1, Action: Keep, Modality: "CT'"},
	} {
		_, err := s.AddPolicy(ctx, s.admin, bad)
		wantCode(t, err, pacs.Invalid, "refused")
	}
}

func TestNoColdStore(t *testing.T) {
	s := openSite(t, func(o *Options) { o.Cold, o.Store = false, folder(t) })
	p := s.policy(Policy{Days: 1, Action: MoveToCold})
	s.preview(p)
	p.Enabled = true
	_, err := s.ChangePolicy(t.Context(), s.admin, p)
	wantCode(t, err, pacs.Invalid, "no_cold_store")
	// An archive whose packs are in a cold store doesn't start without it.
	study := s.add(row{facility: "A", received: 1, modalities: []string{"CT"}})
	s.exec(`UPDATE pack SET key = 'cold/' || key`)
	_, err = Open(t.Context(), Options{Index: s.ix, Store: s.o.Store})
	wantCode(t, err, pacs.Invalid, "")
	_ = study
}

// Whatever studies and policies there are: a pass touches exactly the studies
// of the previews that were made just before.
func TestAPassDoesWhatThePreviewsShow(t *testing.T) {
	s := openSite(t)
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		pick := func(of ...string) string { return of[r.IntN(len(of))] }
		for range 40 {
			x := row{facility: pick("A", "B"), received: r.IntN(500), modalities: []string{pick("CT", "MR")}, incomplete: r.IntN(10) == 0}
			if r.IntN(3) == 0 {
				x.modalities = append(x.modalities, pick("CT", "SR", ""))
			}
			if r.IntN(2) == 0 {
				x.date = noon.AddDate(0, 0, -r.IntN(600)).Format("20060102")
			}
			if r.IntN(5) == 0 {
				x.changed = 1 + r.IntN(60)
			}
			study := s.add(x)
			switch r.IntN(8) {
			case 0:
				if _, err := s.Hold(t.Context(), s.admin, study.StudyInstanceUID, "held"); err != nil {
					t.Fatal(err)
				}
			case 1:
				s.busyWith[study.ID] = true
			}
		}
		var added []Policy
		want := map[string]bool{}
		for range 4 {
			p := s.enabled(Policy{
				Facility: pick("", "A", "B"), Modality: pick("", "CT", "MR"), Days: 1 + r.IntN(500), Action: Action(pick("keep", "delete_all", "delete_all")),
			})
			added = append(added, p)
		}
		studies := 0
		for _, p := range added {
			// Samples are few: ask the selection that they come from.
			preview := s.preview(p)
			if p.Action == Keep {
				continue
			}
			studies += preview.Studies
			sel, err := s.selectionOf(t.Context(), s.pool, p.ID, noon)
			if err != nil {
				t.Fatal(err)
			}
			err = pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
				return s.each(t.Context(), tx, &sel, func(c candidate) {
					if !c.Held {
						want[c.UID] = true
					}
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if studies != len(want) {
			t.Errorf("seed %d: the previews count %d studies, they are %d", seed, studies, len(want))
		}
		before := s.deleted()
		s.pass()
		got := slices.DeleteFunc(s.deleted(), func(uid string) bool { return slices.Contains(before, uid) })
		if len(got) != len(want) || slices.ContainsFunc(got, func(uid string) bool { return !want[uid] }) {
			t.Errorf("seed %d: %d studies were deleted, the previews showed %d", seed, len(got), len(want))
		}
		for _, p := range added {
			if err := s.RemovePolicy(t.Context(), s.admin, p.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(s.deleted()) == 0 {
		t.Error("nothing was ever deleted")
	}
}

func TestTheDaysLimit(t *testing.T) {
	s := openSite(t, func(o *Options) { o.Limit = 3 })
	for range 5 {
		s.add(row{facility: "A", received: 1000, modalities: []string{"CT"}})
	}
	s.enabled(Policy{Days: 365, Action: DeleteAll})
	s.pass()
	s.pass() // the same day
	if n := len(s.deleted()); n != 3 {
		t.Errorf("%d studies were deleted, the limit is 3", n)
	}
	s.now = func() time.Time { return noon.AddDate(0, 0, 1) }
	s.pass()
	if n := len(s.deleted()); n != 5 {
		t.Errorf("%d studies were deleted on two days", n)
	}
}

// A pass that is not finished, or whose process died, goes on where it was.
func TestAPassGoesOn(t *testing.T) {
	s := openSite(t)
	for range 5 {
		s.add(row{facility: "A", received: 1000, modalities: []string{"CT"}})
	}
	s.enabled(Policy{Days: 365, Action: DeleteAll})
	ctx, kill := context.WithCancel(t.Context())
	s.o.Observe = func(Action, int64) {
		if len(s.deleted()) == 2 {
			kill()
		}
	}
	if err := s.Pass(ctx, "x", noon.Add(time.Hour)); err == nil {
		t.Error("a killed pass says it is done")
	}
	s.o.Observe = func(Action, int64) {}
	if err := s.Pass(t.Context(), "x", noon.Add(-time.Second)); err != ErrUnfinished {
		t.Errorf("a pass without time says %v", err)
	}
	if n := len(s.deleted()); n != 2 {
		t.Errorf("%d are deleted", n)
	}
	if err := s.Pass(t.Context(), "x", noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Studies != 5 || runs[0].Bytes != 5000 || runs[0].Failed != 0 || runs[0].FinishedAt.IsZero() {
		t.Errorf("the runs are %+v, %v", runs, err)
	}
	if n := len(s.audited("retention.delete_all")); n != 5 {
		t.Errorf("%d deletions are on record", n)
	}
}

// One node at a time.
func TestOnePassAtATime(t *testing.T) {
	s := openSite(t)
	s.add(row{facility: "A", received: 1000, modalities: []string{"CT"}})
	s.enabled(Policy{Days: 365, Action: DeleteAll})
	s.o.Busy = func(context.Context, pgx.Tx, []int64, bool) (map[int64]bool, error) {
		if err := s.Pass(t.Context(), "other", noon.Add(time.Hour)); err != ErrElsewhere {
			t.Errorf("a second pass says %v", err)
		}
		return nil, nil
	}
	s.pass()
	if n := len(s.deleted()); n != 1 {
		t.Errorf("%d are deleted", n)
	}
}

func TestDaily(t *testing.T) {
	at := daily(2*time.Hour + 30*time.Minute)
	for now, want := range map[string]string{
		"2026-11-21 00:00": "2026-11-21 02:30", "2026-11-21 02:30": "2026-11-22 02:30", "2026-12-31 12:00": "2027-01-01 02:30",
	} {
		from, err := time.ParseInLocation("2006-01-02 15:04", now, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		if got := at.Next(from).Format("2006-01-02 15:04"); got != want {
			t.Errorf("after %s comes %s, want %s", now, got, want)
		}
	}
}
