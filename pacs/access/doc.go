// Package access says who may do what, and where: people and their sessions,
// tokens for machines, remote AEs (devices), facilities, and the record of who
// did what. It knows nothing of HTTP or DIMSE; pacs/web and the DICOM
// listener ask it.
//
//   - Authenticate checks a login and password; StartSession gives the browser
//     a token and SessionByToken turns the token into an Identity. TokenByValue
//     does the same for a machine's bearer token.
//   - An Identity has roles, a pacs.Scope and the actions that follow from one
//     table (grants in action.go). Whoever serves a request asks
//     Identity.Can and passes Identity.Scope on to what it reads.
//   - Users, facilities, devices and tokens are changed by operations that take
//     the Identity of whoever asks, check it, and write the audit trail in the
//     same transaction.
//   - A Device is a remote AE: its facility, the services it may use
//     (Device.Allows), what it may see (Device.Scope), and its certificate
//     (Device.CheckCertificate). Remote finds the one that the archive itself
//     wants to call; Device.ClientTLS is how.
//   - Admission is what receiving must know about senders, kept on disk beside
//     the journal, so that a stopped database never makes a modality fail.
//
// Secrets at rest: passwords are argon2id hashes; sessions and tokens are
// random 256-bit values of which only the SHA-256 is stored.
package access
