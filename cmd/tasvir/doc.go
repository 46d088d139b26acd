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
//	conformance.go  tasvir conformance: what the server offers, for others to read
//	demo.go      tasvir demo: a node with people, rules and studies in it
//
// What looks after the images that are kept has a file each, with its flags,
// its part of a node and its command: packs.go (merging, sweeping, the feed of
// changes), quarantine.go, patients.go, facilities.go (their names in the
// store), verify.go (the patrol, too), reindex.go, retention.go (and the cold
// store), generate.go (synthetic studies), codecs.go (the codecs' process).
//
// So have the viewers of others (viewers.go) and what speaks DICOM:
// queryretrieve.go, commitment.go, orders.go (the modality worklist and MPPS),
// dicom_tls.go, dicom_identity.go, connectivity.go, associations.go; and the
// commands that call other nodes: echo.go, store.go, find.go, move.go and get.go,
// with peer.go (how to call) and identifier.go (what to ask for) in common.
package main
