package dicomweb

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Metadata and bulk data apart, PS3.18 10.5.1.2 and 8.6.1.2.2: the first parts
// are data sets in one of the two models, the others values that they refer to
// by BulkDataURI, each with that URI as its Content-Location. The bulk data wait
// in a file until all of them are there, whatever their order; then each
// instance is put together as a PS3.10 file and goes the way of all others.

// isModel says whether a media type is one of the two models.
func isModel(media string) bool {
	return media == mediaDICOMJSON || media == mediaJSON || media == mediaDICOMXML
}

const (
	// maxModels bounds the metadata of one request, which are held in memory.
	maxModels = 64 << 20
	// maxInner bounds the bulk data within sequences of one instance, which are
	// held in memory, too.
	maxInner = 64 << 20
)

// composed are instances that are put together of several parts.
func (s *service) composed(parts instanceParts) *composedParts {
	return &composedParts{service: s, parts: parts, bulk: map[string]*bulkParts{}}
}

type composedParts struct {
	*service
	parts instanceParts
	first *incomingPart // already taken from parts

	read   bool
	models []dicom.Parsed
	left   int64 // of maxModels
	bulk   map[string]*bulkParts
	spool  *os.File
	size   int64
	unused []string // locations of bulk data that nothing refers to, once all is done
	ended  error    // why the body ended before its end
}

// bulkParts are the parts with one location: the frames of compressed pixel
// data, or a single value.
type bulkParts struct {
	media  string
	syntax string // transfer syntax of the Content-Type, "" when not given
	pieces []dicom.Range
	used   bool
}

func (b *bulkParts) length() (n int64) {
	for _, p := range b.pieces {
		n += p.Length
	}
	return n
}

func (c *composedParts) close() {
	if c.spool != nil {
		c.spool.Close()
	}
}

func (c *composedParts) next() (incomingPart, error) {
	if !c.read {
		c.read, c.left = true, maxModels
		if err := c.readAll(); err != nil {
			return incomingPart{}, err
		}
	}
	if len(c.models) > 0 {
		model := c.models[0]
		c.models = c.models[1:]
		p := incomingPart{contentType: mediaDICOM, class: model.String(dicom.TagSOPClassUID), instance: model.String(dicom.TagSOPInstanceUID)}
		if !uidPattern.MatchString(p.class) || !uidPattern.MatchString(p.instance) {
			p.class, p.instance = "", ""
		}
		p.Reader, p.err = c.file(model)
		if len(c.models) == 0 {
			for location, b := range c.bulk {
				if !b.used {
					c.unused = append(c.unused, location)
				}
			}
		}
		return p, nil
	}
	if len(c.unused) > 0 {
		location := c.unused[0]
		c.unused = c.unused[1:]
		return incomingPart{err: pacs.Errorf(pacs.Invalid, "Nothing refers to the bulk data %s.", clip(location))}, nil
	}
	if c.ended != nil {
		err := c.ended
		c.ended = nil
		return incomingPart{}, err
	}
	return incomingPart{}, io.EOF
}

// readAll reads the body to its end. What was complete before a break counts.
func (c *composedParts) readAll() error {
	for n := 1; ; n++ {
		var p incomingPart
		var err error
		if c.first != nil {
			p, c.first = *c.first, nil
		} else {
			p, err = c.parts.next()
		}
		if err == io.EOF {
			return nil
		}
		if err == nil && n > c.MaxParts {
			err = pacs.Errorf(pacs.TooLarge, "A request may hold at most %d parts.", c.MaxParts)
		}
		if err == nil {
			err = c.take(p)
		}
		if err != nil {
			if len(c.models) == 0 || pacs.CodeOf(err) != pacs.Invalid {
				return err
			}
			c.ended = err
			return nil
		}
	}
}

// take reads one part.
func (c *composedParts) take(p incomingPart) error {
	ranges := parseAccept(p.contentType)
	var ct mediaRange
	if len(ranges) > 0 {
		ct = ranges[0]
	}
	// A part without a location can only be metadata.
	if isModel(ct.media) || p.location == "" && ct.media == "" {
		return c.takeModel(p, ct.media)
	}
	if p.location == "" {
		return pacs.Errorf(pacs.Invalid, "A part of type %s has no Content-Location, so it can't be told which value it is.", clip(ct.media))
	}
	if c.spool == nil {
		f, err := os.CreateTemp(c.TempDir, "stow-*")
		if err != nil {
			return pacs.Wrap(pacs.OutOfResources, err, "There is no room for bulk data at present.")
		}
		c.spool = f
		// Nothing is left of it, whatever becomes of this process.
		if err := os.Remove(f.Name()); err != nil {
			return pacs.Wrap(pacs.Internal, err, "There is no room for bulk data at present.")
		}
	}
	src := &partReader{src: p, left: c.MaxPartSize - c.size}
	buf := copyBuffers.Get().(*[]byte)
	n, err := io.CopyBuffer(onlyWriter{c.spool}, src, *buf)
	copyBuffers.Put(buf)
	switch {
	case src.tooLong:
		return pacs.Errorf(pacs.TooLarge, "The bulk data of the request is longer than %d bytes, the most that is taken.", c.MaxPartSize)
	case src.err != nil:
		return brokenBody(src.err)
	case err != nil:
		return pacs.Wrap(pacs.OutOfResources, err, "There is no room for bulk data at present.")
	}
	b := c.bulk[p.location]
	if b == nil {
		b = &bulkParts{media: ct.media, syntax: ct.params["transfer-syntax"]}
		c.bulk[p.location] = b
	}
	b.pieces = append(b.pieces, dicom.Range{Offset: c.size, Length: n})
	c.size += n
	return nil
}

// takeModel reads data sets.
func (c *composedParts) takeModel(p incomingPart, media string) error {
	src := &partReader{src: p, left: c.left}
	text := io.Reader(src)
	broken := func(err error) error {
		switch {
		case src.tooLong:
			return pacs.Errorf(pacs.TooLarge, "The metadata of a request are longer than %d MiB.", maxModels>>20)
		case src.err != nil:
			return brokenBody(src.err)
		}
		return pacs.Wrap(pacs.Invalid, err, "The metadata can't be read: "+strings.TrimPrefix(err.Error(), "dicom: ")+".")
	}
	defer func() { c.left = src.left }()
	if media == mediaDICOMXML {
		model, err := dicom.ParseXML(text, dicom.ParseOptions{MaxBytes: maxModels})
		if err != nil {
			return broken(err)
		}
		c.models = append(c.models, model)
		return nil
	}
	in := dicom.NewJSONReader(text, dicom.ParseOptions{MaxBytes: maxModels})
	for {
		model, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		if len(c.models) >= c.MaxParts {
			return pacs.Errorf(pacs.TooLarge, "A request may hold at most %d instances.", c.MaxParts)
		}
		c.models = append(c.models, model)
	}
}

// find returns the bulk data with an address, which is compared as it is
// written, then without escapes.
func (c *composedParts) find(uri string) (*bulkParts, error) {
	b := c.bulk[uri]
	if b == nil {
		if plain, err := url.PathUnescape(uri); err == nil {
			b = c.bulk[plain]
		}
	}
	if b == nil {
		return nil, pacs.Errorf(pacs.Invalid, "The bulk data %s is not in the request.", clip(uri))
	}
	b.used = true
	return b, nil
}

func (c *composedParts) piece(r dicom.Range) io.Reader {
	return io.NewSectionReader(c.spool, r.Offset, r.Length)
}

// file puts an instance together as a PS3.10 file.
func (c *composedParts) file(model dicom.Parsed) (io.Reader, error) {
	inner := int64(maxInner)
	if err := c.fill(model, model.Dataset, 0, &inner); err != nil {
		return nil, err
	}
	class, instance := model.String(dicom.TagSOPClassUID), model.String(dicom.TagSOPInstanceUID)
	if class == "" || instance == "" {
		return nil, pacs.Errorf(pacs.Invalid, "The metadata have no SOP Class UID (0008,0016) or no SOP Instance UID (0008,0018).")
	}
	syntax, err := c.syntax(model)
	if err != nil {
		return nil, err
	}
	head := dicom.AppendFileMeta(nil, dicom.FileMeta{SOPClassUID: class, SOPInstanceUID: instance, TransferSyntaxUID: syntax})
	ts, _ := dicom.LookupTransferSyntax(syntax)
	readers := []io.Reader{}
	flush := func() {
		readers = append(readers, bytes.NewReader(head))
		head = nil
	}
	for _, e := range model.Elements {
		if g := e.Tag.Group(); g < 8 || e.Tag == dicom.TagAvailableTransferSyntaxUID {
			continue // of the file or of the message, not of the instance
		}
		if e.Bulk == nil {
			if head, err = dicom.AppendDataset(head, &dicom.Dataset{Elements: []dicom.Element{e}}, dicom.ExplicitVRLittleEndian); err != nil {
				return nil, pacs.Wrap(pacs.Invalid, err, "The metadata can't be encoded.")
			}
			continue
		}
		b, err := c.find(model.URIs[e.Bulk.Offset])
		if err != nil {
			return nil, err
		}
		if e.Tag == dicom.TagPixelData && ts.Encapsulated {
			for _, p := range b.pieces {
				if p.Length+1 >= dicom.UndefinedLength {
					return nil, pacs.Errorf(pacs.TooLarge, "A frame has %d bytes, more than a fragment can hold.", p.Length)
				}
			}
			head = b.encapsulated(head, func(before []byte, r dicom.Range) {
				readers = append(readers, bytes.NewReader(before), c.piece(r))
			})
			continue
		}
		if len(b.pieces) > 1 {
			return nil, pacs.Errorf(pacs.Invalid, "There are several parts with the Content-Location %s.", clip(model.URIs[e.Bulk.Offset]))
		}
		n := b.length()
		if n+n&1 >= dicom.UndefinedLength {
			return nil, pacs.Errorf(pacs.TooLarge, "The bulk data of %s have %d bytes, more than an element can hold.", e.Tag, n)
		}
		if bits, _ := model.Int(dicom.TagBitsAllocated); e.Tag == dicom.TagPixelData && bits > 8 {
			e.VR = dicom.OW // PS3.5 8.1.1
		}
		head, _ = dicom.AppendLongHeader(head, e.Tag, e.VR, uint32(n+n&1)) // fill has left only those
		flush()
		readers = append(readers, c.piece(b.pieces[0]))
		if n&1 != 0 {
			head = append(head, 0)
		}
	}
	flush()
	return io.MultiReader(readers...), nil
}

// encapsulated appends the head of encapsulated pixel data with one fragment per
// part, and calls put with what comes before each fragment's bytes. It returns
// what comes behind the last. PS3.5 A.4.
func (b *bulkParts) encapsulated(dst []byte, put func(before []byte, r dicom.Range)) []byte {
	dst, _ = dicom.AppendLongHeader(dst, dicom.TagPixelData, dicom.OB, dicom.UndefinedLength)
	item := func(dst []byte, element byte, n int64) []byte {
		return append(dst, 0xFE, 0xFF, element, 0xE0, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	var offsets []byte
	if len(b.pieces) > 1 && b.length()+int64(len(b.pieces))*9 < dicom.UndefinedLength {
		at := int64(0)
		for _, p := range b.pieces {
			offsets = append(offsets, byte(at), byte(at>>8), byte(at>>16), byte(at>>24))
			at += 8 + p.Length + p.Length&1
		}
	}
	dst = append(item(dst, 0x00, int64(len(offsets))), offsets...)
	for _, p := range b.pieces {
		put(item(dst, 0x00, p.Length+p.Length&1), p)
		if dst = nil; p.Length&1 != 0 {
			dst = []byte{0}
		}
	}
	return item(dst, 0xDD, 0)
}

// fill reads the bulk data of ds that can't be streamed: what lies within
// sequences, and values whose VR has a short length. left is how many bytes of
// that are allowed.
func (c *composedParts) fill(model dicom.Parsed, ds *dicom.Dataset, depth int, left *int64) error {
	for i := range ds.Elements {
		e := &ds.Elements[i]
		for _, item := range e.Items {
			if err := c.fill(model, item, depth+1, left); err != nil {
				return err
			}
		}
		if e.Bulk == nil {
			continue
		}
		if _, long := dicom.AppendLongHeader(nil, e.Tag, e.VR, 0); long && depth == 0 {
			continue
		}
		b, err := c.find(model.URIs[e.Bulk.Offset])
		if err != nil {
			return err
		}
		if *left -= b.length(); *left < 0 {
			return pacs.Errorf(pacs.TooLarge, "The bulk data within sequences of an instance have more than %d MiB.", maxInner>>20)
		}
		var value bytes.Buffer
		for _, r := range b.pieces {
			if _, err := value.ReadFrom(c.piece(r)); err != nil {
				return pacs.Wrap(pacs.Internal, err, "The bulk data can't be read again.")
			}
		}
		e.Value, e.Bulk = value.Bytes(), nil
	}
	return nil
}

// mediaSyntax are the transfer syntaxes that media types stand for when the
// Content-Type names none: PS3.18 tables 8.7.3-2 and 8.7.3-5.
var mediaSyntax = map[string]string{
	"image/jpeg":        dicom.JPEGLosslessSV1, // if its frame header does not say otherwise
	"image/jll":         dicom.JPEGLosslessSV1,
	"image/dicom-rle":   dicom.RLELossless,
	"image/x-dicom-rle": dicom.RLELossless,
	"image/jls":         dicom.JPEGLSLossless,
	"image/x-jls":       dicom.JPEGLSLossless,
	"image/jp2":         dicom.JPEG2000Lossless,
	"image/jpx":         dicom.JPEG2000MCLossless,
	"image/jphc":        dicom.HTJ2KLossless,
	"image/jhc":         dicom.HTJ2KLossless,
	"image/jxl":         dicom.JPEGXLLossless,
	"video/mpeg":        "1.2.840.10008.1.2.4.100",
	"video/mpeg2":       "1.2.840.10008.1.2.4.100",
	"video/mp4":         "1.2.840.10008.1.2.4.102",
}

// syntax is the transfer syntax in which an instance is put together: that of
// its pixel data.
func (c *composedParts) syntax(model dicom.Parsed) (string, error) {
	e, ok := model.Get(dicom.TagPixelData)
	if !ok || e.Bulk == nil {
		return dicom.ExplicitVRLittleEndian, nil
	}
	b, err := c.find(model.URIs[e.Bulk.Offset])
	if err != nil {
		return "", err
	}
	syntax := b.syntax
	if syntax == "" || syntax == "*" {
		switch declared, known := model.String(dicom.TagAvailableTransferSyntaxUID), mediaSyntax[b.media]; {
		case known == "":
			syntax = dicom.ExplicitVRLittleEndian
		case slices.Contains(frameMedia[declared], b.media):
			syntax = declared
		case b.media == "image/jpeg":
			var begin [64 << 10]byte
			n, err := io.ReadFull(c.piece(b.pieces[0]), begin[:])
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
				return "", pacs.Wrap(pacs.Internal, err, "The bulk data can't be read again.")
			}
			syntax = jpegSyntax(begin[:n])
		default:
			syntax = known
		}
	}
	switch ts, ok := dicom.LookupTransferSyntax(syntax); {
	case !ok:
		return "", pacs.Errorf(pacs.Unsupported, "The transfer syntax %s of the pixel data is not known.", clip(syntax))
	case ts.Encapsulated && syntax != dicom.EncapsulatedUncompressed:
		return syntax, nil
	case syntax == dicom.ImplicitVRLittleEndian, syntax == dicom.ExplicitVRLittleEndian, syntax == dicom.DeflatedExplicitVRLittleEndian:
		return dicom.ExplicitVRLittleEndian, nil // the same bytes
	default:
		return "", pacs.Errorf(pacs.Unsupported, "Pixel data in %s can't be stored apart from their metadata.", ts.Name)
	}
}

// jpegSyntax tells by the frame header which of the JPEG processes a stream is
// of: ITU-T T.81 B.1.1.3. The default of image/jpeg where it is none of them.
func jpegSyntax(b []byte) string {
	process := ""
	for at := 2; at+4 <= len(b) && b[at] == 0xFF; {
		marker, length := b[at+1], int(b[at+2])<<8|int(b[at+3])
		switch marker {
		case 0xFF: // fill byte
			at++
			continue
		case 0xC0:
			return dicom.JPEGBaseline8Bit
		case 0xC1:
			return dicom.JPEGExtended12Bit
		case 0xC3:
			process = dicom.JPEGLossless
		case 0xDA: // start of scan: number of components, 2 bytes each, then the predictor
			if n := at + 5 + 2*int(b[min(at+4, len(b)-1)]); process != "" && n < len(b) && b[n] != 1 {
				return process
			}
			return dicom.JPEGLosslessSV1
		}
		at += 2 + length
	}
	return dicom.JPEGLosslessSV1
}
