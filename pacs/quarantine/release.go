package quarantine

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

// Correction is what an administrator says in place of the data sets.
type Correction struct {
	Facility string // code of the facility they belong to; "" for the one that sent them
	Patient  Given
	// NewStudy gives the instances a study of their own.
	NewStudy bool
	// SOPClass is the UID of the SOP class of data sets that don't say what they
	// are (Listed.NeedsSOPClass).
	SOPClass string
}

// Given are the demographics that stand in for those of the data set; nil for
// what the data set says.
type Given struct {
	Name, PatientID, Issuer, BirthDate, Sex, PINFL *string
}

// over puts what is given in place of what a data set says.
func (g Given) over(p pacs.Patient) *pacs.CorrectedPatient {
	if g == (Given{}) {
		return nil
	}
	or := func(given *string, said string, limit int) string {
		if given != nil {
			return fit(strings.TrimSpace(*given), limit)
		}
		return said
	}
	return &pacs.CorrectedPatient{
		Name: or(g.Name, p.Name, maxText), PatientID: or(g.PatientID, p.PatientID, maxText), Issuer: or(g.Issuer, p.Issuer, maxText),
		BirthDate: or(g.BirthDate, p.BirthDate, maxCode), Sex: or(g.Sex, p.Sex, maxCode), PINFL: or(g.PINFL, p.PINFL, maxCode),
	}
}

// check refuses what can't be a patient's.
func (g Given) check() error {
	digits := func(s *string, n int) bool {
		return s == nil || *s == "" || len(*s) == n && strings.Trim(*s, "0123456789") == ""
	}
	switch {
	case !digits(g.BirthDate, 8):
		return pacs.Errorf(pacs.Invalid, "A birth date has eight digits: YYYYMMDD").WithReason("birth_date", "")
	case !digits(g.PINFL, 14):
		return pacs.Errorf(pacs.Invalid, "A PINFL has 14 digits").WithReason("pinfl", "")
	case g.Sex != nil && *g.Sex != "" && *g.Sex != "M" && *g.Sex != "F" && *g.Sex != "O":
		return pacs.Errorf(pacs.Invalid, "Sex is M, F, O or empty").WithReason("sex", "")
	}
	return nil
}

// Refused is an item that stays, and why.
type Refused struct{ ID, Message string }

// Release sends items through the archive's door again, corrected. An item is
// released when it is safe in the journal once more; it leaves the quarantine
// when it is published, and shows again if it then still doesn't fit. However
// often this is interrupted and repeated, the instance is archived once.
//
//	Invalid      the correction can't be
//	NotFound     the facility is none, or out of scope
//	Unavailable  database, storage or journal is down
func (q *Quarantine) Release(ctx context.Context, who *access.Identity, ids []string, c Correction) (released []string, refused []Refused, err error) {
	if err := c.Patient.check(); err != nil {
		return nil, nil, err
	}
	if c.SOPClass != "" && !dicom.IsStorageSOPClass(c.SOPClass) {
		return nil, nil, pacs.Errorf(pacs.Invalid, "%q is not the UID of a storage SOP class of the standard, such as 1.2.840.10008.5.1.4.1.1.2 for CT images", fit(c.SOPClass, maxCode)).WithReason("sop_class", "")
	}
	if c.Facility != "" {
		if err := q.mayOwn(ctx, who, c.Facility); err != nil {
			return nil, nil, err
		}
	}
	for _, id := range ids {
		err := q.release(ctx, who, id, c)
		switch pacs.CodeOf(err) {
		case "":
			released = append(released, id)
		case pacs.Unavailable, pacs.Internal:
			return released, refused, err
		default:
			refused = append(refused, Refused{ID: id, Message: pacs.MessageOf(err)})
		}
	}
	return released, refused, nil
}

// mayOwn says whether the caller may give something to a facility.
func (q *Quarantine) mayOwn(ctx context.Context, who *access.Identity, code string) error {
	var id int64
	err := q.pool.QueryRow(ctx, `SELECT id FROM facility WHERE code = $1`, fit(code, maxCode)).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (!who.Scope.Sees(id) || code == pacs.Unassigned && !who.Scope.All) {
		return pacs.Errorf(pacs.Invalid, "There is no facility %q; give the code of one of yours", code).WithReason("facility", "")
	}
	return failure(err)
}

func (q *Quarantine) release(ctx context.Context, who *access.Identity, id string, c Correction) error {
	item, err := q.item(ctx, who.Scope, id)
	if err != nil {
		return err
	}
	way, err := q.prepare(ctx, item, c)
	if err != nil {
		return err
	}
	begun, err := q.markReleasing(ctx, who, item, way.rewritten)
	if err != nil {
		return err
	}
	if err := q.receive(ctx, item, way, begun); err != nil {
		// It is in quarantine as before, also when the caller has gone.
		if back := q.unmark(context.WithoutCancel(ctx), id); back != nil {
			q.o.Log.Warn("an item that could not be released shows again only later", "item", id, "error", back)
		}
		return err
	}
	return nil
}

// item reads one that waits and lies in scope.
func (q *Quarantine) item(ctx context.Context, scope pacs.Scope, id string) (item Item, err error) {
	if !validID(id) {
		return item, errNoItem
	}
	var c conditions
	c.add(`i.id = ?`, id)
	c.add(waiting)
	c.scope(scope)
	err = q.pool.QueryRow(ctx, `SELECT `+itemColumns+` FROM quarantine_item i JOIN facility f ON f.id = i.facility_row WHERE `+c.where(), c.args...).
		Scan(item.columns()...)
	return item, failure(err)
}

// way is how an item leaves.
type way struct {
	facility  string
	patient   *pacs.CorrectedPatient
	rewritten bool // with other UIDs: its bytes are not those that were received
	open      func(ctx context.Context, begun time.Time) (io.ReadCloser, error)
}

// prepare finds out how an item can leave, and refuses what still doesn't fit.
func (q *Quarantine) prepare(ctx context.Context, item Item, c Correction) (*way, error) {
	if why := item.Unreleasable(); why != "" && item.Reason == pacs.Damaged {
		return nil, pacs.Errorf(pacs.Conflict, "%s", why)
	}
	header, err := dicom.Scan(dicom.NewSkipReader(&object{ctx: ctx, store: q.o.Store, key: bytesKey(keptPrefix, item.ID)}, 0, item.Bytes), dicom.ScanOptions{})
	if err != nil {
		return nil, unreadable(err)
	}
	w := &way{facility: item.Facility, open: func(ctx context.Context, _ time.Time) (io.ReadCloser, error) {
		return q.o.Store.Get(ctx, bytesKey(keptPrefix, item.ID), 0, -1)
	}}
	if c.Facility != "" {
		w.facility = c.Facility
	}
	ds := header.Dataset
	ds.SetFallbackCharset(item.Charset)
	patient := publish.DescribePatient(ds, w.facility)
	if w.patient = c.Patient.over(patient); w.patient != nil {
		patient = w.patient.Patient()
	}
	study, sop := ds.String(dicom.TagStudyInstanceUID), ds.String(dicom.TagSOPInstanceUID)
	made, err := makeUIDs(item, header, patient, w.facility, c)
	if err != nil {
		return nil, err
	}
	if len(made) > 0 {
		w.rewritten = true
		w.open = func(ctx context.Context, begun time.Time) (io.ReadCloser, error) {
			return q.rewrite(ctx, item, header, made, begun)
		}
		study, sop = made.or(dicom.TagStudyInstanceUID, study), made.or(dicom.TagSOPInstanceUID, sop)
	}
	known, err := q.o.Index.Known(ctx, study, []string{sop})
	if err != nil {
		return nil, err
	}
	if err := known.Contradicts(w.facility, patient); err != nil {
		return nil, err
	}
	return w, nil
}

// unreadable says why a data set can't be released.
func unreadable(err error) error {
	var broken *dicom.ScanError
	switch {
	case !errors.As(err, &broken):
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not give the data set back")
	case broken.Kind == dicom.TooLarge || broken.Kind == dicom.TooDeep:
		return pacs.Errorf(pacs.Conflict, "%s (%s)", overALimit, broken.Error())
	case broken.Kind == dicom.UnsupportedSyntax:
		return pacs.Errorf(pacs.Conflict, "The transfer syntax can't be read (%s). Have the sender use another", broken.Msg)
	}
	return pacs.Errorf(pacs.Conflict, "%s (%s)", breaksOff, broken.Error())
}

// Why some items can only be downloaded and discarded. Mending them is for
// somebody who knows what they should be: the archive would have to make up what
// is not there, or to take out what it can't read.
const (
	damaged    = "The bytes are not those that were received: a disk has changed them. Have the sender send the instance again, and discard this one"
	breaksOff  = "The data set can't be read to its end, so nobody knows what is missing. Have the sender send it again whole, or download it, have it put right and send that in (import, C-STORE or STOW-RS); then discard this one"
	overALimit = "The header is over a limit of the archive, beyond which no viewer would read it either. Download the file, have it put right and send that in (import, C-STORE or STOW-RS); then discard this one"
	directory  = "This is a DICOMDIR: it lists the files of a medium and is no instance. Discard it, and import the files"
)

// Unreleasable says why an item can't be released whatever an administrator
// gives, and what to do instead; "" when it may be released.
func (i *Item) Unreleasable() string {
	switch {
	case i.Reason == pacs.Damaged:
		return damaged
	case i.Reason == pacs.BrokenHeader:
		return breaksOff
	case i.Reason == pacs.TooManyElements:
		return overALimit
	case i.SOPClassUID == dicom.MediaStorageDirectorySOPClass:
		return directory
	}
	return ""
}

// NeedsSOPClass says that an item can only be released with
// Correction.SOPClass: neither it nor its sender said what it is.
func (i *Item) NeedsSOPClass() bool { return i.SOPClassUID == "" && i.Unreleasable() == "" }

// markReleasing takes an item out of the list, on record, and returns when
// that was first done: a release that is repeated because it was lost makes the
// same data set.
func (q *Quarantine) markReleasing(ctx context.Context, who *access.Identity, item Item, rewritten bool) (begun time.Time, err error) {
	err = failure(pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		var c conditions
		c.add(`i.id = ?`, item.ID)
		c.add(waiting)
		c.args = append(c.args, rewritten)
		var facility int64
		// Who was faster has it.
		err := tx.QueryRow(ctx, `UPDATE quarantine_item i SET state = 'releasing', releasing_at = clock_timestamp(), begun_at = coalesce(i.begun_at, clock_timestamp()), rewritten = $2 WHERE `+c.where()+` RETURNING i.facility_row, i.begun_at`, c.args...).Scan(&facility, &begun)
		if err != nil {
			return err
		}
		return access.Audit(ctx, tx, who.Event("quarantine.release", "quarantine:"+item.ID, facility))
	}))
	return begun, err
}

func (q *Quarantine) unmark(ctx context.Context, id string) error {
	_, err := q.pool.Exec(ctx, `UPDATE quarantine_item SET state = 'kept', releasing_at = NULL, begun_at = NULL WHERE id = $1 AND state = 'releasing'`, id)
	return failure(err)
}

// receive sends an item through the door.
func (q *Quarantine) receive(ctx context.Context, item Item, w *way, begun time.Time) error {
	body, err := w.open(ctx, begun)
	if err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The object store does not give the data set back")
	}
	defer func() { _ = body.Close() }()
	receipt, err := q.o.Receiver.Receive(ctx, pacs.Incoming{
		Data: body, Channel: item.Channel, Facility: w.facility, Sender: item.Sender, Remote: item.Remote, Charset: item.Charset,
		Correction: &pacs.Correction{Item: item.ID, Patient: w.patient},
	})
	switch {
	case err != nil:
		return err
	case receipt.Unfit != "":
		// It is in the journal all the same, and comes back from there.
		return pacs.Errorf(pacs.Conflict, "%s", receipt.Problem)
	}
	return nil
}

// comeBack takes an item back whose release did not fit in the end. It is
// false when there is no such item any more.
func (q *Quarantine) comeBack(ctx context.Context, u publish.Unfit) (done bool, err error) {
	id := u.Correction.Item
	switch state, _, err := q.state(ctx, id); {
	case err != nil:
		return false, err
	case state == "":
		return false, nil
	case state != "kept" && state != "releasing":
		return true, nil // published before, or discarded meanwhile
	}
	_, err = q.pool.Exec(ctx, `UPDATE quarantine_item SET state = 'kept', releasing_at = NULL, begun_at = NULL, reason = $2, message = $3 WHERE id = $1 AND state IN ('kept', 'releasing')`,
		id, u.Reason, fit(u.Message, maxMessage))
	return err == nil, failure(err)
}

// object reads an object in storage at any place.
type object struct {
	ctx   context.Context
	store storage.Store
	key   string
}

func (o *object) ReadAt(p []byte, offset int64) (int, error) {
	body, err := o.store.Get(o.ctx, o.key, offset, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	return io.ReadFull(body, p)
}
