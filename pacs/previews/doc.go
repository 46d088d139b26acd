// Package previews keeps small pictures of each series ready, so that lists with
// pictures are there at once: one of at most 160 and one of at most 512 pixels, of
// the instance in the middle of the series.
//
// The transaction that publishes instances enqueues a job per study (Enqueue),
// and so does the one that completes the study. The job (job.go) makes the
// pictures of the series that have none yet, have grown to twice what they were,
// or, once the study is complete, whose middle is another instance now. make.go
// reads one frame for that, and decodes it once.
//
// Both JPEGs of a series are one object in the store under "previews/", with a
// key that is never used again; a row of the index says where it is. What is in the index is
// what counts: rows go in the transaction that deletes the study or its pixels,
// by triggers, and the sweep (sweep.go) deletes their objects minutes later. What
// has no row (an index from before there were previews, or one that was rebuilt)
// is found by a walk along all series. Nothing here is needed to keep or read
// images, so nothing waits for it.
package previews
