package ups

import (
	"cmp"
	"context"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist/charset"
)

// SOP classes and well-known instances. PS3.4 CC.3.1, PS3.6 Table A-1.
const (
	PushSOPClass  = "1.2.840.10008.5.1.4.34.6.1"
	WatchSOPClass = "1.2.840.10008.5.1.4.34.6.2"
	PullSOPClass  = "1.2.840.10008.5.1.4.34.6.3"
	EventSOPClass = "1.2.840.10008.5.1.4.34.6.4"
	QuerySOPClass = "1.2.840.10008.5.1.4.34.6.5"

	GlobalSubscription   = "1.2.840.10008.5.1.4.34.5"
	FilteredSubscription = "1.2.840.10008.5.1.4.34.5.1"
)

// Action types. PS3.4 Tables CC.2.1-1, CC.2.2-1 and CC.2.3-1.
const (
	actChange      = 1
	actCancel      = 2
	actSubscribe   = 3
	actUnsubscribe = 4
	actSuspend     = 5
)

// groups are the DIMSE service groups: which operations, and which types of
// N-ACTION, come in a presentation context of which class. PS3.4 Tables CC.2-1
// to CC.2-5. The N-EVENT-REPORTs of the event class go out.
var groups = map[string]struct {
	operations []dimse.Field
	actions    []uint16
}{
	PushSOPClass:  {[]dimse.Field{dimse.NCreateRQ, dimse.NActionRQ, dimse.NGetRQ}, []uint16{actCancel}},
	PullSOPClass:  {[]dimse.Field{dimse.CFindRQ, dimse.NGetRQ, dimse.NSetRQ, dimse.NActionRQ}, []uint16{actChange}},
	WatchSOPClass: {[]dimse.Field{dimse.NActionRQ, dimse.NGetRQ, dimse.CFindRQ}, []uint16{actCancel, actSubscribe, actUnsubscribe, actSuspend}},
	EventSOPClass: {}, // N-EVENT-REPORT goes out
	QuerySOPClass: {[]dimse.Field{dimse.CFindRQ}, nil},
}

// Carries says whether an operation is carried out in contexts of a SOP class;
// true for classes that are none of these.
func Carries(sopClass string, f dimse.Field) bool {
	group, ok := groups[sopClass]
	return !ok || slices.Contains(group.operations, f)
}

// maxDataSet is the longest data set of a request.
const maxDataSet = 2 << 20

// Service is what a dimse.Server registers. The value of its associations is the
// access.Device that calls.
func (s *Steps) Service() dimse.Service {
	return dimse.Service{
		SOPClasses: []string{PushSOPClass, WatchSOPClass, PullSOPClass, EventSOPClass, QuerySOPClass}, MaxDataSet: maxDataSet,
		Find: s.find, NCreate: s.guarded(s.nCreate), NSet: s.guarded(s.nSet), NGet: s.guarded(s.nGet), NAction: s.guarded(s.nAction),
	}
}

// caller is the device that calls, if it may.
func caller(a *dimse.AssociationInfo) (access.Device, Caller, dimse.Status, bool) {
	device, ok := a.Value.(access.Device)
	if !ok || !device.Allows(access.UPS) {
		return device, Caller{}, dimse.Statusf(dimse.NotAuthorized, "%s may not use %s; allow it in the device's settings", a.CallingAE, access.UPS), false
	}
	by := Caller{Scope: device.Scope(), FacilityID: device.FacilityID, AETitle: device.AETitle}
	if a.RemoteAddr != nil {
		by.Remote = a.RemoteAddr.String()
	}
	return device, by, dimse.Status{}, true
}

// guarded lets devices use an operation that may, in contexts that have it.
func (s *Steps) guarded(handle func(context.Context, access.Device, Caller, *dimse.Request) (dimse.NResponse, error)) dimse.NHandler {
	return func(ctx context.Context, rq *dimse.Request) dimse.NResponse {
		device, by, refusal, ok := caller(rq.Association)
		if !ok {
			return dimse.NResponse{Status: refusal}
		}
		if !Carries(rq.AbstractSyntax, rq.Field) {
			return dimse.NResponse{Status: dimse.Statusf(dimse.UnrecognizedOperation, "not an operation of this presentation context's class")}
		}
		if rq.DataSet == nil {
			rq.DataSet = new(dicom.Dataset)
		}
		rq.DataSet.SetFallbackCharset(cmp.Or(device.Charset, dicom.FallbackCyrillic))
		s.here.note(device.AETitle, rq)
		answer, err := handle(ctx, device, by, rq)
		if err != nil {
			s.log.Error("a unified procedure step could not be worked on", "calling", device.AETitle, "operation", rq.Field.String(), "sop", rq.SOPInstanceUID, "error", err)
			return dimse.NResponse{Status: dimse.Statusf(dimse.ProcessingFailure, "%s", pacs.MessageOf(err))}
		}
		return answer
	}
}

func status(s dimse.Status, err error) (dimse.NResponse, error) {
	return dimse.NResponse{Status: s}, err
}

func (s *Steps) nCreate(ctx context.Context, _ access.Device, by Caller, rq *dimse.Request) (dimse.NResponse, error) {
	uid, outcome, err := s.Create(ctx, by, rq.SOPInstanceUID, rq.DataSet)
	return dimse.NResponse{Status: outcome, SOPInstanceUID: uid}, err
}

func (s *Steps) nSet(ctx context.Context, _ access.Device, by Caller, rq *dimse.Request) (dimse.NResponse, error) {
	return status(s.Update(ctx, by, rq.SOPInstanceUID, rq.DataSet.String(dicom.TagTransactionUID), rq.DataSet))
}

// nGet answers N-GET: the attributes asked for, all for none. PS3.4 CC.2.7.
func (s *Steps) nGet(ctx context.Context, device access.Device, by Caller, rq *dimse.Request) (dimse.NResponse, error) {
	ds, err := s.Get(ctx, by, rq.SOPInstanceUID)
	if pacs.CodeOf(err) == pacs.NotFound {
		return status(say(NoSuchStep), nil)
	}
	if err != nil {
		return dimse.NResponse{}, err
	}
	outcome := dimse.Status{}
	if len(rq.Attributes) > 0 {
		for _, tag := range rq.Attributes {
			if !ds.Has(tag) && tag != dicom.TagSpecificCharacterSet {
				outcome = say(OptionalIgnored)
			}
		}
		ds = ds.Select(rq.Attributes...)
	}
	return dimse.NResponse{Status: outcome, DataSet: charset.Convert(ds, cmp.Or(device.AnswerCharset, charset.UTF8))}, nil
}

func (s *Steps) nAction(ctx context.Context, _ access.Device, by Caller, rq *dimse.Request) (dimse.NResponse, error) {
	if !slices.Contains(groups[rq.AbstractSyntax].actions, rq.ActionTypeID) {
		return status(dimse.Statusf(dimse.NoSuchAction, "not an action of this presentation context's class"), nil)
	}
	info := rq.DataSet
	missing := func(tags ...dicom.Tag) *dimse.Status {
		for _, tag := range tags {
			if !valued(info, tag) {
				refused := offending(dimse.MissingAttribute, "lacks "+keywords([]dicom.Tag{tag}), tag)
				return &refused
			}
		}
		return nil
	}
	switch rq.ActionTypeID {
	case actChange:
		if no := missing(dicom.TagProcedureStepState); no != nil {
			return status(*no, nil)
		}
		return status(s.ChangeState(ctx, by, rq.SOPInstanceUID, State(info.String(dicom.TagProcedureStepState)), info.String(dicom.TagTransactionUID)))
	case actCancel:
		return status(s.RequestCancel(ctx, by, rq.SOPInstanceUID, by.AETitle, info))
	}
	if no := missing(dicom.TagReceivingAE); no != nil {
		return status(*no, nil)
	}
	who := Subscriber{AETitle: info.String(dicom.TagReceivingAE)}
	switch rq.ActionTypeID {
	case actSubscribe:
		if no := missing(dicom.TagDeletionLock); no != nil {
			return status(*no, nil)
		}
		lock, ok := map[string]bool{"TRUE": true, "FALSE": false}[info.String(dicom.TagDeletionLock)]
		if !ok {
			return status(offending(dimse.InvalidAttributeValue, "DeletionLock is TRUE or FALSE", dicom.TagDeletionLock), nil)
		}
		return status(s.Subscribe(ctx, by, who, rq.SOPInstanceUID, lock, info))
	case actUnsubscribe:
		return status(s.Unsubscribe(ctx, by, who, rq.SOPInstanceUID))
	}
	return status(s.Suspend(ctx, by, who, rq.SOPInstanceUID))
}

// find answers C-FIND. PS3.4 CC.2.8.
func (s *Steps) find(ctx context.Context, rq *dimse.Request, out *dimse.Matches) dimse.Status {
	device, by, refusal, ok := caller(rq.Association)
	switch {
	case !ok:
		return refusal
	case !Carries(rq.AbstractSyntax, rq.Field):
		return dimse.Statusf(dimse.SOPClassNotSupported, "not an operation of this presentation context's class")
	}
	declared := rq.DataSet.CharacterSet()
	rq.DataSet.SetFallbackCharset(cmp.Or(device.Charset, dicom.FallbackCyrillic))
	s.here.note(device.AETitle, rq)
	keys := rq.DataSet.UTF8()
	for i := range keys.Elements {
		if e := &keys.Elements[i]; !empty(e) && !matched(e.Tag) {
			out.OptionalKeysIgnored = true
		}
	}
	term := charset.UTF8
	if device.AnswerCharset != "" || len(declared) > 0 {
		term = charset.ForAnswer(device.AnswerCharset, declared)
	}
	gone := false
	err := s.Find(ctx, by, keys, func(ds *dicom.Dataset) error {
		err := out.Send(charset.Convert(answer(keys, ds), term))
		gone = err != nil
		return err
	})
	switch {
	case err == nil:
		return dimse.Status{Code: dimse.Success}
	case gone, ctx.Err() != nil:
		return dimse.Status{Code: dimse.Cancelled}
	case pacs.CodeOf(err) == pacs.Invalid:
		return dimse.Statusf(dimse.DataSetMismatch, "%s", pacs.MessageOf(err))
	}
	s.log.Error("a query for unified procedure steps could not be answered", "calling", device.AETitle, "error", err)
	if pacs.CodeOf(err) == pacs.Unavailable {
		return dimse.Statusf(dimse.FindOutOfResources, "%s", pacs.MessageOf(err))
	}
	return dimse.Statusf(dimse.UnableToProcess, "%s", pacs.MessageOf(err))
}

// matched says whether an attribute is matched by.
func matched(tag dicom.Tag) bool {
	row, known := byTag[tag]
	return !known || row.match || ours(tag) || tag == dicom.TagTimezoneOffsetFromUTC
}
