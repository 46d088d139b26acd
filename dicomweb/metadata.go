package dicomweb

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// seriesMetadata sends the metadata of a series, PS3.18 10.4.1.1.2, as they
// are stored: gzipped JSON, unpacked only for a client that can't take gzip.
func (s *service) seriesMetadata(r *request) error {
	form, err := negotiateModel(r.Request)
	if err != nil {
		return err
	}
	m, err := s.Packs.Metadata(r.Request.Context(), r.scope, r.study, r.series)
	if err != nil {
		return err
	}
	defer m.Body.Close()
	if s.jsonHead(r, form.media, form.tag(m.ETag)) {
		return nil
	}
	if form.xml {
		left := []io.ReadCloser{m.Body}
		return s.passModels(r, func() (io.ReadCloser, error) {
			if len(left) == 0 {
				return nil, io.EOF
			}
			body := left[0]
			left = nil
			return body, nil
		})
	}
	if !acceptsGzip(r.Request) {
		z, err := gzip.NewReader(m.Body)
		if err != nil {
			return pacs.Wrap(pacs.Internal, err, "The stored metadata can't be read.")
		}
		return s.pass(r, z)
	}
	r.Header("Content-Encoding", "gzip")
	if m.Length >= 0 {
		r.Header("Content-Length", strconv.FormatInt(m.Length, 10))
	}
	return s.pass(r, m.Body)
}

// instanceMetadata sends the metadata of one instance: its element of the
// series' array.
func (s *service) instanceMetadata(r *request) error {
	form, err := negotiateModel(r.Request)
	if err != nil {
		return err
	}
	m, err := s.Packs.Metadata(r.Request.Context(), r.scope, r.study, r.series)
	if err != nil {
		return err
	}
	defer m.Body.Close()
	z, err := gzip.NewReader(m.Body)
	if err != nil {
		return pacs.Wrap(pacs.Internal, err, "The stored metadata can't be read.")
	}
	found, err := findInstance(z, r.instance)
	if err != nil {
		return pacs.Wrap(pacs.Internal, err, "The stored metadata can't be read.")
	}
	if found == nil {
		return pacs.Errorf(pacs.NotFound, "There is no such instance.")
	}
	body := append(append([]byte{'['}, found...), ']')
	etag := ""
	if m.ETag != "" {
		etag = m.ETag + "-" + shortHash(r.instance)
	}
	if s.jsonHead(r, form.media, form.tag(etag)) {
		return nil
	}
	return s.sendModels(r, form, body)
}

// findInstance returns the instance of a DICOM JSON array that has the SOP
// Instance UID, nil if there is none.
func findInstance(src io.Reader, uid string) (json.RawMessage, error) {
	for raw, err := range eachInstance(src) {
		if err != nil {
			return nil, err
		}
		// Unpacking every instance only to look at its UID would be slow.
		if !bytes.Contains(raw, []byte(uid)) {
			continue
		}
		if has, err := uidOf(raw); err != nil {
			return nil, err
		} else if has == uid {
			return raw, nil
		}
	}
	return nil, nil
}

// eachInstance reads a DICOM JSON array one instance at a time. What it gives is
// good until the next; an error is the last.
func eachInstance(src io.Reader) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		d := json.NewDecoder(src)
		if t, err := d.Token(); err != nil || t != json.Delim('[') {
			yield(nil, fmt.Errorf("dicomweb: metadata are not a JSON array: %v", err))
			return
		}
		var raw json.RawMessage
		for d.More() {
			if err := d.Decode(&raw); err != nil {
				yield(nil, err)
				return
			}
			if !yield(raw, nil) {
				return
			}
		}
		if _, err := d.Token(); err != nil {
			yield(nil, err)
		}
	}
}

// uidOf is the SOP Instance UID of an instance in DICOM JSON, "" when it has none.
func uidOf(raw json.RawMessage) (string, error) {
	var i struct {
		SOPInstanceUID struct{ Value []string } `json:"00080018"`
	}
	if err := json.Unmarshal(raw, &i); err != nil || len(i.SOPInstanceUID.Value) != 1 {
		return "", err
	}
	return i.SOPInstanceUID.Value[0], nil
}

// studyMetadata sends the metadata of all series of a study, one after the
// other, as one array.
func (s *service) studyMetadata(r *request) error {
	form, err := negotiateModel(r.Request)
	if err != nil {
		return err
	}
	ctx := r.Request.Context()
	studies, _, err := s.Index.Studies(ctx, r.scope, pacs.StudyFilter{StudyInstanceUIDs: []string{r.study}, Page: pacs.Page{Limit: 1}})
	if err != nil {
		return err
	}
	if len(studies) == 0 {
		return pacs.Errorf(pacs.NotFound, "There is no such study.")
	}
	f := pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{r.study}}, Page: pacs.Page{Limit: pageSize}}
	var uids []string
	for {
		rows, next, err := s.Index.Series(ctx, r.scope, f)
		if err != nil {
			return err
		}
		for _, row := range rows {
			uids = append(uids, row.SeriesInstanceUID)
		}
		if next == "" {
			break
		}
		f.After = next
	}
	st := studies[0]
	if s.jsonHead(r, form.media, form.tag(fmt.Sprintf("%x-%x%s", st.UpdatedAt.UnixMicro(), st.InstanceCount, st.Amendment.Tag()))) {
		return nil
	}
	if form.xml {
		return s.passModels(r, func() (io.ReadCloser, error) {
			if len(uids) == 0 {
				return nil, io.EOF
			}
			uid := uids[0]
			uids = uids[1:]
			m, err := s.Packs.Metadata(ctx, r.scope, r.study, uid)
			if err != nil {
				return nil, err
			}
			return m.Body, nil
		})
	}

	var w io.Writer = r.Writer
	var end func() error
	begin := func() {
		if acceptsGzip(r.Request) {
			r.Header("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(r.Writer, gzip.BestSpeed)
			w, end = z, z.Close
		}
		r.Status(http.StatusOK)
	}
	if r.Request.Method == http.MethodHead {
		begin()
		r.Writer.WriteHeaderNow()
		return nil
	}
	written := false
	for n, uid := range uids {
		m, err := s.Packs.Metadata(ctx, r.scope, r.study, uid)
		if err == nil {
			if n == 0 {
				begin()
			}
			written, err = appendArray(w, m.Body, written)
			m.Body.Close()
		}
		if err != nil {
			if n > 0 {
				// Part of the array is out: it must not look whole.
				r.Writer.WriteHeaderNow()
			}
			return err
		}
	}
	if len(uids) == 0 {
		begin()
	}
	closing := "]"
	if !written {
		closing = "[]"
	}
	if _, err := io.WriteString(w, closing); err != nil {
		return err
	}
	if end != nil {
		return end()
	}
	return nil
}

// appendArray writes the elements of a gzipped JSON array, without its
// brackets, behind what was written before; begun tells whether that was
// anything, and the result whether it is now.
func appendArray(w io.Writer, gzipped io.Reader, begun bool) (bool, error) {
	z, err := gzip.NewReader(gzipped)
	if err != nil {
		return begun, err
	}
	src := bufio.NewReaderSize(z, 64<<10)
	first, err := firstByte(src)
	if err != nil {
		return begun, err
	}
	if first != '[' {
		return begun, fmt.Errorf("dicomweb: metadata are not a JSON array")
	}
	if first, err = firstByte(src); err != nil {
		return begun, err
	}
	if first == ']' {
		return begun, nil
	}
	separator := "["
	if begun {
		separator = ","
	}
	if _, err := io.WriteString(w, separator+string(first)); err != nil {
		return true, err
	}
	// The last bracket is held back: it may be followed by white space only.
	var held []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			b := buf[:n]
			if tail := bytes.TrimRight(b, " \t\r\n"); len(tail) == 0 {
				if len(held) < 1<<16 {
					held = append(held, b...)
				}
			} else {
				if _, err := w.Write(held); err != nil {
					return true, err
				}
				if _, err := w.Write(b[:len(tail)-1]); err != nil {
					return true, err
				}
				held = append(held[:0], b[len(tail)-1:]...)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return true, err
		}
	}
	if len(held) == 0 || held[0] != ']' {
		return true, fmt.Errorf("dicomweb: metadata end within a JSON array")
	}
	return true, nil
}

func firstByte(src *bufio.Reader) (byte, error) {
	for {
		b, err := src.ReadByte()
		if err != nil {
			return 0, short(err)
		}
		if !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b, nil
		}
	}
}

// jsonHead sets what all DICOM JSON answers have in common and reports whether
// the client has them already, in which case the answer is complete.
func (s *service) jsonHead(r *request, media, etag string) (done bool) {
	r.Header("Content-Type", media)
	r.Header("Cache-Control", changing)
	r.Writer.Header().Add("Vary", "Accept, Accept-Encoding, Cookie, Authorization")
	r.Header("X-Content-Type-Options", "nosniff")
	if etag == "" {
		return false
	}
	if !acceptsGzip(r.Request) {
		etag += "-u" // other bytes than the gzipped ones
	}
	r.Header("ETag", `"`+etag+`"`)
	if etagMatches(r.Request.Header.Values("If-None-Match"), etag) {
		r.Status(http.StatusNotModified)
		r.Writer.WriteHeaderNow()
		return true
	}
	return false
}

// pass sends a body of unknown or announced length.
func (s *service) pass(r *request, src io.Reader) error {
	r.Status(http.StatusOK)
	if r.Request.Method == http.MethodHead {
		r.Writer.WriteHeaderNow()
		return nil
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	_, err := io.CopyBuffer(onlyWriter{r.Writer}, src, *buf)
	return err
}

// sendJSON sends a text that is in memory, gzipped where that is wanted
// and worth it.
func (s *service) sendJSON(r *request, body []byte) error {
	if len(body) > 1400 && acceptsGzip(r.Request) {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		_, _ = z.Write(body) // to memory
		_ = z.Close()
		body = b.Bytes()
		r.Header("Content-Encoding", "gzip")
	}
	r.Header("Content-Length", strconv.Itoa(len(body)))
	r.Status(http.StatusOK)
	r.Writer.WriteHeaderNow()
	if r.Request.Method == http.MethodHead {
		return nil
	}
	_, err := r.Writer.Write(body)
	return err
}

// acceptsGzip evaluates Accept-Encoding, RFC 9110 12.5.3.
func acceptsGzip(r *http.Request) bool {
	gzipQ, anyQ := -1.0, -1.0
	for _, header := range r.Header.Values("Accept-Encoding") {
		for _, entry := range strings.Split(header, ",") {
			name, params, _ := strings.Cut(entry, ";")
			q := 1.0
			if v, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); ok {
				q, _ = strconv.ParseFloat(v, 64)
			}
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip", "x-gzip":
				gzipQ = q
			case "*":
				anyQ = q
			}
		}
	}
	if gzipQ >= 0 {
		return gzipQ > 0
	}
	return anyQ > 0
}
