package conformance

import (
	"maps"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
)

// around is what is around the network services: PS3.2 A.5 to A.8, and DICOMweb.
func (s *Source) around(p *page) {
	p.heading(2, "5 Media interchange")
	p.text("No media storage application profile is supported. DICOM files of a folder can be imported.")

	p.heading(2, "6 Character sets")
	terms, extensions, fallbacks := dicom.Charsets()
	p.item("Without code extensions: %s; without a value, the default repertoire ISO-IR 6", strings.Join(terms, ", "))
	p.item("With code extensions: %s", strings.Join(extensions, ", "))
	p.item("Registered for a device as what its text is in when it does not say: %s, and those above", strings.Join(fallbacks, ", "))
	p.end()
	p.text("Objects are kept in the character set in which they came. Answers to queries are in UTF-8, in the one that is registered for the device, or in that of the request where it has all characters.")

	p.heading(2, "7 Security")
	rsa, curve := dicomtls.KeySizes()
	p.text("Secure transport connection profiles of PS3.15 Annex B, with TLS 1.3 and 1.2. Certificates are X.509, of keys of at least %d bits (RSA) or %d bits (elliptic curves). A device can be bound to its certificate, and to TLS.", rsa, curve)
	var rows [][]string
	for i, profile := range dicomtls.Profiles() {
		title := string(profile)
		if i == 0 {
			title += " (default)"
		}
		rows = append(rows, []string{title, strings.Join(profile.CipherSuites(), ", ")})
	}
	p.table([]string{"Profile", "Cipher suites of TLS 1.2"}, rows)
	p.text("User identity negotiation (PS3.7 Annex D.3.3.7), where the settings ask for it, verifies: %s.", strings.Join(s.IdentityTypes, ", "))
	p.text("Associations are logged, and an administrator's changes are written to an audit trail.")

	p.heading(2, "8 DICOMweb")
	p.text("Studies service (with retrieval by URI) and worklist service of PS3.18 as origin server, where section 10.4 does not say otherwise. Who calls needs a session or a token and sees what they may see.")
	rows = nil
	methods := make(map[string][]string)
	for _, r := range s.Routes {
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	for _, path := range slices.Sorted(maps.Keys(methods)) {
		rows = append(rows, []string{strings.Join(methods[path], ", "), "`" + path + "`"})
	}
	p.table([]string{"Method", "Resource"}, rows)

	p.text("As user agent, the Store transaction with multipart/related; type=\"application/dicom\", to nodes that rules of forwarding name, with basic or bearer authorization where it is set. Answers are taken in application/dicom+json; redirections are not followed.")

	p.heading(2, "9 Extensions, specialisations, privatisations")
	p.item("No private attributes are added to objects.")
	p.item("A list of values matches any of them, also in keys that are no UID, where section 3 names it.")
	p.item("Modality in a query of studies means Modalities in Study.")
	p.item("With fuzzy matching, names are found across Cyrillic and Latin script.")
	p.end()
}
