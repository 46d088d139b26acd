// Package dimse is the DICOM message service element of PS3.7: the messages by
// which application entities ask one another for something, as provider (SCP) and
// user (SCU). It knows what the operations are, not what they are about: the
// service classes of PS3.4 are handlers that others register. Verification
// (C-ECHO) alone is answered here.
//
// # The tour
//
// A message is a command set, a short list of elements of group 0000
// (command.go), and for some operations a data set. That of a C-STORE is never
// parsed and never held; all others are small, and decoded within limits
// (identifier.go). A response carries a [Status] (status.go).
//
// The provider is a [Server]. It negotiates each association (negotiate.go),
// reads one message after the other (session.go) and hands each C-STORE
// (store.go) to a [StoreHandler] with the data set as an io.Reader that runs
// at the speed of the network. Everything else is in its Services: a [Service]
// (service.go) has abstract syntaxes and the handlers of its operations, and
// which presentation contexts are accepted follows from them:
//
//	srv := &dimse.Server{
//		AETitle: "TASVIR", Admit: admit, Store: archive,
//		Services: []dimse.Service{{
//			SOPClasses: []string{dicom.StudyRootFindSOPClass},
//			Find: func(ctx context.Context, rq *dimse.Request, out *dimse.Matches) dimse.Status {
//				for match := range look(ctx, rq.DataSet) {
//					if err := out.Send(match); err != nil {
//						return dimse.Status{Code: dimse.Cancelled}
//					}
//				}
//				return dimse.Status{Code: dimse.Success}
//			},
//		}},
//	}
//	err := srv.Serve(ctx, listener)
//
// The handler of an operation (operation.go) runs in a goroutine of its own while
// its association is read on, so that a C-CANCEL ends its ctx at once. [Matches]
// (find.go) sends what a C-FIND finds as it is found; [Progress] and [Getter]
// (retrieve.go) the pending responses of C-MOVE and C-GET, and the instances of
// the latter; an [NResponse] is the answer to each DIMSE-N operation.
// AssociationInfo.EventReport (peer.go) sends N-EVENT-REPORT to a peer over the
// association that it has opened.
//
// The success that a StoreHandler returns is the sender's leave to delete its
// copy. Nothing else in this package says success to a C-STORE.
//
// The user is a [Client]: Dial, then Echo, Store, Find, Move, Get and the DIMSE-N
// operations (client_service.go), one at a time, and Release. While it reads
// responses (client_read.go) it takes the C-STORE sub-operations of its C-GET and
// the peer's N-EVENT-REPORT.
//
// INTEROPERABILITY.md tells whose software all this was tried with, and by which
// tests.
package dimse
