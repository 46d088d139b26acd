package viewers

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// cookieName is not that of the client's sessions: a browser sends cookies to
// every port of a host.
const cookieName = "tasvir_ohif"

// Host answers what comes to OHIF's own port. It changes nothing but sessions
// of viewers: every method but GET and HEAD is refused.
type Host struct {
	Access *access.Access
	Dist   *Dist
	// DICOMweb answers the requests below /dicom-web/ for who makes them.
	DICOMweb func(w http.ResponseWriter, r *http.Request, identity *access.Identity)
	// Secure says whether the browser's connection is encrypted.
	Secure func(*http.Request) bool
	// Remote is the browser's network address, for the audit trail.
	Remote func(*http.Request) string
	Log    *slog.Logger
}

// ServeHTTP answers one request.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", h.Dist.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	header.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "Studies can only be read here.", http.StatusMethodNotAllowed)
		return
	}
	// What a browser would send is clean; a path that isn't is nobody's page.
	if r.URL.Path != path.Clean(r.URL.Path) && r.URL.Path != path.Clean(r.URL.Path)+"/" {
		http.NotFound(w, r)
		return
	}
	switch name := strings.TrimPrefix(r.URL.Path, "/"); {
	case name == "launch":
		h.launch(w, r)
	case strings.HasPrefix(name, "dicom-web/"):
		h.dicomweb(w, r)
	case path.Ext(name) != "":
		file, ok := h.Dist.files[name]
		if !ok || name == "index.html" {
			http.NotFound(w, r)
			return
		}
		if path.Ext(name) == ".js" {
			header.Set("Content-Security-Policy", workerPolicy)
		}
		h.send(w, r, name, file)
	default: // a page: OHIF routes by itself
		if _, err := h.caller(r); err != nil {
			h.refuse(w, err)
			return
		}
		h.send(w, r, "index.html", h.Dist.files["index.html"])
	}
}

// caller is whose session the browser has here.
func (h *Host) caller(r *http.Request) (*access.Identity, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || cookie.Value == "" {
		return nil, pacs.Errorf(pacs.Unauthenticated, "Open the study from Tasvir")
	}
	return h.Access.ViewerByToken(r.Context(), access.OHIF, cookie.Value)
}

func (h *Host) dicomweb(w http.ResponseWriter, r *http.Request) {
	identity, err := h.caller(r)
	if err != nil {
		status, message := http.StatusUnauthorized, "Open the study from Tasvir again."
		if pacs.CodeOf(err) != pacs.Unauthenticated {
			h.Log.Error("who calls OHIF's host is not known", "error", err)
			status, message = http.StatusServiceUnavailable, "Try again in a moment."
		}
		http.Error(w, message, status)
		return
	}
	h.DICOMweb(w, r, identity.From(h.Remote(r)))
}

// launch exchanges a code for a cookie.
func (h *Host) launch(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // what only looks must not use the code up
		w.WriteHeader(http.StatusNoContent)
		return
	}
	before := ""
	if cookie, err := r.Cookie(cookieName); err == nil {
		before = cookie.Value
	}
	launched, err := h.Access.RedeemLaunch(r.Context(), r.URL.Query().Get("code"), before, h.Remote(r))
	if err != nil {
		h.refuse(w, err)
		return
	}
	// Lax: the browser comes from Tasvir's site, which may be another than this.
	// There is nothing here that a request could change.
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: launched.Token, Path: "/", MaxAge: int(launched.Life / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: h.Secure(r),
	})
	query := url.Values{"StudyInstanceUIDs": {launched.StudyUID}, "lng": {languageOf(launched.Language)}}
	http.Redirect(w, r, "/viewer?"+query.Encode(), http.StatusSeeOther)
}

// languageOf is the language that OHIF is shown in. It knows no Uzbek; its
// Russian is not whole, and falls back to English.
func languageOf(language string) string {
	if language == "en" {
		return "en-US"
	}
	return "ru"
}

// refuse shows a page that says where to begin.
func (h *Host) refuse(w http.ResponseWriter, err error) {
	status := http.StatusUnauthorized
	page := beginPage
	if pacs.CodeOf(err) != pacs.Unauthenticated {
		h.Log.Error("a study could not be opened in OHIF", "error", err)
		status, page = http.StatusServiceUnavailable, laterPage
	}
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, page)
}

func (h *Host) send(w http.ResponseWriter, r *http.Request, name string, file distFile) {
	header := w.Header()
	header.Set("Content-Type", file.contentType)
	header.Set("Cache-Control", "no-cache")
	if file.immutable {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	header.Set("Etag", file.etag)
	if file.content != nil {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.content))
		return
	}
	if file.zipped {
		header.Set("Vary", "Accept-Encoding")
		if web.AcceptsGzip(r) {
			header.Set("Content-Encoding", "gzip")
			name += ".gz"
			r = r.Clone(r.Context())
			r.Header.Del("Range") // bytes of what is compressed are no use
		}
	}
	opened, err := h.Dist.root.Open(name)
	if err != nil {
		h.Log.Error("a file of OHIF is gone; the folder was changed since the start", "file", name)
		header.Del("Content-Encoding")
		http.NotFound(w, r)
		return
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if header.Get("Content-Encoding") != "" {
		// ServeContent doesn't tell the length of what is encoded.
		header.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	}
	http.ServeContent(w, r, "", time.Time{}, opened)
}

// OriginOf returns what gives the origin of OHIF's host. told is the one an
// administrator gave; without it, it is the host by which the browser reached
// the archive, with port.
func OriginOf(told string, port int, origin func(*http.Request) string) func(*http.Request) string {
	return func(r *http.Request) string {
		if told != "" {
			return told
		}
		here, err := url.Parse(origin(r))
		if err != nil {
			return ""
		}
		return here.Scheme + "://" + net.JoinHostPort(here.Hostname(), strconv.Itoa(port))
	}
}

// CheckOrigin returns Invalid unless text is a scheme, host and port only.
func CheckOrigin(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.String() != u.Scheme+"://"+u.Host {
		return pacs.Errorf(pacs.Invalid, "%q is not a web site's address; it looks like https://ohif.example.uz, without a path: OHIF can't be served below one", text)
	}
	return nil
}
