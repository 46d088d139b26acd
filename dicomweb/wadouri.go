package dicomweb

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/render"
)

// wadoURI is the URI service, PS3.18 section 9: one instance, its file or a
// picture of it, named and described by query parameters.
func (s *service) wadoURI(r *request) error {
	if !strings.EqualFold(r.Query("requestType"), "WADO") {
		return pacs.Errorf(pacs.Invalid, "The parameter requestType is %q; it must be WADO.", clip(r.Query("requestType")))
	}
	for _, uid := range []struct {
		name string
		into *string
	}{{"studyUID", &r.study}, {"seriesUID", &r.series}, {"objectUID", &r.instance}} {
		if *uid.into = r.Query(uid.name); !uidPattern.MatchString(*uid.into) {
			return pacs.Errorf(pacs.Invalid, "The parameter %s is missing or is not a UID.", uid.name)
		}
	}
	if v := strings.ToLower(r.Query("anonymize")); v != "" && v != "no" {
		return pacs.Errorf(pacs.Invalid, "Instances are not made anonymous here (anonymize=%s).", clip(v))
	}
	i, err := s.one(r)
	if err != nil {
		return err
	}
	// contentType is a list; without one it is a picture of a single frame, and
	// the file of all else (PS3.18 9.1.2.2.1).
	accept := r.Query("contentType")
	if accept == "" {
		accept = mediaDICOM
		if ts, _ := dicom.LookupTransferSyntax(i.TransferSyntaxUID); i.FrameCount == 1 && !ts.Video || r.Query("frameNumber") != "" {
			accept = mediaJPEG
		}
	}
	accepted := parseAccept(strings.ReplaceAll(accept, " ", "+"))
	if len(accepted) == 0 {
		return pacs.Errorf(pacs.Invalid, "The parameter contentType is %q, which is no list of media types.", clip(accept))
	}
	takes := func(media string) bool {
		for _, m := range accepted {
			if matchesMedia(m.media, media) && m.q > 0 {
				return true
			}
		}
		return false
	}
	// What others do for a request's Accept header is done for the parameter.
	if !takes(mediaJPEG) && !takes(mediaPNG) && !takes(mediaGIF) && takes(mediaDICOM) {
		syntax := r.Query("transferSyntax")
		if syntax == "" {
			syntax = "*"
		} else if !uidPattern.MatchString(syntax) {
			return pacs.Errorf(pacs.Invalid, "The parameter transferSyntax is not a UID.")
		}
		r.accept(mediaDICOM + ";transfer-syntax=" + syntax)
		return s.retrieveInstances(r)
	}
	r.accept(strings.ReplaceAll(accept, " ", "+"))
	l, err := wadoLook(r)
	if err != nil {
		return err
	}
	if i.FrameCount < 1 {
		return s.renderedInstance(r, l, i)
	}
	t := target{Instance: &i}
	if v := r.Query("frameNumber"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return pacs.Errorf(pacs.Invalid, "The parameter frameNumber is %q; frames count from 1.", clip(v))
		}
		if n > i.FrameCount {
			return pacs.Errorf(pacs.NotFound, "There is no frame %d: the instance has %s.", n, plural(i.FrameCount, "frame"))
		}
		t.frame = n
	}
	if uid := r.Query("presentationUID"); uid != "" {
		if err := s.presentedBy(r, &t, uid); err != nil {
			return err
		}
	}
	if ts, _ := dicom.LookupTransferSyntax(i.TransferSyntaxUID); ts.Video {
		return s.sendVideo(r, i)
	}
	return s.sendRendered(r, l, []target{t}, true)
}

// accept makes media what the request accepts.
func (r *request) accept(media string) {
	r.Request = r.Request.Clone(r.Request.Context())
	query := r.Request.URL.Query()
	query.Del("accept")
	r.Request.URL.RawQuery = query.Encode()
	r.Request.Header.Set("Accept", media)
}

// wadoLook reads the parameters of PS3.18 9.1.2.2.
func wadoLook(r *request) (look, error) {
	var l look
	if err := l.setQuality("imageQuality", r.Query("imageQuality")); err != nil {
		return l, err
	}
	if err := l.setAnnotation(r.Request.URL.Query()["annotation"]); err != nil {
		return l, err
	}
	for name, into := range map[string]*int{"rows": &l.Height, "columns": &l.Width} {
		v := r.Query(name)
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > render.MaxSide {
			return l, pacs.Errorf(pacs.Invalid, "The parameter %s is %q; it takes a number of pixels from 1 to %d.", name, clip(v), render.MaxSide)
		}
		*into = n
	}
	if c, w := r.Query("windowCenter"), r.Query("windowWidth"); c != "" || w != "" {
		center, err1 := decimal(c)
		width, err2 := decimal(w)
		if err1 != nil || err2 != nil {
			return l, pacs.Errorf(pacs.Invalid, "The parameters windowCenter and windowWidth are numbers, and come together.")
		}
		if err := l.useWindow(center, width, render.Linear); err != nil {
			return l, err
		}
	}
	if v := r.Query("region"); v != "" {
		bad := pacs.Errorf(pacs.Invalid, "The parameter region is %q; it takes left, top, right and lower edge as parts of the image, from 0.0 to 1.0.", clip(v))
		var edges []float64
		for _, f := range strings.Split(v, ",") {
			n, err := decimal(f)
			if err != nil || n < 0 || n > 1 || len(edges) == 4 {
				return l, bad
			}
			edges = append(edges, n)
		}
		if len(edges) != 4 || edges[2] <= edges[0] || edges[3] <= edges[1] {
			return l, bad
		}
		l.fractions = true
		l.Region = &render.Region{X: edges[0], Y: edges[1], Width: edges[2] - edges[0], Height: edges[3] - edges[1]}
	}
	return l, nil
}

// presentedBy finds the presentation state that a request names.
func (s *service) presentedBy(r *request, t *target, uid string) error {
	series := r.Query("presentationSeriesUID")
	if !uidPattern.MatchString(uid) || !uidPattern.MatchString(series) {
		return pacs.Errorf(pacs.Invalid, "The parameters presentationUID and presentationSeriesUID are UIDs, and come together.")
	}
	if r.Query("windowCenter") != "" {
		return pacs.Errorf(pacs.Invalid, "A window is given by the presentation state, so windowCenter and windowWidth can't be.")
	}
	f := pacs.InstanceFilter{SOPInstanceUIDs: []string{uid}, Page: pacs.Page{Limit: 1}}
	f.Series.Study.StudyInstanceUIDs, f.Series.SeriesInstanceUIDs = []string{t.StudyInstanceUID}, []string{series}
	found, _, err := s.Index.Instances(r.Request.Context(), r.scope, f)
	if err != nil {
		return err
	}
	if len(found) == 0 || !presentable[found[0].SOPClassUID] {
		return pacs.Errorf(pacs.NotFound, "There is no such presentation state.")
	}
	ctx := r.Request.Context()
	h, err := s.attributes(ctx, found[0])
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(render.References(h.Dataset), func(r render.Reference) bool { return r.SOPInstanceUID == t.SOPInstanceUID }) {
		return pacs.Errorf(pacs.NotFound, "The presentation state is not for this image.")
	}
	t.presentation, t.shownBy = h.Dataset, servedTag(found[0])
	return nil
}
