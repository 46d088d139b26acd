package access

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Devices lists the devices of the facilities in by's sight, by AE title. by
// needs AdminDevices.
func (a *Access) Devices(ctx context.Context, by *Identity) ([]Device, error) {
	if err := by.must(AdminDevices); err != nil {
		return nil, err
	}
	devices, err := devicesWhere(ctx, a.pool, `($1 OR f.id = ANY($2)) ORDER BY d.ae_title`, by.Scope.All, by.Scope.FacilityIDs)
	return devices, failure(err)
}

// DeviceByTitle finds one device in by's sight; NotFound otherwise. by needs
// AdminDevices.
func (a *Access) DeviceByTitle(ctx context.Context, by *Identity, aeTitle string) (Device, error) {
	if err := by.must(AdminDevices); err != nil {
		return Device{}, err
	}
	d, err := ownDevice(ctx, a.pool, by, aeTitle, "")
	return d, failure(err)
}

// Remote finds a remote AE for a connection that the archive itself makes: a
// sub-operation of C-MOVE, a forwarding, the report of a storage commitment.
// Whether images may be sent to it is Device.Destination.
//
//	NotFound  the title is not known, or has no address
func (a *Access) Remote(ctx context.Context, aeTitle string) (Device, error) {
	list, err := devicesWhere(ctx, a.pool, `d.ae_title = $1`, aeTitle)
	switch {
	case err != nil:
		return Device{}, failure(err)
	case len(list) == 0:
		return Device{}, noDevice(aeTitle)
	case list[0].Host == "":
		return Device{}, pacs.Errorf(pacs.NotFound, "%q has no address. Give it one under Administration, Devices", aeTitle).WithReason("no_address", "")
	}
	return list[0], nil
}

// AddDevice makes an AE title known. by needs AdminDevices and the facility in
// sight; only who sees every facility lets a device read every facility.
//
//	Invalid    something about the device can't be accepted
//	Forbidden  the facility is not by's
//	Conflict   the title is taken
func (a *Access) AddDevice(ctx context.Context, by *Identity, d Device) (Device, error) {
	if err := by.must(AdminDevices); err != nil {
		return d, err
	}
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		if err := fitDevice(ctx, tx, by, &d); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO device (`+deviceColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) ON CONFLICT (ae_title) DO NOTHING`, deviceValues(&d)...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return pacs.Errorf(pacs.Conflict, "The AE title %q is taken. An archive knows each title once", d.AETitle)
		}
		return Audit(ctx, tx, by.Event("device.create", "device:"+d.AETitle, d.FacilityID))
	})
	d.LastSeenAt = time.Time{}
	return d, err
}

// UpdateDevice changes a device: change gets it as it is and makes it what it
// shall be; its AE title stays. Errors as for AddDevice and those of change;
// NotFound when there is none in by's sight; and Forbidden when it reads every
// facility and by does not.
func (a *Access) UpdateDevice(ctx context.Context, by *Identity, aeTitle string, change func(*Device) error) (d Device, err error) {
	if err := by.must(AdminDevices); err != nil {
		return d, err
	}
	err = a.inTx(ctx, func(tx pgx.Tx) error {
		var err error
		if d, err = ownDevice(ctx, tx, by, aeTitle, `FOR UPDATE OF d`); err != nil {
			return err
		}
		if err := mayTouch(by, &d); err != nil {
			return err
		}
		title, before, seen := d.AETitle, d.FacilityID, d.LastSeenAt
		if err := change(&d); err != nil {
			return err
		}
		d.AETitle = title
		if err := fitDevice(ctx, tx, by, &d); err != nil {
			return err
		}
		d.LastSeenAt = seen
		if _, err := tx.Exec(ctx, `UPDATE device SET (`+deviceColumns+`) =
			($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) WHERE ae_title = $1`, deviceValues(&d)...); err != nil {
			return err
		}
		if before != d.FacilityID { // the facility that lost it can tell when
			if err := Audit(ctx, tx, by.Event("device.update", "device:"+d.AETitle, before)); err != nil {
				return err
			}
		}
		return Audit(ctx, tx, by.Event("device.update", "device:"+d.AETitle, d.FacilityID))
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
		d, err := ownDevice(ctx, tx, by, aeTitle, `FOR UPDATE OF d`)
		if err != nil {
			return err
		}
		if err := mayTouch(by, &d); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM device WHERE ae_title = $1`, aeTitle); err != nil {
			return err
		}
		return Audit(ctx, tx, by.Event("device.remove", "device:"+aeTitle, d.FacilityID))
	})
}

// mayTouch keeps who manages one facility from taking over, by another address
// or certificate, the rights of a device that reads them all.
func mayTouch(by *Identity, d *Device) error {
	if d.AllFacilities && !by.Scope.All {
		return pacs.Errorf(pacs.Forbidden, "%q reads the studies of every facility. Only who manages every facility may change that or the device", d.AETitle)
	}
	return nil
}

// fitDevice checks what is asked for, finds its facility, and whether by may
// have it so.
func fitDevice(ctx context.Context, tx pgx.Tx, by *Identity, d *Device) error {
	if err := d.check(); err != nil {
		return err
	}
	list, err := facilitiesByCode(ctx, tx, []string{d.FacilityCode})
	if err != nil {
		return err
	}
	if d.FacilityID = list[0].ID; !by.Scope.Sees(d.FacilityID) {
		return pacs.Errorf(pacs.Forbidden, "You manage devices of your own facilities only. Ask an administrator")
	}
	return mayTouch(by, d)
}

func noDevice(aeTitle string) error {
	return pacs.Errorf(pacs.NotFound, "There is no device with the AE title %q", aeTitle)
}

// ownDevice reads a device in by's sight; lock is appended to the query.
func ownDevice(ctx context.Context, q querier, by *Identity, aeTitle, lock string) (Device, error) {
	list, err := devicesWhere(ctx, q, `d.ae_title = $1 `+lock, aeTitle)
	if err != nil {
		return Device{}, err
	}
	if len(list) == 0 || !by.Scope.Sees(list[0].FacilityID) {
		return Device{}, noDevice(aeTitle)
	}
	return list[0], nil
}

// deviceColumns are what deviceValues writes.
const deviceColumns = `ae_title, facility_row, description, charset, host, port, services, destination, transfer_syntaxes, answer_charset,
	tls, tls_server_name, certificate, max_associations_from, max_associations_to, all_facilities, notify`

func deviceValues(d *Device) []any {
	return []any{
		d.AETitle, d.FacilityID, d.Description, d.Charset, d.Host, d.Port, d.Services, d.Destination, d.TransferSyntaxes, d.AnswerCharset,
		d.TLS, d.TLSServerName, d.Certificate, d.MaxAssociationsFrom, d.MaxAssociationsTo, d.AllFacilities, d.Notify,
	}
}

// devicesWhere reads devices; the condition speaks of device d and facility f
// and may end with a lock.
func devicesWhere(ctx context.Context, q querier, condition string, args ...any) ([]Device, error) {
	rows, err := q.Query(ctx, `SELECT d.ae_title, d.facility_row, f.code, d.description, d.charset, d.host, d.port, d.services, d.destination,
			d.transfer_syntaxes, d.answer_charset, d.tls, d.tls_server_name, d.certificate, d.max_associations_from, d.max_associations_to,
			d.all_facilities, d.notify, d.last_seen_at
		FROM device d JOIN facility f ON f.id = d.facility_row WHERE `+condition, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Device, err error) {
		var seen *time.Time
		err = row.Scan(&d.AETitle, &d.FacilityID, &d.FacilityCode, &d.Description, &d.Charset, &d.Host, &d.Port, &d.Services, &d.Destination,
			&d.TransferSyntaxes, &d.AnswerCharset, &d.TLS, &d.TLSServerName, &d.Certificate, &d.MaxAssociationsFrom, &d.MaxAssociationsTo,
			&d.AllFacilities, &d.Notify, &seen)
		d.LastSeenAt = orZero(seen)
		return d, err
	})
}
