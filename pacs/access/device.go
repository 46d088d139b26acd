package access

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Device is a sender of images: an AE title bound to a facility.
type Device struct {
	AETitle      string
	FacilityCode string
	Description  string
	// Charset is the fallback for text whose declared character set is absent
	// or evidently wrong; "" for none.
	Charset    string
	LastSeenAt time.Time // zero: never
}

// CheckAETitle returns the AE title without its insignificant leading and
// trailing spaces, or Invalid. An AE title has 1 to 16 characters of the ISO
// 646 basic set without backslash and control characters (PS3.5 6.2 AE, PS3.8
// 9.3.2); case matters.
func CheckAETitle(title string) (string, error) {
	title = strings.Trim(title, " ")
	if title == "" || len(title) > 16 {
		return "", pacs.Errorf(pacs.Invalid, "An AE title has 1 to 16 characters")
	}
	for i := range len(title) {
		if c := title[i]; c < ' ' || c > '~' || c == '\\' {
			return "", pacs.Errorf(pacs.Invalid, "An AE title has only ASCII letters, digits, spaces and punctuation, without backslash")
		}
	}
	return title, nil
}

// A charset is named by a label of the WHATWG encoding standard ("windows-1251")
// or a defined term of PS3.3 C.12.1.1.2 ("ISO_IR 144"); receiving falls back to
// none when it knows no such name.
var charsetName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_.: -]{0,31})?$`)

func (d *Device) check() (err error) {
	if d.AETitle, err = CheckAETitle(d.AETitle); err != nil {
		return err
	}
	d.Description, d.Charset = strings.TrimSpace(d.Description), strings.TrimSpace(d.Charset)
	if utf8.RuneCountInString(d.Description) > 200 || !printable(d.Description) {
		return pacs.Errorf(pacs.Invalid, "The description may have at most 200 characters")
	}
	if !charsetName.MatchString(d.Charset) {
		return pacs.Errorf(pacs.Invalid, "%q is not the name of a character set; examples are windows-1251 and ISO_IR 144", d.Charset)
	}
	return nil
}

// Devices lists the devices of the facilities in by's sight, by AE title. by
// needs AdminDevices.
func (a *Access) Devices(ctx context.Context, by *Identity) ([]Device, error) {
	if err := by.must(AdminDevices); err != nil {
		return nil, err
	}
	devices, err := devicesWhere(ctx, a.pool, `$1 OR f.id = ANY($2)`, by.Scope.All, by.Scope.FacilityIDs)
	return devices, failure(err)
}

// AddDevice makes an AE title known. by needs AdminDevices and the facility in
// sight.
//
//	Invalid    title, facility, description or charset can't be accepted
//	Forbidden  the facility is not by's
//	Conflict   the title is taken
func (a *Access) AddDevice(ctx context.Context, by *Identity, d Device) (Device, error) {
	err := a.changeDevice(ctx, by, &d, "device.create", func(tx pgx.Tx, facility int64) error {
		tag, err := tx.Exec(ctx, `INSERT INTO device (ae_title, facility_row, description, charset) VALUES ($1, $2, $3, $4)
			ON CONFLICT (ae_title) DO NOTHING`, d.AETitle, facility, d.Description, d.Charset)
		if err == nil && tag.RowsAffected() == 0 {
			return pacs.Errorf(pacs.Conflict, "The AE title %q is taken. An archive knows each title once", d.AETitle)
		}
		return err
	})
	return d, err
}

// UpdateDevice changes the facility, description and charset of the device
// with d.AETitle. Errors as for AddDevice, and NotFound when there is none in
// by's sight.
func (a *Access) UpdateDevice(ctx context.Context, by *Identity, d Device) (Device, error) {
	err := a.changeDevice(ctx, by, &d, "device.update", func(tx pgx.Tx, facility int64) error {
		if _, err := ownDevice(ctx, tx, by, d.AETitle); err != nil {
			return err
		}
		var seen *time.Time
		err := tx.QueryRow(ctx, `UPDATE device SET facility_row = $2, description = $3, charset = $4 WHERE ae_title = $1
			RETURNING last_seen_at`, d.AETitle, facility, d.Description, d.Charset).Scan(&seen)
		d.LastSeenAt = orZero(seen)
		return err
	})
	return d, err
}

// RemoveDevice forgets an AE title; what it sent stays. NotFound when there is
// none in by's sight.
func (a *Access) RemoveDevice(ctx context.Context, by *Identity, aeTitle string) error {
	if err := by.must(AdminDevices); err != nil {
		return err
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		facility, err := ownDevice(ctx, tx, by, aeTitle)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM device WHERE ae_title = $1`, aeTitle); err != nil {
			return err
		}
		return Audit(ctx, tx, by.Event("device.remove", "device:"+aeTitle, facility))
	})
}

func (a *Access) changeDevice(ctx context.Context, by *Identity, d *Device, action string, change func(tx pgx.Tx, facility int64) error) error {
	if err := by.must(AdminDevices); err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		list, err := facilitiesByCode(ctx, tx, []string{d.FacilityCode})
		if err != nil {
			return err
		}
		if !by.Scope.Sees(list[0].ID) {
			return pacs.Errorf(pacs.Forbidden, "You manage devices of your own facilities only. Ask an administrator")
		}
		if err := change(tx, list[0].ID); err != nil {
			return err
		}
		return Audit(ctx, tx, by.Event(action, "device:"+d.AETitle, list[0].ID))
	})
}

// ownDevice locks a device in by's sight and returns its facility.
func ownDevice(ctx context.Context, tx pgx.Tx, by *Identity, aeTitle string) (facility int64, err error) {
	err = tx.QueryRow(ctx, `SELECT facility_row FROM device WHERE ae_title = $1 FOR UPDATE`, aeTitle).Scan(&facility)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !by.Scope.Sees(facility) {
		return 0, pacs.Errorf(pacs.NotFound, "There is no device with the AE title %q", aeTitle)
	}
	return facility, err
}

func devicesWhere(ctx context.Context, q querier, condition string, args ...any) ([]Device, error) {
	rows, err := q.Query(ctx, `SELECT d.ae_title, f.code, d.description, d.charset, d.last_seen_at
		FROM device d JOIN facility f ON f.id = d.facility_row WHERE `+condition+` ORDER BY d.ae_title`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Device, err error) {
		var seen *time.Time
		err = row.Scan(&d.AETitle, &d.FacilityCode, &d.Description, &d.Charset, &seen)
		d.LastSeenAt = orZero(seen)
		return d, err
	})
}
