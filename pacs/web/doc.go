// Package web is the archive's HTTP plumbing over gin and its administration
// API. Other packages hang their routes on it.
//
//   - New builds a Server. API and DICOMweb are the route groups for others:
//     whoever gets into their handlers is known (Identity) and has passed the
//     CSRF check. Handle turns a handler that returns an error into one that
//     answers with a problem (RFC 9457); Require guards a route with an action.
//   - Problem is the one place where errors become HTTP answers.
//   - Hub and GET /api/events tell clients what changed, fed by pacs/events
//     from all nodes.
//   - Static serves the web client.
//   - Serve answers on a listener until its context ends: with deadlines per
//     read and write instead of per request, because a study may take an hour
//     on a thin link while a stalled peer must not hold a connection. ServeTLS
//     does so over TLS, with HTTP/2 (tls.go).
//   - Options.CORS opens DICOMweb to pages of other sites (cors.go), and
//     Options.Limit bounds what one caller may ask for (ratelimit.go).
//
// openapi.yaml is the contract of /api and is served as it is.
package web
