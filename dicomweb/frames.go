package dicomweb

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// maxFrameList is how many frames one request may name.
const maxFrameList = 100_000

// frames sends frames of an instance, as they are stored if the client takes that:
// Retrieve Frames, PS3.18 10.4.1.1.3.
func (s *service) frames(r *request) error {
	numbers, err := parseFrameList(r.Param("frames"))
	if err != nil {
		return err
	}
	i, err := s.one(r)
	if err != nil {
		return err
	}
	frames, err := s.framesOf(r.Request.Context(), i)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n > frames.count {
			return pacs.Errorf(pacs.NotFound, "There is no frame %d: the instance has %s.", n, plural(frames.count, "frame"))
		}
	}
	chosen, err := s.negotiatePixels(r.Request, i.TransferSyntaxUID, len(numbers) == 1, s.targets(i.TransferSyntaxUID))
	if err != nil {
		return err
	}

	tag := instanceTag(i)
	if len(numbers) <= 8 {
		tag += "-f" + strings.ReplaceAll(r.Param("frames"), ",", "_")
	} else {
		tag += "-f" + shortHash(r.Param("frames"))
	}
	asKept := slices.Contains(pixelSyntaxes(i.TransferSyntaxUID), chosen.transferSyntax)
	switch {
	case asKept:
	case isBigEndian(i.TransferSyntaxUID) && chosen.transferSyntax == dicom.ExplicitVRLittleEndian:
		tag += "-t"
		if frames, _, err = s.turned(r.Request.Context(), i, chosen); err != nil {
			return err
		}
	default:
		return s.sendRecodedFrames(r, tag, i, numbers, chosen)
	}
	piecesOf := func(n int) ([]piece, error) {
		pieces, err := frames.pieces(n)
		if err != nil || !asKept {
			return pieces, err
		}
		return s.keptFrame(i, n, pieces, len(numbers)), nil
	}
	a := answer{cache: lasting(i)}
	if !chosen.multipart {
		a.contentType = chosen.contentType()
		a.etag = tag + "-s"
		a.content = &content{}
		pieces, err := piecesOf(numbers[0])
		if err != nil {
			return err
		}
		for _, p := range pieces {
			a.add(p)
		}
		return s.send(r, a)
	}
	parts := make([]part, 0, len(numbers))
	for _, n := range numbers {
		pieces, err := piecesOf(n)
		if err != nil {
			return err
		}
		parts = append(parts, part{contentType: chosen.contentType(), pieces: pieces})
	}
	a.etag = tag
	var boundary string
	a.content, boundary = multipartContent(tag+chosen.String(), parts)
	a.contentType = `multipart/related; type="` + chosen.media + `"; boundary=` + boundary
	return s.send(r, a)
}

// contentType is the Content-Type of a body or part in this form. It has no
// quotes and no blank: Cornerstone3D and dicomweb-client split it at ; and =.
func (o offer) contentType() string {
	if o.transferSyntax == "" {
		return o.media
	}
	return o.media + ";transfer-syntax=" + o.transferSyntax
}

// negotiatePixels picks the form in which frames or pixel data are sent; a
// single one may also be sent as a body of its own. targets are the transfer
// syntaxes in which they can be had beside the one that is stored.
func (s *service) negotiatePixels(r *http.Request, stored string, single bool, targets []string) (offer, error) {
	var offers []offer
	order := slices.Concat(pixelSyntaxes(stored), targets)
	if isBigEndian(stored) && slices.Contains(targets, dicom.ExplicitVRLittleEndian) {
		// Uncompressed bulk data are in little endian (PS3.18 8.7.3.3.1), and few
		// clients know another order.
		order = slices.Insert(order, 0, dicom.ExplicitVRLittleEndian)
	}
	for _, target := range order {
		if slices.ContainsFunc(offers, func(o offer) bool { return o.transferSyntax == target }) {
			continue
		}
		for _, multipart := range []bool{true, false} {
			if !multipart && !single {
				break
			}
			offers = append(offers, offer{multipart: multipart, media: mediaOctets, transferSyntax: target})
			for _, media := range frameMedia[target] {
				offers = append(offers, offer{multipart: multipart, media: media, transferSyntax: target})
			}
		}
	}
	chosen, err := negotiate(r, offers)
	if err != nil {
		return chosen, pacs.Errorf(pacs.NotAcceptable, "%s Pixel data are stored here with transfer syntax %s (%s) and can be had like that; transfer-syntax=* accepts any.",
			pacs.MessageOf(err), stored, syntaxName(stored))
	}
	if single {
		chosen = forRange(r, chosen)
	}
	return chosen, nil
}

// forRange makes the answer to a Range request for a single value the value
// itself, even if only multipart is accepted: it is the value's bytes that
// dicomweb-client (byteRange) and Cornerstone3D (progressive loading) mean, and
// both take a single part, while a cut through a multipart body can't be read.
// With If-Range it is the continuation of what was sent before.
func forRange(r *http.Request, o offer) offer {
	if r.Header.Get("Range") != "" && r.Header.Get("If-Range") == "" {
		o.multipart = false
	}
	return o
}

// parseFrameList reads "1,2,5".
func parseFrameList(s string) ([]int, error) {
	if strings.Count(s, ",") >= maxFrameList {
		return nil, pacs.Errorf(pacs.TooLarge, "Ask for at most %d frames at a time.", maxFrameList)
	}
	fields := strings.Split(s, ",")
	numbers := make([]int, 0, len(fields))
	for _, f := range fields {
		n, err := strconv.ParseUint(strings.TrimSpace(f), 10, 31)
		if err != nil || n == 0 {
			if len(f) > 20 {
				f = f[:20] + "…"
			}
			return nil, pacs.Errorf(pacs.Invalid, "%q is not a frame number. Frames count from 1; several are separated by commas, as in frames/1,2,5.", f)
		}
		numbers = append(numbers, int(n))
	}
	return numbers, nil
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
