package dicomweb

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/transcode"
)

// pageSize is how many rows are asked of the index at a time where all are
// wanted.
const pageSize = 1000

// filter is the filter for what the address names.
func (r *request) filter() pacs.InstanceFilter {
	var f pacs.InstanceFilter
	if r.study != "" {
		f.Series.Study.StudyInstanceUIDs = []string{r.study}
	}
	if r.series != "" {
		f.Series.SeriesInstanceUIDs = []string{r.series}
	}
	if r.instance != "" {
		f.SOPInstanceUIDs = []string{r.instance}
	}
	return f
}

// one finds the instance of the address.
func (s *service) one(r *request) (pacs.Instance, error) {
	f := r.filter()
	f.Limit = 1
	rows, _, err := s.Index.Instances(r.Request.Context(), r.scope, f)
	if err != nil {
		return pacs.Instance{}, err
	}
	if len(rows) == 0 {
		return pacs.Instance{}, pacs.Errorf(pacs.NotFound, "There is no such instance.")
	}
	return rows[0], nil
}

// each calls fn for every instance of the address, in the order of the index.
func (s *service) each(r *request, fn func(pacs.Instance)) (n int, err error) {
	f := r.filter()
	f.Limit = pageSize
	for {
		rows, next, err := s.Index.Instances(r.Request.Context(), r.scope, f)
		if err != nil {
			return n, err
		}
		for _, row := range rows {
			fn(row)
		}
		n += len(rows)
		if next == "" {
			return n, nil
		}
		f.After = next
	}
}

// instanceTag identifies the bytes of an instance.
func instanceTag(i pacs.Instance) string {
	if len(i.SHA256) == 0 {
		return i.SOPInstanceUID + "-" + strconv.Itoa(i.Version)
	}
	return hex.EncodeToString(i.SHA256[:min(16, len(i.SHA256))]) + "-" + strconv.Itoa(i.Version)
}

// servedTag identifies the file that is sent for an instance.
func servedTag(i pacs.Instance) string {
	tag := instanceTag(i)
	if i.Amendment != nil {
		tag += "-a" + i.Amendment.Tag()
	}
	return tag
}

// amendAtOnce is how many amended instances are prepared at the same time:
// each costs a round trip to the object store.
const amendAtOnce = 8

// amend puts what is served of an amended instance in place of what is kept.
// Their lengths are in the head of the answer, so all are prepared before it.
func (s *service) amend(r *request, amended map[int]pacs.Instance, parts []part) error {
	work, ctx := errgroup.WithContext(r.Request.Context())
	work.SetLimit(amendAtOnce)
	for n, i := range amended {
		work.Go(func() error {
			f, err := s.Packs.Instance(ctx, i)
			parts[n].pieces = []piece{{size: f.Length, open: f.Open}}
			return err
		})
	}
	return work.Wait()
}

// retrieveInstances sends the instances of a study or series, or one instance,
// as the PS3.10 files that are kept, byte for byte, unless an administrator has
// corrected their patient or the client takes them in other transfer syntaxes
// only: Retrieve Study, Series and Instance, PS3.18 10.4.
func (s *service) retrieveInstances(r *request) error {
	choices := map[kept][]offer{}
	var refused error
	sum := sha256.New()
	var parts []part
	amended := map[int]pacs.Instance{} // by their place in parts
	recoded := map[int]recodable{}
	var only pacs.Instance
	var deleted error
	n, err := s.each(r, func(i pacs.Instance) {
		only = i
		if deleted == nil {
			deleted = pixelsDeleted(i)
		}
		takes, known := choices[keptOf(i)]
		if !known {
			forms := s.instanceForms(keptOf(i), r.instance != "")
			takes = rank(r.Request, forms)
			choices[keptOf(i)] = takes
			if len(takes) == 0 && refused == nil {
				refused = pacs.Errorf(pacs.NotAcceptable, "%s What is stored here with transfer syntax %s (%s) can be had like that; transfer-syntax=* accepts any.",
					pacs.MessageOf(notAcceptable(forms)), i.TransferSyntaxUID, syntaxName(i.TransferSyntaxUID))
			}
		}
		fmt.Fprintln(sum, i.SOPInstanceUID, servedTag(i))
		loc := i.Location
		loc.PixelData = nil // not needed to read all, and large for many frames
		switch {
		case len(takes) > 0 && takes[0].transferSyntax != i.TransferSyntaxUID:
			i.Location = loc
			recoded[len(parts)] = recodable{i, takes}
		case i.Amendment != nil:
			amended[len(parts)] = i
		}
		parts = append(parts, part{
			contentType: mediaDICOM + ";transfer-syntax=" + i.TransferSyntaxUID,
			pieces:      []piece{s.stored(loc, 0, loc.Length)},
		})
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return pacs.Errorf(pacs.NotFound, "There is no such %s.", r.level())
	}
	if deleted != nil {
		return deleted
	}
	// Leaving some out would pass for completeness.
	if refused != nil {
		return refused
	}
	etag := hex.EncodeToString(sum.Sum(nil)[:16])
	chosen := choices[keptOf(only)][0]
	served := etag
	if !chosen.multipart {
		served += "-s" // another representation than the multipart one
	}
	if len(recoded) == 0 && etagMatches(r.Request.Header.Values("If-None-Match"), served) {
		amended = nil // nothing will be read
	}
	if err := s.amend(r, amended, parts); err != nil {
		return err
	}
	if len(recoded) > 0 {
		return s.sendRecoded(r, etag, parts, recoded, choices)
	}
	a := answer{etag: served}
	if !chosen.multipart {
		a.contentType = mediaDICOM + ";transfer-syntax=" + chosen.transferSyntax
		a.content = &content{}
		a.add(parts[0].pieces[0])
		a.download = only.SOPInstanceUID + ".dcm"
	} else {
		var boundary string
		a.content, boundary = multipartContent(a.etag, parts)
		a.contentType = `multipart/related; type="` + mediaDICOM + `"; boundary=` + boundary
	}
	return s.send(r, a)
}

// kept is what decides on the forms in which an instance can be had.
type kept struct {
	transferSyntax string
	pixels         bool
}

func keptOf(i pacs.Instance) kept { return kept{i.TransferSyntaxUID, i.Location.PixelData != nil} }

// instanceForms are the forms in which an instance can be had: as it is stored
// first, then in what it can be transcoded to, what loses last.
func (s *service) instanceForms(is kept, single bool) (forms []offer) {
	targets := s.targets(is.transferSyntax)
	if !is.pixels {
		targets = transcode.Uncompressed(is.transferSyntax, targets)
	}
	for _, ts := range targets {
		forms = append(forms, offer{multipart: true, media: mediaDICOM, transferSyntax: ts})
		if single {
			forms = append(forms, offer{media: mediaDICOM, transferSyntax: ts})
		}
	}
	return forms
}

// level is the word for what the address names.
func (r *request) level() string {
	switch {
	case r.instance != "":
		return "instance"
	case r.series != "":
		return "series"
	}
	return "study"
}
