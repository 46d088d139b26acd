// Package availability tells devices which instances the archive has, and where:
// instance availability notification, PS3.4 Annex R, as user of the service.
//
// # The tour
//
// A device whose registration says so (access.Device.Notify) is told of the
// studies of its facility, or of all: when a study is complete, again when late
// images have completed it anew, and when retention moves or deletes what there
// is. What happens calls Changed or Deleted in its own transaction (notice.go),
// which leaves one row for each device and study, and a job. So nothing is told
// that is not so, and nothing is forgotten when a node is killed.
//
// The job (worker.go) tells a device everything that waits for it, over one
// association (deliver.go). A device that can't be reached is tried again for
// three days, ever more rarely, and all that waits for it waits as one.
//
// What is told is how it is then, not how it was when the row was made
// (notification.go): ONLINE, NEARLINE in the cold store, UNAVAILABLE when pixel
// data or all of it were deleted. One N-CREATE is about one performed procedure
// step, or about instances of none. Its SOP Instance UID follows from its
// content, so that a device that is told again, because its answer was lost,
// knows it.
package availability
