// Package connectivity finds out whether the archive and a remote AE can talk,
// and if not, why: in steps that each have one cause.
//
//	resolve    the host name has an address
//	connect    something listens at the port
//	tls        it speaks TLS, and is who it should be
//	associate  it takes our AE title and its own, and verification
//	echo       it answers C-ECHO
//	trial      it takes storage classes, in these transfer syntaxes
//
// [Tester.Test] goes through them until one fails (test.go). What failed is a
// [Code] (code.go), which the client says in its user's language and
// [Step.Explain] in English; telling one cause from another by what the network
// and TLS report is in diagnose.go. A test is bounded in time, and a Tester in
// how many it runs at once.
package connectivity
