package index

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// amendmentColumn is what parseAmendment reads, over the aliases s, p and f;
// null for a study that is served as it is kept.
const amendmentColumn = `CASE WHEN s.amended THEN jsonb_build_object('facility', f.code, 'at', s.amended_at,
	'id', p.id, 'issuer', p.issuer, 'patient_id', p.patient_id, 'name', p.name, 'sex', p.sex, 'birth_date', p.birth_date) END`

func parseAmendment(column []byte) (*pacs.Amendment, error) {
	if column == nil {
		return nil, nil
	}
	var a struct {
		Facility  string     `json:"facility"`
		At        *time.Time `json:"at"`
		ID        int64      `json:"id"`
		Issuer    string     `json:"issuer"`
		PatientID string     `json:"patient_id"`
		Name      string     `json:"name"`
		Sex       string     `json:"sex"`
		BirthDate string     `json:"birth_date"`
	}
	if err := json.Unmarshal(column, &a); err != nil {
		return nil, err
	}
	out := &pacs.Amendment{
		Patient:  pacs.Patient{ID: a.ID, Issuer: a.Issuer, PatientID: a.PatientID, Name: a.Name, Sex: a.Sex, BirthDate: a.BirthDate},
		Facility: a.Facility,
	}
	if a.At != nil {
		out.At = *a.At
	}
	return out, nil
}

// Amendment returns whom the instances of a study name when they are served;
// nil when they are served as they are kept, or there is no such study in
// scope.
func (ix *Index) Amendment(ctx context.Context, scope pacs.Scope, studyUID string) (*pacs.Amendment, error) {
	var c conditions
	c.scope(scope, "s.facility_row")
	c.oneOf("s.study_uid", []string{studyUID})
	var column []byte
	err := ix.pool.QueryRow(ctx, `SELECT `+amendmentColumn+` FROM `+studyTables+` WHERE s.amended AND `+c.where(), c.args...).Scan(&column)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(err)
	}
	return parseAmendment(column)
}

// AsKept is a patient as the index keeps what data sets say: without what the
// database can't hold, and cut where it is too long.
func AsKept(p pacs.Patient) pacs.Patient { return normalized(p) }
