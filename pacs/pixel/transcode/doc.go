// Package transcode gives whole instances in other transfer syntaxes than they
// are kept in.
//
//   - Targets says what an instance can be given in, best first.
//   - Source is an instance that can be read in pieces: Scan makes one of a file.
//   - Transcoder.Instance prepares one: it decodes the first frame, so that most of
//     what can't be done is known before anything is sent. Data sets are then made
//     while they are read, frame after frame; memory is that of two frames, however
//     many there are.
//
// Pixel data are changed, and the attributes that say how they are kept:
// Photometric Interpretation, Planar Configuration, the offset tables; and those
// that say what was lost, when the new syntax loses. All other elements are the
// same. The SOP Instance UID stays: what is given on request is the same instance
// in another form, and nothing of it is kept. An icon (0088,0200) stays, native.
//
// Encapsulated pixel data have one fragment for each frame. Streamed, their basic
// offset table is empty (PS3.5 A.4), for it comes before what it points at; Spool
// makes the frames beforehand, in a file, and writes the table.
package transcode
