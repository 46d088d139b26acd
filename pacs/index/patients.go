package index

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// PatientRecord is a living patient of one facility.
type PatientRecord struct {
	pacs.Patient
	Facility pacs.Facility
	Revision int
	Studies  int
	Amended  bool // some studies are served with other demographics than their bytes'
	Shared   bool // the ID is, or was, also somebody else's
}

// PatientFilter asks for patients; merged records are none.
type PatientFilter struct {
	Text     string // part of a name in any script, the beginning of an ID, or a PINFL
	Facility string // code
	ID       int64  // row
	// LinkedTo asks for the other records with the PINFL of this row.
	LinkedTo int64
	pacs.Page
}

// Patients returns the patients in scope that match, by name, and the cursor of
// the next page.
func (ix *Index) Patients(ctx context.Context, scope pacs.Scope, f PatientFilter) ([]PatientRecord, string, error) {
	var c conditions
	c.scope(scope, "p.facility_row")
	c.clauses = append(c.clauses, "p.merged_into IS NULL")
	c.text("f.code", f.Facility)
	if f.ID != 0 {
		c.add("p.id = %s", f.ID)
	}
	if f.LinkedTo != 0 {
		c.add("p.id <> %s AND p.pinfl <> '' AND p.pinfl = (SELECT pinfl FROM patient WHERE id = %s)", f.LinkedTo, f.LinkedTo)
	}
	switch text := strings.Trim(f.Text, "*? "); {
	case text == "":
	case !matchable(text):
		c.nothing()
	default:
		prefix := c.arg(likePattern(text) + "%")
		c.clauses = append(c.clauses, `p.id IN (
			SELECT id FROM patient WHERE `+c.folded("name_fold", text)+` OR patient_id LIKE `+prefix+` OR pinfl <> '' AND pinfl = `+c.arg(text)+`
			UNION ALL
			SELECT patient_row FROM patient_alias WHERE patient_id LIKE `+prefix+`)`)
	}
	if f.After != "" {
		at, err := parseCursor(f.After)
		if err != nil {
			return nil, "", err
		}
		c.add("(p.name_fold, p.id) > (%s, %s)", at.Text, at.ID)
	}
	type row struct {
		PatientRecord
		fold string
	}
	rows, err := collect(ctx, ix.pool, `
		SELECT p.id, p.issuer, p.patient_id, p.name, p.name_fold, p.sex, p.birth_date, p.pinfl, p.variant, p.revision, f.id, f.code, f.name, f.tax_id,
			(SELECT count(*) FROM study s WHERE s.patient_row = p.id AND `+undeleted+`),
			EXISTS (SELECT FROM study s WHERE s.patient_row = p.id AND s.amended),
			p.patient_id <> '' AND EXISTS (SELECT FROM patient o WHERE o.facility_row = p.facility_row AND o.issuer = p.issuer
				AND o.patient_id = p.patient_id AND o.id <> p.id AND o.merged_into IS NULL)
		FROM patient p JOIN facility f ON f.id = p.facility_row WHERE `+c.where()+`
		ORDER BY p.name_fold, p.id LIMIT `+c.arg(limit(f.Page)), c.args, func(r pgx.CollectableRow) (x row, err error) {
		err = r.Scan(&x.ID, &x.Issuer, &x.PatientID, &x.Name, &x.fold, &x.Sex, &x.BirthDate, &x.PINFL, &x.Variant, &x.Revision,
			&x.Facility.ID, &x.Facility.Code, &x.Facility.Name, &x.Facility.TaxID, &x.Studies, &x.Amended, &x.Shared)
		return x, err
	})
	if err != nil {
		return nil, "", err
	}
	rows, next := cut(rows, f.Page, func(x row) cursor { return cursor{Text: x.fold, ID: x.ID} })
	out := make([]PatientRecord, len(rows))
	for i := range rows {
		out[i] = rows[i].PatientRecord
	}
	return out, next, nil
}
