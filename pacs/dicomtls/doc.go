// Package dicomtls secures DICOM connections with TLS as PS3.15 Annex B
// profiles it: which versions and ciphers (profile.go), with which certificates
// (credentials.go), and whose certificate an AE title may come with
// (binding.go).
//
// # The tour
//
// [Load] reads a certificate, its key and the authorities that are trusted
// from PEM files. They are read again when they change and on demand, and new
// connections use what was read last; a set that doesn't fit together is left
// where it is and the old one stays in use:
//
//	credentials, err := dicomtls.Load(dicomtls.Files{Cert: …, Key: …, CA: …})
//	go credentials.Watch(ctx, 10*time.Second, hangups, log)
//
// A provider listens with [Server] on a port of its own, 2762 by custom. It asks
// its peers for a certificate of those authorities:
//
//	ln = dicomtls.Server{Credentials: credentials}.Listener(ln)
//
// That says that the peer belongs to the hospital, not yet which of its devices
// it is. The calling AE title is only a claim, which is held against the
// certificate before the association is accepted: against the one that the AE
// title is registered with, or by [CheckName].
//
// A user connects with a [Dialer], whose DialContext is what a dimse.Dialer
// takes. [Explain] puts a failed handshake into words that an administrator can
// act on.
package dicomtls
