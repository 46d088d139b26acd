package access

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

var facilityCode = regexp.MustCompile(`^[A-Z0-9_-]{1,32}$`)

// CheckFacilityCode returns Invalid unless code can be a facility's.
func CheckFacilityCode(code string) error {
	if !facilityCode.MatchString(code) {
		return pacs.Errorf(pacs.Invalid, "A facility code has 1 to 32 of A-Z, 0-9, _ and -")
	}
	return nil
}

func checkFacility(f *pacs.Facility) error {
	if err := CheckFacilityCode(f.Code); err != nil {
		return err
	}
	f.Name, f.TaxID = strings.TrimSpace(f.Name), strings.TrimSpace(f.TaxID)
	if f.Name == "" || utf8.RuneCountInString(f.Name) > 200 || !printable(f.Name) {
		return pacs.Errorf(pacs.Invalid, "The facility's name must have 1 to 200 characters")
	}
	if len(f.TaxID) > 32 || !printable(f.TaxID) {
		return pacs.Errorf(pacs.Invalid, "The tax id may have at most 32 characters")
	}
	return nil
}

const facilityColumns = `id, code, name, tax_id`

func collectFacilities(rows pgx.Rows, err error) ([]pacs.Facility, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f pacs.Facility, err error) {
		err = row.Scan(&f.ID, &f.Code, &f.Name, &f.TaxID)
		return f, err
	})
}

// Facilities lists the facilities in scope, by code.
func (a *Access) Facilities(ctx context.Context, scope pacs.Scope) ([]pacs.Facility, error) {
	list, err := collectFacilities(a.pool.Query(ctx, `SELECT `+facilityColumns+` FROM facility WHERE $1 OR id = ANY($2) ORDER BY code`,
		scope.All, scope.FacilityIDs))
	return list, failure(err)
}

// FacilityByCode finds a facility in scope; NotFound otherwise.
func (a *Access) FacilityByCode(ctx context.Context, scope pacs.Scope, code string) (pacs.Facility, error) {
	list, err := collectFacilities(a.pool.Query(ctx, `SELECT `+facilityColumns+` FROM facility WHERE code = $1`, code))
	if err != nil {
		return pacs.Facility{}, failure(err)
	}
	if len(list) == 0 || !scope.Sees(list[0].ID) {
		return pacs.Facility{}, pacs.Errorf(pacs.NotFound, "There is no facility %q", code)
	}
	return list[0], nil
}

// AddFacility adds a hospital or clinic. by needs AdminFacilities.
//
//	Invalid   code or name can't be accepted
//	Conflict  the code is taken
func (a *Access) AddFacility(ctx context.Context, by *Identity, f pacs.Facility) (pacs.Facility, error) {
	if err := by.must(AdminFacilities); err != nil {
		return f, err
	}
	if err := checkFacility(&f); err != nil {
		return f, err
	}
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO facility (code, name, tax_id) VALUES ($1, $2, $3) ON CONFLICT (code) DO NOTHING RETURNING id`,
			f.Code, f.Name, f.TaxID).Scan(&f.ID)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.Conflict, "There is a facility with the code %s already", f.Code)
		}
		if err != nil {
			return err
		}
		return Audit(ctx, tx, by.Event("facility.create", "facility:"+f.Code, f.ID))
	})
	return f, err
}

// UpdateFacility changes the name and tax id of the facility with f.Code. by
// needs AdminFacilities. NotFound when there is none.
func (a *Access) UpdateFacility(ctx context.Context, by *Identity, f pacs.Facility) (pacs.Facility, error) {
	if err := by.must(AdminFacilities); err != nil {
		return f, err
	}
	if err := checkFacility(&f); err != nil {
		return f, err
	}
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `UPDATE facility SET name = $2, tax_id = $3 WHERE code = $1 RETURNING id`, f.Code, f.Name, f.TaxID).Scan(&f.ID)
		if errors.Is(err, pgx.ErrNoRows) {
			return pacs.Errorf(pacs.NotFound, "There is no facility %q", f.Code)
		}
		if err != nil {
			return err
		}
		return Audit(ctx, tx, by.Event("facility.update", "facility:"+f.Code, f.ID))
	})
	return f, err
}

// facilitiesByCode returns the facilities named, sorted by code; Invalid when
// one does not exist.
func facilitiesByCode(ctx context.Context, q querier, codes []string) ([]pacs.Facility, error) {
	codes = slices.Compact(slices.Sorted(slices.Values(codes)))
	list, err := collectFacilities(q.Query(ctx, `SELECT `+facilityColumns+` FROM facility WHERE code = ANY($1) ORDER BY code`, codes))
	if err != nil {
		return nil, err
	}
	for _, code := range codes {
		if !slices.ContainsFunc(list, func(f pacs.Facility) bool { return f.Code == code }) {
			return nil, pacs.Errorf(pacs.Invalid, "There is no facility %q", code)
		}
	}
	return list, nil
}
