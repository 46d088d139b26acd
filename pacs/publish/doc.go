// Package publish brings what the journal holds to where it is served from:
// bytes into packs in object storage, rows into the index.
//
// # A pack
//
// A pack is a ZIP file with stored (uncompressed) members, so any tool can
// open an archive without Tasvir and an instance is a byte range of an object:
//
//	1.2.3.4.dcm          one PS3.10 file per instance, exactly as received, or
//	                     compressed without loss since (see Compression)
//	…
//	metadata.json.gz     DICOM JSON (PS3.18 Annex F) of all instances, one array
//	manifest.json.gz     what the index knows beside that: facility, sender,
//	                     time, version, hash (see Manifest)
//
// zip.go writes the format, pack.go fills it, packs.go and metadata.go read it
// for DICOMweb. unzip.go reads the directory, packfile.go what a pack says of
// itself, and examine.go all of it.
//
// # The publisher
//
// Publisher takes sealed records from the journal and groups them by series
// (group.go). A group is published when it is large enough or nothing has been
// added for a moment: each record's header is scanned again (it is in the page
// cache), duplicates are dropped, the pack is stored, which compares what is
// copied with the record's checksum, and in one transaction the rows
// are written, the completion job is enqueued and listeners are told. Only
// then are the records dropped from the journal.
//
// Each step can be killed and repeated. The key of a pack follows from its
// content, so a repeated Put overwrites the same object; rows already there
// are recognised by SOP Instance UID and content hash.
//
// What the journal could not identify, what contradicts the index (a study UID
// that belongs to another patient or facility), what the database can't hold
// and what the journal's disk has damaged goes to quarantine (quarantine.go),
// one at a time and beside the workers; the others of its group are published.
// What the quarantine has no room for is held in the journal and offered again.
// What comes from there, with an administrator's Correction, is published like
// anything else. Anything else that fails will pass, and is repeated.
//
// # Amended studies
//
// A pack never changes because a patient does. What administrators have done to
// patients (package patients) is applied on the way out: to files in amend.go,
// to DICOM JSON in amend_json.go.
//
// # Completion
//
// No protocol says when a study is complete. Publishing enqueues a job that
// completes the study once it has been quiet for a while (completion.go); late
// images begin that anew.
//
// # Merging
//
// The transaction that completes a study enqueues a job (mergejob.go) that
// makes one pack of the packs of each series (merge.go):
//
//	1.2.3.1.dcm          the current versions, in instance order
//	…
//	1.2.3.1.v1.dcm       versions that were superseded, as they were kept
//	metadata.json.gz     the current instances only: a series' metadata is served
//	                     as one range of this object
//	manifest.json.gz
//
// The bytes are copied as they are (but see Compression), and on the way
// compared with the CRC of the old pack and the hash in the index
// (mergesource.go); metadata is joined in a scratch file (mergemetadata.go), so
// that memory does not grow with the series. A difference stops the merge of that series, is reported,
// and has changed nothing. When the object is stored one transaction moves the
// rows to it, provided that they are still where the merge has read them; what
// came meanwhile stays in its own pack, and is merged when the study completes
// again. A long series that grows by little is not copied each time (notWorthIt).
//
// A pack's row says what may happen to its object:
//
//	prepared   a merge is storing it; retired_at lies ahead
//	in use     retired_at is null
//	retired    nothing is served from it any more
//	swept      the object is deleted
//
// It goes from one to the next and never back, so that a merge can be killed
// anywhere: the next attempt uses another key, and what is left over is
// prepared until its time is over, and then retired.
//
// # Compression
//
// When it is asked for (Merger.Compressor, serve --compress), a merge keeps the
// current versions that came in Explicit VR Little Endian as JPEG-LS Lossless,
// where that is smaller (mergecompress.go). Each is copied to a scratch file and
// checked like anything that is merged; package pixel compresses it, decodes it
// again and compares every sample. SOP Instance UID and attributes stay as they
// are, byte for byte; only the meta information and Pixel Data are others. What
// the codec does not take, or dies of, stays as it is: that never fails a merge.
// A series that is one pack already is written anew if something in it can be
// compressed. Versions that were superseded before are not touched, nor is what
// is under legal hold or in a cold store; studies that were merged before it was
// asked for are not either, until they complete again.
//
// Such an instance has two hashes. That of what was received is what it is known
// by: the same bytes sent again are a duplicate, others a new version, an index
// that is rebuilt numbers them as before, and a pack with the original holds
// nothing new. It is in the manifest and in the index (pacs.Compression), beside
// the original's transfer syntax and length, and a merge takes it along. That of
// what is kept is what the bytes are checked against: damage is found by it, and
// repaired from nothing else. BulkDataURIs go on counting in the file that was
// received (bulkURI), so that who has read the metadata before finds the values.
//
// # Sweeping
//
// A reader asks the index for a place and then reads there. The object of a
// retired pack therefore stays for a grace time (an hour), which is longer than
// anybody waits between the two; then sweep.go deletes it. Rows of instances
// that still point to it keep it, whatever its own row says.
//
// An object without a row is what a publisher has left that was killed between
// storing and indexing, or whose records were published in another grouping
// afterwards. It is never the only copy: records are dropped from the journal
// only after the transaction that indexes them, so they will be, or have been,
// published again. But it may be about to be indexed, and it may be what is left
// of an index that was lost. So it must be a day old, going by the store's
// clock; every instance that its manifest names must be in the index with the
// same hash, which is in another object, since no row has this one; and even
// then it only gets the row of a retired pack and waits for the grace time.
// Whatever else is found is reported and kept.
//
// A key is made of the content, so a publisher may store and index an object
// that is being swept at this moment. The row settles it: it stays for a week
// after the object, and an addition that finds its key retired stores the pack
// under another key (index.ErrRetired).
//
// # Recovery
//
// Examine (examine.go, unzip.go) reads every byte of a pack and says what is
// sound: there is one way in which a pack can be written, so that no flipped
// bit passes. Package patrol builds on it, and Reindex (reindex.go), which makes
// the index anew from the packs alone: staging.go keeps what was read until
// resolve.go has looked at all packs of a study together. What a retention policy
// has deleted and the sweeper not yet (deleted.go) stays deleted. Rebuild (rebuild.go)
// puts a pack together from instances wherever they are.
package publish
