package dimse

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Limits of a data set that is decoded: an identifier, an attribute list, an
// action's information. Its size is a Service's MaxDataSet.
const (
	maxIdentifierDepth = 16
	// bytesPerElement is what an element or item takes in a data set at least,
	// on average; more of them cost the receiver many times what they cost the
	// sender. A reference in a storage commitment has 3 in over 100 bytes.
	bytesPerElement = 16
)

var errDataSetTooLong = errors.New("the data set is too long")

// decodeDataSet reads a data set of at most limit bytes to its end. What can't
// be decoded is an error; the data set is then still read to its end, unless
// reading fails.
func decodeDataSet(r io.Reader, transferSyntax string, limit int64) (*dicom.Dataset, error) {
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: over %d bytes", errDataSetTooLong, limit)
	}
	return parseDataSet(raw, transferSyntax)
}

// parseDataSet decodes a data set. Nothing of it is left out: a value that the
// scanner would leave in its stream is an error.
func parseDataSet(raw []byte, transferSyntax string) (*dicom.Dataset, error) {
	if len(raw) == 0 {
		return new(dicom.Dataset), nil
	}
	h, err := dicom.Scan(bytes.NewReader(raw), dicom.ScanOptions{
		TransferSyntax: transferSyntax, MaxValue: len(raw) + 1, MaxDepth: maxIdentifierDepth,
		MaxElements: max(len(raw)/bytesPerElement, 1024),
	})
	if err != nil {
		return nil, err
	}
	if err := whole(h.Dataset); err != nil {
		return nil, err
	}
	return h.Dataset, nil
}

// whole says whether every value is at hand.
func whole(ds *dicom.Dataset) error {
	for i := range ds.Elements {
		e := &ds.Elements[i]
		if e.Bulk != nil {
			return fmt.Errorf("%s has no place in this data set", e.Tag)
		}
		for _, item := range e.Items {
			if err := whole(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeDataSet encodes what goes out, in one of the two syntaxes in which data
// sets are written.
func encodeDataSet(ds *dicom.Dataset, transferSyntax string) ([]byte, error) {
	return dicom.AppendDataset(nil, ds, transferSyntax)
}
