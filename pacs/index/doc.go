// Package index is the archive's index in PostgreSQL: what exists, who may see
// it and where its bytes are. It holds no pixel.
//
//   - Open connects and Migrate brings the schema up to date; other packages
//     keep their own tables in the same database and migrate them with the
//     same function under their own name.
//   - Add writes the rows of one pack in one transaction, for the publisher.
//   - Studies, Series, Instances answer queries. Each takes a pacs.Scope, and
//     nothing reads without one. One query builder serves QIDO-RS, C-FIND and
//     the client's lists. How a page is found among millions of studies says
//     search.go: by walking a list's index, after a glance at its beginning
//     (glance.go), or by whom it is about. Conditions are made in condition.go.
//   - FrameMap says where the frames of a long instance are; that is kept beside
//     its row, so that only who asks for frames reads it (framemap.go).
//
// Whose an image is says patient.go: it knows what administrators have done to
// patients (package patients), so that images go on finding their patient.
//
// The index can be thrown away and rebuilt from object storage: each pack
// carries what its rows need.
package index
