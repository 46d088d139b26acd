// Package ups is the unified procedure step of PS3.4 Annex CC, as provider: work
// that is pushed, found, claimed, watched and ended by machines, over the same
// reading tasks that people work on.
//
// # What a step is
//
// Each reading task is a step (tasks.go): open is SCHEDULED, claimed IN PROGRESS,
// signed COMPLETED, cancelled CANCELED. The worklist tells of each change in the
// transaction that makes it (worklist.Worklist.Moved), so a claim in the client
// and a claim by N-ACTION are one thing: the row of the task is locked, and one
// of them wins. A step never goes back, a task does: one that is released leaves
// its step CANCELED and has a new one, which names the old as replaced. What is
// shown of a reading (show.go) comes from the study, the patient and the order as
// they are now.
//
// A step that others push (create.go) becomes the study's reading task when it
// asks for an interpretation (DCM 110005) of a study that is here and that waits
// to be read: it replaces the archive's own step, and may raise the task's
// priority. When the study is still on its way, this happens when it is complete.
// If somebody reads it already, or has, it is a second reading and, like image
// processing and all else, a step by itself, of the device's facility, for
// whoever pulls it.
//
// A reading that an outside performer completes is signed without a report here;
// one that it gives up is open again, unless somebody has called it off: then it
// is cancelled. A person who claims over HTTP takes the reading in their own name
// and completes it by signing the report. Readings that people hold are not
// canceled on request: the performer can't be contacted.
//
// # The rules
//
// They are tables: the state transitions (state.go, PS3.4 Table CC.1.1-2), the
// attributes with what N-CREATE, N-SET and the final states demand (attributes.go,
// Table CC.2.5-3; validate.go applies them), the operations of each SOP class
// (service.go, Tables CC.2-1 to CC.2-5), and the status codes (status.go). The
// Transaction UID is never told.
//
// # Who hears of it
//
// What happens is queued for subscribers in the transaction in which it happens
// (event.go, subscribe.go), and brought to devices by N-EVENT-REPORT (deliver.go)
// and to callers of UPS-RS over a WebSocket (channel.go), in order, repeatedly,
// for three days. It can be told twice, never not at all: a node that is killed
// has lost nothing.
//
// # Who may
//
// A device needs the service "ups" and sees the steps of its facility, or all if
// it reads every facility. An ended step is kept for 30 days, one with a deletion
// lock until it is released, at most 180 (tidy.go).
package ups
