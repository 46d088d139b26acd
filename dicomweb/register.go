package dicomweb

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/bytecache"
	"github.com/tasvir-pacs/tasvir/pacs/pixel"
)

// Index answers queries within a scope: what lies outside is not there.
// next is the cursor of the following page, "" at the end; a page may hold
// fewer rows than Limit asks for and still have a following one.
//
// A cursor that the index did not give is pacs.Invalid.
type Index interface {
	Studies(ctx context.Context, scope pacs.Scope, f pacs.StudyFilter) (rows []pacs.Study, next string, err error)
	Series(ctx context.Context, scope pacs.Scope, f pacs.SeriesFilter) (rows []pacs.Series, next string, err error)
	Instances(ctx context.Context, scope pacs.Scope, f pacs.InstanceFilter) (rows []pacs.Instance, next string, err error)
	// FrameMap returns where the frames of an instance are whose PixelData is
	// Mapped.
	FrameMap(ctx context.Context, i pacs.Instance) (pacs.FrameMap, error)
}

// Thumbnails are the small pictures of series that are made when a study is
// published, kept ready to be sent.
type Thumbnails interface {
	// Thumbnail returns the picture of a series whose longer side has at most
	// size pixels and not much less, as JPEG, and an ETag (without quotes) that
	// changes with it. NotFound when none is kept of that size, also outside the
	// scope; then it can be rendered.
	Thumbnail(ctx context.Context, scope pacs.Scope, studyUID, seriesUID string, size int) (jpeg []byte, etag string, err error)
}

// Packs reads the archive's bytes.
type Packs interface {
	// Open streams length bytes from offset relative to the instance's PS3.10
	// file (length -1: to its end). Reading ends with io.EOF only when every
	// byte was delivered. The caller closes the reader.
	Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error)
	// OpenRange streams length bytes of a pack from offset: several instances
	// that lie behind one another, with what is between them. As Open otherwise.
	OpenRange(ctx context.Context, packKey string, offset, length int64) (io.ReadCloser, error)
	// Instance prepares a whole instance for being read as it is served: with
	// the demographics of its Amendment. Only its header is read for that,
	// unless it is deflated.
	Instance(ctx context.Context, i pacs.Instance) (pacs.File, error)
	// Metadata returns the DICOM JSON (PS3.18 Annex F) of the current instances
	// of a series: a gzipped JSON array, as stored where possible, in instance
	// order. NotFound outside the scope. The caller closes Body.
	Metadata(ctx context.Context, scope pacs.Scope, studyUID, seriesUID string) (*pacs.SeriesMetadata, error)
}

// Options are what the service needs from the rest of the archive.
type Options struct {
	Index    Index
	Packs    Packs
	Receiver pacs.Receiver
	// Cache, when not nil, keeps frames and pictures that take long to come by.
	Cache *bytecache.Cache
	// Remote says whether reading from a pack costs a round trip, so that its
	// frames belong into Cache; nil: no.
	Remote func(packKey string) bool
	// Thumbnails, when not nil, is asked first for the thumbnail of a series.
	Thumbnails Thumbnails
	// Codecs decode what pictures are made of; nil for those that need no worker.
	Codecs *pixel.Codecs

	// Workitems, when not nil, are what UPS-RS serves.
	Workitems Workitems

	// Identity says who makes a request: what they may see, the name under
	// which what they store is recorded, the code of the facility that owns it
	// ("" when the caller may not store), and the fallback character set for
	// their text. ok is false when nobody is signed in.
	Identity func(*gin.Context) (scope pacs.Scope, sender string, facility string, charset string, ok bool)
	// Problem answers a request with an error, as RFC 9457 problem details. Of
	// an answer that has begun it cuts the connection, so that the client
	// doesn't take what it has for all.
	Problem func(*gin.Context, error)

	// Base is the path under which the routes are mounted, for the URLs in
	// answers; "/dicom-web" when empty.
	Base string
	// Origin is scheme and host of those URLs, e.g. "https://pacs.example.uz".
	// When empty they are taken from the request.
	Origin string
	// TrustForwarded lets X-Forwarded-Proto and X-Forwarded-Host name the
	// origin: set it only behind a proxy that sets or removes them itself.
	TrustForwarded bool

	// MaxPartSize is the largest instance STOW-RS takes, in bytes; 16 GiB when 0.
	MaxPartSize int64
	// MaxParts is how many instances one STOW-RS request may hold; 50,000
	// when 0.
	MaxParts int
	// Rejections and Rejecting let callers reject what is stored; without them
	// there are no routes for that.
	Rejections Rejections
	Rejecting  Rejecting
	// TempDir is where bulk data waits that STOW-RS gets apart from its metadata,
	// and frames that are compressed before they are sent; that of the system when
	// "".
	TempDir string
}

// service is the state of the handlers: the options, and how much is being
// rendered, recoded and sent.
type service struct {
	Options
	renderings *semaphore.Weighted
	waiting    *semaphore.Weighted // what waits in memory to be sent, in bytes
	recodings  *semaphore.Weighted
	channels   *semaphore.Weighted // of events of work items
}

// Register mounts the DICOMweb routes on r.
func Register(r gin.IRouter, o Options) { newService(o).mount(r) }

func newService(o Options) *service {
	if o.Base == "" {
		o.Base = "/dicom-web"
	}
	o.Base = "/" + strings.Trim(o.Base, "/")
	if o.MaxPartSize == 0 {
		o.MaxPartSize = 16 << 30
	}
	if o.MaxParts == 0 {
		o.MaxParts = 50_000
	}
	if o.Codecs == nil {
		o.Codecs = &pixel.Codecs{}
	}
	s := &service{Options: o, renderings: newRenderings(), channels: semaphore.NewWeighted(maxChannels)}
	s.waiting, s.recodings = newRecodings()
	return s
}

func (s *service) mount(r gin.IRouter) {
	var table routeTable
	get := func(path string, h handler) {
		r.GET(path, s.handle(h))
		r.HEAD(path, s.handle(h))
		table.add(path, http.MethodGet, http.MethodHead)
	}
	post := func(path string, h handler) {
		r.POST(path, s.handle(h))
		table.add(path, http.MethodPost)
	}
	const (
		study    = "/studies/:study"
		series   = study + "/series/:series"
		instance = series + "/instances/:instance"
	)

	// Search, PS3.18 10.6.
	get("/studies", s.searchStudies)
	get("/series", s.searchSeries)
	get("/instances", s.searchInstances)
	get(study+"/series", s.searchSeries)
	get(study+"/instances", s.searchInstances)
	get(series+"/instances", s.searchInstances)

	// Retrieve, PS3.18 10.4.
	get(study, s.retrieveInstances)
	get(series, s.retrieveInstances)
	get(instance, s.retrieveInstances)
	get(study+"/metadata", s.studyMetadata)
	get(series+"/metadata", s.seriesMetadata)
	get(instance+"/metadata", s.instanceMetadata)
	get(instance+"/frames/:frames", s.frames)
	get(study+"/bulkdata", s.allBulkdata)
	get(series+"/bulkdata", s.allBulkdata)
	get(instance+"/bulkdata", s.allBulkdata)
	get(instance+"/bulkdata/*path", s.bulkdata)

	// Pictures, PS3.18 10.4 and 9.
	for _, resource := range []string{study, series, instance, instance + "/frames/:frames"} {
		get(resource+"/rendered", s.rendered)
		get(resource+"/thumbnail", s.thumbnail)
	}
	get("/wado", s.wadoURI)

	// Store, PS3.18 10.5.
	post("/studies", s.store)
	post(study, s.store)

	// Reject, IHE RAD TF-2 4.66.
	if s.Rejections != nil && s.Rejecting != nil {
		for _, resource := range []string{study, series, instance} {
			post(resource+"/reject/:code", s.rejectByCode)
			r.DELETE(resource, s.handle(s.remove))
			table.add(resource, http.MethodDelete)
		}
	}

	// Work items, PS3.18 11.
	if s.Workitems != nil {
		s.workitemRoutes(func(method, path string, h handler) {
			r.Handle(method, path, s.handle(h))
			table.add(path, method)
		})
	}

	// Capabilities, PS3.18 8.9: last, of all that is there.
	s.capabilities(r, &table)
}

// request is one call: gin's context, who calls, and the address.
type request struct {
	*gin.Context
	scope                     pacs.Scope
	sender, facility, charset string

	// UIDs of the address, "" where the route has none.
	study, series, instance string
}

// handler does the work of one route. An error it returns goes to
// Options.Problem.
type handler func(*request) error

// uidPattern is what a UID in an address or a query may look like. PS3.5 9.1
// is stricter, but what it forbids beyond this simply matches nothing.
var uidPattern = regexp.MustCompile(`^[0-9.]{1,64}$`)

func (s *service) handle(h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		scope, sender, facility, charset, ok := s.Identity(c)
		if !ok {
			s.Problem(c, pacs.Errorf(pacs.Unauthenticated, "Sign in, or send a bearer token."))
			return
		}
		r := &request{
			Context: c, scope: scope, sender: sender, facility: facility, charset: charset,
			study: c.Param("study"), series: c.Param("series"), instance: c.Param("instance"),
		}
		for _, uid := range []struct{ name, value string }{
			{"Study", r.study}, {"Series", r.series}, {"SOP", r.instance},
		} {
			if uid.value != "" && !uidPattern.MatchString(uid.value) {
				s.Problem(c, pacs.Errorf(pacs.Invalid, "The %s Instance UID in the address is not a UID.", uid.name))
				return
			}
		}
		if err := h(r); err != nil {
			if !c.Writer.Written() {
				for _, name := range bodyHeaders {
					c.Writer.Header().Del(name)
				}
			}
			s.Problem(c, err)
		}
	}
}

// origin is scheme and host of the URLs in an answer.
func (s *service) origin(r *http.Request) string {
	if s.Origin != "" {
		return strings.TrimSuffix(s.Origin, "/")
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if s.TrustForwarded {
		// Behind several proxies the first value is the client's view.
		if v, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ","); strings.TrimSpace(v) == "https" || strings.TrimSpace(v) == "http" {
			scheme = strings.TrimSpace(v)
		}
		if v, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ","); strings.TrimSpace(v) != "" {
			host = strings.TrimSpace(v)
		}
	}
	return scheme + "://" + host
}

// serviceURL is the address of the DICOMweb service, {s} in PS3.18.
func (s *service) serviceURL(r *http.Request) string { return s.origin(r) + s.Base }
