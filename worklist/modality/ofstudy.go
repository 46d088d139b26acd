package modality

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Performed is a performed procedure step that has ended, and what it has made.
type Performed struct {
	SOPInstanceUID string
	Instances      []string // SOP Instance UIDs
}

// OfStudy returns the steps that have ended and made images of a study, in the
// order in which they were begun. They are those of the study's own facility:
// what another hospital reports under the same UID says nothing about it.
func (s *Steps) OfStudy(ctx context.Context, studyUID string) ([]Performed, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT p.sop_uid, p.instances FROM performed_study o JOIN performed_step p USING (sop_uid) JOIN study s ON s.study_uid = o.study_uid
		WHERE o.study_uid = $1 AND p.facility_row = s.facility_row AND p.state <> 'in_progress' ORDER BY p.created_at, p.sop_uid`, studyUID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Performed, err error) {
		return p, row.Scan(&p.SOPInstanceUID, &p.Instances)
	})
}
