package dicomweb

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// store takes instances in: Store Instances, PS3.18 10.5. Each part of the
// body is streamed into the Receiver and durable before the next one is read;
// what was complete stays, whatever happens to the rest.
func (s *service) store(r *request) error {
	form, err := negotiateModel(r.Request)
	if err != nil {
		return err
	}
	if r.facility == "" {
		return pacs.Errorf(pacs.Forbidden, "Storing needs an account or token that belongs to a facility, because every image has an owner.")
	}
	parts, err := s.partsOf(r.Request)
	if err != nil {
		return err
	}
	defer closeParts(parts)
	st := storage{service: s, request: r}
	for n := 1; ; n++ {
		p, err := parts.next()
		if err == io.EOF {
			break
		}
		if err == nil && n > s.MaxParts {
			err = pacs.Errorf(pacs.TooLarge, "A request may hold at most %d instances. The rest was not read.", s.MaxParts)
		}
		if err != nil {
			if n == 1 {
				return err
			}
			st.broken(err)
			break
		}
		if done, err := st.part(p); err != nil {
			return err
		} else if done {
			break
		}
	}
	if len(st.stored) == 0 && len(st.failed) == 0 && len(st.other) == 0 {
		return pacs.Errorf(pacs.Invalid, "The request holds no instance. Send each as one part with Content-Type: application/dicom.")
	}
	return st.answer(form)
}

// instanceParts yields the instances of a request, one after the other.
type instanceParts interface {
	// next ends what it gave before. io.EOF after the last one.
	next() (incomingPart, error)
}

// incomingPart is one instance on the wire.
type incomingPart struct {
	contentType string // "" when the part has none
	location    string // Content-Location, or cid: and Content-ID
	io.Reader

	// err says why an instance that was put together of several parts is none;
	// class and instance are its UIDs, as far as they are known.
	err             error
	class, instance string
}

// partsOf reads the head of a request to store.
func (s *service) partsOf(r *http.Request) (instanceParts, error) {
	body, err := decoded(r)
	if err != nil {
		return nil, err
	}
	ranges := parseAccept(r.Header.Get("Content-Type"))
	var ct mediaRange
	if len(ranges) > 0 {
		ct = ranges[0]
	}
	switch {
	case ct.media == mediaDICOM:
		return &singlePart{body: body}, nil
	case isModel(ct.media):
		return s.composed(&singlePart{body: body, contentType: ct.media}), nil
	case ct.media != "multipart/related":
		return nil, pacs.Errorf(pacs.Unsupported, `Send instances with Content-Type: multipart/related; type="application/dicom"; boundary=…, or a single one as application/dicom.`)
	}
	kind := ct.params["type"]
	if kind != "" && kind != mediaDICOM && !isModel(kind) {
		return nil, pacs.Errorf(pacs.Unsupported, `Parts of type %s can't be stored. Send whole instances, type="application/dicom", or metadata and bulk data, type="application/dicom+json" or type="application/dicom+xml".`, clip(kind))
	}
	boundary := ct.params["boundary"]
	// RFC 2046 5.1.1 allows 70 characters.
	if boundary == "" || len(boundary) > 70 {
		return nil, pacs.Errorf(pacs.Invalid, "The Content-Type names no usable boundary between the parts (1 to 70 characters).")
	}
	parts := newMultipart(body, boundary)
	if isModel(kind) {
		return s.composed(parts), nil
	}
	if kind == "" {
		return &undeclared{service: s, instanceParts: parts}, nil
	}
	return parts, nil
}

// undeclared are the parts of a body whose type is not declared: that of the
// first part is taken for it.
type undeclared struct {
	*service
	instanceParts
	begun bool
}

func (u *undeclared) next() (incomingPart, error) {
	p, err := u.instanceParts.next()
	if u.begun || err != nil {
		return p, err
	}
	u.begun = true
	if media, _, _ := strings.Cut(p.contentType, ";"); isModel(strings.ToLower(strings.TrimSpace(media))) {
		c := u.composed(u.instanceParts)
		c.first = &p
		u.instanceParts = c
		return c.next()
	}
	return p, nil
}

func (u *undeclared) close() { closeParts(u.instanceParts) }

// decoded is the body of a request without its Content-Encoding.
func decoded(r *http.Request) (io.Reader, error) {
	switch e := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); e {
	case "", "identity":
		return r.Body, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, pacs.Wrap(pacs.Invalid, err, "The body is not what its Content-Encoding says, gzip.")
		}
		return z, nil
	case "deflate":
		z, err := zlib.NewReader(r.Body)
		if err != nil {
			return nil, pacs.Wrap(pacs.Invalid, err, "The body is not what its Content-Encoding says, deflate (RFC 1950).")
		}
		return z, nil
	default:
		return nil, pacs.Errorf(pacs.Unsupported, "A body with Content-Encoding: %s is not taken. Send it as it is, or with gzip or deflate.", clip(e))
	}
}

// closer is implemented by parts that hold a file.
type closer interface{ close() }

func closeParts(p instanceParts) {
	if c, ok := p.(closer); ok {
		c.close()
	}
}

// singlePart is a body that is one instance, or metadata.
type singlePart struct {
	body        io.Reader
	contentType string // application/dicom when ""
}

func (p *singlePart) next() (incomingPart, error) {
	if p.body == nil {
		return incomingPart{}, io.EOF
	}
	body := p.body
	p.body = nil
	return incomingPart{contentType: cmp.Or(p.contentType, mediaDICOM), Reader: body}, nil
}

// maxPartHead bounds what may come between two instances: the headers of a
// part, and before the first one a preamble.
const maxPartHead = 64 << 10

// multipartBody reads multipart/related (RFC 2387) with the parser of the
// standard library, on a short leash outside of the parts.
type multipartBody struct {
	leash leash
	mr    *multipart.Reader
	part  *multipart.Part
}

func newMultipart(body io.Reader, boundary string) *multipartBody {
	m := &multipartBody{leash: leash{src: body, left: -1}}
	m.mr = multipart.NewReader(&m.leash, boundary)
	return m
}

var errPartHead = errors.New("dicomweb: the head of a part is too long")

func (m *multipartBody) next() (incomingPart, error) {
	first := m.part == nil
	if !first {
		// The parser would skip what is left of the part as well, but on the
		// leash.
		if _, err := io.Copy(io.Discard, m.part); err != nil {
			return incomingPart{}, brokenBody(err)
		}
	}
	m.leash.left = maxPartHead
	p, err := m.mr.NextRawPart()
	m.leash.left = -1
	switch {
	case err == nil:
		m.part = p
		location := p.Header.Get("Content-Location")
		if id := p.Header.Get("Content-ID"); location == "" && id != "" {
			location = "cid:" + strings.Trim(id, "<> ")
		}
		return incomingPart{contentType: p.Header.Get("Content-Type"), location: location, Reader: p}, nil
	case err == io.EOF && !first:
		return incomingPart{}, io.EOF
	case errors.Is(err, errPartHead):
		if first {
			return incomingPart{}, pacs.Errorf(pacs.Invalid, "The body doesn't begin with a part: the boundary of the Content-Type does not occur in its first %d KiB, or the headers there are longer.", maxPartHead>>10)
		}
		return incomingPart{}, pacs.Errorf(pacs.Invalid, "The headers of a part are longer than %d KiB.", maxPartHead>>10)
	case first:
		// Among them io.EOF: the boundary never came.
		if isTooLarge(err) {
			return incomingPart{}, brokenBody(err)
		}
		return incomingPart{}, pacs.Wrap(pacs.Invalid, err, "The body is empty, breaks off in its first part's headers, or its boundary is not the one of the Content-Type.")
	}
	return incomingPart{}, brokenBody(err)
}

// leash passes a stream on and fails after left bytes; -1 is no limit.
type leash struct {
	src  io.Reader
	left int64
}

func (l *leash) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, errPartHead
	}
	if l.left > 0 && int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.src.Read(p)
	if l.left > 0 {
		l.left -= int64(n)
	}
	return n, err
}

// brokenBody is the error for a body that ends or fails within the parts.
func brokenBody(err error) error {
	if isTooLarge(err) {
		return pacs.Wrap(pacs.TooLarge, err, "The request is larger than this server takes.")
	}
	return pacs.Wrap(pacs.Invalid, err, "The body breaks off: its closing boundary is missing. Instances that were complete are stored; send the others again.")
}

func isTooLarge(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.As(err, &tooLarge)
}

// storage is the account of one request to store.
type storage struct {
	*service
	*request
	stored, failed, other []dataset
	unfit                 int    // of stored: kept, and not to be retrieved
	study                 string // of all that was stored; "" when several
}

// part stores one instance. done tells that nothing more can be read. An error
// ends the request with a problem.
func (st *storage) part(p incomingPart) (done bool, err error) {
	if p.err != nil {
		st.refuse(p.class, p.instance, p.err)
		return false, nil
	}
	if t, _, _ := strings.Cut(p.contentType, ";"); t != "" && !strings.EqualFold(strings.TrimSpace(t), mediaDICOM) {
		st.refuse("", "", pacs.Errorf(pacs.Invalid, "A part is %s, not application/dicom.", clip(t)))
		return false, nil
	}
	src := &partReader{src: p, left: st.MaxPartSize}
	receipt, err := st.Receiver.Receive(st.Request.Context(), pacs.Incoming{
		Data:             src,
		Channel:          pacs.ChannelSTOW,
		Facility:         st.facility,
		Sender:           st.sender,
		Remote:           st.Request.RemoteAddr,
		Charset:          st.charset,
		StudyInstanceUID: st.request.study,
	})
	switch {
	case err == nil && receipt.Unfit != "":
		class, instance := src.identify()
		st.keep(receipt, cmp.Or(receipt.SOPClassUID, class), cmp.Or(receipt.SOPInstanceUID, instance))
		return false, nil
	case err == nil:
		st.accept(receipt)
		return false, nil
	}
	switch {
	case src.tooLong:
		err = pacs.Errorf(pacs.TooLarge, "The instance is longer than %d bytes, the most that is taken.", st.MaxPartSize)
	case src.err != nil:
		// The body ends here, so it is not the instance that is to blame.
		st.broken(brokenBody(src.err))
		return true, nil
	}
	code := pacs.CodeOf(err)
	if (code == pacs.OutOfResources || code == pacs.Unavailable) && len(st.stored) == 0 && len(st.failed) == 0 && len(st.other) == 0 {
		// Nothing can be stored at present: no need to send all the rest.
		return true, err
	}
	if code == pacs.Internal {
		slog.Error("an instance could not be stored", "channel", "stow", "error", err)
	}
	class, instance := src.identify()
	st.refuse(class, instance, err)
	return false, nil
}

// partReader reads a part for the Receiver, at most left bytes, and remembers
// its beginning and how it ended.
type partReader struct {
	src     io.Reader
	left    int64
	head    []byte
	err     error // other than io.EOF
	tooLong bool
}

// maxHead is how much of an instance is kept to tell which one was refused.
const maxHead = 4 << 10

func (p *partReader) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	if p.tooLong {
		return 0, errTooLong
	}
	if p.left == 0 {
		// One byte more, to tell a part of exactly that size from a longer one.
		var one [1]byte
		n, err := io.ReadFull(p.src, one[:])
		if n == 0 {
			if err != io.EOF {
				p.err = err
			}
			return 0, err
		}
		p.tooLong = true
		return 0, errTooLong
	}
	if int64(len(b)) > p.left {
		b = b[:p.left]
	}
	n, err := p.src.Read(b)
	p.left -= int64(n)
	if room := maxHead - len(p.head); room > 0 {
		p.head = append(p.head, b[:min(n, room)]...)
	}
	if err != nil && err != io.EOF {
		p.err = err
	}
	return n, err
}

var errTooLong = errors.New("dicomweb: the part is too long")

// identify reads SOP Class and Instance UID out of the beginning of a file, ""
// where they can't be found.
func (p *partReader) identify() (class, instance string) {
	// It fails, because only the beginning is there. What was read counts,
	// except the value that the beginning ends in.
	h, err := dicom.Scan(bytes.NewReader(p.head), dicom.ScanOptions{MaxValue: maxHead, MaxInflated: 1 << 20})
	var end *dicom.ScanError
	if h == nil || err != nil && !errors.As(err, &end) {
		return "", ""
	}
	find := func(ds *dicom.Dataset, tag dicom.Tag) string {
		if ds == nil || end != nil && end.Tag == tag {
			return ""
		}
		return ds.String(tag)
	}
	class, instance = find(h.Dataset, dicom.TagSOPClassUID), find(h.Dataset, dicom.TagSOPInstanceUID)
	if class == "" {
		class = find(h.Meta, dicom.TagMediaStorageSOPClassUID)
	}
	if instance == "" {
		instance = find(h.Meta, dicom.TagMediaStorageSOPInstanceUID)
	}
	if !uidPattern.MatchString(class) || !uidPattern.MatchString(instance) {
		return "", ""
	}
	return class, instance
}

// accept notes an instance that is durable.
func (st *storage) accept(receipt pacs.Receipt) {
	if len(st.stored) == 0 {
		st.study = receipt.StudyInstanceUID
	} else if st.study != receipt.StudyInstanceUID {
		st.study = ""
	}
	st.stored = append(st.stored, dataset{
		dicom.TagReferencedSOPClassUID.String():    text("UI", receipt.SOPClassUID),
		dicom.TagReferencedSOPInstanceUID.String(): text("UI", receipt.SOPInstanceUID),
		dicom.TagRetrieveURL.String(): text("UR", instanceURL(st.serviceURL(st.Request),
			receipt.StudyInstanceUID, receipt.SeriesInstanceUID, receipt.SOPInstanceUID)),
	})
}

// keep notes an instance that is durable but can't be indexed: it must not be
// sent again, and can't be retrieved before somebody has put it right.
func (st *storage) keep(receipt pacs.Receipt, class, instance string) {
	if len(st.stored) == 0 {
		st.study = receipt.StudyInstanceUID
	} else if st.study != receipt.StudyInstanceUID {
		st.study = ""
	}
	st.unfit++
	d := dataset{
		dicom.TagWarningReason.String(): number("US", dataSetMismatch),
		dicom.TagErrorComment.String():  text("LO", clipRunes(receipt.Problem, 64)),
	}
	if class != "" {
		d[dicom.TagReferencedSOPClassUID.String()] = text("UI", class)
	}
	if instance != "" {
		d[dicom.TagReferencedSOPInstanceUID.String()] = text("UI", instance)
	}
	st.stored = append(st.stored, d)
}

// dataSetMismatch is Warning Reason (0008,1196) "data set does not match SOP
// class", PS3.18 table I.2-2: the one that says that something is wrong with
// what was stored.
const dataSetMismatch = 0xB007

// failureReasons are the values of Failure Reason (0008,1197) by error code:
// PS3.18 table I.2-2, PS3.4 table B.2-1, PS3.7 annex C.
var failureReasons = map[pacs.Code]int{
	pacs.Invalid:        0xC000, // can't be understood
	pacs.Unsupported:    0xC122, // transfer syntax not supported
	pacs.TooLarge:       0xA700, // out of resources
	pacs.OutOfResources: 0xA700,
	pacs.Unavailable:    0xA700,
	pacs.Forbidden:      0x0124, // not authorized
}

const (
	// processingFailure is Failure Reason for all other codes.
	processingFailure = 0x0110
	// mismatch is that of an instance that contradicts its request, as with
	// another study than the one of the address.
	mismatch = 0xA900
)

// refuse notes an instance that was not stored.
func (st *storage) refuse(class, instance string, err error) {
	reason, ok := failureReasons[pacs.CodeOf(err)]
	if !ok {
		reason = processingFailure
	}
	if why, _ := pacs.ReasonOf(err); why == pacs.ReasonOtherStudy {
		reason = mismatch
	}
	d := dataset{
		dicom.TagFailureReason.String(): number("US", reason),
		// Not part of the answer's module, but the only place for words.
		dicom.TagErrorComment.String(): text("LO", clipRunes(pacs.MessageOf(err), 64)),
	}
	if instance == "" {
		st.other = append(st.other, d)
		return
	}
	d[dicom.TagReferencedSOPClassUID.String()] = text("UI", class)
	d[dicom.TagReferencedSOPInstanceUID.String()] = text("UI", instance)
	st.failed = append(st.failed, d)
}

// broken notes that the rest of the body can't be read.
func (st *storage) broken(err error) {
	slog.Warn("a request to store broke off", "stored", len(st.stored), "failed", len(st.failed)+len(st.other), "error", err)
	st.refuse("", "", err)
}

// clipRunes shortens s to n characters, as LO needs.
func clipRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// answer sends the Store Instances Response, PS3.18 table 10.5.3-1 and I.2-1.
func (st *storage) answer(form modelForm) error {
	d := dataset{dicom.TagSpecificCharacterSet.String(): text("CS", "ISO_IR 192")}
	if st.study != "" {
		d[dicom.TagRetrieveURL.String()] = text("UR", studyURL(st.serviceURL(st.Request), st.study))
	} else {
		d[dicom.TagRetrieveURL.String()] = text("UR", "")
	}
	sequence := func(tag dicom.Tag, items []dataset) {
		if len(items) == 0 {
			return
		}
		a := attribute{VR: "SQ"}
		for _, item := range items {
			a.Value = append(a.Value, item)
		}
		d[tag.String()] = a
	}
	sequence(dicom.TagReferencedSOPSequence, st.stored)
	sequence(dicom.TagFailedSOPSequence, st.failed)
	sequence(dicom.TagOtherFailuresSequence, st.other)
	status := http.StatusOK
	switch failures := len(st.failed) + len(st.other); {
	case len(st.stored) == 0:
		status = http.StatusConflict
	case failures == 0 && st.unfit > 0:
		status = http.StatusAccepted
		st.Header("Warning", fmt.Sprintf(`299 %s "%s kept that can't be indexed."`, st.serviceURL(st.Request), plural(st.unfit, "instance")))
	case failures > 0:
		status = http.StatusAccepted
		st.Header("Warning", fmt.Sprintf(`299 %s "%s stored, %s not stored."`,
			st.serviceURL(st.Request), plural(len(st.stored), "instance"), plural(failures, "part")))
	}
	st.jsonHead(st.request, form.media, "")
	st.Header("Cache-Control", "no-store")
	return st.sendModelStatus(st.request, form, status, d)
}
