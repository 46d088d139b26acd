package ups

import "github.com/tasvir-pacs/tasvir/pacs/dimse"

// Status codes of the unified procedure step service. PS3.4 Tables CC.2.1-2,
// CC.2.2-2, CC.2.3-3, CC.2.5-4, CC.2.6-1 and CC.2.7-1.
const (
	Modified          dimse.Code = 0xB300
	LockNotGranted    dimse.Code = 0xB301
	AlreadyCanceled   dimse.Code = 0xB304
	Coerced           dimse.Code = 0xB305
	AlreadyCompleted  dimse.Code = 0xB306
	OptionalIgnored   dimse.Code = 0x0001
	NoLongerUpdated   dimse.Code = 0xC300
	WrongTransaction  dimse.Code = 0xC301
	AlreadyInProgress dimse.Code = 0xC302
	OnlyByCreate      dimse.Code = 0xC303
	NotFinal          dimse.Code = 0xC304
	NoSuchStep        dimse.Code = 0xC307
	UnknownReceiver   dimse.Code = 0xC308
	NotScheduled      dimse.Code = 0xC309
	NotInProgress     dimse.Code = 0xC310
	IsCompleted       dimse.Code = 0xC311
	NoContact         dimse.Code = 0xC312
	WillNotCancel     dimse.Code = 0xC313
	NotAppropriate    dimse.Code = 0xC314
	NoEventReports    dimse.Code = 0xC315
)

// meanings are what the codes say: the text of an Error Comment and of an HTTP
// warning, unless there is more to say.
var meanings = map[dimse.Code]string{
	Modified:          "The UPS was created with modifications",
	LockNotGranted:    "Deletion Lock not granted",
	AlreadyCanceled:   "The UPS is already in the requested state of CANCELED",
	Coerced:           "Coerced invalid values to valid values",
	AlreadyCompleted:  "The UPS is already in the requested state of COMPLETED",
	OptionalIgnored:   "Requested optional Attributes are not supported",
	NoLongerUpdated:   "The UPS may no longer be updated",
	WrongTransaction:  "The correct Transaction UID was not provided",
	AlreadyInProgress: "The UPS is already IN PROGRESS",
	OnlyByCreate:      "The UPS may only become SCHEDULED via N-CREATE",
	NotFinal:          "The UPS has not met final state requirements",
	NoSuchStep:        "There is no such UPS here",
	UnknownReceiver:   "Receiving AE-TITLE is Unknown to this SCP",
	NotScheduled:      "The provided value of UPS State was not SCHEDULED",
	NotInProgress:     "The UPS is not yet in the IN PROGRESS state",
	IsCompleted:       "The UPS is already COMPLETED",
	NoContact:         "The performer cannot be contacted",
	WillNotCancel:     "Performer chooses not to cancel",
	NotAppropriate:    "Specified action not appropriate for specified instance",
	NoEventReports:    "SCP does not support Event Reports",
}

// say is a status in the standard's words.
func say(code dimse.Code) dimse.Status { return dimse.Status{Code: code, Comment: meanings[code]} }

// Statuses are the codes of the service and what they mean, for the conformance
// statement.
func Statuses() map[dimse.Code]string {
	list := make(map[dimse.Code]string, len(meanings))
	for code, text := range meanings {
		list[code] = text
	}
	return list
}
