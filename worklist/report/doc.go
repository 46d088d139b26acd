// Package report keeps what radiologists write: drafts that may change and
// signed versions that never do.
//
// A task has one report. While a radiologist writes there is one draft with
// one author; who claims a task that was given back goes on from its draft. Each
// save carries the revision it was based on, so that two windows of the same
// person can't overwrite each other unseen.
//
// Sign turns the draft into the next version: the PDF is rendered, the version
// and its delivery are written, the signature goes on the audit trail, and the
// job that delivers it is enqueued, all in one transaction. The database itself
// refuses to change a version afterwards (a trigger); a correction or an
// addendum is a new version that begins with Amend.
//
// reports.go reads, draft.go saves, sign.go signs, deliveries.go says what
// became of each version on its way to the national platform, pdf.go prints.
package report
