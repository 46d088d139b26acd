// Package journal is where an image is safe first: an append-only log on local
// disk, between the network and everything that may be down.
//
// Receive streams one instance into a segment, reading its header on the way
// (dicom.Scan), seals the record and calls fdatasync; only then does it
// return, and only then may a sender be told "success". Nothing is held whole
// in memory, and neither the database nor the object store is touched.
//
// # Segments
//
// A segment is a file. It has one writer at a time, so that records never
// interleave; concurrent receivers use different segments. A record is
//
//	header   64 bytes   lengths and checksums, written last (see record.go)
//	body                the PS3.10 file
//	trailer             the Entry as JSON: UIDs, sender, facility, time
//
// The header is written after body and trailer, so a record either has a valid
// header or does not exist: what a crash cuts off is a torn tail, which Open
// truncates. Anything else that is wrong stems from a damaged disk: a record
// that doesn't match its checksums, or a header that is broken although sealed
// records come after it. The records around it are published, and the segment
// is kept under the name *.damaged.
//
// Segments are reserved ahead and used again, under another name and number,
// when all in them is published: fdatasync then has no metadata to write. What
// is left in one from before has the former number and is no record. A segment
// whose writing or syncing has failed is never appended to again.
//
// Open reads what earlier runs have left. A large backlog goes on being read
// while new records are received; they go to segments of their own.
//
// # How much is taken
//
// Receive refuses with OutOfResources when Options.Quota is used up, when only
// Options.MinFree is left on the disk, or when the disk says that it is full.
// Stats.Fill tells how near that is, and receiving resumes by itself.
//
// # What can't be published
//
// Everything that is a DICOM data set is kept, also one without UIDs, one that
// breaks off or one that contradicts its request: its Entry says so in Unfit,
// and the publisher takes it to quarantine. The quarantine has a quota; it
// tells the journal by QuarantineRoom and RefuseStudy when that is used up. What
// contradicts the index is known only behind the journal: some of it is held here
// by then, at most what comes of 100 studies of a sender.
//
// # From here on
//
// The publisher calls Take for sealed records, publishes them, and calls Drop;
// a segment whose records are all dropped is removed or used again. Publishing is
// idempotent, so a crash between the two only repeats work. Hold keeps a
// record that can't be published (it contradicts the index) in the journal;
// it is offered again at the next start.
package journal
