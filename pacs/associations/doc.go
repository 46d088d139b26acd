// Package associations is the log of DICOM associations that an administrator
// reads: who talked to whom, what was negotiated, how much was moved and why it
// ended.
//
//	log, err := associations.Open(ctx, index, associations.Options{})
//	go log.Run(ctx)
//	server.Observer = metrics.And(log.Observer())   // those that come
//	dialer.Observe = log.Outgoing                   // those that we open
//
// What is observed becomes an [Entry] (incoming.go, outgoing.go) that waits in a
// bounded queue (queue.go) and is written in batches (write.go): nobody who
// receives or sends waits for the database. While it is down the queue holds
// what there is room for; what is lost then is counted, and is nothing but a
// line of this log. Refusals of strangers are folded (refusals.go), so that
// nobody fills the table by knocking. [Log.List] and [Log.Entry] read (list.go).
package associations
