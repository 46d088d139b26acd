// Package api is the HTTP side of the worklist: tasks, reports, deliveries,
// studies with their reports, orders, reading groups and routing rules, as
// pacs/web/openapi.yaml specifies them. Handlers translate and call; what is
// allowed is decided by access.Action (route), pacs.Scope (rows) and the
// packages worklist and report (state). audit.go says what is left on record.
package api
