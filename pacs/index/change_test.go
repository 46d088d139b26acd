package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func changes(t testing.TB, ix *Index, scope pacs.Scope, after string, limit int) ([]Change, string) {
	t.Helper()
	list, next, err := ix.Changes(t.Context(), scope, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	if next == "" {
		t.Fatal("no place to go on from")
	}
	return list, next
}

// record writes a change in a transaction that stays open.
func record(t testing.TB, ix *Index, change Change) pgx.Tx {
	t.Helper()
	tx, err := ix.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := RecordChange(t.Context(), tx, change); err != nil {
		t.Fatal(err)
	}
	return tx
}

func commit(t testing.TB, tx pgx.Tx) {
	t.Helper()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func unassigned(t testing.TB, ix *Index) int64 {
	t.Helper()
	return facilityOf(t, ix, pacs.Unassigned).FacilityIDs[0]
}

func TestChangesOfReceivingAndCompleting(t *testing.T) {
	ix := open(t)
	fill(t, ix, addition("1.1", "1.1.1", 3))
	fill(t, ix, addition("1.1", "1.1.1", 3)) // again: nothing has changed
	fill(t, ix, addition("1.1", "1.1.1", 2, func(a *Addition) {
		a.Pack.Key = "packs/second"
		a.Instances[0].Version, a.Instances[0].SHA256 = 2, []byte("other") // and one that is there already
	}))
	fill(t, ix, addition("2.2", "2.2.1", 1, func(a *Addition) { a.Facility = "OTHER" }))
	var id int64
	if err := ix.pool.QueryRow(t.Context(), `SELECT id FROM study WHERE study_uid = '1.1'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if _, err := ix.Complete(t.Context(), id, 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ix.Complete(t.Context(), id, 0, nil); err != nil { // is complete already
		t.Fatal(err)
	}
	ours, other := facilityOf(t, ix, "TMA"), facilityOf(t, ix, "OTHER")
	want := []Change{
		{Kind: StudyReceived, Facility: "TMA", StudyUID: "1.1", SeriesUID: "1.1.1", Instances: 3},
		{Kind: StudyReceived, Facility: "TMA", StudyUID: "1.1", SeriesUID: "1.1.1", Instances: 1},
		{Kind: InstanceSuperseded, Facility: "TMA", StudyUID: "1.1", SeriesUID: "1.1.1", Instances: 1},
		{Kind: StudyCompleted, Facility: "TMA", StudyUID: "1.1", Instances: 3},
	}
	ignore := cmpopts.IgnoreFields(Change{}, "Position", "At", "FacilityID")
	got, next := changes(t, ix, ours, "", 0)
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Error(diff)
	}
	if again, _ := changes(t, ix, ours, next, 0); len(again) != 0 {
		t.Errorf("given twice: %+v", again)
	}
	if got, _ := changes(t, ix, other, "", 0); len(got) != 1 || got[0].StudyUID != "2.2" {
		t.Errorf("another facility sees %+v", got)
	}
	if got, _ := changes(t, ix, pacs.Scope{}, "", 0); len(got) != 0 {
		t.Errorf("nobody sees %+v", got)
	}
	// In pages, from every place.
	all, _ := changes(t, ix, system, "", 0)
	var paged []Change
	for at := ""; ; {
		page, next := changes(t, ix, system, at, 2)
		paged, at = append(paged, page...), next
		if len(page) < 2 {
			break
		}
	}
	if diff := cmp.Diff(all, paged); diff != "" || len(all) != 5 {
		t.Errorf("%d changes: %s", len(all), diff)
	}
	for i, c := range all {
		if rest, _ := changes(t, ix, system, c.Position, 0); len(rest) != len(all)-i-1 {
			t.Errorf("after change %d come %d", i, len(rest))
		}
	}
}

// TestChangesWaitForTheOldestTransaction: numbers are given at the start and
// rows appear at the end of a transaction.
func TestChangesWaitForTheOldestTransaction(t *testing.T) {
	ix := open(t)
	facility := unassigned(t, ix)
	change := func(name string) Change { return Change{Kind: StudyReceived, FacilityID: facility, StudyUID: name} }
	slow := record(t, ix, change("slow"))
	commit(t, record(t, ix, change("fast")))
	got, place := changes(t, ix, system, "", 0)
	if len(got) != 0 {
		t.Fatalf("%+v are given although an older change is still to come", got)
	}
	commit(t, slow)
	got, next := changes(t, ix, system, place, 0)
	if len(got) != 2 || got[0].StudyUID != "slow" || got[1].StudyUID != "fast" {
		t.Fatalf("%+v", got)
	}
	// One that is taken back does not hold up for ever.
	undone := record(t, ix, change("undone"))
	commit(t, record(t, ix, change("after")))
	if err := undone.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := changes(t, ix, system, next, 0); len(got) != 1 || got[0].StudyUID != "after" {
		t.Fatalf("%+v", got)
	}
}

// TestChangesUnderWriters: many write, some hold their transactions open, some
// fail; a reader that goes on from place to place gets each change that was
// committed, once.
func TestChangesUnderWriters(t *testing.T) {
	const writers, each = 6, 60
	ix := open(t)
	facility := unassigned(t, ix)
	want := map[string]bool{}
	var mu sync.Mutex
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			var open []pgx.Tx
			var names [][]string
			finish := func(i int) {
				if random.IntN(5) == 0 {
					_ = open[i].Rollback(context.WithoutCancel(t.Context()))
				} else if err := open[i].Commit(t.Context()); err != nil {
					t.Error(err)
				} else {
					mu.Lock()
					for _, name := range names[i] {
						want[name] = true
					}
					mu.Unlock()
				}
				open, names = append(open[:i], open[i+1:]...), append(names[:i], names[i+1:]...)
			}
			for n := range each {
				tx, err := ix.pool.Begin(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				var changes []Change
				var called []string
				for k := range 1 + random.IntN(3) {
					called = append(called, fmt.Sprintf("%d.%d.%d", w, n, k))
					changes = append(changes, Change{Kind: StudyReceived, FacilityID: facility, StudyUID: called[k]})
				}
				if err := RecordChange(t.Context(), tx, changes...); err != nil {
					t.Error(err)
					return
				}
				open, names = append(open, tx), append(names, called)
				if len(open) == 2 { // the older or the newer ends first
					finish(random.IntN(2))
				}
			}
			for len(open) > 0 {
				finish(0)
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	got := map[string]int{}
	ended, place := false, ""
	for {
		list, next := changes(t, ix, system, place, 7)
		for i, c := range list {
			got[c.StudyUID]++
			if c.StudyUID[strings.LastIndexByte(c.StudyUID, '.'):] != ".0" && i > 0 && list[i-1].StudyUID[:strings.LastIndexByte(c.StudyUID, '.')] != c.StudyUID[:strings.LastIndexByte(c.StudyUID, '.')] {
				t.Errorf("the changes of a transaction are apart: %s after %s", c.StudyUID, list[i-1].StudyUID)
			}
		}
		if ended && len(list) == 0 {
			break
		}
		place = next
		select {
		case <-done:
			ended = true
		default:
		}
	}
	for name := range want {
		if got[name] != 1 {
			t.Errorf("%s was given %d times", name, got[name])
		}
	}
	if len(got) != len(want) || len(want) < writers*each/2 {
		t.Errorf("%d changes given, %d committed", len(got), len(want))
	}
}

func TestPlacesInTheFeed(t *testing.T) {
	ix := open(t)
	facility := unassigned(t, ix)
	for _, place := range []string{"x", "1", "1.2", "1.2.3.4", "1.2.-3", "-1.2.3", "1.99999999999999999999999.3", "1.2.x", "..", "1.2.3\x00"} {
		if _, _, err := ix.Changes(t.Context(), system, place, 0); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%q: %v", place, err)
		}
	}
	commit(t, record(t, ix, Change{Kind: StudyReceived, FacilityID: facility, StudyUID: "1"}))
	got, next := changes(t, ix, system, "", 0)
	here, err := parsePosition(next)
	if err != nil {
		t.Fatal(err)
	}
	// A marker of a later state than this database is in.
	for _, ahead := range []position{{here.era, here.xid + 1<<40, 0}, {here.era + 1<<32, 0, 0}} {
		_, _, err := ix.Changes(t.Context(), system, ahead.String(), 0)
		if reason, _ := pacs.ReasonOf(err); pacs.CodeOf(err) != pacs.Conflict || reason != "ahead" {
			t.Errorf("%v: %v", ahead, err)
		}
	}
	// A marker of an earlier database: what is here comes after it.
	if again, _ := changes(t, ix, system, position{here.era - 100, here.xid + 1<<40, 7}.String(), 0); len(again) != len(got) {
		t.Errorf("after the earlier database come %d changes, want %d", len(again), len(got))
	}
}

// TestRestoredDump: the feed of a database whose rows come from a server that
// had counted further.
func TestRestoredDump(t *testing.T) {
	ix := open(t)
	facility := unassigned(t, ix)
	for n := range 3 {
		commit(t, record(t, ix, Change{Kind: StudyReceived, FacilityID: facility, StudyUID: fmt.Sprint(n)}))
	}
	if _, err := ix.pool.Exec(t.Context(), `UPDATE change SET xid = (xid::text::bigint + 1000000000)::text::xid8`); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), ix.pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	old, place := changes(t, again, system, "", 0)
	if len(old) != 3 {
		t.Fatalf("%d of the old changes", len(old))
	}
	commit(t, record(t, again, Change{Kind: StudyReceived, FacilityID: facility, StudyUID: "new"}))
	for _, after := range []string{place, old[2].Position} {
		if got, _ := changes(t, again, system, after, 0); len(got) != 1 || got[0].StudyUID != "new" {
			t.Errorf("after %s: %+v", after, got)
		}
	}
}

func TestTrimChanges(t *testing.T) {
	ix := open(t)
	facility := unassigned(t, ix)
	for n := range 5 {
		commit(t, record(t, ix, Change{Kind: StudyReceived, FacilityID: facility, StudyUID: fmt.Sprint(n)}))
	}
	all, _ := changes(t, ix, system, "", 0)
	// The fourth is old as well, but behind one that is not.
	if _, err := ix.pool.Exec(t.Context(), `UPDATE change SET at = at - interval '2 days' WHERE study_uid IN ('0', '1', '3')`); err != nil {
		t.Fatal(err)
	}
	if n, err := ix.TrimChanges(t.Context(), 24*time.Hour); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := ix.TrimChanges(t.Context(), 24*time.Hour); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if got, _ := changes(t, ix, system, "", 0); len(got) != 3 || got[0].StudyUID != "2" {
		t.Errorf("%+v", got)
	}
	if got, _ := changes(t, ix, system, all[1].Position, 0); len(got) != 3 {
		t.Errorf("who has read all that is gone sees %+v", got)
	}
	_, _, err := ix.Changes(t.Context(), system, all[0].Position, 0)
	if reason, _ := pacs.ReasonOf(err); pacs.CodeOf(err) != pacs.Conflict || reason != "trimmed" {
		t.Errorf("who has not is told %v", err)
	}
}

// TestChangesReadOneRange: however long the feed is, a page costs a page.
func TestChangesReadOneRange(t *testing.T) {
	ix := open(t)
	if _, err := ix.pool.Exec(t.Context(), `
		INSERT INTO change (era, kind, facility_row) SELECT f.era, 'study.received', facility.id FROM change_feed f, facility, generate_series(1, 20000);
		ANALYZE change`); err != nil {
		t.Fatal(err)
	}
	_, place := changes(t, ix, system, "", 1000)
	at, err := parsePosition(place)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := ix.pool.Query(t.Context(), `EXPLAIN SELECT * FROM (SELECT era, pg_snapshot_xmin(pg_current_snapshot()) AS horizon FROM change_feed) feed
		LEFT JOIN LATERAL (SELECT * FROM change c WHERE (c.era, c.xid, c.id) > ($1, $2::xid8, $3) AND (c.era, c.xid) < (feed.era, feed.horizon)
			ORDER BY c.era, c.xid, c.id LIMIT 100) c ON true`, at.era, at.xid, at.id)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if plan := strings.Join(lines, "\n"); !strings.Contains(plan, "Index Scan using change_pkey") || strings.Contains(plan, "Filter") || !strings.Contains(plan, "Index Cond: ((ROW(") {
		t.Error(plan)
	}
}
