package dicomweb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// bulkdata sends a value that the metadata refer to by BulkDataURI: Retrieve
// Bulkdata, PS3.18 10.4.1.1.4. The address carries where the value is in the
// instance's file; an instance is one visibility, so any range of it may be
// had. length=-1 is encapsulated pixel data, sent frame by frame.
func (s *service) bulkdata(r *request) error {
	path := strings.Trim(r.Param("path"), "/")
	if path == "" {
		return s.allBulkdata(r)
	}
	offset, length, err := bulkRange(r.Request.URL.Query())
	if err != nil {
		return err
	}
	i, err := s.one(r)
	if err != nil {
		return err
	}
	// Also of an icon: its path leads through a sequence.
	if strings.Contains("/"+strings.ToUpper(path), "/7FE0") || strings.EqualFold(path, "PixelData") {
		if err := pixelsDeleted(i); err != nil {
			return err
		}
	}
	px := i.Location.PixelData
	isPixels := isPixelData(path)

	if native := isPixels && px != nil && !px.Encapsulated; !native && (length < 0 || isPixels && px != nil) {
		if px == nil || !isPixels {
			return pacs.Errorf(pacs.NotFound, "There is no bulk data %q with an open length in this instance.", clip(path))
		}
		return s.encapsulated(r, i)
	}

	chosen := offer{}
	tag := instanceTag(i) + "-b" + strconv.FormatInt(offset, 36) + "_" + strconv.FormatInt(length, 36)
	switch {
	case isPixels && px != nil:
		// The archive knows better than the address where the pixels are.
		offset, length = px.Offset, px.Length
		var targets []string
		if isBigEndian(i.TransferSyntaxUID) {
			targets = []string{dicom.ExplicitVRLittleEndian}
		}
		chosen, err = s.negotiatePixels(r.Request, i.TransferSyntaxUID, true, targets)
	default:
		chosen, err = negotiate(r.Request, []offer{{multipart: true, media: mediaOctets}, {media: mediaOctets}})
		chosen = forRange(r.Request, chosen)
	}
	if err != nil {
		return err
	}
	var pieces []piece
	if chosen.transferSyntax != "" && !slices.Contains(pixelSyntaxes(i.TransferSyntaxUID), chosen.transferSyntax) {
		tag += "-t"
		pieces, err = s.turnedValue(r.Request.Context(), i, chosen)
	} else {
		pieces = make([]piece, 1)
		pieces[0], err = s.bulkPiece(i, path, offset, length)
	}
	if err != nil {
		return err
	}
	a := answer{cache: lasting(i), etag: tag, content: &content{}}
	if chosen.multipart {
		var boundary string
		a.content, boundary = multipartContent(tag, []part{{contentType: chosen.contentType(), pieces: pieces}})
		a.contentType = `multipart/related; type="` + chosen.media + `"; boundary=` + boundary
	} else {
		a.etag += "-s"
		a.contentType = chosen.contentType()
		for _, p := range pieces {
			a.add(p)
		}
	}
	return s.send(r, a)
}

// isPixelData tells whether the path of a BulkDataURI leads to the pixel data of
// the instance itself.
func isPixelData(path string) bool {
	return strings.EqualFold(path, dicom.TagPixelData.String()) || strings.EqualFold(path, "PixelData")
}

// bulkPiece is a value in an instance's file, where its BulkDataURI has it; pixel
// data where the index does.
func (s *service) bulkPiece(i pacs.Instance, path string, offset, length int64) (piece, error) {
	if i.Compressed != nil && !(isPixelData(path) && i.Location.PixelData != nil) {
		offset = i.Compressed.Kept(i.Location, offset)
	}
	loc := i.Location
	loc.PixelData = nil
	if isDeflated(i) {
		return s.inflated(loc, offset, length), nil
	}
	if offset < 0 || offset >= loc.Length || length < 0 {
		return piece{}, pacs.Errorf(pacs.NotFound, "Offset %d lies behind the end of the instance, which has %d bytes.", offset, loc.Length)
	}
	return s.stored(loc, offset, min(length, loc.Length-offset)), nil
}

// encapsulated sends compressed pixel data: one part per frame, or the one
// stream of a video.
func (s *service) encapsulated(r *request, i pacs.Instance) error {
	frames, err := s.wholeOrFrames(r.Request.Context(), i)
	if err != nil {
		return err
	}
	chosen, err := s.negotiatePixels(r.Request, i.TransferSyntaxUID, frames.count == 1, s.targets(i.TransferSyntaxUID))
	if err != nil {
		return err
	}
	tag := instanceTag(i) + "-p"
	if !slices.Contains(pixelSyntaxes(i.TransferSyntaxUID), chosen.transferSyntax) {
		numbers := make([]int, frames.count)
		for n := range numbers {
			numbers[n] = n + 1
		}
		return s.sendRecodedFrames(r, tag, i, numbers, chosen)
	}
	a := answer{cache: lasting(i), etag: tag, content: &content{}}
	var parts []part
	for n := 1; n <= frames.count; n++ {
		pieces, err := frames.pieces(n)
		if err != nil {
			return err
		}
		parts = append(parts, part{contentType: chosen.contentType(), pieces: pieces})
	}
	if !chosen.multipart {
		a.etag += "-s"
		a.contentType = chosen.contentType()
		for _, p := range parts[0].pieces {
			a.add(p)
		}
		return s.send(r, a)
	}
	var boundary string
	a.content, boundary = multipartContent(tag+chosen.String(), parts)
	a.contentType = `multipart/related; type="` + chosen.media + `"; boundary=` + boundary
	return s.send(r, a)
}

// wholeOrFrames are the frames of an instance; a video is one.
func (s *service) wholeOrFrames(ctx context.Context, i pacs.Instance) (frameSet, error) {
	if ts, _ := dicom.LookupTransferSyntax(i.TransferSyntaxUID); !ts.Video {
		return s.framesOf(ctx, i)
	}
	whole, err := s.stream(ctx, i)
	return frameSet{1, func(int) ([]piece, error) { return whole, nil }}, err
}

// bulkRange reads the offset and length of a BulkDataURI. Without them it is
// the pixel data that is meant.
func bulkRange(query url.Values) (offset, length int64, err error) {
	o, l := query.Get("offset"), query.Get("length")
	if !query.Has("offset") && !query.Has("length") {
		return 0, -1, nil
	}
	if offset, err = strconv.ParseInt(o, 10, 64); err != nil || offset < 0 {
		return 0, 0, pacs.Errorf(pacs.Invalid, "The parameter offset is not a number of bytes. Use the BulkDataURI as the metadata give it.")
	}
	if length, err = strconv.ParseInt(l, 10, 64); err != nil || length < -1 {
		return 0, 0, pacs.Errorf(pacs.Invalid, "The parameter length is neither a number of bytes nor -1. Use the BulkDataURI as the metadata give it.")
	}
	return offset, length, nil
}

// clip shortens what a caller sent for use in a message.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
