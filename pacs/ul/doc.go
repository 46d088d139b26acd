// Package ul is the DICOM upper layer of PS3.8: the part of a DICOM
// conversation that comes before any image moves, and the pipe the images then
// flow through.
//
// # The tour
//
// Two application entities meet over TCP and exchange protocol data units
// (pdu.go). The first is an A-ASSOCIATE-RQ with items (item.go, userinfo.go)
// that name both sides and propose presentation contexts: each an abstract
// syntax, the kind of object, with the transfer syntaxes the requestor can send
// it in. The acceptor answers each context with one transfer syntax or a
// refusal; [NegotiateAsAcceptor] and [NegotiateAsRequestor] (negotiate.go) are
// pure functions that decide it. It may also refuse the whole association with
// a [Reject].
//
// The user information of both PDUs negotiates more (PS3.7 Annex D): who is SCU
// and SCP of a SOP class, which a [Context] then says of this side; how many
// operations may be outstanding, Association.Window; extended negotiation, as
// bytes for those who know the class; and who the user is. An [AcceptorPolicy]
// answers each; what a requestor sends and is answered is its request's
// [UserInformation] and Association.Peer.
//
// What may happen when is the state machine of PS3.8 Table 9-10, kept as data
// in fsm.go. An [Association] (association.go) runs it over one connection, from
// [Accept] or [Request] (establish.go) to Release or Close (release.go):
//
//	assoc, err := ul.Accept(ctx, conn, ul.AcceptorConfig{Decide: decide})
//	for {
//		contextID, command, err := assoc.ReadCommand()
//		...
//		data := assoc.DataReader(contextID) // an io.Reader, see data.go
//		...
//		err = assoc.Send(contextID, response, nil)
//	}
//
// One goroutine owns the reading side of an association. Sending and Abort may
// be called from others.
//
// # What hostile peers get
//
// Every length is checked before anything is allocated for it: an A-ASSOCIATE
// PDU may have 1 MiB, a P-DATA-TF what we advertised, a command set 64 KiB.
// Data sets are never held: [DataReader] hands out the bytes of each PDV as
// they arrive, and TCP's back-pressure does the rest. The ARTIM timer of PS3.8
// bounds the wait for the first PDU and for the close of the connection at the
// end. In between, a deadline is renewed when bytes move (transport.go), so a
// thin link may take all day over a study but a silent peer may not.
//
// # What is tested
//
// The machine is held against a transcription of Table 9-10, cell by cell
// (fsm_test.go), and an association on a real connection against the same
// transcription, state by state (wire_test.go). Golden bytes are annotated by
// hand (pdu_test.go, userinfo_test.go). Fifteen defects that other
// implementations have are named by the tests TestAcceptance01 to 15 that show
// their absence, here, in dimse and in dicomtls.
package ul
