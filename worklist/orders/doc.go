// Package orders keeps imaging orders: who is to be examined, why, with what
// and when, from the moment a receptionist (or another system) enters them
// until their images are there.
//
// # What an order is
//
// An [Order] (order.go) is one requested procedure of one patient at one
// facility, with one or more scheduled procedure steps (PS3.3 C.4.10 to
// C.4.12), an accession number and the Study Instance UID its images are to
// have, both given at entry. Who enters it gives the patient as they know
// them: the index need not have heard of the patient. Dates and times are those
// of the clock on the facility's wall, without a zone, as DICOM has them.
//
// # From entry to images
//
// Create (write.go) is idempotent by the placer's order number, so that a
// message that comes twice makes one order. Update takes the revision it was
// made from. Move (state.go) is what people do next: the patient has arrived,
// the order is cancelled. From there machines go on (progress.go): a modality
// reports what it performs (package modality), and images arrive (link.go).
// An order's state is derived from its steps' states, and every change is in
// its history and, where a person made it, in the audit trail of the same
// transaction.
//
// # Who reads them
//
// List (search.go) is the client's. Waiting (waiting.go) is what modalities
// are told of; package modality matches and answers. Requests (link.go) tells
// the worklist what the order of a study asks.
//
// Every read takes a pacs.Scope; an order outside of it does not exist.
package orders
