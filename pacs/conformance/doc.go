// Package conformance writes the DICOM Conformance Statement of PS3.2: what the
// archive offers others, what it asks of them, and what it does not do.
//
// # The tour
//
// Nothing of it is kept in a file: who buys a device reads what the program does
// that they have. A Source (source.go) is the dimse.Server as it is served, and
// what is known elsewhere: what the archive asks of others, the addresses of
// DICOMweb, the settings. The server is asked about each SOP class of the standard
// and about each transfer syntax, by the same decisions that negotiate an
// association (dimse.Server.Offer); attributes, statuses, character sets, TLS
// profiles and limits come from the tables that are worked by.
//
// [Source.Write] writes the sections in the order of PS3.2 Annex A: networking.go
// those of the application entity, models.go what single SOP classes have of their
// own, around.go media, character sets, security and DICOMweb, absent.go what is
// not supported: whatever of the standard the server refuses.
package conformance
