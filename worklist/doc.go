// Package worklist turns complete studies into work for radiologists.
//
// # From study to task
//
// When the archive calls a study complete it calls Complete in the same
// transaction. The routing rules (rule.go) are tried in order; the first whose
// condition holds gives the task its reading group, priority and deadline. A
// study no rule wants still becomes a task, without a group, so that nothing
// is forgotten. A condition's fields have types, so a misspelt one is refused
// when the rule is saved; what fails on one study later is passed over.
//
// # From task to report
//
// A radiologist claims a task (claim.go): its row is locked while its state is
// looked at and changed, so that two never hold one. The report itself, its
// drafts, versions and signatures are in package worklist/report; its way to
// the national platform in worklist/fhir (what is sent) and worklist/delivery
// (the job that sends it). worklist/api is the HTTP side of all of them.
//
// # From order to study
//
// Imaging orders are kept in worklist/orders; worklist/modality tells devices of
// them and hears what they perform. What the order of a study asks (request.go)
// raises its task's priority, is at hand to routing rules, and is shown to
// whoever reads it.
//
// # Who sees what
//
// Every read takes a pacs.Scope; a task outside of it does not exist. Claiming
// further needs membership in the task's group, except for tasks without one.
//
// worklist/worklisttest has a hospital for tests.
package worklist
