package dicomweb

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// modelForm is how data sets without bulk data are sent: in the DICOM JSON
// model (PS3.18 Annex F), all in one array, or in the Native DICOM Model
// (PS3.19 A.1), one document each.
type modelForm struct {
	media string // of the answer in JSON
	xml   bool
}

// negotiateModel chooses the form of an answer that holds data sets.
//
// Clients of old say multipart/related; type=application/octet-stream to every
// resource, and some put JSON into multipart: who accepts nothing else gets the
// plain JSON that they can read after all (OHIF issue 3726).
func negotiateModel(r *http.Request) (modelForm, error) {
	offers := []offer{
		{media: mediaDICOMJSON},
		{media: mediaJSON},
		{multipart: true, media: mediaDICOMXML},
		{media: mediaDICOMXML},
	}
	o, err := negotiate(r, offers)
	if err != nil {
		if _, plain := negotiate(r, []offer{{multipart: true, media: mediaDICOMJSON}, {multipart: true, media: mediaJSON}, {multipart: true, media: mediaOctets}}); plain == nil {
			return modelForm{media: mediaDICOMJSON}, nil
		}
		return modelForm{}, err
	}
	if o.media == mediaDICOMXML {
		return modelForm{xml: true}, nil
	}
	return modelForm{media: o.media}, nil
}

// tag tells the entity tags of the forms apart.
func (f modelForm) tag(etag string) string {
	if f.xml && etag != "" {
		return etag + "-x"
	}
	return etag
}

// xmlAnswer writes documents as the parts of a multipart/related body.
type xmlAnswer struct {
	w        io.Writer
	boundary string
	parts    int
	buf      []byte
}

// xmlHead sets the Content-Type of an answer with documents as parts.
func xmlHead(r *request) (boundary string) {
	boundary = "tasvir-" + shortHash(r.Request.URL.String()) + shortHash(r.Request.URL.Path)
	r.Header("Content-Type", `multipart/related; type="`+mediaDICOMXML+`"; boundary=`+boundary)
	return boundary
}

func (x *xmlAnswer) add(p dicom.Parsed) error {
	x.buf = x.buf[:0]
	if x.parts++; x.parts > 1 {
		x.buf = append(x.buf, "\r\n"...)
	}
	x.buf = append(x.buf, "--"+x.boundary+"\r\nContent-Type: "+mediaDICOMXML+"; charset=utf-8\r\n\r\n"...)
	x.buf = dicom.AppendXML(x.buf, p.Dataset, dicom.XMLOptions{BulkURI: p.BulkURI})
	_, err := x.w.Write(x.buf)
	return err
}

func (x *xmlAnswer) end() error {
	_, err := io.WriteString(x.w, "\r\n--"+x.boundary+"--\r\n")
	return err
}

// modelOptions bound what is read of the archive's own metadata.
var modelOptions = dicom.ParseOptions{MaxBytes: 256 << 20, MaxElements: 10_000_000}

// addAll adds the data sets of a JSON array; only those of one instance unless
// uid is "".
func (x *xmlAnswer) addAll(src io.Reader, uid string) error {
	in := dicom.NewJSONReader(src, modelOptions)
	for {
		p, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return pacs.Wrap(pacs.Internal, err, "The stored metadata can't be read.")
		}
		if uid != "" && p.String(dicom.TagSOPInstanceUID) != uid {
			continue
		}
		if err := x.add(p); err != nil {
			return err
		}
	}
}

// sendModels sends data sets that are in memory as a JSON array: the answer to
// a search, or the metadata of one instance.
func (s *service) sendModels(r *request, form modelForm, array []byte) error {
	if !form.xml {
		return s.sendJSON(r, array)
	}
	if string(array) == "[]" {
		// A multipart body has parts: no results are no content (10.6.3.3).
		for _, name := range bodyHeaders {
			if name != "Warning" {
				r.Writer.Header().Del(name)
			}
		}
		r.Status(http.StatusNoContent)
		r.Writer.WriteHeaderNow()
		return nil
	}
	var b bytes.Buffer
	x := xmlAnswer{w: &b, boundary: xmlHead(r)}
	if err := x.addAll(bytes.NewReader(array), ""); err != nil {
		return err
	}
	if err := x.end(); err != nil {
		return err
	}
	return s.sendJSON(r, b.Bytes())
}

// passModels converts gzipped JSON arrays, one after the other, to documents on
// the way. next opens them, io.EOF after the last.
func (s *service) passModels(r *request, next func() (io.ReadCloser, error)) error {
	body, err := next()
	if err != nil && err != io.EOF {
		return err
	}
	x := xmlAnswer{boundary: xmlHead(r), w: r.Writer}
	var z *gzip.Writer
	if acceptsGzip(r.Request) {
		r.Header("Content-Encoding", "gzip")
		z, _ = gzip.NewWriterLevel(r.Writer, gzip.BestSpeed)
		x.w = z
	}
	r.Status(http.StatusOK)
	if r.Request.Method == http.MethodHead {
		if err == nil {
			body.Close()
		}
		r.Writer.WriteHeaderNow()
		return nil
	}
	for ; err != io.EOF; body, err = next() {
		if err == nil {
			var in *gzip.Reader
			if in, err = gzip.NewReader(body); err == nil {
				err = x.addAll(in, "")
			}
			body.Close()
		}
		if err != nil {
			// Part of it may be out: it must not look whole.
			r.Writer.WriteHeaderNow()
			return err
		}
	}
	if err := x.end(); err != nil {
		return err
	}
	if z != nil {
		return z.Close()
	}
	return nil
}

// sendModelStatus sends one data set with a status: the answer to a request to
// store.
func (s *service) sendModelStatus(r *request, form modelForm, status int, d dataset) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if form.xml {
		p, err := dicom.ParseJSON(body, modelOptions)
		if err != nil {
			return err
		}
		body = dicom.AppendXML(nil, p.Dataset, dicom.XMLOptions{})
		r.Header("Content-Type", mediaDICOMXML)
	}
	r.Header("Content-Length", strconv.Itoa(len(body)))
	r.Status(status)
	_, err = r.Writer.Write(body)
	return err
}
