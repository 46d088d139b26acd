// Package worklisttest gives a test a fresh archive with two hospitals in it,
// and the people and studies that the test asks for.
package worklisttest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// Site is an archive with the hospitals A and B.
type Site struct {
	testing.TB
	URL      string // of the database
	Index    *index.Index
	Access   *access.Access
	Worklist *worklist.Worklist
	Orders   *orders.Orders
	A, B     pacs.Facility

	studies int
}

// cheap makes password hashes that cost nothing.
var cheap = access.Settings{Password: access.Argon2{MemoryKiB: 64, Passes: 1, Lanes: 1}}

func migrate(ctx context.Context, url string) error {
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	defer ix.Close()
	if _, err := access.Open(ctx, ix, cheap); err != nil {
		return err
	}
	if _, err := worklist.New(ctx, ix); err != nil {
		return err
	}
	if _, err := orders.New(ctx, ix); err != nil {
		return err
	}
	jobs, err := rivermigrate.New(riverpgxv5.New(ix.Pool()), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = jobs.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// Open makes a site that lasts as long as the test.
func Open(t testing.TB) *Site {
	t.Helper()
	s := &Site{TB: t, URL: indextest.New(t, migrate)}
	ctx := t.Context()
	var err error
	if s.Index, err = index.Open(ctx, s.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Index.Close)
	if s.Access, err = access.Open(ctx, s.Index, cheap); err != nil {
		t.Fatal(err)
	}
	if s.Worklist, err = worklist.New(ctx, s.Index); err != nil {
		t.Fatal(err)
	}
	if s.Orders, err = orders.New(ctx, s.Index); err != nil {
		t.Fatal(err)
	}
	s.Worklist.Requests = orders.Requests
	for code, to := range map[string]*pacs.Facility{"A": &s.A, "B": &s.B} {
		if *to, err = s.Access.AddFacility(ctx, access.System("test"), pacs.Facility{Code: code, Name: "Hospital " + code, TaxID: "300000002"}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Password is everybody's.
const Password = webtest.Password

// Person adds a person with one role; a radiologist without facilities sees all.
func (s *Site) Person(login string, role pacs.Role, facilities ...string) *access.User {
	s.Helper()
	user, err := s.Access.CreateUser(s.Context(), access.System("test"), access.NewUser{
		Login: login, Name: "Name of " + login, Password: Password, Roles: []pacs.Role{role}, Facilities: facilities,
		AllFacilities: role == pacs.Radiologist && len(facilities) == 0,
	})
	if err != nil {
		s.Fatal(err)
	}
	return user
}

// Radiologist adds one whom the FHIR sandbox's registry knows.
func (s *Site) Radiologist(login string) *access.User {
	s.Helper()
	user, err := s.Access.CreateUser(s.Context(), access.System("test"), access.NewUser{
		Login: login, Name: "Karimova Nilufar Rustamovna", Password: Password, Roles: []pacs.Role{pacs.Radiologist},
		AllFacilities: true, PINFL: "30101800000011", ARGOS: "DEMO-0001",
	})
	if err != nil {
		s.Fatal(err)
	}
	return user
}

// Group adds a reading group.
func (s *Site) Group(name string, members ...*access.User) worklist.Group {
	s.Helper()
	g := worklist.Group{Name: name}
	for _, m := range members {
		g.Members = append(g.Members, m.ID)
	}
	g, err := s.Worklist.AddGroup(s.Context(), g)
	if err != nil {
		s.Fatal(err)
	}
	return g
}

// Rule adds a rule that always holds.
func (s *Site) Rule(group worklist.Group, change ...func(*worklist.Rule)) worklist.Rule {
	s.Helper()
	r := worklist.Rule{Name: "All to " + group.Name, GroupID: group.ID, Priority: worklist.Routine, Deadline: time.Hour, Active: true}
	for _, f := range change {
		f(&r)
	}
	r, err := s.Worklist.AddRule(s.Context(), r)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// Study indexes a CT study of a facility with two series of two images. change
// edits what is added first.
func (s *Site) Study(facility string, change ...func(*index.Addition)) pacs.Study {
	s.Helper()
	s.studies++
	uid := fmt.Sprintf("1.2.826.0.1.3680043.10.77.%d", s.studies)
	for series := 1; series <= 2; series++ {
		seriesUID := fmt.Sprintf("%s.%d", uid, series)
		a := index.Addition{
			Facility: facility,
			Patient: pacs.Patient{
				Issuer: facility, PatientID: fmt.Sprintf("P%d", s.studies), Name: "Каримов^Али^Бахтиёрович", Sex: "M", BirthDate: "19580512",
			},
			Study: pacs.Study{
				StudyInstanceUID: uid, Date: "20261121", Time: "084200", AccessionNumber: fmt.Sprintf("ACC%d", s.studies),
				Description: "CT head", Question: "Stroke?", ReceivedAt: time.Now(),
			},
			Series: pacs.Series{SeriesInstanceUID: seriesUID, Modality: "CT", Number: &series, Description: "Axial", BodyPart: "HEAD"},
			Pack:   index.Pack{Key: seriesUID},
		}
		for number := 1; number <= 2; number++ {
			sop := fmt.Sprintf("%s.%d", seriesUID, number)
			sum := sha256.Sum256([]byte(sop))
			a.Instances = append(a.Instances, index.NewInstance{Instance: pacs.Instance{
				SOPInstanceUID: sop, SOPClassUID: "1.2.840.10008.5.1.4.1.1.2", TransferSyntaxUID: "1.2.840.10008.1.2.1", Number: &number,
				Rows: 512, Columns: 512, FrameCount: 1, SHA256: sum[:], Version: 1, ReceivedAt: time.Now(), Location: pacs.Location{Length: 1000},
			}, Channel: "dimse"})
		}
		for _, f := range change {
			f(&a)
		}
		uid = a.Study.StudyInstanceUID
		if err := s.Index.Add(s.Context(), a, func(ctx context.Context, tx pgx.Tx, added index.Added) error {
			return orders.Arriving(ctx, tx, added.StudyID)
		}); err != nil {
			s.Fatal(err)
		}
	}
	study, err := s.Index.Study(s.Context(), pacs.System("test"), uid)
	if err != nil {
		s.Fatal(err)
	}
	return study
}

// Complete completes a study and returns its task.
func (s *Site) Complete(study pacs.Study) worklist.Task {
	s.Helper()
	if _, err := s.Index.Complete(s.Context(), study.ID, 0, func(ctx context.Context, tx pgx.Tx, study pacs.Study) error {
		if err := orders.StudyCompleted(ctx, tx, study); err != nil {
			return err
		}
		return s.Worklist.Complete(ctx, tx, study)
	}); err != nil {
		s.Fatal(err)
	}
	return s.TaskOf(study)
}

// TaskOf is a study's task.
func (s *Site) TaskOf(study pacs.Study) worklist.Task {
	s.Helper()
	task, err := s.Worklist.TaskOfStudy(s.Context(), pacs.System("test"), study.ID)
	if err != nil {
		s.Fatal(err)
	}
	return task
}

// Task is a new study's.
func (s *Site) Task(facility string, change ...func(*index.Addition)) worklist.Task {
	s.Helper()
	return s.Complete(s.Study(facility, change...))
}

// Audited is who did an action, in order.
func (s *Site) Audited(action string) []string {
	s.Helper()
	rows, err := s.Index.Pool().Query(s.Context(), `SELECT who || ' ' || object FROM audit_event WHERE action = $1 ORDER BY id`, action)
	if err != nil {
		s.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.Fatal(err)
	}
	return lines
}

// WantAudited fails the test unless the action is on record just so.
func (s *Site) WantAudited(action string, want ...string) {
	s.Helper()
	if got := s.Audited(action); !slices.Equal(got, want) {
		s.Errorf("the audit trail has %q of %s, want %q", got, action, want)
	}
}

// WantCode fails the test unless err has this code and reason.
func WantCode(t testing.TB, err error, code pacs.Code, reason string) {
	t.Helper()
	if got := pacs.CodeOf(err); got != code {
		t.Errorf("got %q (%v), want %q", got, err, code)
	}
	if got, _ := pacs.ReasonOf(err); got != reason {
		t.Errorf("got reason %q (%v), want %q", got, err, reason)
	}
}
