package web

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

const (
	sessionCookie = "tasvir_session"
	csrfHeader    = "X-CSRF-Token"
	identityKey   = "tasvir identity"
)

// Identity returns who makes the request; nil on routes open to everyone.
func Identity(c *gin.Context) *access.Identity {
	value, _ := c.Get(identityKey)
	identity, _ := value.(*access.Identity)
	return identity
}

// Require lets through who may do action, and answers 403 to others.
func Require(action access.Action) gin.HandlerFunc {
	return func(c *gin.Context) {
		if !Identity(c).Can(action) {
			Problem(c, pacs.Errorf(pacs.Forbidden, "Your roles don't allow this (%s). Ask an administrator", action))
		}
	}
}

// identify finds out who calls: an Authorization header decides alone, then
// the session cookie, then, on DICOMweb and where the server is told so, that
// the call comes from this machine. Nobody gets past it unknown.
func (s *Server) identify(loopback bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		identity, err := s.caller(c, loopback)
		if s.limits != nil && pacs.CodeOf(err) == pacs.Unauthenticated {
			// Who comes with nothing, or tries one token after the other.
			if tooMuch := s.limits.refuse("address " + remote(c)); tooMuch != nil {
				err = tooMuch
			}
		}
		if err != nil {
			Problem(c, err)
			return
		}
		c.Set(identityKey, identity.From(remote(c)))
	}
}

func (s *Server) caller(c *gin.Context, loopback bool) (*access.Identity, error) {
	ctx := c.Request.Context()
	if identity, ok := ctx.Value(actingKey{}).(*access.Identity); ok {
		return identity, nil
	}
	if header := c.GetHeader("Authorization"); header != "" {
		scheme, value, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return nil, pacs.Errorf(pacs.Unauthenticated, "Send a token as Authorization: Bearer (tasvir token create makes one)")
		}
		if value = strings.TrimSpace(value); access.IsViewerToken(value) {
			return s.access.ViewerByToken(ctx, access.Weasis, value)
		}
		return s.access.TokenByValue(ctx, value)
	}
	if cookie, err := c.Request.Cookie(sessionCookie); err == nil && cookie.Value != "" {
		identity, err := s.access.SessionByToken(ctx, cookie.Value)
		if err == nil || pacs.CodeOf(err) != pacs.Unauthenticated {
			return identity, err
		}
		if !(loopback && s.trustedLoopback(c.Request)) {
			return nil, err
		}
	}
	if loopback && s.trustedLoopback(c.Request) {
		return access.Loopback(), nil
	}
	return nil, pacs.Errorf(pacs.Unauthenticated, "Sign in, or send a token")
}

// trustedLoopback reports whether a request comes from a program on this
// machine and the server is told to trust those. What a proxy on this machine
// forwards does not, nor does what a browser here was tricked into by a name
// that resolves to 127.0.0.1.
func (s *Server) trustedLoopback(r *http.Request) bool {
	if !s.options.TrustedLoopback {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && isLoopback(local.String()) && isLoopback(r.RemoteAddr) && isLoopbackHost(r.Host)
}

func isLoopback(address string) bool {
	parsed, err := netip.ParseAddrPort(address)
	return err == nil && parsed.Addr().Unmap().IsLoopback()
}

func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.Unmap().IsLoopback()
}

// checkCSRF refuses requests that change something and that a page of another
// site may have made. A token in the Authorization header is proof by itself:
// browsers don't add it.
func (s *Server) checkCSRF(c *gin.Context) {
	if safeMethod(c.Request.Method) {
		return
	}
	identity := Identity(c)
	if identity == nil || identity.Token != nil {
		return
	}
	if err := s.sameOrigin(c); err != nil {
		Problem(c, err)
		return
	}
	if session := identity.Session; session != nil &&
		subtle.ConstantTimeCompare([]byte(c.GetHeader(csrfHeader)), []byte(session.CSRF)) != 1 {
		Problem(c, pacs.Errorf(pacs.Forbidden, "Repeat the csrf value of your session in the header %s", csrfHeader).WithReason("csrf", ""))
	}
}

func (s *Server) sameOrigin(c *gin.Context) error {
	if err := s.crossOrigin.Check(c.Request); err != nil {
		return pacs.Wrap(pacs.Forbidden, err, "This request came from a page of another site").WithReason("csrf", "")
	}
	return nil
}

func safeMethod(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// requireAPI keeps tokens that have nothing to do with the client's API out of
// it.
func requireAPI(c *gin.Context) {
	identity := Identity(c)
	if identity.User == nil && !identity.Can(access.StudyRead) && !identity.Can(access.OrderRead) {
		Problem(c, pacs.Errorf(pacs.Forbidden, "The token has not the scope %q", access.ScopeAPI))
	}
}

func requireDICOMweb(c *gin.Context) {
	read, write := access.DICOMwebRead, access.DICOMwebWrite
	path := strings.TrimPrefix(c.FullPath(), "/dicom-web")
	if strings.HasPrefix(path, "/workitems") || strings.HasPrefix(path, "/subscribers") {
		read, write = access.UPSRead, access.UPSWrite
	}
	// To subscribe changes nothing but what one hears.
	if safeMethod(c.Request.Method) || strings.Contains(path, "/subscribers/") {
		Require(read)(c)
		return
	}
	Require(write)(c)
}

// remote is the caller's network address without port; behind a trusted proxy,
// the one the proxy names.
func remote(c *gin.Context) string {
	if address := c.ClientIP(); address != "" {
		return address
	}
	return c.Request.RemoteAddr
}

// overTLS reports whether the browser's connection is encrypted, here or at a
// trusted proxy.
func (s *Server) overTLS(r *http.Request) bool {
	return r.TLS != nil || s.proxied(r) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// proxied reports whether a request comes from a trusted proxy.
func (s *Server) proxied(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && s.trusted(peer.Addr())
}

func (s *Server) trusted(address netip.Addr) bool {
	return slices.ContainsFunc(s.options.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address.Unmap()) })
}

// renew looks again at who has a long request running.
func (s *Server) renew(ctx context.Context, identity *access.Identity) (*access.Identity, error) {
	return s.access.Renew(ctx, identity)
}
