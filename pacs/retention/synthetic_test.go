package retention

import (
	"context"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/index/synthetic"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// TestSyntheticStudies: policies and the sweeper leave studies alone that were
// generated for measuring and have nothing in storage; real ones among them are
// treated as ever.
func TestSyntheticStudies(t *testing.T) {
	for _, action := range []Action{DeleteAll, DeletePixels, MoveToCold} {
		s := openSite(t)
		if err := synthetic.Fill(t.Context(), s.pool, synthetic.Options{Studies: 50, Facilities: 2, Until: noon.AddDate(-2, 0, 0)}); err != nil {
			t.Fatal(err)
		}
		s.receive(imagesOf("CT")...)
		s.age(studyOf("CT"), 400)
		p := s.enabled(Policy{Action: action, Days: 365})
		if preview := s.preview(p); preview.Studies != 1 {
			t.Errorf("%s is for %d studies", action, preview.Studies)
		}
		s.pass()
		runs, err := s.Runs(t.Context())
		if err != nil || len(runs) != 1 || runs[0].Studies != 1 || runs[0].Failed != 0 {
			t.Errorf("%s: the runs are %+v, %v", action, runs, err)
		}
		if _, made, err := synthetic.Count(t.Context(), s.pool); err != nil || made != 50 {
			t.Errorf("%s: %d synthetic studies are left, %v", action, made, err)
		}
		if lost := s.query(`SELECT s.study_uid FROM study s WHERE deleted_at IS NOT NULL AND study_uid <> $1`, studyOf("CT")); len(lost) > 0 {
			t.Errorf("%s has deleted %q", action, lost)
		}
		sweeper := &publish.Sweeper{Index: s.ix, Store: s.o.Store, SafeAge: time.Nanosecond, Orphan: func(_ context.Context, key string, _ int64, err error) error {
			t.Errorf("%s: %s is taken for an orphan: %v", action, key, err)
			return nil
		}}
		if err := sweeper.Orphans(t.Context()); err != nil {
			t.Error(err)
		}
		s.exec(`UPDATE pack SET retired_at = now() - interval '2 hours' WHERE retired_at IS NOT NULL`)
		if _, err := sweeper.Retired(t.Context()); err != nil {
			t.Error(err)
		}
		if _, made, err := synthetic.Count(t.Context(), s.pool); err != nil || made != 50 {
			t.Errorf("%s: %d synthetic studies are left after the sweep, %v", action, made, err)
		}
	}
}
