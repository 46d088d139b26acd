// Package patients is what administrators do to patients: correct demographics,
// merge records of one person, move a study to the person it is of, split a
// record that two people share, and take any of it back.
//
// # What an operation is
//
// One transaction (operate.go, undo.go) that brings rows of the index from one
// State to another (state.go): patients with their demographics and the
// identities they had before, and studies with the patient they belong to. No
// archived byte changes. Studies whose served demographics may differ from
// their bytes are marked; package publish amends them on the way out.
//
// Every operation is a row of the history with who, when and why, a line of the
// audit trail and an entry of the change feed. While it runs nothing arrives
// for the facility's patients (index.LockPatients); what arrives later follows
// to where it put things (index.addPatient).
//
// An operation can be undone as long as no later one stands on it, that is,
// changed or relied on what it changed. Undoing restores exactly that, and is
// an operation itself. Studies that arrived in between go where they would
// have gone.
//
// Records of different facilities are never merged: the PINFL links them.
//
// # What is kept where
//
// The index can be rebuilt from object storage, so each operation is stored
// there, too, after its transaction (record.go), in a Document that names
// patients by the identity they were made under and studies by UID, never by
// rows. The same goes for studies that arrived for amended patients. Restore
// (restore.go) brings them back after the packs were reindexed.
package patients
