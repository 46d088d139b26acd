// Package file keeps objects as files of a folder: the embedded default store.
//
// An object with the key "packs/1.2/3.4/5.zip" is the file of that name below
// the folder, so an archive can be looked at, copied and backed up with
// ordinary tools. The folder ".tmp" holds objects that are being written; a
// key can't start with a dot, so the two never meet.
//
// [Store.Put] writes a temporary file, fsyncs it, renames it and fsyncs the
// folders up to the store's own: after that the object survives power loss.
// Between calls the store holds no file handles and no memory, so any number
// of processes may use one folder.
package file
