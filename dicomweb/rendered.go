package dicomweb

import (
	"bytes"
	"context"
	raster "image"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/render"
)

// Media types of pictures.
const (
	mediaJPEG = "image/jpeg"
	mediaPNG  = "image/png"
	mediaGIF  = "image/gif"
)

var pictureMedia = []string{mediaJPEG, mediaPNG, mediaGIF}

// renderingVersion is part of the ETags of pictures: it changes when the same
// pixels are drawn in another way.
const renderingVersion = "-r1"

// target is one picture of an answer.
type target struct {
	*pacs.Instance
	frame int // 0 for the one that represents the instance
	// presentation is a presentation state that is shown with it, nil for none.
	presentation *dicom.Dataset
	shownBy      string // the tag of that
}

// rendered sends pictures of a study, series, instance or frames: Retrieve
// Rendered, PS3.18 10.4.1.1.3 and 8.3.5.
func (s *service) rendered(r *request) error {
	l, err := lookOf(r.Request.URL.Query())
	if err != nil {
		return err
	}
	if r.instance == "" {
		return s.renderedInstances(r, l)
	}
	i, err := s.one(r)
	if err != nil {
		return err
	}
	if list := r.Param("frames"); list != "" {
		numbers, err := parseFrameList(list)
		if err != nil {
			return err
		}
		if i.FrameCount < 1 {
			return pacs.Errorf(pacs.NotFound, "The instance has no pixel data, so there are no frames.")
		}
		targets := make([]target, len(numbers))
		for n, number := range numbers {
			if number > i.FrameCount {
				return pacs.Errorf(pacs.NotFound, "There is no frame %d: the instance has %s.", number, plural(i.FrameCount, "frame"))
			}
			targets[n] = target{Instance: &i, frame: number}
		}
		return s.sendRendered(r, l, targets, len(targets) == 1)
	}
	return s.renderedInstance(r, l, i)
}

// renderedInstance sends what there is to be seen of one instance.
func (s *service) renderedInstance(r *request, l look, i pacs.Instance) error {
	ts, _ := dicom.LookupTransferSyntax(i.TransferSyntaxUID)
	switch {
	case i.FrameCount > 0 && ts.Video:
		return s.sendVideo(r, i)
	case i.FrameCount > 0 || i.PixelsDeleted != nil:
		if i.FrameCount <= 1 || i.FrameCount > maxFrameList {
			return s.sendRendered(r, l, []target{{Instance: &i}}, true)
		}
		targets := make([]target, i.FrameCount)
		for n := range targets {
			targets[n] = target{Instance: &i, frame: n + 1}
		}
		return s.sendRendered(r, l, targets, false)
	case presentable[i.SOPClassUID]:
		return s.renderedPresentation(r, l, i)
	}
	return s.renderedDocument(r, i)
}

// renderedInstances sends one picture of each instance of a study or series.
func (s *service) renderedInstances(r *request, l look) error {
	var targets []target
	n, err := s.each(r, func(i pacs.Instance) {
		ts, _ := dicom.LookupTransferSyntax(i.TransferSyntaxUID)
		if i.FrameCount > 0 && !ts.Video && s.Codecs.Decodes(i.TransferSyntaxUID) {
			i.Attributes = nil // not needed, and there may be many
			targets = append(targets, target{Instance: &i})
		}
	})
	switch {
	case err != nil:
		return err
	case n == 0:
		return pacs.Errorf(pacs.NotFound, "There is no such %s.", r.level())
	case len(targets) == 0:
		return pacs.Errorf(pacs.NotAcceptable, "None of the %s of this %s is an image that a picture can be made of.", plural(n, "instance"), r.level())
	}
	return s.sendRendered(r, l, targets, len(targets) == 1)
}

// Presentation states that are shown with their images.
var presentable = map[string]bool{
	dicom.GrayscalePresentationStorage: true,
	"1.2.840.10008.5.1.4.1.1.11.2":     true, // in color
}

// maxPresented bounds how many images of a presentation state are looked up.
const maxPresented = 1000

// renderedPresentation sends the images that a presentation state is for, as it
// shows them.
func (s *service) renderedPresentation(r *request, l look, i pacs.Instance) error {
	targets, err := s.presented(r, i)
	if err != nil {
		return err
	}
	return s.sendRendered(r, l, targets, len(targets) == 1)
}

// presented are the images of the study that a presentation state is for.
func (s *service) presented(r *request, i pacs.Instance) (targets []target, err error) {
	ctx := r.Request.Context()
	h, err := s.attributes(ctx, i)
	if err != nil {
		return nil, err
	}
	for _, reference := range render.References(h.Dataset) {
		if len(targets) >= maxPresented {
			break
		}
		if !uidPattern.MatchString(reference.SOPInstanceUID) {
			continue
		}
		// It belongs to the study of its images, PS3.3 C.11.11.
		f := pacs.InstanceFilter{SOPInstanceUIDs: []string{reference.SOPInstanceUID}, Page: pacs.Page{Limit: 1}}
		f.Series.Study.StudyInstanceUIDs = []string{i.StudyInstanceUID}
		found, _, err := s.Index.Instances(ctx, r.scope, f)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 || found[0].FrameCount < 1 {
			continue
		}
		frames := reference.Frames
		if frames == nil {
			frames = []int{0}
		}
		for _, n := range frames {
			if n <= found[0].FrameCount && len(targets) < maxPresented {
				targets = append(targets, target{&found[0], max(n, 0), h.Dataset, servedTag(i)})
			}
		}
	}
	if len(targets) == 0 {
		return nil, pacs.Errorf(pacs.NotAcceptable, "None of the images that this presentation state is for is in the archive.")
	}
	return targets, nil
}

// sendRendered negotiates the form and sends pictures. When single is false a
// single picture is the one that stands for all, and an animation shows them.
func (s *service) sendRendered(r *request, l look, targets []target, single bool) error {
	oneInstance := !slices.ContainsFunc(targets, func(t target) bool { return t.SOPInstanceUID != targets[0].SOPInstanceUID })
	listed := r.Param("frames") != ""
	var offers []offer
	for _, multipart := range []bool{false, true} {
		for _, media := range pictureMedia {
			// Frames that were listed, and images of a study, are not replaced by one.
			if multipart || single || oneInstance && !listed {
				offers = append(offers, offer{multipart: multipart, media: media})
			}
		}
	}
	if !single && oneInstance && listed {
		offers = append(offers, offer{media: mediaGIF})
	}
	chosen, err := negotiate(r.Request, offers)
	if err != nil {
		return err
	}
	if !chosen.multipart && !single && chosen.media != mediaGIF {
		// The one frame that stands for the instance.
		targets = []target{{Instance: targets[0].Instance, presentation: targets[0].presentation, shownBy: targets[0].shownBy}}
	}
	// As long as its patient isn't on it, a picture of an instance stays what it is.
	cache := changing
	if oneInstance && !l.patient && targets[0].presentation == nil {
		cache = lasting(*targets[0].Instance)
	}
	etag := renderedTag(l, targets, chosen)
	switch {
	case chosen.multipart:
		return s.sendPictures(r, l, targets, chosen, etag, cache)
	case chosen.media == mediaGIF && len(targets) > 1:
		return s.sendPicture(r, chosen.media, etag, cache, func(ctx context.Context) ([]byte, error) { return s.animation(ctx, l, targets) })
	}
	return s.sendPicture(r, chosen.media, etag, cache, func(ctx context.Context) ([]byte, error) {
		return s.draw(ctx, &drawing{look: l, media: chosen.media}, targets[0])
	})
}

// renderedTag identifies the bytes of pictures.
func renderedTag(l look, targets []target, o offer) string {
	var b strings.Builder
	last := ""
	for _, t := range targets {
		tag := instanceTag(*t.Instance)
		if l.patient {
			tag = servedTag(*t.Instance)
		}
		if tag == last {
			tag = ""
		} else {
			last = tag
		}
		b.WriteString(tag + "/" + strconv.Itoa(t.frame) + "/" + t.shownBy + "\n")
	}
	return shortHash(b.String()) + shortHash(l.tag()+o.String()) + renderingVersion
}

// sendPicture sends what draw makes, which is not called for who has it already.
func (s *service) sendPicture(r *request, media, etag string, cache string, draw func(context.Context) ([]byte, error)) error {
	a := answer{contentType: media, etag: etag, cache: cache, content: &content{}}
	if !etagMatches(r.Request.Header.Values("If-None-Match"), etag) {
		key := "p " + r.Request.URL.Path + " " + r.Query("objectUID") + " " + etag
		picture, err := s.Cache.Get(r.Request.Context(), key, draw)
		if err != nil {
			return err
		}
		waiting, err := s.outgoing(picture)
		if err != nil {
			return err
		}
		defer waiting.close()
		a.add(waiting.piece())
	}
	return s.send(r, a)
}

// drawing draws pictures one after another, and keeps what it read of an instance
// for the next.
type drawing struct {
	look
	media string
	last  *source
}

// draw makes and encodes one picture.
func (s *service) draw(ctx context.Context, d *drawing, t target) ([]byte, error) {
	if d.last == nil || d.last.SOPInstanceUID != t.SOPInstanceUID {
		src, err := s.source(ctx, *t.Instance)
		if err != nil {
			return nil, err
		}
		d.last = src
	}
	src := d.last
	done, err := s.rendering(ctx, src, d.look)
	if err != nil {
		return nil, err
	}
	defer done()
	im, err := s.picture(ctx, src, s.frameOf(src, t), d.look, t.presentation)
	if err != nil {
		return nil, err
	}
	var icc []byte
	if _, color := im.(*raster.RGBA); color && d.profile {
		icc = profile(src.header.Dataset)
	}
	var b bytes.Buffer
	switch d.media {
	case mediaPNG:
		err = render.EncodePNG(&b, im, icc)
	case mediaGIF:
		err = render.EncodeGIF(&b, []*raster.Paletted{render.Paletted(im)}, nil)
	default:
		err = render.EncodeJPEG(&b, im, d.quality, icc)
	}
	return b.Bytes(), err
}

// frameOf is the number of the frame that is shown.
func (s *service) frameOf(src *source, t target) int {
	if t.frame > 0 {
		return t.frame
	}
	return render.Representative(src.header.Dataset, src.frames.count)
}

// sendPictures sends pictures as parts, each made when its turn comes.
func (s *service) sendPictures(r *request, l look, targets []target, o offer, etag string, cache string) error {
	if unchanged(r, etag, cache) {
		return nil
	}
	h := r.Writer.Header()
	boundary := "tasvir-" + etag
	h.Set("Content-Type", `multipart/related; type="`+o.media+`"; boundary=`+boundary)
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Request.Method == http.MethodHead {
		r.Status(http.StatusOK)
		r.Writer.WriteHeaderNow()
		return nil
	}
	d := &drawing{look: l, media: o.media}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for n, t := range targets {
		// The first is made before the head is sent, while a failure can be told.
		picture, err := s.draw(r.Request.Context(), d, t)
		if err != nil {
			return err
		}
		head := "\r\n"
		if n == 0 {
			r.Status(http.StatusOK)
			head = ""
		}
		head += "--" + boundary + "\r\nContent-Type: " + o.media + "\r\nContent-Location: " + s.address(r, t, s.frameOf(d.last, t)) + "\r\n\r\n"
		if _, err := r.Writer.WriteString(head); err != nil {
			return err
		}
		waiting, err := s.outgoing(picture)
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(onlyWriter{r.Writer}, waiting.body(), *buf)
		if waiting.close(); err != nil {
			return err
		}
	}
	_, err := r.Writer.WriteString("\r\n--" + boundary + "--\r\n")
	return err
}

// address is where a picture can be had by itself.
func (s *service) address(r *request, t target, frame int) string {
	at := s.serviceURL(r.Request) + "/studies/" + t.StudyInstanceUID + "/series/" + t.SeriesInstanceUID + "/instances/" + t.SOPInstanceUID
	if t.FrameCount > 1 {
		at += "/frames/" + strconv.Itoa(frame)
	}
	return at + "/rendered"
}

// animation is a GIF of frames, as fast as the instance says (PS3.3 C.7.6.5).
func (s *service) animation(ctx context.Context, l look, targets []target) ([]byte, error) {
	src, err := s.source(ctx, *targets[0].Instance)
	if err != nil {
		return nil, err
	}
	done, err := s.rendering(ctx, src, l)
	if err != nil {
		return nil, err
	}
	defer done()
	delay := frameTime(src.header.Dataset)
	var pictures []*raster.Paletted
	var delays []time.Duration
	pixels := 0
	for _, t := range targets {
		im, err := s.picture(ctx, src, s.frameOf(src, t), l, t.presentation)
		if err != nil {
			return nil, err
		}
		size := im.Bounds().Dx() * im.Bounds().Dy()
		if pixels += size; pixels > maxAnimation || size*len(targets) > maxAnimation {
			return nil, pacs.Errorf(pacs.TooLarge, "An animation of %d pictures of %d × %d pixels is too large. Ask for smaller ones with viewport=, or for single frames.",
				len(targets), im.Bounds().Dx(), im.Bounds().Dy())
		}
		pictures, delays = append(pictures, render.Paletted(im)), append(delays, delay)
	}
	var b bytes.Buffer
	err = render.EncodeGIF(&b, pictures, delays)
	return b.Bytes(), err
}

// frameTime is how long a frame is shown.
func frameTime(ds *dicom.Dataset) time.Duration {
	if ms, ok := ds.Float(dicom.TagFrameTime); ok && ms > 0 && ms < 60_000 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	for _, tag := range []dicom.Tag{dicom.TagRecommendedDisplayFrameRate, dicom.TagCineRate} {
		if rate, ok := ds.Float(tag); ok && rate > 0 && rate <= 1000 {
			return time.Duration(float64(time.Second) / rate)
		}
	}
	return 100 * time.Millisecond
}

// sendVideo sends the stream of a video as it is stored.
func (s *service) sendVideo(r *request, i pacs.Instance) error {
	if err := pixelsDeleted(i); err != nil {
		return err
	}
	pieces, err := s.stream(r.Request.Context(), i)
	if err != nil {
		return err
	}
	c := &content{}
	for _, p := range pieces {
		c.add(p)
	}
	media, err := s.videoMedia(r.Request.Context(), i, c)
	if err != nil {
		return err
	}
	if _, err := negotiate(r.Request, []offer{{media: media}}); err != nil {
		return pacs.Errorf(pacs.NotAcceptable, "%s Videos are sent as they are stored, and no pictures are made of them.", pacs.MessageOf(err))
	}
	return s.send(r, answer{content: c, contentType: media, etag: instanceTag(i) + "-v", cache: lasting(i)})
}

// videoMedia is the media type of a video by its first bytes: what the transfer
// syntax says leaves the container open (PS3.5 8.2.5 to 8.2.9).
func (s *service) videoMedia(ctx context.Context, i pacs.Instance, c *content) (string, error) {
	body := c.reader(ctx, s.Packs, 0, min(c.size, 12))
	defer body.close()
	var b bytes.Buffer
	if err := body.writeTo(&b, make([]byte, 12)); err != nil {
		return "", err
	}
	head := b.Bytes()
	switch {
	case len(head) >= 8 && string(head[4:8]) == "ftyp":
		return "video/mp4", nil
	case len(head) > 0 && head[0] == 0x47:
		return "video/mp2t", nil
	case bytes.HasPrefix(head, []byte{0, 0, 1, 0xBA}), bytes.HasPrefix(head, []byte{0, 0, 1, 0xB3}):
		return "video/mpeg", nil
	}
	if media := frameMedia[i.TransferSyntaxUID]; len(media) > 0 {
		return media[0], nil
	}
	return mediaOctets, nil
}
