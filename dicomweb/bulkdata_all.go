package dicomweb

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// How much of a study's bulk data is prepared at a time: its instances are asked
// of the index so many at once, and their parts sent when there are so many.
const (
	bulkRowsAtOnce  = 100
	bulkPartsAtOnce = 1000
)

// allBulkdata sends every value that the metadata of a study, series or instance
// refer to by BulkDataURI, one part each with that URI as its Content-Location:
// PS3.18 10.4.1.1.5. Compressed pixel data are one part for each frame; of several
// frames, the Content-Location is that of the frame (Retrieve Frames), and a
// video is one part.
//
// The answer is made while it is sent, from one series' metadata at a time, so it
// has no length and no ranges.
func (s *service) allBulkdata(r *request) error {
	choices := map[string]offer{} // of pixel data, by stored transfer syntax
	sum := sha256.New()
	var refused, deleted error
	n, err := s.each(r, func(i pacs.Instance) {
		if deleted == nil {
			deleted = pixelsDeleted(i)
		}
		fmt.Fprintln(sum, i.SOPInstanceUID, instanceTag(i))
		if _, known := choices[i.TransferSyntaxUID]; known || i.Location.PixelData == nil || refused != nil {
			return
		}
		choices[i.TransferSyntaxUID], refused = s.negotiatePixels(r.Request, i.TransferSyntaxUID, false, s.targets(i.TransferSyntaxUID))
	})
	switch {
	case err != nil:
		return err
	case n == 0:
		return pacs.Errorf(pacs.NotFound, "There is no such %s.", r.level())
	case deleted != nil:
		return deleted
	case refused != nil:
		return refused
	}
	for _, stored := range slices.Sorted(maps.Keys(choices)) {
		fmt.Fprintln(sum, stored, choices[stored])
	}
	octets, err := negotiate(r.Request, []offer{{multipart: true, media: mediaOctets}})
	if err != nil {
		// Who takes pictures only gets them, if there is nothing else.
		if uri, findErr := s.bulkBesidePixels(r); findErr != nil || uri != "" {
			if findErr != nil {
				return findErr
			}
			return pacs.Errorf(pacs.NotAcceptable, "%s There is bulk data beside pixel data: %s.", pacs.MessageOf(err), uri)
		}
	}

	etag := hex.EncodeToString(sum.Sum(nil)[:16]) + "-b"
	boundarySum := sha256.Sum256([]byte("boundary " + etag))
	out := &bulkAnswer{service: s, request: r, boundary: "tasvir-" + hex.EncodeToString(boundarySum[:16])}
	if unchanged(r, etag, changing) {
		return nil
	}
	r.Header("X-Content-Type-Options", "nosniff")
	err = s.bulkOf(r, func(values []instanceValues) error {
		rows, err := s.bulkRows(r, values)
		if err != nil {
			return err
		}
		var parts []locatedPart
		for _, v := range values {
			i, ok := rows[v.instance]
			if !ok {
				continue // it has gone since
			}
			if parts, err = s.bulkPartsOf(r.Request.Context(), parts, i, v.uris, choices[i.TransferSyntaxUID], octets); err != nil {
				return err
			}
			if len(parts) >= bulkPartsAtOnce {
				if err := out.send(parts); err != nil {
					return err
				}
				parts = parts[:0]
			}
		}
		return out.send(parts)
	})
	switch {
	case err == errHeadSent:
		return nil
	case err != nil:
		return err
	case out.sent == 0:
		return pacs.Errorf(pacs.NotFound, "The %s has no bulk data: all its values are in the metadata.", r.level())
	}
	_, err = io.WriteString(r.Writer, "\r\n--"+out.boundary+"--\r\n")
	return err
}

// instanceValues are the BulkDataURIs of an instance, as its metadata give them.
type instanceValues struct {
	instance string
	uris     []string
}

// bulkOf calls fn for what the address names, some instances at a time, in the
// order of the metadata.
func (s *service) bulkOf(r *request, fn func([]instanceValues) error) error {
	ctx := r.Request.Context()
	f := pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{r.study}}, Page: pacs.Page{Limit: pageSize}}
	if r.series != "" {
		f.SeriesInstanceUIDs = []string{r.series}
	}
	for {
		rows, next, err := s.Index.Series(ctx, r.scope, f)
		if err != nil {
			return err
		}
		for _, row := range rows {
			m, err := s.Packs.Metadata(ctx, r.scope, r.study, row.SeriesInstanceUID)
			if err != nil {
				return err
			}
			// All of it is read before the first value is sent: the object store
			// doesn't wait for a slow client.
			values, err := bulkValues(m.Body, r.instance)
			m.Body.Close()
			if err != nil {
				return pacs.Wrap(pacs.Internal, err, "The stored metadata can't be read.")
			}
			for some := range slices.Chunk(values, bulkRowsAtOnce) {
				if err := fn(some); err != nil {
					return err
				}
			}
		}
		if next == "" {
			return nil
		}
		f.After = next
	}
}

// bulkRows are the rows of instances, by UID.
func (s *service) bulkRows(r *request, values []instanceValues) (map[string]pacs.Instance, error) {
	f := pacs.InstanceFilter{Page: pacs.Page{Limit: bulkRowsAtOnce}}
	f.Series.Study.StudyInstanceUIDs = []string{r.study}
	for _, v := range values {
		f.SOPInstanceUIDs = append(f.SOPInstanceUIDs, v.instance)
	}
	found := make(map[string]pacs.Instance, len(values))
	for {
		rows, next, err := s.Index.Instances(r.Request.Context(), r.scope, f)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			found[row.SOPInstanceUID] = row
		}
		if next == "" {
			return found, nil
		}
		f.After = next
	}
}

// bulkBesidePixels returns a BulkDataURI that is not pixel data, "" when there is
// none.
func (s *service) bulkBesidePixels(r *request) (found string, err error) {
	err = s.bulkOf(r, func(values []instanceValues) error {
		for _, v := range values {
			for _, uri := range v.uris {
				if path, _, _, err := bulkAddress(uri); err != nil || !isPixelData(path) {
					found = uri
					return io.EOF
				}
			}
		}
		return nil
	})
	if err == io.EOF {
		err = nil
	}
	return found, err
}

// bulkValues reads the BulkDataURIs out of gzipped metadata; of one instance
// unless uid is "".
func bulkValues(gzipped io.Reader, uid string) ([]instanceValues, error) {
	z, err := gzip.NewReader(gzipped)
	if err != nil {
		return nil, err
	}
	var list []instanceValues
	for raw, err := range eachInstance(z) {
		if err != nil {
			return nil, err
		}
		var object bulkObject
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, err
		}
		v := instanceValues{uris: object.uris(nil)}
		if text := object[dicom.TagSOPInstanceUID.String()].Value; len(text) > 0 {
			var values []string
			if err := json.Unmarshal(text, &values); err != nil || len(values) != 1 {
				return nil, fmt.Errorf("dicomweb: an instance of the metadata has no SOP Instance UID")
			}
			v.instance = values[0]
		}
		if len(v.uris) > 0 && (uid == "" || uid == v.instance) {
			list = append(list, v)
		}
	}
	return list, nil
}

// bulkObject is a data set in the DICOM JSON model (PS3.18 Annex F) as far as
// values lie elsewhere.
type bulkObject map[string]struct {
	VR          string          `json:"vr"`
	BulkDataURI string          `json:"BulkDataURI"`
	Value       json.RawMessage `json:"Value"`
}

// uris adds the BulkDataURIs of the data set and of those within it, by tag.
func (o bulkObject) uris(list []string) []string {
	for _, tag := range slices.Sorted(maps.Keys(o)) {
		a := o[tag]
		if a.BulkDataURI != "" {
			list = append(list, a.BulkDataURI)
		}
		if a.VR != "SQ" || !strings.Contains(string(a.Value), `"BulkDataURI"`) {
			continue
		}
		var items []bulkObject
		if json.Unmarshal(a.Value, &items) == nil {
			for _, item := range items {
				list = item.uris(list)
			}
		}
	}
	return list
}

// bulkAddress takes a BulkDataURI of this archive apart.
func bulkAddress(uri string) (path string, offset, length int64, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", 0, 0, err
	}
	_, path, ok := strings.Cut(u.Path, "/bulkdata/")
	if !ok {
		return "", 0, 0, fmt.Errorf("dicomweb: %q is no BulkDataURI of this archive", uri)
	}
	offset, length, err = bulkRange(u.Query())
	return path, offset, length, err
}

// locatedPart is one part of an answer: bytes that are kept, or made when its turn
// comes.
type locatedPart struct {
	contentType, location string
	pieces                []piece
	made                  func(context.Context) (*outgoing, error)
}

// bulkPartsOf adds the bulk data of an instance.
func (s *service) bulkPartsOf(ctx context.Context, parts []locatedPart, i pacs.Instance, uris []string, pixels, octets offer) ([]locatedPart, error) {
	for _, uri := range uris {
		path, offset, length, err := bulkAddress(uri)
		if err != nil {
			return parts, pacs.Wrap(pacs.Internal, err, "The stored metadata can't be read.")
		}
		asKept := slices.Contains(pixelSyntaxes(i.TransferSyntaxUID), pixels.transferSyntax)
		px := i.Location.PixelData
		switch {
		case !isPixelData(path) || px == nil:
			p, err := s.bulkPiece(i, path, offset, length)
			if err != nil {
				return parts, err
			}
			parts = append(parts, locatedPart{contentType: octets.contentType(), location: uri, pieces: []piece{p}})
		case !px.Encapsulated && asKept:
			p, err := s.bulkPiece(i, path, px.Offset, px.Length)
			if err != nil {
				return parts, err
			}
			parts = append(parts, locatedPart{contentType: pixels.contentType(), location: uri, pieces: []piece{p}})
		case !px.Encapsulated && pixels.transferSyntax == dicom.ExplicitVRLittleEndian:
			pieces, err := s.turnedValue(ctx, i, pixels)
			if err != nil {
				return parts, err
			}
			parts = append(parts, locatedPart{contentType: pixels.contentType(), location: uri, pieces: pieces})
		default:
			frames, err := s.wholeOrFrames(ctx, i)
			if err != nil {
				return parts, err
			}
			var recode recoder
			if !asKept {
				if recode, _, err = s.recoder(ctx, i, pixels); err != nil {
					return parts, err
				}
			}
			base, _, _ := strings.Cut(uri, "/bulkdata/")
			for n := 1; n <= frames.count; n++ {
				p := locatedPart{contentType: pixels.contentType(), location: uri}
				if frames.count > 1 {
					p.location = fmt.Sprintf("%s/frames/%d", base, n)
				}
				if recode != nil {
					p.made = func(ctx context.Context) (*outgoing, error) { return recode(ctx, n) }
				} else if p.pieces, err = frames.pieces(n); err != nil {
					return parts, err
				}
				parts = append(parts, p)
			}
		}
	}
	return parts, nil
}

// bulkAnswer is a multipart answer whose parts come some at a time.
type bulkAnswer struct {
	*service
	request  *request
	boundary string
	sent     int // parts
}

// errHeadSent ends an answer that has no body.
var errHeadSent = fmt.Errorf("dicomweb: the answer to HEAD is complete")

// send sends parts. Before the very first begins, its bytes are at hand, so that
// what is wrong with it can still be told.
func (a *bulkAnswer) send(parts []locatedPart) error {
	var c content
	for _, p := range parts {
		separator := "\r\n--"
		if a.sent == 0 {
			separator = "--"
			a.request.Header("Content-Type", `multipart/related; type="`+mediaOf(p.contentType)+`"; boundary=`+a.boundary)
		}
		separator += a.boundary + "\r\nContent-Type: " + p.contentType + "\r\nContent-Location: " + p.location + "\r\n\r\n"
		if p.made == nil {
			c.addText(separator)
			for _, piece := range p.pieces {
				c.add(piece)
			}
			a.sent++
			continue
		}
		made, err := p.made(a.request.Request.Context())
		if err != nil {
			return err
		}
		c.addText(separator)
		c.add(made.piece())
		a.sent++
		// What is made is large and is let go of.
		err = a.flush(&c)
		if made.close(); err != nil {
			return err
		}
		c = content{}
	}
	return a.flush(&c)
}

func (a *bulkAnswer) flush(c *content) error {
	if len(c.pieces) == 0 {
		return nil
	}
	body := c.reader(a.request.Request.Context(), a.Packs, 0, c.size)
	defer body.close()
	if !a.request.Writer.Written() {
		if err := body.prime(); err != nil {
			return err
		}
		a.request.Status(http.StatusOK)
		if a.request.Request.Method == http.MethodHead {
			a.request.Writer.WriteHeaderNow()
			return errHeadSent
		}
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	return body.writeTo(a.request.Writer, *buf)
}

// mediaOf is a Content-Type without its parameters.
func mediaOf(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return media
}
