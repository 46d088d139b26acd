package retention

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/storage"
)

func TestHold(t *testing.T) {
	s := openSite(t)
	ctx := t.Context()
	study := s.add(row{facility: "A", date: "20200101", received: 1000, modalities: []string{"CT"}})
	uid := study.StudyInstanceUID
	h, err := s.Hold(ctx, s.admin, uid, " The court asks for it ")
	if err != nil {
		t.Fatal(err)
	}
	if h.Why != "The court asks for it" || h.Who != "system:admin" || h.Facility != "A" || h.Patient != "Каримов^Али" || h.Date != "20200101" || !h.At.Equal(noon) {
		t.Errorf("the hold is %+v", h)
	}
	if got := keys(t, s.hot, "holds/"); !slices.Equal(got, []string{"holds/" + uid + ".json"}) {
		t.Errorf("the objects are %q", got)
	}
	_, err = s.Hold(ctx, s.admin, "1.2.3", "x")
	wantCode(t, err, pacs.NotFound, "")
	_, err = s.Hold(ctx, s.admin, uid, " ")
	wantCode(t, err, pacs.Invalid, "refused")

	// Nothing deletes or moves it, whoever asks.
	for what, f := range map[string]func(tx pgx.Tx) error{
		"DeleteStudy":  func(tx pgx.Tx) error { return index.DeleteStudy(ctx, tx, study.ID) },
		"DeletePixels": func(tx pgx.Tx) error { return index.DeletePixels(ctx, tx, study.ID, nil) },
		"MovePack":     func(tx pgx.Tx) error { return index.MovePack(ctx, tx, study.ID, 1, 2) },
	} {
		if err := pgx.BeginFunc(ctx, s.pool, f); !errors.Is(err, index.ErrHeld) || pacs.CodeOf(err) != pacs.Conflict {
			t.Errorf("%s of a held study: %v", what, err)
		}
	}
	s.enabled(Policy{Days: 365, Action: DeleteAll})
	s.pass()
	if got := s.deleted(); len(got) != 0 {
		t.Errorf("%q are deleted", got)
	}

	// Who doesn't see the facility doesn't see the hold.
	if list, err := s.Holds(ctx, pacs.Scope{Who: "b", FacilityIDs: []int64{999}}); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := s.Holds(ctx, pacs.Scope{Who: "a", FacilityIDs: []int64{study.Facility.ID}}); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}

	// It outlives the database.
	s.exec(`DELETE FROM legal_hold`)
	for _, want := range []int{1, 0} {
		if n, err := s.Restore(ctx); err != nil || n != want {
			t.Errorf("%d holds were restored, want %d: %v", n, want, err)
		}
	}
	if got := s.query(`SELECT who || ' ' || why FROM legal_hold`); !slices.Equal(got, []string{"system:admin The court asks for it"}) {
		t.Errorf("restored: %q", got)
	}

	if err := s.Lift(ctx, s.admin, uid); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Lift(ctx, s.admin, uid), pacs.NotFound, "")
	if got := keys(t, s.hot, "holds/"); len(got) != 0 {
		t.Errorf("the objects are %q", got)
	}
	s.pass()
	if got := s.deleted(); !slices.Equal(got, []string{uid}) {
		t.Errorf("%q are deleted", got)
	}
	_, err = s.Hold(ctx, s.admin, uid, "too late")
	wantCode(t, err, pacs.NotFound, "")
	s.wantAudited("study.hold", "system:admin study:"+uid)
	s.wantAudited("study.hold_lifted", "system:admin study:"+uid)
}

// broken is a store that fails at will.
type broken struct {
	storage.Store
	put, del error
}

func (b *broken) Put(ctx context.Context, key string, size int64, body io.Reader) error {
	if b.put != nil {
		return b.put
	}
	return b.Store.Put(ctx, key, size, body)
}

func (b *broken) Delete(ctx context.Context, key string) error {
	if b.del != nil {
		return b.del
	}
	return b.Store.Delete(ctx, key)
}

// Wherever setting or lifting breaks off, a hold that was promised is in
// storage, and repeating ends well.
func TestHoldBreaksOff(t *testing.T) {
	store := &broken{}
	s := openSite(t, func(o *Options) { store.Store = o.Store; o.Store = store })
	ctx := t.Context()
	uid := s.add(row{facility: "A", received: 1000, modalities: []string{"CT"}}).StudyInstanceUID
	store.put = errors.New("down")
	_, err := s.Hold(ctx, s.admin, uid, "x")
	wantCode(t, err, pacs.Unavailable, "")
	if got := s.query(`SELECT study_uid FROM legal_hold`); len(got) != 0 {
		t.Error("a hold that is not in storage is in the database")
	}
	store.put = nil
	if _, err := s.Hold(ctx, s.admin, uid, "x"); err != nil {
		t.Fatal(err)
	}
	store.del = errors.New("down")
	wantCode(t, s.Lift(ctx, s.admin, uid), pacs.Unavailable, "")
	// The row is gone: repeating finds no hold, and still removes the object.
	store.del = nil
	wantCode(t, s.Lift(ctx, s.admin, uid), pacs.NotFound, "")
	if got := keys(t, store, "holds/"); len(got) != 0 {
		t.Errorf("the objects are %q", got)
	}
	// An object that can't be read still holds.
	if err := store.Put(ctx, "holds/"+uid+".json", 3, strings.NewReader("???")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Restore(ctx); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// A hold that is set while a pass is at the study: held and untouched, or
// deleted before and the hold refused. Never both.
func TestHoldAgainstAPass(t *testing.T) {
	s := openSite(t)
	s.enabled(Policy{Days: 365, Action: DeleteAll})
	held, deleted := 0, 0
	for round := range 30 {
		study := s.add(row{facility: "A", received: 1000, modalities: []string{"CT"}})
		set := make(chan error, 1)
		hold := func() {
			_, err := s.Hold(context.WithoutCancel(t.Context()), s.admin, study.StudyInstanceUID, "race")
			set <- err
		}
		first := true
		s.o.Busy = func(context.Context, pgx.Tx, []int64, bool) (map[int64]bool, error) {
			// Before the last look on some rounds, within the last transaction
			// on others.
			if first == (round%2 == 0) {
				go hold()
				if round%3 == 0 {
					time.Sleep(time.Duration(round) * time.Millisecond / 3)
				}
				s.o.Busy = func(context.Context, pgx.Tx, []int64, bool) (map[int64]bool, error) { return nil, nil }
			}
			first = false
			return nil, nil
		}
		s.pass()
		err := <-set
		gone := slices.Contains(s.deleted(), study.StudyInstanceUID)
		rows := len(s.query(`SELECT study_uid FROM legal_hold WHERE study_uid = $1`, study.StudyInstanceUID))
		switch {
		case err == nil && !gone && rows == 1:
			held++
		case pacs.CodeOf(err) == pacs.NotFound && gone && rows == 0:
			deleted++
		default:
			t.Fatalf("round %d: the hold says %v, deleted %v, %d rows", round, err, gone, rows)
		}
	}
	t.Logf("%d held, %d deleted", held, deleted)
	if n := len(keys(t, s.hot, "holds/")); n != held {
		t.Errorf("%d objects for %d holds", n, held)
	}
}
