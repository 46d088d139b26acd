package pacs

import "io"

// SeriesMetadata is the DICOM JSON (PS3.18 Annex F) of the current instances
// of a series, in instance order, as one gzipped array. The caller closes Body.
type SeriesMetadata struct {
	Body   io.ReadCloser
	Length int64  // of Body in bytes; -1 when unknown
	ETag   string // changes when the series changes; without quotes
}
