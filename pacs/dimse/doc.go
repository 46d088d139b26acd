// Package dimse is the DICOM message service element of PS3.7 and, on it, the
// service classes of PS3.4 that move images: verification (C-ECHO) and storage
// (C-STORE), as provider (SCP) and user (SCU).
//
// # The tour
//
// A message is a command set, a short list of elements of group 0000
// (command.go), and for some operations a data set, which this package never
// parses and never holds. A response carries a [Status] (status.go).
//
// The provider is a [Server]. It negotiates each association (negotiate.go),
// reads one message after the other (session.go) and hands each C-STORE
// (store.go) to a [StoreHandler] with the data set as an io.Reader that runs
// at the speed of the network:
//
//	srv := &dimse.Server{AETitle: "TASVIR", Admit: admit, Store: archive}
//	err := srv.Serve(ctx, listener)
//
// The success that the handler returns is the sender's leave to delete its
// copy. Nothing else in this package says success to a C-STORE.
//
// The user is a [Client]: Dial, then Echo and Store, then Release.
package dimse
