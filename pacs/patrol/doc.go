// Package patrol reads what the archive keeps, again and again, for as long as
// it is kept: disks lose bits without telling, and damage that is found while a
// copy still exists can be repaired.
//
//   - Patrol.Run walks through all packs, the one that was read longest ago
//     first, at a pace that leaves the store to its users. Nodes share the
//     walk: each pack is read by one of them (claim.go). Patrol.Pass reads all
//     packs, or those of a study, now.
//   - check.go compares a pack with the index: every byte of the pack against
//     what the pack says twice (publish.Examine), every instance against its
//     row, and back.
//   - problem.go keeps what was found. A store that does not answer is no
//     problem of a pack; neither is a pack that is merged or deleted while it
//     is read.
//   - repair.go puts a pack together from sound instances, wherever they are:
//     in the pack itself, in a copy of the store, in an older pack.
//
// # Repairing
//
// A repair never writes over anything. The new pack is stored under a key of
// its own, read back and checked whole; then, in one transaction, the instances
// move to it and the damaged pack is retired. Before that the damaged object is
// put aside as damaged/KEY, where it stays until an administrator deletes it:
// whoever wants to know what happened to a disk, or tries to get more out of
// it, has the bytes. Only an object that is not there at all is put back under
// its own key.
//
// An instance is taken for sound only when its bytes have the SHA-256 that the
// index has known since they were received. When an instance of a pack can't be
// had anywhere, the pack stays as it is, and the problem stays open and names
// the instance.
package patrol
