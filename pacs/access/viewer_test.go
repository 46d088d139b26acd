package access

import (
	"sync"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// studyOf is a study of a facility.
func (a *Access) studyOf(t *testing.T, code string) pacs.Study {
	t.Helper()
	facility, err := a.FacilityByCode(t.Context(), pacs.System("test"), code)
	if err != nil {
		t.Fatal(err)
	}
	return pacs.Study{StudyInstanceUID: "1.2.3", Facility: facility}
}

func (a *Access) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := a.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
	a.forgetRecent()
}

// A code gives OHIF a session once: it sees what the person sees, reads only,
// and is good for nothing else.
func TestLaunch(t *testing.T) {
	a := open(t, Settings{})
	token, ali := a.signedIn(t, a.person(t, "ali", pacs.Radiologist, "A", "B"))
	code, err := a.LaunchCode(t.Context(), ali, a.studyOf(t, "A"))
	if err != nil {
		t.Fatal(err)
	}
	// Two browsers at once: one gets it.
	var won []*Launched
	var mu sync.Mutex
	var together sync.WaitGroup
	for range 8 {
		together.Go(func() {
			launched, err := a.RedeemLaunch(t.Context(), code, "", "192.0.2.1")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, launched)
			} else if pacs.CodeOf(err) != pacs.Unauthenticated {
				t.Error(err)
			}
		})
	}
	together.Wait()
	if len(won) != 1 || won[0].StudyUID != "1.2.3" || won[0].Language != "uz-Latn" || won[0].Life <= 0 {
		t.Fatalf("the code was good for %+v", won)
	}
	viewer, err := a.ViewerByToken(t.Context(), OHIF, won[0].Token)
	if err != nil {
		t.Fatal(err)
	}
	if viewer.Who() != "ali" || len(viewer.Scope.FacilityIDs) != 2 || viewer.Scope.All {
		t.Errorf("OHIF sees as %q %+v", viewer.Who(), viewer.Scope)
	}
	for _, action := range []Action{StudyRead, DICOMwebWrite, ReportSign, UPSRead, TaskRead, ReportRead} {
		if viewer.Can(action) {
			t.Errorf("OHIF may %s", action)
		}
	}
	if !viewer.Can(DICOMwebRead) || viewer.UserID() != 0 {
		t.Errorf("OHIF may not read, or passes for the person: %+v", viewer)
	}
	// One session does not stand for the other, nor one viewer for another.
	_, err = a.SessionByToken(t.Context(), won[0].Token)
	wantCode(t, err, pacs.Unauthenticated)
	_, err = a.ViewerByToken(t.Context(), OHIF, token)
	wantCode(t, err, pacs.Unauthenticated)
	_, err = a.ViewerByToken(t.Context(), Weasis, won[0].Token)
	wantCode(t, err, pacs.Unauthenticated)
	_, err = a.TokenByValue(t.Context(), won[0].Token)
	wantCode(t, err, pacs.Unauthenticated)
	if renewed, err := a.Renew(t.Context(), viewer); err != nil || renewed.Can(StudyRead) {
		t.Errorf("renewed: %+v, %v", renewed, err)
	}
	// A viewer can't launch another.
	_, err = a.LaunchCode(t.Context(), viewer, a.studyOf(t, "A"))
	wantCode(t, err, pacs.Forbidden)

	// The next study in the same browser: the session there before ends.
	code, err = a.LaunchCode(t.Context(), ali, a.studyOf(t, "B"))
	if err != nil {
		t.Fatal(err)
	}
	next, err := a.RedeemLaunch(t.Context(), code, won[0].Token, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.ViewerByToken(t.Context(), OHIF, won[0].Token)
	wantCode(t, err, pacs.Unauthenticated)
	// But the person's own never, whatever a browser brings along.
	if code, err = a.LaunchCode(t.Context(), ali, a.studyOf(t, "B")); err == nil {
		_, err = a.RedeemLaunch(t.Context(), code, token, "192.0.2.1")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.SessionByToken(t.Context(), token); err != nil {
		t.Error(err)
	}
	if err := a.EndSession(t.Context(), ali); err != nil {
		t.Fatal(err)
	}
	_, err = a.ViewerByToken(t.Context(), OHIF, next.Token)
	wantCode(t, err, pacs.Unauthenticated)
	if launched, begun := a.auditCount(t, "viewer.launch"), a.auditCount(t, "viewer.begin"); launched != 3 || begun != 3 {
		t.Errorf("%d launches and %d beginnings on record, want 3 of each", launched, begun)
	}
}

func TestLaunchRefused(t *testing.T) {
	a := open(t, Settings{})
	_, ali := a.signedIn(t, a.person(t, "ali", pacs.Clinician, "A"))
	_, err := a.LaunchCode(t.Context(), ali, a.studyOf(t, "B"))
	wantCode(t, err, pacs.NotFound)
	_, err = a.WeasisToken(t.Context(), ali, a.studyOf(t, "B"))
	wantCode(t, err, pacs.NotFound)
	_, registrar := a.signedIn(t, a.person(t, "reg", pacs.Registrar, "A"))
	_, err = a.LaunchCode(t.Context(), registrar, a.studyOf(t, "A"))
	wantCode(t, err, pacs.Forbidden)
	_, err = a.LaunchCode(t.Context(), System("test"), a.studyOf(t, "A"))
	wantCode(t, err, pacs.Forbidden)
	for _, code := range []string{"", "x", "made up"} {
		_, err = a.RedeemLaunch(t.Context(), code, "", "192.0.2.1")
		wantCode(t, err, pacs.Unauthenticated)
	}

	for what, sql := range map[string]string{
		"expired":                 `UPDATE viewer_launch SET expires_at = now() - interval '1 second'`,
		"the session has expired": `UPDATE session SET expires_at = now() - interval '1 second'`,
		"the session was unused":  `UPDATE session SET last_used_at = now() - interval '13 hours'`,
		"the session has ended":   `DELETE FROM session`,
	} {
		t.Run(what, func(t *testing.T) {
			a.exec(t, `DELETE FROM session`)
			user, err := a.Authenticate(t.Context(), "ali", testPassword, "192.0.2.1")
			if err != nil {
				t.Fatal(err)
			}
			_, ali := a.signedIn(t, user)
			code, err := a.LaunchCode(t.Context(), ali, a.studyOf(t, "A"))
			if err != nil {
				t.Fatal(err)
			}
			a.exec(t, sql)
			_, err = a.RedeemLaunch(t.Context(), code, "", "192.0.2.1")
			wantCode(t, err, pacs.Unauthenticated)
		})
	}
	var codes int
	if err := a.pool.QueryRow(t.Context(), `SELECT count(*) FROM session WHERE viewer <> ''`).Scan(&codes); err != nil || codes != 0 {
		t.Errorf("%d sessions of viewers came of refused codes: %v", codes, err)
	}
}

// Weasis's token is for the study's facility, and ends with the person's
// session, role, facility, or after its time.
func TestWeasisToken(t *testing.T) {
	a := open(t, Settings{})
	user := a.person(t, "ali", pacs.Radiologist, "A", "B")
	study := a.studyOf(t, "A")
	for what, end := range map[string]func(ali *Identity){
		"time":    func(*Identity) { a.exec(t, `UPDATE session SET expires_at = now() WHERE viewer = 'weasis'`) },
		"session": func(ali *Identity) { _ = a.EndSession(t.Context(), ali) },
		"parent expired": func(*Identity) {
			a.exec(t, `UPDATE session SET expires_at = now() WHERE viewer = ''`)
		},
		"role": func(*Identity) {
			a.exec(t, `UPDATE user_role SET role = 'registrar' WHERE user_row = $1`, user.ID)
		},
	} {
		t.Run(what, func(t *testing.T) {
			a.exec(t, `UPDATE user_role SET role = 'radiologist' WHERE user_row = $1`, user.ID)
			_, ali := a.signedIn(t, user)
			token, err := a.WeasisToken(t.Context(), ali, study)
			if err != nil {
				t.Fatal(err)
			}
			weasis, err := a.ViewerByToken(t.Context(), Weasis, token)
			if err != nil {
				t.Fatal(err)
			}
			if !IsViewerToken(token) || !weasis.Can(DICOMwebRead) || weasis.Can(DICOMwebWrite) || weasis.Can(StudyRead) ||
				weasis.Scope.All || len(weasis.Scope.FacilityIDs) != 1 || weasis.Scope.FacilityIDs[0] != study.Facility.ID {
				t.Errorf("Weasis is %+v", weasis)
			}
			end(ali)
			_, err = a.ViewerByToken(t.Context(), Weasis, token)
			wantCode(t, err, pacs.Unauthenticated)
			_ = a.EndSession(t.Context(), ali)
		})
	}
	a.exec(t, `UPDATE user_role SET role = 'radiologist' WHERE user_row = $1`, user.ID)
	_, ali := a.signedIn(t, user)
	token, err := a.WeasisToken(t.Context(), ali, study)
	if err != nil {
		t.Fatal(err)
	}
	a.exec(t, `DELETE FROM user_facility WHERE facility_row = $1`, study.Facility.ID)
	_, err = a.ViewerByToken(t.Context(), Weasis, token)
	wantCode(t, err, pacs.Unauthenticated)
}

// Viewers don't crowd out a person's own sessions, and are bounded themselves.
func TestViewersAreBounded(t *testing.T) {
	a := open(t, Settings{})
	user := a.person(t, "ali", pacs.Radiologist)
	first, ali := a.signedIn(t, user)
	for range maxViewers + 5 {
		if _, err := a.WeasisToken(t.Context(), ali, a.studyOf(t, "A")); err != nil {
			t.Fatal(err)
		}
	}
	for range maxLaunches + 5 {
		if _, err := a.LaunchCode(t.Context(), ali, a.studyOf(t, "A")); err != nil {
			t.Fatal(err)
		}
	}
	a.signedIn(t, user)
	if _, err := a.SessionByToken(t.Context(), first); err != nil {
		t.Error(err)
	}
	var viewers, codes int
	err := a.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM session WHERE viewer <> ''), (SELECT count(*) FROM viewer_launch)`).Scan(&viewers, &codes)
	if err != nil || viewers != maxViewers || codes != maxLaunches {
		t.Errorf("%d viewers and %d codes: %v", viewers, codes, err)
	}
}
