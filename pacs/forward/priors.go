package forward

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// freshFor is how long an earlier study is taken to be where it was sent to: a
// workstation clears its disk at some time, and two orders of one morning need not
// send everything twice. After that it is sent whole again.
const freshFor = 24 * time.Hour

// maxLooked bounds how many studies of a patient are looked at.
const maxLooked = 500

// patientsOf finds whose order it is: by the ID that the facility knows the
// patient by, corrected and merged since or not, and by the national number.
func (f *Forwarding) patientsOf(ctx context.Context, e Expected) ([]int64, error) {
	rows, err := f.pool.Query(ctx, `
		SELECT DISTINCT coalesce(p.merged_into, p.id) FROM patient p
		WHERE p.facility_row = $1 AND p.issuer = $2 AND p.patient_id = $3 AND p.patient_id <> '' AND p.variant = 0
			OR p.pinfl = $4 AND p.pinfl <> ''
			OR p.id IN (SELECT a.patient_row FROM patient_alias a WHERE a.facility_row = $1 AND a.issuer = $2 AND a.patient_id = $3 AND a.patient_id <> '')
		LIMIT 100`, e.Facility.ID, e.Patient.Issuer, e.Patient.PatientID, e.Patient.PINFL)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// queuePriors queues the earlier studies of a patient that a rule wants, of those
// that the target may see.
func (f *Forwarding) queuePriors(ctx context.Context, r Rule, study pacs.Study, patients []int64) error {
	scope, err := f.inSight(ctx, r)
	if pacs.CodeOf(err) == pacs.NotFound {
		f.o.Log.Warn("earlier studies are not sent: the device is gone", "rule", r.ID, "to", r.Target.Title())
		return nil
	}
	if err != nil || scope.Empty() {
		return err
	}
	priors, err := f.priors(ctx, scope, r.Priors, study, patients)
	if err != nil {
		return err
	}
	for _, p := range priors {
		// What was sent some time ago may have been deleted there since.
		if _, err := f.pool.Exec(ctx, `
			DELETE FROM forward_instance i USING forward_item q
			WHERE q.id = i.item_row AND q.rule_row = $1 AND q.study_row = $2 AND q.ended_at < $3`, r.ID, p.ID, f.o.Now().Add(-freshFor)); err != nil {
			return err
		}
		if err := f.queue(ctx, r, p, []string{""}); err != nil {
			return err
		}
	}
	return nil
}

// inSight is what the target of a rule may see: for a device what it may query,
// for a DICOMweb node the rule's facilities.
func (f *Forwarding) inSight(ctx context.Context, r Rule) (pacs.Scope, error) {
	scope := system
	if r.Target.AETitle != "" {
		device, err := f.o.Devices.Remote(ctx, r.Target.AETitle)
		if err != nil {
			return pacs.Scope{}, err
		}
		scope = device.Scope()
	}
	if len(r.Facilities) == 0 {
		return scope, nil
	}
	rows, err := f.pool.Query(ctx, `SELECT id FROM facility WHERE code = ANY($1)`, r.Facilities)
	if err != nil {
		return scope, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	ids = slices.DeleteFunc(ids, func(id int64) bool { return !scope.Sees(id) })
	return pacs.Scope{Who: scope.Who, FacilityIDs: ids}, err
}

// priors are the newest studies of the patients that suit, without the study
// itself and what came after it.
func (f *Forwarding) priors(ctx context.Context, scope pacs.Scope, p *Priors, study pacs.Study, patients []int64) ([]pacs.Study, error) {
	now := f.o.Now()
	day, err := time.Parse("20060102", study.Date)
	if err != nil {
		day = now
	}
	var found []pacs.Study
	for _, patient := range patients {
		filter := pacs.StudyFilter{
			PatientRowID: patient, ExcludeStudyInstanceUID: study.StudyInstanceUID,
			Date: pacs.DateRange{To: day.Format("20060102")}, Page: pacs.Page{Limit: 100},
		}
		if p.Years > 0 {
			filter.Date.From = fmt.Sprintf("%04d%s", max(day.Year()-p.Years, 0), day.Format("0102"))
		}
		for looked := 0; looked < maxLooked; {
			rows, next, err := f.o.Index.Studies(ctx, scope, filter)
			if err != nil {
				return nil, err
			}
			looked += len(rows)
			for _, s := range rows {
				known := slices.ContainsFunc(found, func(o pacs.Study) bool { return o.ID == s.ID })
				if !known && p.suits(s, study) && s.InstanceCount > 0 {
					found = append(found, s)
				}
			}
			if filter.After = next; next == "" || len(found) >= p.Count && len(patients) == 1 {
				break
			}
		}
	}
	slices.SortStableFunc(found, func(a, b pacs.Study) int { return strings.Compare(b.Date+b.Time, a.Date+a.Time) })
	return found[:min(len(found), p.Count)], nil
}

// suits tells whether an earlier study is like the one that it is wanted for. What
// is not known of either is no reason to leave it out.
func (p *Priors) suits(prior, study pacs.Study) bool {
	common := func(a, b []string) bool {
		return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
	}
	return (!p.SameModality || common(prior.Modalities, study.Modalities)) && (!p.SameBodyPart || common(prior.BodyParts, study.BodyParts))
}
