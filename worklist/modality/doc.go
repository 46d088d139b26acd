// Package modality is what imaging devices are told and tell of their work: the
// modality worklist (PS3.4 Annex K) and the modality performed procedure step
// (PS3.4 Annex F), as provider.
//
// # The worklist
//
// A device asks by C-FIND. Its identifier becomes a query (query.go); steps of
// orders in the device's facility that wait are matched by it (match.go) and
// each match is answered with what was asked for (answer.go), page by page, so
// that nothing is gathered. What is still to be done is told: steps that are
// scheduled, whose patient has arrived, or that are in progress; others only
// have their order's history.
//
// Answers are in the character set that the device is registered with, else the
// one its request declares, else ASCII. What the set does not have is
// transliterated (package charset): Cyrillic into Latin, Uzbek letters into the
// nearest ones, never into question marks.
//
// # Performed procedure steps
//
// A device reports by N-CREATE that it has begun and by N-SET how it goes on and
// ends (performed.go says what is checked, report.go does it). What it reports
// is stored whole, and can be asked for by N-GET. The steps of orders that it
// names follow; what nobody ordered is kept as well.
//
// When a step has ended, and every instance that it names is published, its
// study is complete at once, rather than when it has been quiet for a while
// (completion.go).
package modality
