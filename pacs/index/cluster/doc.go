// Package cluster runs a private PostgreSQL cluster in a folder: the embedded
// default database of Tasvir. Nobody has to install, configure or know it.
//
// [Start] finds the system's PostgreSQL programs, creates the cluster when the
// folder is empty, and starts the server as a child of this process. It
// listens on a Unix socket only, which nobody but its own account (and root)
// may open. Started as root, the server runs as the user postgres, because
// PostgreSQL refuses to run as root.
//
// # Life and death
//
// One process owns a cluster; a lock file sees to that. The server is tied to
// the owner: when the owner dies, even by kill -9, the kernel tells the server
// to shut down. Should one be left all the same (or be busy shutting down, or
// have been killed itself), the next Start stops what is left of it, and
// PostgreSQL recovers from its write-ahead log. Nothing committed is lost:
// all durability settings are on, unless Options.Unsafe asks for a throw-away
// cluster for tests.
//
// # Command line tools
//
// [Attach] is for a short command, such as "tasvir token create": it uses the
// cluster of the server that is running, or starts it for the time being.
//
// # Files in the folder
//
//	data            PostgreSQL's own
//	postgres.log    its log; the previous one is postgres.log.1
//	tasvir.lock     held by the owner, with its process id
//	.s.PGSQL.5432   the socket, unless the path is too long for one
package cluster
