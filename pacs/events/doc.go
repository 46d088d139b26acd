// Package events tells all nodes of the archive, and through them the clients,
// that something changed. An event carries identifiers only; who hears it asks
// for what changed with their own permissions.
//
// Events travel by PostgreSQL's LISTEN/NOTIFY: Notify inside a transaction is
// heard when, and only if, the transaction commits. An event may be missed
// while a node is cut off from the database; Listen says when that may have
// happened. Nothing but a fresh screen may depend on events.
package events
