// Package stow stores what the archive keeps at other people's DICOMweb nodes:
// Store Instances as user agent, PS3.18 10.5. Package forward has it sent.
//
// A request is multipart/related with whole PS3.10 files, streamed from where they
// are kept and of a length that is said beforehand. An instance counts as stored
// when the answer names it so.
package stow
