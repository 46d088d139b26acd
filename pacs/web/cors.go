package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// CORS lets pages of other sites read the answers of DICOMweb and, when asked
// for, of the client's API (Fetch Standard, CORS protocol). Whoever calls signs
// in all the same.
type CORS struct {
	origins map[string]bool
	any     bool
	api     bool
}

// NewCORS checks origins, each like https://viewer.example.uz, or a single "*"
// for all sites. Those that are named may send the session's cookie along;
// "*" must not. api opens /api/ beside /dicom-web/. Nil without origins.
func NewCORS(origins []string, api bool) (*CORS, error) {
	if len(origins) == 0 {
		return nil, nil
	}
	c := &CORS{origins: map[string]bool{}, any: slices.Contains(origins, "*"), api: api}
	if c.any && len(origins) > 1 {
		return nil, pacs.Errorf(pacs.Invalid, "The origin * stands for all sites: name it alone, or name sites")
	}
	if c.any && api {
		return nil, pacs.Errorf(pacs.Invalid, "The client's API is not opened to all sites (*); name those that may use it")
	}
	for _, o := range origins {
		if o == "*" {
			continue
		}
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || o != u.Scheme+"://"+u.Host || o != strings.ToLower(o) {
			return nil, pacs.Errorf(pacs.Invalid, "%q is no origin; it looks like https://viewer.example.uz, in small letters and without a path", o)
		}
		c.origins[o] = true
	}
	return c, nil
}

// What pages may send and see beside what every page may.
const (
	corsMethods = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
	corsSent    = "Accept, Authorization, Content-Type, If-Match, If-None-Match, If-Range, Range, X-CSRF-Token, X-Requested-With"
	corsSeen    = "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Length, Content-Location, Content-Range, ETag, Link, Location, Retry-After, Warning, X-Request-ID"
	corsMaxAge  = "7200" // seconds; what browsers take at most
)

func (c *CORS) apply(g *gin.Context) {
	path := g.Request.URL.Path
	if !strings.HasPrefix(path, "/dicom-web/") && !(c.api && strings.HasPrefix(path, "/api/")) {
		return
	}
	header := g.Writer.Header()
	if !c.any {
		header.Add("Vary", "Origin")
	}
	origin := g.GetHeader("Origin")
	preflight := g.Request.Method == http.MethodOptions && origin != "" && g.GetHeader("Access-Control-Request-Method") != ""
	switch {
	case origin == "":
		return
	case c.any:
		header.Set("Access-Control-Allow-Origin", "*")
	case c.origins[origin]:
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	case preflight:
		Problem(g, pacs.Errorf(pacs.Forbidden, "Pages of %s may not use this archive; an administrator can allow it with --cors-origin", origin).WithReason("origin", ""))
		return
	default:
		return // the browser keeps the answer from the page
	}
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if preflight {
		header.Set("Access-Control-Allow-Methods", corsMethods)
		header.Set("Access-Control-Allow-Headers", corsSent)
		header.Set("Access-Control-Max-Age", corsMaxAge)
		g.Status(http.StatusNoContent)
		g.Writer.WriteHeaderNow()
		g.Abort()
		return
	}
	header.Set("Access-Control-Expose-Headers", corsSeen)
}
