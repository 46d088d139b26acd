package main

import (
	"context"
	"log/slog"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
	"github.com/tasvir-pacs/tasvir/worklist/modality"
)

// admission decides which calling AE titles may associate.
type admission struct {
	known *access.Admission
	park  bool // accept unknown ones and park what they send
	users identities
	log   *slog.Logger
}

// admit is dimse.Server.Admit: the association's value is the access.Device.
func (a *admission) admit(ctx context.Context, caller dimse.Caller) (dimse.Admission, error) {
	calling := caller.Request.CallingAE
	device, ok := a.known.Lookup(calling)
	switch {
	case ok:
	case a.park:
		device = access.Device{AETitle: calling, FacilityCode: pacs.Unassigned, Services: []access.Service{access.Store}}
	default:
		a.log.Warn("association refused: the calling AE title is not known; add it with tasvir device add", "calling", calling, "remote", caller.RemoteAddr.String())
		refusal := ul.RejectCallingAE
		return dimse.Admission{}, &refusal
	}
	if err := proven(device, caller.TLS); err != nil {
		return dimse.Admission{}, a.refuse(caller, err)
	}
	identity, err := a.users.confirm(ctx, caller)
	if err != nil {
		return dimse.Admission{}, err
	}
	return dimse.Admission{Value: device, MaxAssociations: device.MaxAssociationsFrom, Identity: identity, May: func(sopClass string) bool { return mayNegotiate(device, sopClass) }}, nil
}

// neededFor is what a device must be allowed for the services that the archive
// offers besides verification and storage, by SOP class.
var neededFor = map[string]access.Service{
	dicom.PatientRootFindSOPClass: access.Query, dicom.StudyRootFindSOPClass: access.Query, dicom.PatientStudyOnlyFindSOPClass: access.Query,
	dicom.PatientRootMoveSOPClass: access.Retrieve, dicom.StudyRootMoveSOPClass: access.Retrieve, dicom.PatientStudyOnlyMoveSOPClass: access.Retrieve,
	dicom.PatientRootGetSOPClass: access.Retrieve, dicom.StudyRootGetSOPClass: access.Retrieve, dicom.PatientStudyOnlyGetSOPClass: access.Retrieve,
	dicom.ModalityWorklistFindSOPClass:           access.Worklist,
	dicom.ModalityPerformedProcedureStepSOPClass: access.MPPS, modality.RetrieveSOPClass: access.MPPS,
	dicom.StorageCommitmentPushModelSOPClass: access.Commitment,
}

// mayNegotiate says whether a device's presentation contexts of a SOP class are
// accepted. Who answers the operations asks for the right again.
func mayNegotiate(device access.Device, sopClass string) bool {
	if strings.HasPrefix(sopClass, upsClasses) {
		return device.Allows(access.UPS)
	}
	service, ok := neededFor[sopClass]
	return ok && device.Allows(service)
}

// upsClasses begins the SOP classes of the unified procedure step. PS3.4 CC.3.
const upsClasses = "1.2.840.10008.5.1.4.34.6."

// refuse logs why the peer is not who it says it is, which the peer is not told.
func (a *admission) refuse(caller dimse.Caller, err error) error {
	a.log.Warn("association refused", "calling", caller.Request.CallingAE, "remote", caller.RemoteAddr.String(), "error", err)
	refusal := ul.RejectCallingAE
	return &refusal
}

// storeStatuses is the one table from error codes to C-STORE statuses, PS3.4
// Table B.2-1. Every code not listed is a processing failure.
var storeStatuses = map[pacs.Code]dimse.Code{
	pacs.Invalid:        dimse.CannotUnderstand,
	pacs.Unsupported:    dimse.CannotUnderstand,
	pacs.TooLarge:       dimse.CannotUnderstand,
	pacs.Forbidden:      dimse.NotAuthorized,
	pacs.OutOfResources: dimse.OutOfResources,
	pacs.Unavailable:    dimse.OutOfResources,
}

func storeStatus(err error) dimse.Status {
	code, known := storeStatuses[pacs.CodeOf(err)]
	if !known {
		code = dimse.ProcessingFailure
	}
	return dimse.Statusf(code, "%s", pacs.MessageOf(err))
}

// keptStatus is the answer to a C-STORE whose data set is safe. That it is in
// quarantine is the archive's affair; only where the request names another
// instance than was sent must the sender learn which it believes to be kept.
func keptStatus(receipt pacs.Receipt) dimse.Status {
	if receipt.Unfit == pacs.Mismatch {
		return dimse.Statusf(dimse.DataSetMismatchWarning, "%s", receipt.Problem)
	}
	return dimse.Status{Code: dimse.Success}
}

// storeHandler hands C-STORE to the archive's one door.
func storeHandler(receiver pacs.Receiver, log *slog.Logger) dimse.StoreHandler {
	return dimse.StoreHandlerFunc(func(ctx context.Context, rq *dimse.StoreRequest) dimse.Status {
		device, _ := rq.Association.Value.(access.Device)
		if !device.Allows(access.Store) {
			return dimse.Statusf(dimse.NotAuthorized, "%s may not send images; allow it under Administration, Devices", device.AETitle)
		}
		receipt, err := receiver.Receive(ctx, pacs.Incoming{
			Data:              rq.Data,
			TransferSyntaxUID: rq.TransferSyntaxUID,
			SOPClassUID:       rq.SOPClassUID,
			SOPInstanceUID:    rq.SOPInstanceUID,
			Channel:           pacs.ChannelDIMSE,
			Facility:          device.FacilityCode,
			Sender:            device.AETitle,
			Remote:            rq.Association.RemoteAddr.String(),
			Charset:           device.Charset,
		})
		if err == nil {
			if receipt.Unfit != "" {
				log.Warn("a data set can't be indexed and goes to quarantine", "association", rq.Association.ID, "sop", rq.SOPInstanceUID, "reason", receipt.Unfit, "problem", receipt.Problem)
			}
			return keptStatus(receipt)
		}
		status := storeStatus(err)
		if status.Code == dimse.OutOfResources || status.Code == dimse.ProcessingFailure {
			// The sender is not at fault and is told little; the DICOM server
			// logs what it is told.
			log.Error("the archive could not take an instance", "association", rq.Association.ID, "sop", rq.SOPInstanceUID, "error", err)
		}
		return status
	})
}
