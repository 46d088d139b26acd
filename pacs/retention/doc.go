// Package retention decides how long what is kept, and does it. Without a
// policy everything is kept for ever.
//
// # Policies
//
// A policy (policy.go) has conditions (facility, modality, age in days) and an
// action: keep, move to the cold store, delete the pixel data, delete all. The
// enabled policies are tried in their order; the first that fits a study
// decides, also when it then does nothing because the study is held or still
// in use. So what keeps longest, or most, comes first.
//
// A policy begins disabled. It can be enabled when there is a preview of it
// exactly as it is: with its conditions and action, and behind no fewer
// policies than are enabled before it. Any change that makes it fit more than
// its preview showed disables it again.
//
// # Preview and run
//
// One query (selection.go) says which studies a policy is for: a preview
// counts what it gives (preview.go), a pass works through it (pass.go), and
// asks it once more, about one study, in the transaction that touches that
// study. It never gives a study
//
//   - under legal hold,
//   - that is not complete, or that arrived or was changed in the last 30 days,
//   - with a reading task that is not signed, an unsigned draft or a report
//     that is not delivered (Busy, which the worklist answers).
//
// A pass runs once a day as a job (job.go), on one node at a time, study by
// study: it can be killed anywhere and goes on where it was. It ends at a limit
// of studies a day.
//
// # What becomes of a study
//
//	delete_all     its instances and series leave the index, its packs are
//	               retired; its row stays, hidden, so that its report can still
//	               be read. Sent again, it is there again.
//	delete_pixels  its packs are replaced by packs without pixel data
//	               (publish.Packs.WithoutPixels). Lists, metadata and reports
//	               stay; asking for pictures is answered by when and why there
//	               are none. The originals, sent again, restore it.
//	move_to_cold   its packs are copied to the cold store (storage/tiered),
//	               read back and compared, and served from there.
//
// In each case the rows change in one transaction, together with the audit
// trail, the feed of changes and the run's counts. Objects that nobody needs
// any more are deleted later by the sweeper of retired packs (pacs/publish), so
// that a reader never finds a gap.
//
// # Legal hold
//
// A hold (hold.go) is a row, which index/delete.go looks at whoever asks, and
// an object, from which `tasvir reindex` restores the row.
package retention
