package publish

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"slices"
	"strconv"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
)

// candidate is a record on its way into a pack, described. What the header
// scan cost in memory is gone by then.
type candidate struct {
	record   *journal.Record
	patient  pacs.Patient
	study    pacs.Study
	series   pacs.Series
	instance pacs.Instance // its version and place come later
	metadata []byte        // DICOM JSON
	amended  bool          // whose it is goes by an administrator's word
	note     *index.Note   // what it says when it is a rejection note
}

// examine reads a record's header again, and for the hash of its data set the
// rest, unless the journal has it. That the bytes are still those that were
// received is found out when they are copied to the pack.
func examine(r *journal.Record) (*candidate, error) {
	header, err := r.Header()
	if err != nil {
		return nil, fmt.Errorf("%w: a record that was received as sound can't be read: %w", journal.ErrDamaged, err)
	}
	sum := r.SHA256
	if sum == nil {
		if sum, err = readSum(r); err != nil {
			return nil, err
		}
	}
	ds := header.Dataset
	ds.SetFallbackCharset(r.Charset)
	c := &candidate{
		record:   r,
		patient:  describePatient(ds, r.Facility),
		study:    describeStudy(ds),
		series:   describeSeries(ds),
		instance: describeInstance(header),
		note:     describeNote(header.Dataset),
		metadata: dicom.AppendJSON(nil, ds, dicom.JSONOptions{BulkURI: bulkURI(header, nil)}),
	}
	c.instance.SHA256 = sum
	c.instance.ReceivedAt = r.ReceivedAt
	c.instance.Charset = fallbackOf(r.Charset)
	if r.Correction != nil && r.Correction.Patient != nil {
		given := r.Correction.Patient.Patient()
		c.amended = given != c.patient
		c.patient = given
	}
	return c, nil
}

// readSum is the SHA-256 of a record's data set.
func readSum(r *journal.Record) ([]byte, error) {
	body, hash := r.Checked(), sha256.New()
	_, err := io.CopyN(io.Discard, body, r.DatasetOffset)
	if err == nil {
		_, err = io.Copy(hash, body)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	return hash.Sum(nil), nil
}

// belongsTo says whether two instances of a study are of the same patient.
func (c *candidate) belongsTo(other *candidate) bool {
	return c.patient.Issuer == other.patient.Issuer && c.patient.PatientID == other.patient.PatientID
}

// number orders instances as the index does.
func (c *candidate) number() int {
	if c.instance.Number == nil {
		return 0
	}
	return *c.instance.Number
}

// pack is a pack ready to be stored, and what it brings to the index.
type pack struct {
	size     int64
	body     func() io.Reader // from the start, may be called again
	addition index.Addition
}

// build makes a pack of candidates of one series, in instance order. attempt
// is 0, or counts up while the key that follows is one that was retired.
func build(facility string, candidates []*candidate, attempt int) (*pack, error) {
	slices.SortFunc(candidates, func(a, b *candidate) int {
		return cmp.Or(
			cmp.Compare(a.number(), b.number()),
			cmp.Compare(a.record.SOPInstanceUID, b.record.SOPInstanceUID))
	})
	first := candidates[0]
	manifest := Manifest{Format: 1, Facility: facility, Study: first.record.StudyInstanceUID, Series: first.record.SeriesInstanceUID}
	members := make([]member, 0, len(candidates)+2)
	metadata := newMetadataWriter(gzip.DefaultCompression)
	for _, c := range candidates {
		r := c.record
		members = append(members, member{name: r.SOPInstanceUID + ".dcm", size: r.Length, crc32: r.CRC32, open: r.Checked})
		manifest.Instances = append(manifest.Instances, ManifestEntry{
			SOPInstanceUID: r.SOPInstanceUID,
			Version:        c.instance.Version,
			SHA256:         hex.EncodeToString(c.instance.SHA256),
			Sender:         r.Sender,
			Remote:         r.Remote,
			Channel:        string(r.Channel),
			Charset:        r.Charset,
			ReceivedAt:     r.ReceivedAt,
			Correction:     r.Correction,
		})
		if err := metadata.add(c.metadata); err != nil {
			return nil, err
		}
	}
	meta, err := metadata.close()
	if err != nil {
		return nil, err
	}
	manifestMember, manifestText, err := manifest.encode()
	if err != nil {
		return nil, err
	}
	members = append(members, inMemory(metadataName, meta), manifestMember)
	size := layout(members)
	return &pack{
		size:     size,
		body:     func() io.Reader { return zipReader(members) },
		addition: addition(facility, candidates, members, packKey(manifest, manifestText, attempt), size),
	}, nil
}

// packKey follows from the content, so that publishing the same records again
// overwrites the same object. The object of a retired pack is about to be
// deleted: attempt makes another key for the same content.
func packKey(m Manifest, manifestText []byte, attempt int) string {
	if attempt > 0 {
		manifestText = strconv.AppendInt(slices.Clone(manifestText), int64(attempt), 10)
	}
	sum := sha256.Sum256(manifestText)
	return "packs/" + m.Study + "/" + m.Series + "/" + hex.EncodeToString(sum[:16]) + ".zip"
}

func addition(facility string, candidates []*candidate, members []member, key string, size int64) index.Addition {
	first, meta := candidates[0], members[len(candidates)]
	a := index.Addition{
		Facility: facility,
		Patient:  first.patient,
		Study:    first.study,
		Series:   first.series,
		Pack:     index.Pack{Key: key, Bytes: size, MetaOffset: meta.offset, MetaLength: meta.size},
	}
	a.Study.ReceivedAt = first.record.ReceivedAt
	for i, c := range candidates {
		a.Amended = a.Amended || c.amended
		in := c.instance
		in.Location.PackKey = key
		in.Location.Offset = members[i].offset
		in.Location.Length = c.record.Length
		if in.ReceivedAt.Before(a.Study.ReceivedAt) {
			a.Study.ReceivedAt = in.ReceivedAt
		}
		a.Instances = append(a.Instances, index.NewInstance{Instance: in, Sender: c.record.Sender, Channel: c.record.Channel, Note: c.note})
	}
	return a
}

func inMemory(name string, content []byte) member {
	return member{name: name, size: int64(len(content)), crc32: crc32.ChecksumIEEE(content), open: func() io.Reader { return bytes.NewReader(content) }}
}

// metadataWriter builds the gzipped DICOM JSON array of a pack or a series.
type metadataWriter struct {
	buffer bytes.Buffer
	zip    *gzip.Writer
	count  int
}

func newMetadataWriter(level int) *metadataWriter {
	w := &metadataWriter{}
	w.zip, _ = gzip.NewWriterLevel(&w.buffer, level) // the levels we have are valid
	return w
}

func (w *metadataWriter) add(object []byte) error {
	separator := []byte{','}
	if w.count == 0 {
		separator[0] = '['
	}
	w.count++
	_, err := w.zip.Write(separator)
	if err == nil {
		_, err = w.zip.Write(object)
	}
	return err
}

func (w *metadataWriter) close() ([]byte, error) {
	end := "]"
	if w.count == 0 {
		end = "[]"
	}
	_, err := io.WriteString(w.zip, end)
	err = errors.Join(err, w.zip.Close()) // what is still inside comes out here
	return w.buffer.Bytes(), err
}

// bulkURI addresses a value that metadata leaves out. The range lets the
// server answer with one read; it is clamped to the instance there. It counts
// in the file as it was received.
func bulkURI(h *dicom.Header, compressed *pacs.Compression) func(path string, r dicom.Range) string {
	ds := h.Dataset
	base := "/dicom-web/studies/" + ds.String(dicom.TagStudyInstanceUID) +
		"/series/" + ds.String(dicom.TagSeriesInstanceUID) +
		"/instances/" + ds.String(dicom.TagSOPInstanceUID) + "/bulkdata/"
	kept := pacs.Location{DatasetOffset: h.DatasetOffset, Length: h.Length}
	if px := h.PixelData; px != nil {
		kept.PixelData = &pacs.PixelLocation{Offset: px.Offset}
	}
	return func(path string, r dicom.Range) string {
		if compressed != nil {
			r.Offset = compressed.Received(kept, r.Offset)
		}
		return base + (&url.URL{Path: path}).EscapedPath() + "?offset=" + strconv.FormatInt(r.Offset, 10) + "&length=" + strconv.FormatInt(r.Length, 10)
	}
}

// errContent marks a failure that lies in the records themselves: repeating
// does not help.
var errContent = errors.New("can't be published")

func contentError(err error) error { return fmt.Errorf("%w: %w", errContent, err) }
