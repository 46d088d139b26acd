// Package synthetic fills an index with studies that nobody ever made, to see
// how it answers when it is as large as a country's.
//
//   - Fill writes patients, studies, series, packs and instances. What it
//     writes follows from the options alone: the same seed gives the same rows in
//     an empty index. That one is filled in one transaction, several times as
//     fast as one that is in use (empty.go); a second run adds to the first.
//   - Count says how many real and how many synthetic studies there are.
//   - Remove takes the synthetic ones out again.
//
// Names are Uzbek and Russian in the scripts and spellings that devices send,
// some of them common and many rare; people come again; studies become more
// over eight years, are fewer at weekends, and some arrive late (people.go,
// study.go). There are no pixels: the key of each pack begins with
// index.SyntheticPrefix, names no object, and belongs to a facility whose code
// begins with SYN-. Whoever walks through storage or the index to check, merge
// or rebuild passes such packs over.
package synthetic
