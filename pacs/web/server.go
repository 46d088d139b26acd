package web

import (
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/connectivity"
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI is the contract of /api, an OpenAPI 3.1 document in YAML.
func OpenAPI() []byte { return openAPI }

// SecureCookies says when the session cookie is kept from plain HTTP.
type SecureCookies string

const (
	// SecureAuto sets it when the request came over TLS, here or at a trusted
	// proxy.
	SecureAuto   SecureCookies = ""
	SecureAlways SecureCookies = "always"
	SecureNever  SecureCookies = "never"
)

// Named is something with an identifier and a name, as the client API shows it.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Options of a Server. Access is required.
type Options struct {
	Access *access.Access
	// Pool is where events of other nodes are heard; without it the Hub has
	// only what is published to it.
	Pool   *pgxpool.Pool
	Logger *slog.Logger // slog.Default when nil
	// Registry holds the metrics served at /metrics. When nil the server makes
	// one, with the process's own metrics.
	Registry *prometheus.Registry
	Version  string

	// TrustedLoopback lets peers on this machine use DICOMweb without a token.
	TrustedLoopback bool
	// TrustedProxies are the addresses of reverse proxies whose
	// X-Forwarded-For and X-Forwarded-Proto are believed. Empty: none.
	TrustedProxies []netip.Prefix
	SecureCookies  SecureCookies

	// CORS says which pages of other sites may read answers; nil: none.
	CORS *CORS
	// Limit bounds how much one caller may ask for; the zero value: not.
	Limit RateLimit
	// HSTS is how long browsers, once they came over TLS, shall come in no other
	// way; 0: not told.
	HSTS time.Duration

	// MaxUpload bounds the body of a DICOMweb request, in bytes; 64 GiB when 0.
	MaxUpload int64

	// Status gives what GET /api/admin/status answers; nil: only the version.
	Status func(ctx context.Context) (any, error)
	// Groups gives a person's reading groups; nil: none.
	Groups func(ctx context.Context, userID int64) ([]Named, error)
	// Viewers are the viewers of others that studies can be opened in: what
	// package viewers serves.
	Viewers []string
	// Connectivity tests devices; nil: as TASVIR, without certificates.
	Connectivity *connectivity.Tester
}

// Server is the archive's HTTP side.
type Server struct {
	options   Options
	access    *access.Access
	log       *slog.Logger
	engine    *gin.Engine
	hub       *Hub
	metrics   *metrics
	limits    *limits
	startedAt time.Time

	cookieLife  time.Duration
	crossOrigin *http.CrossOriginProtection
	public      *gin.RouterGroup // /api without sign-in
	api         *gin.RouterGroup
	dicomweb    *gin.RouterGroup

	mu     sync.RWMutex
	checks []*readiness
	client *static
}

const (
	maxAPIBody       = 1 << 20  // bytes of a JSON request
	defaultMaxUpload = 64 << 30 // bytes of a STOW-RS request
)

// New builds a server with the session, administration and operating routes.
func New(options Options) (*Server, error) {
	if options.Access == nil {
		return nil, pacs.Errorf(pacs.Internal, "web.New needs Access")
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.Registry == nil {
		options.Registry = prometheus.NewRegistry()
		options.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	if options.Connectivity == nil {
		options.Connectivity = &connectivity.Tester{}
	}
	if options.MaxUpload <= 0 {
		options.MaxUpload = defaultMaxUpload
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	proxies := make([]string, len(options.TrustedProxies))
	for i, prefix := range options.TrustedProxies {
		proxies[i] = prefix.String()
	}
	if err := engine.SetTrustedProxies(proxies); err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "A trusted proxy's address can't be read")
	}
	// UIDs and codes come in paths; none of them has an encoded slash.
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false

	s := &Server{
		options: options, access: options.Access, log: options.Logger, engine: engine,
		hub: NewHub(options.Registry), startedAt: time.Now(),
		crossOrigin: http.NewCrossOriginProtection(), cookieLife: options.Access.SessionLife(),
	}
	var err error
	if s.metrics, err = newMetrics(options.Registry); err != nil {
		return nil, err
	}
	if s.limits, err = newLimits(options.Limit, options.Registry); err != nil {
		return nil, err
	}
	engine.Use(files, s.requestID, s.observe, s.recovered, s.securityHeaders)
	if options.CORS != nil {
		engine.Use(options.CORS.apply)
	}
	engine.NoMethod(func(c *gin.Context) {
		respond(c, http.StatusMethodNotAllowed, pacs.Errorf(pacs.Unsupported, "%s is not possible here", c.Request.Method))
	})
	engine.NoRoute(s.noRoute)

	s.public = engine.Group("/api", noStore, limitBody(maxAPIBody), s.limitCaller)
	s.api = engine.Group("/api", noStore, limitBody(maxAPIBody), s.identify(false), s.limitCaller, s.checkCSRF, requireAPI)
	s.dicomweb = engine.Group("/dicom-web", limitBody(options.MaxUpload), s.identify(true), s.limitCaller, s.checkCSRF, requireDICOMweb)

	s.operatingRoutes()
	s.sessionRoutes()
	s.administrationRoutes()
	s.api.GET("/events", s.serveEvents)
	s.public.GET("/openapi.yaml", func(c *gin.Context) { c.Data(http.StatusOK, "application/yaml; charset=utf-8", openAPI) })
	return s, nil
}

// API is the group /api for other packages' routes. Callers are signed in or
// have a token of scope "api", and have passed the CSRF check; each route says
// with Require what it takes.
func (s *Server) API() *gin.RouterGroup { return s.api }

// DICOMweb is the group /dicom-web. Callers come with a session, a bearer
// token or, where the server is told so, from this machine. GET, HEAD and
// OPTIONS need access.DICOMwebRead, everything else access.DICOMwebWrite; of work
// items access.UPSRead and access.UPSWrite.
func (s *Server) DICOMweb() *gin.RouterGroup { return s.dicomweb }

// Hub is where events for the clients are published.
func (s *Server) Hub() *Hub { return s.hub }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	paced := pace(w, r)
	compressed := compress(paced, r)
	s.engine.ServeHTTP(compressed, r)
	// Not deferred: after a panic an answer must not look complete.
	compressed.finish()
}

// Serve answers on ln until ctx ends; then it lets running requests finish
// for a while and returns nil. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, func(server *http.Server) error { return server.Serve(ln) })
}

// ServeTLS is Serve over TLS, with HTTP/2 for those who speak it.
func (s *Server) ServeTLS(ctx context.Context, ln net.Listener, certificate Certificate) error {
	return s.serve(ctx, func(server *http.Server) error {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate}
		return server.ServeTLS(hinting{ln}, "", "")
	})
}

// httpServer is how we speak HTTP. There is no limit on the whole of a request
// (pace.go).
func (s *Server) httpServer(handler http.Handler) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true) // over TLS only
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.With("part", "http").Handler(), slog.LevelDebug),
		Protocols:         protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250,
			// A peer that has gone without a word is noticed while a stream of
			// events is quiet, and one that takes nothing while it isn't.
			SendPingTimeout:  time.Minute,
			PingTimeout:      15 * time.Second,
			WriteByteTimeout: paceTime,
		},
	}
}

func (s *Server) serve(ctx context.Context, run func(*http.Server) error) error {
	var background sync.WaitGroup
	listening, stop := context.WithCancel(ctx)
	defer background.Wait()
	defer stop()
	background.Go(func() { s.hub.Run(listening, s.options.Pool, s.log) })
	// Streams end first, so that Shutdown need not wait for them.
	return serveUntil(ctx, s.httpServer(s), run, func() { _ = s.hub.Close() })
}

// serveUntil runs a server until ctx ends, calls ending, and lets running
// requests finish for a while.
func serveUntil(ctx context.Context, server *http.Server, run func(*http.Server) error, ending func()) error {
	failed := make(chan error, 1)
	go func() { failed <- run(server) }()
	select {
	case err := <-failed:
		ending()
		_ = server.Close()
		return pacs.Wrap(pacs.Unavailable, err, "The HTTP server stopped")
	case <-ctx.Done():
	}
	ending()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close()
	}
	if err := <-failed; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return pacs.Wrap(pacs.Unavailable, err, "The HTTP server stopped")
	}
	return nil
}

// limitBody makes reading a body of more than limit bytes fail with 413.
func limitBody(limit int64) gin.HandlerFunc {
	return func(c *gin.Context) {
		if c.Request.ContentLength > limit {
			Problem(c, pacs.Errorf(pacs.TooLarge, "The request has %d bytes; at most %d are taken", c.Request.ContentLength, limit))
			return
		}
		if c.Request.Body != nil && c.Request.Body != http.NoBody {
			c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, limit)
		}
	}
}

// Close ends the streams of a server that does not run by Serve.
func (s *Server) Close() error { return s.hub.Close() }
