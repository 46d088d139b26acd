package transcode

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"io"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Source is an instance as it is kept.
type Source struct {
	Header *dicom.Header
	// Open reads ranges of what Header was scanned from.
	Open dicom.OpenRange
}

// maxInflated bounds a deflated data set: it is held in memory.
const maxInflated = 256 << 20

// Scan reads the header of a PS3.10 file; datasetOffset is where its data set
// begins and transferSyntax what that is encoded in. What is read later is read
// with ctx.
func Scan(ctx context.Context, file pacs.File, datasetOffset int64, transferSyntax string) (Source, error) {
	if ts, _ := dicom.LookupTransferSyntax(transferSyntax); ts.Deflated {
		return inflated(ctx, file, datasetOffset)
	}
	reader := &fileReader{ctx: ctx, file: file}
	defer reader.close()
	h, err := dicom.Scan(reader, dicom.ScanOptions{})
	if err != nil {
		return Source{}, err
	}
	return Source{h, func(offset, length int64) (io.ReadCloser, error) { return file.Open(ctx, offset, length) }}, nil
}

// inflated reads a deflated data set whole: nothing in it can be found otherwise.
func inflated(ctx context.Context, file pacs.File, datasetOffset int64) (Source, error) {
	body, err := file.Open(ctx, datasetOffset, file.Length-datasetOffset)
	if err != nil {
		return Source{}, err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bufio.NewReader(body)), maxInflated+1))
	if err == nil && len(data) > maxInflated {
		err = pacs.Errorf(pacs.TooLarge, "Its data set inflates to more than 256 MiB")
	}
	if err != nil {
		return Source{}, err
	}
	h, err := dicom.Scan(dicom.NewSkipReader(bytes.NewReader(data), 0, int64(len(data))), dicom.ScanOptions{TransferSyntax: dicom.ExplicitVRLittleEndian})
	return Source{h, func(offset, length int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data[offset : offset+length])), nil
	}}, err
}

// fileReader reads a file from its beginning and can skip, which opens it anew
// behind what is skipped.
type fileReader struct {
	ctx  context.Context
	file pacs.File
	at   int64
	body io.ReadCloser
}

func (f *fileReader) Read(p []byte) (int, error) {
	if f.at == f.file.Length {
		return 0, io.EOF
	}
	if f.body == nil {
		body, err := f.file.Open(f.ctx, f.at, f.file.Length-f.at)
		if err != nil {
			return 0, err
		}
		f.body = body
	}
	n, err := f.body.Read(p)
	f.at += int64(n)
	return n, err
}

func (f *fileReader) Skip(n int64) error {
	const worthwhile = 1 << 20
	if n > f.file.Length-f.at {
		return io.ErrUnexpectedEOF
	}
	if n < worthwhile {
		_, err := io.CopyN(io.Discard, f, n)
		return err
	}
	f.close()
	f.at += n
	return nil
}

func (f *fileReader) close() {
	if f.body != nil {
		_ = f.body.Close()
		f.body = nil
	}
}
