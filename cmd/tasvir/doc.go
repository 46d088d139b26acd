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
package main
