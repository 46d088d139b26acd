package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// actingKey is where a request's context has who makes it, when another host
// of ours found out.
type actingKey struct{}

// ServeDICOMweb answers a DICOMweb request that came to another host of ours,
// which knows whom it is from. The cookies and tokens that the request has are
// not looked at, and no other site is told that it may read the answer.
func (s *Server) ServeDICOMweb(w http.ResponseWriter, r *http.Request, identity *access.Identity) {
	if !strings.HasPrefix(r.URL.Path, "/dicom-web/") {
		http.NotFound(w, r)
		return
	}
	r = r.Clone(context.WithValue(r.Context(), actingKey{}, identity))
	for _, name := range []string{"Authorization", "Cookie", "Origin"} {
		r.Header.Del(name)
	}
	s.ServeHTTP(w, r)
}

// ServeOther answers with handler on a port of its own until ctx ends, over TLS
// when certificate is not nil. It closes ln.
func (s *Server) ServeOther(ctx context.Context, ln net.Listener, handler http.Handler, certificate Certificate) error {
	paced := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(pace(w, r), r) })
	return serveUntil(ctx, s.httpServer(paced), func(server *http.Server) error {
		if certificate == nil {
			return server.Serve(ln)
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate}
		return server.ServeTLS(hinting{ln}, "", "")
	}, func() {})
}

// Secure reports whether the browser's connection is encrypted, here or at a
// trusted proxy.
func (s *Server) Secure(r *http.Request) bool { return s.overTLS(r) }

// Remote is the caller's network address without port; behind trusted proxies,
// the last one that is not theirs.
func (s *Server) Remote(r *http.Request) string {
	address := r.RemoteAddr
	if peer, err := netip.ParseAddrPort(address); err == nil {
		address = peer.Addr().Unmap().String()
	}
	if !s.proxied(r) {
		return address
	}
	for _, text := range slices.Backward(strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")) {
		forwarded, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			break
		}
		address = forwarded.Unmap().String()
		if !s.trusted(forwarded) {
			break
		}
	}
	return address
}

// Origin is the scheme and host that a browser has in its address bar, behind a
// trusted proxy too.
func (s *Server) Origin(r *http.Request) string {
	scheme, host := "http", r.Host
	if s.overTLS(r) {
		scheme = "https"
	}
	if forwarded, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ","); forwarded != "" && s.proxied(r) {
		host = strings.TrimSpace(forwarded)
	}
	return scheme + "://" + host
}
