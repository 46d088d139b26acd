package web

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
)

const requestIDHeader = "X-Request-ID"

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// requestID gives each request a name for the log; a proxy may have given one.
func (s *Server) requestID(c *gin.Context) {
	id := c.GetHeader(requestIDHeader)
	if !requestIDPattern.MatchString(id) {
		id = strings.ToLower(rand.Text()[:16])
	}
	c.Header(requestIDHeader, id)
}

// observe logs and measures a request. It logs the route's pattern: paths and
// queries name patients and studies.
func (s *Server) observe(c *gin.Context) {
	start := time.Now()
	s.metrics.inFlight.Inc()
	defer func() {
		s.metrics.inFlight.Dec()
		elapsed := time.Since(start)
		route := c.FullPath()
		if route == "" {
			route = "(none)"
		}
		status := c.Writer.Status()
		s.metrics.observe(c.Request.Method, route, status, elapsed)

		level := slog.LevelInfo
		attributes := []any{
			"method", c.Request.Method, "route", route, "status", status,
			"ms", elapsed.Milliseconds(), "bytes", max(c.Writer.Size(), 0),
			"request", c.Writer.Header().Get(requestIDHeader),
		}
		if who := Identity(c).Who(); who != "" {
			attributes = append(attributes, "who", who)
		}
		if last := c.Errors.Last(); last != nil {
			code := pacs.CodeOf(last.Err)
			attributes = append(attributes, "code", string(code))
			if reason, _ := pacs.ReasonOf(last.Err); reason != "" {
				attributes = append(attributes, "reason", reason)
			}
			// What the caller did wrong may quote what they sent; what went
			// wrong inside is for the operator.
			switch code {
			case pacs.Internal, pacs.Unavailable, pacs.OutOfResources:
				level = slog.LevelError
				attributes = append(attributes, "error", last.Err.Error())
			}
		}
		switch route {
		case "/healthz", "/readyz", "/metrics":
			if level == slog.LevelInfo {
				level = slog.LevelDebug
			}
		}
		s.log.Log(c.Request.Context(), level, "http", attributes...)
	}()
	c.Next()
}

// recovered turns a panic into an internal error.
func (s *Server) recovered(c *gin.Context) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if err, ok := value.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(value) // cuts the connection on purpose
		}
		s.log.Error("panic in a request", "route", c.FullPath(), "panic", value, "stack", string(debug.Stack()))
		Problem(c, pacs.Errorf(pacs.Internal, "panic: %v", value))
	}()
	c.Next()
}

// contentPolicy permits what the viewer needs: codecs in WebAssembly, workers
// from blobs, pictures from memory; and nothing from elsewhere. Styles are set
// inline by the image viewport's library.
const contentPolicy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; " +
	"img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; " +
	"connect-src 'self' blob: data:; frame-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func (s *Server) securityHeaders(c *gin.Context) {
	header := c.Writer.Header()
	if s.options.HSTS > 0 && s.overTLS(c.Request) {
		header.Set("Strict-Transport-Security", "max-age="+strconv.FormatInt(int64(s.options.HSTS/time.Second), 10))
	}
	header.Set("Content-Security-Policy", contentPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), payment=(), usb=()")
}

// noStore keeps answers about patients out of caches; a handler that knows
// better sets its own Cache-Control.
func noStore(c *gin.Context) { c.Header("Cache-Control", "no-store") }
