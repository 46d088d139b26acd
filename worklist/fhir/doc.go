// Package fhir brings signed reports to the national FHIR platform: FHIR R5 with
// the rules of UZ Core, Uzbekistan's national guide (package uz.dhp.core).
//
// A tour:
//
//   - report.go: Report is all that is said about one signed version. It is
//     plain data; whoever stores reports fills it.
//   - tables.go: the code tables: report kind to FHIR status, DICOM modality to
//     diagnostic service section, the national identifier systems.
//   - build.go: Builder.Build turns a Report into one R5 transaction. The same
//     input gives the same bytes.
//   - capabilities.go: what a platform says about itself in /metadata, on which
//     both the transaction's content and the way of sending depend.
//   - client.go: HTTP, tokens, bounds, and the errors as DeliveryError.
//   - lookup.go: finds the patient, the radiologist's role and what an earlier
//     try left behind.
//   - deliver.go: Client.Deliver, the one call a worker makes.
//
// # Once, and only once
//
// A report's DiagnosticReport carries two identifiers of ours: the report's UUID,
// the same in every version, and "UUID/version", which says which version the
// platform holds. Deliver looks for the first before it sends anything, whatever
// happened before: a time-out after the platform had committed, a worker killed
// between two steps, the same job run twice. It reads the second to know whether
// there is anything left to do. Where /metadata offers conditional create, the
// platform is asked to hold the line as well (If-None-Exist on every entry).
// Where it does not, two senders racing could still both create; Deliver
// recognises the pair afterwards and withdraws one of them (entered-in-error),
// since the platform has no delete.
//
// A new version is GET, then PUT with If-Match into the same DiagnosticReport, so
// that a reader's link stays true and its history tells the story.
//
// The package keeps no state but an access token and a copy of /metadata. Queue,
// backoff and dead letters belong to the caller: DeliveryError says which of them
// applies.
package fhir
