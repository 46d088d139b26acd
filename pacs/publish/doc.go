// Package publish brings what the journal holds to where it is served from:
// bytes into packs in object storage, rows into the index.
//
// # A pack
//
// A pack is a ZIP file with stored (uncompressed) members, so any tool can
// open an archive without Tasvir and an instance is a byte range of an object:
//
//	1.2.3.4.dcm          one PS3.10 file per instance, exactly as received
//	…
//	metadata.json.gz     DICOM JSON (PS3.18 Annex F) of all instances, one array
//	manifest.json        what the index knows beside that: facility, sender,
//	                     time, version, hash (see Manifest)
//
// zip.go writes the format, pack.go fills it, packs.go reads it for DICOMweb.
//
// # The publisher
//
// Publisher takes sealed records from the journal and groups them by series
// (group.go). A group is published when it is large enough or nothing has been
// added for a moment: each record is scanned again (it is in the page cache),
// duplicates are dropped, the pack is stored, and in one transaction the rows
// are written, the completion job is enqueued and listeners are told. Only
// then are the records dropped from the journal.
//
// Each step can be killed and repeated. The key of a pack follows from its
// content, so a repeated Put overwrites the same object; rows already there
// are recognised by SOP Instance UID and content hash.
//
// What contradicts the index (a study UID that belongs to another patient or
// facility), what the database can't hold and what the journal's disk has
// damaged is held in the journal and counted, never dropped; the others of its
// group are published. Anything else that fails will pass, and is repeated.
//
// # Completion
//
// No protocol says when a study is complete. Publishing enqueues a job that
// completes the study once it has been quiet for a while (completion.go); late
// images begin that anew.
package publish
