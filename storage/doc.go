// Package storage is the archive's object store: whole objects under a key,
// written once, read by byte range.
//
// Tasvir keeps its packs (a series' instances in one ZIP file) in a [Store].
// Two implementations exist and promise exactly the same, because both pass
// the suite in storage/storagetest:
//
//   - storage/file: a folder on a local disk, the embedded default;
//   - storage/s3: MinIO, or anything else that speaks S3, through minio-go.
//
// # Keys
//
// A key names an object as a path does: "packs/<study>/<series>/<id>.zip".
// [CheckKey] gives the rules; they are strict enough that a key can be used
// as a file name on any file system without escaping, and can't leave the
// store's folder.
//
// # Errors and repeating
//
// A call that fails falls in one of two kinds. [IsPermanent] errors say that
// the call itself is wrong: the same call gives the same answer, for ever.
// Everything else (network, a full disk, a store that is being restarted,
// refused credentials) is worth repeating, with growing pauses, until the
// context ends: an operator may repair it in the meantime. All methods are
// safe to repeat.
//
// This package knows no other package of Tasvir.
package storage
