// Package quarantine keeps data sets that are DICOM and can't be indexed: their
// UIDs are missing or none, their header breaks off, their study belongs to
// somebody else. The sender was told that they are safe, and they are; an
// administrator sees them with the reason, puts right what is wrong, and
// releases or discards them.
//
// # How something gets in
//
// The journal marks what it can't identify, the publisher what contradicts the
// index. Either way the publisher calls Keep, which stores
//
//	quarantine/ID.dcm    the bytes as they were received
//	quarantine/ID.json   where they came from, what is wrong, what could be read (Item)
//
// and then a row in quarantine_item (keep.go). Only then is the record dropped
// from the journal. The id follows from facility and bytes, so that whatever
// is repeated is kept once. Restore makes the rows again from the objects.
//
// The quarantine has a quota of its own. What it has no room for stays in the
// journal and is offered again; as long as that is so, the journal refuses more
// of its kind at the door (journal.RefuseStudy): a data set that is unfit by
// itself, a study that contradicts the index, and everything of a sender that has
// sent very many of those. The quota is one for all nodes; each knows what the
// others have added up to 15 seconds ago, so that together they may keep more
// than it by what arrives in that time.
//
// # How something gets out
//
// Release (release.go) checks that the data set fits now, with an
// administrator's word in place of what it says, and sends it through the
// archive's one door again: pacs.Receiver, with a pacs.Correction. From then on
// it is like any other instance: in the journal, published, de-duplicated. Its
// bytes are as they were received; a patient by an administrator's word is the
// index's matter, and the study is served with that patient's demographics.
//
// UIDs are another thing: they name the instance and say what it is, so a data set
// that needs others is written anew (made.go), with what it said before in its Original
// Attributes Sequence, and the original is kept under released/.
//
// When the publisher has brought the instance to packs and index it calls
// Released, and the item leaves. If the instance still doesn't fit by then, Keep
// puts the item back into the list. The journal's record is dropped after
// either, so all of this survives being killed at any point: an item is at most
// released twice, which de-duplication makes one.
//
// What breaks off, is over a limit or was damaged on a disk is not released
// (Item.Unreleasable says why): it can be downloaded, put right, and sent in like
// anything else.
//
// Discard deletes an item for good, on record.
package quarantine
