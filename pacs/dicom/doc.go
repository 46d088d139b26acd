// Package dicom holds the data set layer of the archive: DICOM PS3.5 (data
// structures and encoding), PS3.6 (dictionary), PS3.10 (files) and the DICOM
// JSON model of PS3.18 Annex F. It knows nothing of networks, databases or the
// archive's own words.
//
// # Reading
//
// [Scan] pulls one instance from a stream and returns its [Header]: the
// attributes as a [Dataset], and for everything big (pixel data, long binary
// values) only where in the stream it lies, as a [Range]. Nothing big is ever
// held in memory, every length is bounded before anything is allocated for it,
// and a stream that ends too early is an error wherever it ends. Scan reads its
// reader to EOF exactly once, so an io.TeeReader in front of it can journal the
// bytes:
//
//	h, err := dicom.Scan(io.TeeReader(conn, journal), dicom.ScanOptions{TransferSyntax: ts})
//	name := h.Dataset.String(dicom.TagPatientName)
//
// [Header.Frames] turns the recorded ranges into byte ranges per frame. A reader
// that can jump (see [Skipper] and [NewSkipReader]) is scanned without reading
// the bulk at all.
//
// # Data sets
//
// A [Dataset] keeps elements in stream order with the value bytes as they came.
// Accessors decode on demand: [Dataset.String], [Dataset.Strings],
// [Dataset.Text], [Dataset.Int], [Dataset.Floats], [Dataset.Items]. Text is decoded by the data
// set's own Specific Character Set (items inherit it from what contains them)
// and a configurable fallback for the many devices that declare none or the
// wrong one; see [DecodeText].
//
// # Writing
//
// Data sets we make ourselves are UTF-8 and little endian: [Dataset.SetString],
// [Dataset.SetInts], [Dataset.SetBytes], [Dataset.SetSequence] build them,
// [AppendDataset] encodes them, [AppendFileMeta] writes the Part 10 head for a
// data set that came over the network, [AppendJSON] gives the DICOM JSON model,
// [AppendXML] the Native DICOM Model of PS3.19. [ParseJSON], [JSONReader] and
// [ParseXML] read them again, also as others write them.
//
// # Changing
//
// [Amend] serves a stored instance with other values of some attributes. It
// reads the header only and gives an [Amended], which is read like a file: new
// bytes where something changes, ranges of the stored file for all else. See
// amend.go for what changes, trace.go for what the scanner records for it, and
// amended.go for reading.
package dicom
