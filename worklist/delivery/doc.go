// Package delivery is the outbox's worker: the River job that brings a signed
// report version to the national platform.
//
// Signing enqueues the job in the transaction that writes the version, so
// there is no signed report without a job and no job without a signed report.
// The worker gathers what the platform is told (compose.go), hands it to
// fhir.Client, which makes sure that nothing arrives twice, and records the
// outcome where the client sees it. A refusal that a person must act on ends
// the job as failed; everything else is tried again, for days if need be.
// Versions of one report are delivered in their order. "Send again" brings the
// waiting job forward, or adds one if there is none.
package delivery
