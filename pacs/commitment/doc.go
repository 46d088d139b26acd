// Package commitment answers the question on which a modality deletes its copy:
// storage commitment, PS3.4 Annex J, push model, as provider.
//
// # The tour
//
// A device names instances by N-ACTION (request.go). The list is kept in the
// database before it is told "success", which says that an answer will come and
// nothing else.
//
// An instance is safe when it is published, in sight of who asks, of the SOP class
// they say, and when the pack that holds it has been read back whole and every
// byte of it was what was received (check.go). What is not there yet may be on its
// way from the journal: it is waited for, for as long as Options.Patience. All
// else has a Failure Reason (PS3.3 C.14.1.1): a wrong yes can't be taken back, a
// wrong no is asked again.
//
// The answer is an N-EVENT-REPORT (report.go), over the association that asked
// while it lasts, else over a new one to the device's registered address. A job
// (worker.go) carries on where a node was killed or a device was off, for three
// days.
package commitment
