// Command tasvir is the archive: its server and the tools around it. Wiring
// lives here and nowhere else.
//
//	main.go      the command line
//	node.go      a running archive: what is started, in which order, and stopped
//	serve.go     tasvir serve, and the flags all servers share
//	receive.go   C-STORE handed to the journal; error codes to DIMSE statuses
//	jobs.go      the River client and its workers
//	metrics.go   what /metrics shows of the archive
//	import.go    tasvir import
//	demo.go      tasvir demo: a node with people, rules and studies in it
//
// What looks after the images that are kept has a file each, with its flags,
// its part of a node and its command: packs.go (merging, sweeping, the feed of
// changes), quarantine.go, patients.go, facilities.go (their names in the
// store), verify.go (the patrol, too), reindex.go, retention.go (and the cold
// store), generate.go (synthetic studies), codecs.go (the codecs' process).
package main
