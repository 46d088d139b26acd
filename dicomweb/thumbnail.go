package dicomweb

import (
	"context"
	"errors"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// thumbnailSize is the longer side of a thumbnail when nothing else is asked for.
const thumbnailSize = 256

// thumbnailQuality of its JPEG.
const thumbnailQuality = 80

// thumbnail sends one small picture that stands for what the address names:
// Retrieve Thumbnail, PS3.18 10.4.1.1.3. Of a study that is its first series with
// images, of a series the instance in its middle, of an instance the frame that
// it names as representative, or the middle one.
func (s *service) thumbnail(r *request) error {
	l := look{quality: thumbnailQuality}
	if err := l.setViewport(r.Query("viewport")); err != nil {
		return err
	}
	asked := l.Width > 0
	if l.Region != nil {
		return pacs.Errorf(pacs.Invalid, "A thumbnail shows all of an image; its viewport takes a width and a height only.")
	}
	if !asked {
		l.Width, l.Height = thumbnailSize, thumbnailSize
	}
	l.Shrink = true
	chosen, err := negotiate(r.Request, []offer{{media: mediaJPEG}, {media: mediaPNG}, {media: mediaGIF}})
	if err != nil {
		return err
	}
	t, kept, err := s.thumbnailTarget(r, chosen.media == mediaJPEG && l.Width == l.Height, l.Width)
	if err != nil {
		return err
	}
	if kept != nil {
		return s.send(r, *kept)
	}
	cache := changing
	if r.instance != "" {
		cache = lasting(*t.Instance)
	}
	return s.sendPicture(r, chosen.media, renderedTag(l, []target{t}, chosen)+"-t", cache, func(ctx context.Context) ([]byte, error) {
		return s.draw(ctx, &drawing{look: l, media: chosen.media}, t)
	})
}

// thumbnailTarget chooses what stands for what the address names; where a picture
// of it is kept ready, that.
func (s *service) thumbnailTarget(r *request, keptFits bool, size int) (target, *answer, error) {
	if r.instance != "" {
		i, err := s.one(r)
		if err != nil {
			return target{}, nil, err
		}
		t := target{Instance: &i}
		if list := r.Param("frames"); list != "" {
			numbers, err := parseFrameList(list)
			if err != nil {
				return t, nil, err
			}
			if t.frame = numbers[0]; t.frame > i.FrameCount {
				return t, nil, pacs.Errorf(pacs.NotFound, "There is no frame %d: the instance has %s.", t.frame, plural(i.FrameCount, "frame"))
			}
		}
		if i.FrameCount < 1 && presentable[i.SOPClassUID] {
			targets, err := s.presented(r, i)
			if err != nil {
				return t, nil, err
			}
			return targets[0], nil, nil
		}
		if i.FrameCount < 1 && i.PixelsDeleted == nil {
			return t, nil, pacs.Errorf(pacs.NotFound, "The instance is no image, so it has no thumbnail.")
		}
		return t, nil, nil
	}
	ctx := r.Request.Context()
	f := pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{r.study}}, Page: pacs.Page{Limit: pageSize}}
	if r.series != "" {
		f.SeriesInstanceUIDs = []string{r.series}
	}
	series, _, err := s.Index.Series(ctx, r.scope, f)
	if err != nil {
		return target{}, nil, err
	}
	if len(series) == 0 {
		return target{}, nil, pacs.Errorf(pacs.NotFound, "There is no such %s.", r.level())
	}
	for _, se := range series {
		if s.Thumbnails != nil && keptFits {
			picture, etag, err := s.Thumbnails.Thumbnail(ctx, r.scope, r.study, se.SeriesInstanceUID, size)
			if err == nil {
				c := &content{}
				c.add(piece{size: int64(len(picture)), text: string(picture)})
				return target{}, &answer{content: c, contentType: mediaJPEG, etag: etag}, nil
			}
			if pacs.CodeOf(err) != pacs.NotFound {
				return target{}, nil, err
			}
		}
		i, err := s.middle(ctx, r.scope, r.study, se)
		if err == nil {
			return target{Instance: &i}, nil, nil
		}
		if !errors.Is(err, errNoImage) {
			return target{}, nil, err
		}
	}
	return target{}, nil, pacs.Errorf(pacs.NotFound, "There is no image in this %s, so it has no thumbnail.", r.level())
}

var errNoImage = errors.New("no image")

// middle is the image in the middle of a series that a picture can be made of;
// errNoImage when there is none.
func (s *service) middle(ctx context.Context, scope pacs.Scope, study string, series pacs.Series) (pacs.Instance, error) {
	f := pacs.InstanceFilter{Page: pacs.Page{Limit: 1, Offset: max(0, (series.InstanceCount-1)/2)}}
	f.Series.Study.StudyInstanceUIDs, f.Series.SeriesInstanceUIDs = []string{study}, []string{series.SeriesInstanceUID}
	shows := func(i pacs.Instance) bool {
		ts, _ := dicom.LookupTransferSyntax(i.TransferSyntaxUID)
		return i.FrameCount > 0 && !ts.Video && s.Codecs.Decodes(i.TransferSyntaxUID)
	}
	rows, _, err := s.Index.Instances(ctx, scope, f)
	if err != nil {
		return pacs.Instance{}, err
	}
	if len(rows) == 1 && shows(rows[0]) {
		return rows[0], nil
	}
	// Something else is among the images.
	f.Page = pacs.Page{Limit: pageSize}
	if rows, _, err = s.Index.Instances(ctx, scope, f); err != nil {
		return pacs.Instance{}, err
	}
	var images []pacs.Instance
	for _, i := range rows {
		if shows(i) {
			images = append(images, i)
		}
	}
	if len(images) == 0 {
		return pacs.Instance{}, errNoImage
	}
	return images[(len(images)-1)/2], nil
}
