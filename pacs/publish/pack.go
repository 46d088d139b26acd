package publish

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"slices"
	"strconv"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
)

// candidate is a record on its way into a pack.
type candidate struct {
	record  *journal.Record
	header  *dicom.Header
	hash    []byte
	version int
}

// examine reads a record again: its header, and the hash of its data set.
func examine(r *journal.Record) (*candidate, error) {
	header, err := dicom.Scan(dicom.NewSkipReader(r.Body(), 0, r.Length), dicom.ScanOptions{})
	if err != nil {
		return nil, fmt.Errorf("a record that was received as sound can't be read: %w", err)
	}
	header.Dataset.SetFallbackCharset(r.Charset)
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(r.Body(), r.DatasetOffset, r.Length-r.DatasetOffset)); err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	return &candidate{record: r, header: header, hash: hash.Sum(nil)}, nil
}

// pack is a pack ready to be stored, and what it brings to the index.
type pack struct {
	size     int64
	body     func() io.Reader // from the start, may be called again
	addition index.Addition
}

// build makes a pack of candidates of one series, in instance order.
func build(facility string, candidates []*candidate) (*pack, error) {
	slices.SortFunc(candidates, func(a, b *candidate) int {
		return cmp.Or(
			cmp.Compare(instanceNumber(a), instanceNumber(b)),
			cmp.Compare(a.record.SOPInstanceUID, b.record.SOPInstanceUID))
	})
	first := candidates[0]
	manifest := Manifest{Format: 1, Facility: facility, Study: first.record.StudyInstanceUID, Series: first.record.SeriesInstanceUID}
	members := make([]member, 0, len(candidates)+2)
	metadata := newMetadataWriter()
	for _, c := range candidates {
		r := c.record
		members = append(members, member{name: r.SOPInstanceUID + ".dcm", size: r.Length, crc32: r.CRC32, open: func() io.Reader { return r.Body() }})
		manifest.Instances = append(manifest.Instances, ManifestEntry{
			SOPInstanceUID: r.SOPInstanceUID,
			Version:        c.version,
			SHA256:         hex.EncodeToString(c.hash),
			Sender:         r.Sender,
			Remote:         r.Remote,
			Channel:        string(r.Channel),
			Charset:        r.Charset,
			ReceivedAt:     r.ReceivedAt,
		})
		if err := metadata.add(c.header); err != nil {
			return nil, err
		}
	}
	meta, err := metadata.close()
	if err != nil {
		return nil, err
	}
	manifestJSON, err := json.MarshalIndent(manifest, "", " ")
	if err != nil {
		return nil, err
	}
	members = append(members, inMemory(metadataName, meta), inMemory(manifestName, manifestJSON))
	size := layout(members)
	return &pack{
		size:     size,
		body:     func() io.Reader { return zipReader(members) },
		addition: describe(facility, candidates, members, packKey(manifest, manifestJSON), size),
	}, nil
}

// packKey follows from the content, so that publishing the same records again
// overwrites the same object.
func packKey(m Manifest, manifestJSON []byte) string {
	sum := sha256.Sum256(manifestJSON)
	return "packs/" + m.Study + "/" + m.Series + "/" + hex.EncodeToString(sum[:16]) + ".zip"
}

func describe(facility string, candidates []*candidate, members []member, key string, size int64) index.Addition {
	first := candidates[0].header.Dataset
	meta := members[len(candidates)]
	a := index.Addition{
		Facility: facility,
		Patient:  describePatient(first, facility),
		Study:    describeStudy(first),
		Series:   describeSeries(first),
		Pack:     index.Pack{Key: key, Bytes: size, MetaOffset: meta.offset, MetaLength: meta.size},
	}
	a.Study.ReceivedAt = candidates[0].record.ReceivedAt
	for i, c := range candidates {
		in := describeInstance(c.header)
		in.SHA256 = c.hash
		in.Version = c.version
		in.ReceivedAt = c.record.ReceivedAt
		in.Location.PackKey = key
		in.Location.Offset = members[i].offset
		in.Location.Length = c.record.Length
		if in.ReceivedAt.Before(a.Study.ReceivedAt) {
			a.Study.ReceivedAt = in.ReceivedAt
		}
		a.Instances = append(a.Instances, index.NewInstance{Instance: in, Sender: c.record.Sender, Channel: c.record.Channel})
	}
	return a
}

func inMemory(name string, content []byte) member {
	return member{name: name, size: int64(len(content)), crc32: crc32.ChecksumIEEE(content), open: func() io.Reader { return bytes.NewReader(content) }}
}

func instanceNumber(c *candidate) int {
	if n := number(c.header.Dataset, dicom.TagInstanceNumber); n != nil {
		return *n
	}
	return 0
}

// metadataWriter builds the gzipped DICOM JSON array of a pack.
type metadataWriter struct {
	buffer bytes.Buffer
	zip    *gzip.Writer
	object []byte
	count  int
}

func newMetadataWriter() *metadataWriter {
	w := &metadataWriter{}
	w.zip = gzip.NewWriter(&w.buffer)
	return w
}

func (w *metadataWriter) add(h *dicom.Header) error {
	separator := byte(',')
	if w.count == 0 {
		separator = '['
	}
	w.count++
	w.object = append(w.object[:0], separator)
	w.object = dicom.AppendJSON(w.object, h.Dataset, dicom.JSONOptions{BulkURI: bulkURI(h)})
	_, err := w.zip.Write(w.object)
	return err
}

func (w *metadataWriter) close() ([]byte, error) {
	_, err := w.zip.Write([]byte{']'})
	err = errors.Join(err, w.zip.Close()) // what is still inside comes out here
	return w.buffer.Bytes(), err
}

// bulkURI addresses a value that metadata leaves out. The range lets the
// server answer with one read; it is clamped to the instance there.
func bulkURI(h *dicom.Header) func(path string, r dicom.Range) string {
	ds := h.Dataset
	base := "/dicom-web/studies/" + ds.String(dicom.TagStudyInstanceUID) +
		"/series/" + ds.String(dicom.TagSeriesInstanceUID) +
		"/instances/" + ds.String(dicom.TagSOPInstanceUID) + "/bulkdata/"
	return func(path string, r dicom.Range) string {
		return base + (&url.URL{Path: path}).EscapedPath() + "?offset=" + strconv.FormatInt(r.Offset, 10) + "&length=" + strconv.FormatInt(r.Length, 10)
	}
}

// errContent marks a failure that lies in the records themselves: repeating
// does not help.
var errContent = errors.New("can't be published")

func contentError(err error) error { return fmt.Errorf("%w: %w", errContent, err) }
