package modality

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist/charset"
	"github.com/tasvir-pacs/tasvir/worklist/matching"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// Worklist answers C-FIND of the modality worklist from orders. The value of an
// association is the access.Device that calls.
type Worklist struct {
	Orders *orders.Orders
	Log    *slog.Logger
}

// Service is what a dimse.Server registers.
func (w *Worklist) Service() dimse.Service {
	return dimse.Service{SOPClasses: []string{dicom.ModalityWorklistFindSOPClass}, Find: w.find}
}

// caller is the device that calls, if it may use a service.
func caller(a *dimse.AssociationInfo, service access.Service) (access.Device, dimse.Status, bool) {
	device, ok := a.Value.(access.Device)
	if !ok || !device.Allows(service) {
		return device, dimse.Statusf(dimse.NotAuthorized, "%s may not use %s; allow it in the device's settings", a.CallingAE, service), false
	}
	return device, dimse.Status{}, true
}

// pageSize is how many steps are fetched at a time.
const pageSize = 200

func (w *Worklist) find(ctx context.Context, rq *dimse.Request, out *dimse.Matches) dimse.Status {
	device, refusal, ok := caller(rq.Association, access.Worklist)
	if !ok {
		return refusal
	}
	declared := rq.DataSet.CharacterSet()
	rq.DataSet.SetFallbackCharset(cmp.Or(device.Charset, dicom.FallbackCyrillic))
	q, err := parseQuery(rq.DataSet)
	if err != nil {
		return dimse.Statusf(dimse.DataSetMismatch, "%v", err)
	}
	out.OptionalKeysIgnored = q.ignored
	term := charset.ForAnswer(device.AnswerCharset, declared)
	filter := orders.WaitingFilter{
		From: q.start.from, To: q.start.to, Modalities: q.plainValues(q.step, dicom.TagModality),
		Accession: literal(q.value(q.order, dicom.TagAccessionNumber)), PatientID: literal(q.value(q.order, dicom.TagPatientID)),
	}
	// Its own hospital's, also for one that may read the whole archive: what it
	// is told of is what it is to do.
	scope := pacs.Scope{Who: who(device), FacilityIDs: []int64{device.FacilityID}}
	var after orders.WaitingAfter
	for more := true; more; {
		var page []orders.Waiting
		if page, after, more, err = w.Orders.Waiting(ctx, scope, filter, after, pageSize); err != nil {
			return w.failed(ctx, device, err)
		}
		for i := range page {
			if !q.matches(&page[i], device.AETitle) {
				continue
			}
			if err := out.Send(q.written(&page[i], device.AETitle, term)); err != nil {
				return dimse.Status{Code: dimse.Cancelled}
			}
		}
	}
	return dimse.Status{Code: dimse.Success}
}

// literal is a value that the database may match by itself: without wild cards,
// and one that a row can have.
func literal(value string) string {
	if matching.HasWildcard(value) {
		return ""
	}
	return value
}

func (w *Worklist) failed(ctx context.Context, device access.Device, err error) dimse.Status {
	if ctx.Err() != nil {
		return dimse.Status{Code: dimse.Cancelled}
	}
	w.Log.Error("the modality worklist could not be answered", "calling", device.AETitle, "error", err)
	if pacs.CodeOf(err) == pacs.Unavailable {
		return dimse.Statusf(dimse.FindOutOfResources, "%s", pacs.MessageOf(err))
	}
	return dimse.Statusf(dimse.UnableToProcess, "%s", pacs.MessageOf(err))
}
