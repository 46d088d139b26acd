// Package archive is the part of the client API that looks after what is kept:
// quarantine and versions, patients, verification, retention, forwarding, and the feed of
// changes. Its contract is pacs/web/openapi.yaml.
//
// Each file holds the routes of one subject and translates between JSON and
// the package that does the work; no decision is made here but who may ask
// (web.Require). A subject whose part of API is nil has no routes.
package archive
