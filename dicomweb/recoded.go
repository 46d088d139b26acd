package dicomweb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/transcode"
)

// everySyntax are all transfer syntaxes that could be asked for.
var everySyntax = func() (list []string) {
	for _, ts := range dicom.TransferSyntaxes {
		list = append(list, ts.UID)
	}
	return list
}()

func (s *service) transcoder() *transcode.Transcoder { return &transcode.Transcoder{Codecs: s.Codecs} }

// targets are the transfer syntaxes in which what is stored in one can be had,
// that one first and what loses last.
func (s *service) targets(stored string) []string {
	list := s.transcoder().Targets(stored, everySyntax, true)
	if !slices.Contains(list, stored) { // a private one
		list = append([]string{stored}, list...)
	}
	return list
}

// recodedAnswer is an answer that is made while it is sent, one part after the
// other. Its length is not known beforehand, unless it is one part, and it can't
// be asked for in ranges.
type recodedAnswer struct {
	etag     string
	cache    string // as that of answer
	download string
	// multipart is the type of the parts; "" for an answer that is its only part.
	multipart string
	count     int
	// part opens a part. That of the first is called before the answer begins, so
	// that its error is one of the answer; after that, an error cuts it off.
	part func(ctx context.Context, n int) (recodedPart, error)
}

type recodedPart struct {
	contentType string
	length      int64 // -1 when not known
	body        io.ReadCloser
}

func (s *service) sendMade(r *request, a recodedAnswer) error {
	ctx, h := r.Request.Context(), r.Writer.Header()
	if unchanged(r, a.etag, a.cache) {
		return nil
	}
	part, err := a.part(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { _ = part.body.Close() }() // of the part at hand then
	sum := sha256.Sum256([]byte("boundary " + a.etag))
	boundary := "tasvir-" + hex.EncodeToString(sum[:16])
	h.Set("X-Content-Type-Options", "nosniff")
	if a.multipart != "" {
		h.Set("Content-Type", `multipart/related; type="`+a.multipart+`"; boundary=`+boundary)
	} else {
		h.Set("Content-Type", part.contentType)
		if part.length >= 0 {
			h.Set("Content-Length", strconv.FormatInt(part.length, 10))
		}
		if a.download != "" {
			h.Set("Content-Disposition", `attachment; filename="`+a.download+`"`)
		}
	}
	if r.Request.Method == http.MethodHead {
		r.Status(http.StatusOK)
		r.Writer.WriteHeaderNow()
		return nil
	}
	// The first bytes are made before the answer begins.
	first := make([]byte, 1)
	if _, err := io.ReadFull(part.body, first); err != nil {
		return short(err)
	}
	r.Status(http.StatusOK)
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for n := 0; ; {
		if a.multipart != "" {
			separator := "--" + boundary + "\r\nContent-Type: " + part.contentType + "\r\n\r\n"
			if n > 0 {
				separator = "\r\n" + separator
			}
			if _, err := io.WriteString(r.Writer, separator); err != nil {
				return err
			}
		}
		if _, err := io.CopyBuffer(onlyWriter{r.Writer}, io.MultiReader(bytes.NewReader(first), part.body), *buf); err != nil {
			return err
		}
		if n++; n == a.count {
			break
		}
		_ = part.body.Close()
		first = nil
		next, err := a.part(ctx, n)
		if err != nil {
			return err
		}
		part = next
	}
	if a.multipart != "" {
		_, err = io.WriteString(r.Writer, "\r\n--"+boundary+"--\r\n")
	}
	return err
}

// recodable is an instance and the forms that it can be sent in, the best first.
type recodable struct {
	pacs.Instance
	forms []offer
}

// sendRecoded sends instances of which some are transcoded.
func (s *service) sendRecoded(r *request, etag string, parts []part, recoded map[int]recodable, choices map[kept][]offer) error {
	var chosen []string
	for is, forms := range choices {
		chosen = append(chosen, fmt.Sprintln(is.transferSyntax, is.pixels, forms[0]))
	}
	slices.Sort(chosen)
	sum := sha256.Sum256([]byte(strings.Join(chosen, "")))
	a := recodedAnswer{etag: etag + "-t" + hex.EncodeToString(sum[:8]), multipart: mediaDICOM, count: len(parts)}
	if only, ok := recoded[0]; ok && !only.forms[0].multipart {
		a.multipart, a.download = "", only.SOPInstanceUID+".dcm"
	}
	a.part = func(ctx context.Context, n int) (recodedPart, error) {
		i, ok := recoded[n]
		if !ok {
			p := parts[n].pieces[0]
			body, err := p.open(ctx, 0, p.size)
			return recodedPart{parts[n].contentType, p.size, body}, err
		}
		return s.recodedInstance(ctx, i.Instance, i.forms)
	}
	return s.sendMade(r, a)
}

// recodedInstance opens an instance in the first of the forms that it can be
// given in.
func (s *service) recodedInstance(ctx context.Context, i pacs.Instance, forms []offer) (recodedPart, error) {
	file, err := s.Packs.Instance(ctx, i)
	if err != nil {
		return recodedPart{}, err
	}
	source, err := transcode.Scan(ctx, file, i.Location.DatasetOffset, i.TransferSyntaxUID)
	if err != nil {
		return recodedPart{}, pacs.Wrap(pacs.Internal, err, "The stored instance can't be read.")
	}
	var failed error
	for _, form := range forms {
		contentType := mediaDICOM + ";transfer-syntax=" + form.transferSyntax
		if form.transferSyntax == i.TransferSyntaxUID {
			body, err := file.Open(ctx, 0, file.Length)
			return recodedPart{contentType, file.Length, body}, err
		}
		part, err := s.recodedBody(ctx, source, form)
		if err == nil {
			return part, nil
		}
		if failed = err; pacs.CodeOf(err) != pacs.Unsupported {
			break
		}
	}
	return recodedPart{}, notRecoded(i, failed)
}

// made prepares an instance to be read; end is called when it has been. A file by
// itself is made before it is sent, if it is compressed, and so is what loses:
// then its length is known, it has an offset table, and the ratio is that of all
// frames.
func (s *service) made(ctx context.Context, source transcode.Source, form offer) (made *transcode.Instance, end func() error, err error) {
	if s.inFile(form, source) {
		spooled, err := s.transcoder().Spool(ctx, source, form.transferSyntax, s.TempDir)
		if err != nil {
			return nil, nil, err
		}
		return &spooled.Instance, spooled.Close, nil
	}
	made, err = s.transcoder().Instance(ctx, source, form.transferSyntax)
	return made, func() error { return nil }, err
}

// turned gives native pixel data that are kept in big endian in little endian,
// frame by frame: pieces that can be read in part, all of the same size.
func (s *service) turned(ctx context.Context, i pacs.Instance, chosen offer) (frames frameSet, size int64, err error) {
	recode, format, err := s.recoder(ctx, i, chosen)
	if err != nil {
		return frameSet{}, 0, err
	}
	size = format.FrameSize()
	return frameSet{i.FrameCount, func(number int) ([]piece, error) {
		return []piece{{size: size, open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			frame, err := recode(ctx, number)
			if err != nil {
				return nil, err
			}
			if frame.size != size {
				frame.close()
				return nil, pacs.Errorf(pacs.Internal, "frame %d of instance %s has %d bytes instead of %d", number, i.SOPInstanceUID, frame.size, size)
			}
			return closing{io.NewSectionReader(frame, offset, length), func() error { frame.close(); return nil }}, nil
		}}}, nil
	}}, size, nil
}

// turnedValue is all of the pixel data that turned gives, of an even length.
func (s *service) turnedValue(ctx context.Context, i pacs.Instance, chosen offer) (all []piece, err error) {
	frames, size, err := s.turned(ctx, i, chosen)
	if err != nil {
		return nil, err
	}
	for n := 1; n <= frames.count; n++ {
		pieces, err := frames.pieces(n)
		if err != nil {
			return nil, err
		}
		all = append(all, pieces...)
	}
	if size*int64(frames.count)%2 != 0 {
		all = append(all, piece{size: 1, text: "\x00"})
	}
	return all, nil
}

// notRecoded says that pixel data can be had as they are stored only.
func notRecoded(i pacs.Instance, err error) error {
	switch pacs.CodeOf(err) {
	case pacs.Unsupported, pacs.Invalid:
		return pacs.Wrap(pacs.NotAcceptable, err, fmt.Sprintf("Instance %s can't be sent in another transfer syntax than it is stored in, %s (%s): %s. Accept transfer-syntax=*.",
			i.SOPInstanceUID, i.TransferSyntaxUID, syntaxName(i.TransferSyntaxUID), pacs.MessageOf(err)))
	}
	return err
}

// sendRecodedFrames sends frames in a transfer syntax that they are not stored in.
func (s *service) sendRecodedFrames(r *request, tag string, i pacs.Instance, numbers []int, chosen offer) error {
	recode, _, err := s.recoder(r.Request.Context(), i, chosen)
	if err != nil {
		return err
	}
	a := recodedAnswer{etag: tag + "-t" + shortHash(chosen.String()), cache: lasting(i), multipart: chosen.media, count: len(numbers)}
	if !chosen.multipart {
		a.multipart = ""
	}
	a.part = func(ctx context.Context, n int) (recodedPart, error) {
		frame, err := recode(ctx, numbers[n])
		if err != nil {
			return recodedPart{}, err
		}
		return recodedPart{chosen.contentType(), frame.size, frame.body()}, nil
	}
	return s.sendMade(r, a)
}

// recoder gives a frame, counted from 1, in another transfer syntax. It is closed
// when it has been sent.
type recoder func(ctx context.Context, number int) (*outgoing, error)

// recoder makes frames of an instance in the transfer syntax that was chosen, or
// takes those that were made before. format is how they are kept.
func (s *service) recoder(ctx context.Context, i pacs.Instance, chosen offer) (recode recoder, format pixel.Format, err error) {
	src, err := s.source(ctx, i)
	if err != nil {
		return nil, format, err
	}
	if format, err = pixel.FormatOf(src.header.Dataset); err != nil {
		return nil, format, notRecoded(i, err)
	}
	made := func(ctx context.Context, number int) ([]byte, error) {
		coded, err := s.coded(ctx, src, number)
		if err != nil {
			return nil, err
		}
		frame, err := s.Codecs.Decode(ctx, i.TransferSyntaxUID, format, coded)
		if err != nil {
			return nil, notRecoded(i, err)
		}
		if ts, _ := dicom.LookupTransferSyntax(chosen.transferSyntax); !ts.Encapsulated {
			return frame.Pixels, nil // without padding
		}
		data, _, err := s.Codecs.Encode(ctx, chosen.transferSyntax, frame, pixel.EncodeOptions{})
		if err != nil {
			return nil, notRecoded(i, err)
		}
		return data, nil
	}
	return func(ctx context.Context, number int) (*outgoing, error) {
		return s.recodedFrame(ctx, recodingCost(format), func(ctx context.Context) ([]byte, error) {
			return s.Cache.Get(ctx, frameKey("t "+chosen.transferSyntax, i, number), func(ctx context.Context) ([]byte, error) {
				return made(ctx, number)
			})
		})
	}, format, nil
}
