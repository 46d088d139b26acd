package viewers

import (
	"net/url"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// WeasisURL is the address by which a browser starts Weasis (3.6 and later) with
// a study: its command dicom:rs, percent-encoded as a whole. root is the address
// of DICOMweb, token a bearer token for it. Invalid when one of them could end
// its argument and begin another.
func WeasisURL(root, studyUID, token string) (string, error) {
	for _, argument := range []string{root, studyUID, token} {
		if argument == "" || strings.ContainsFunc(argument, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune("\"'\\`$", r)
		}) {
			return "", pacs.Errorf(pacs.Invalid, "Weasis can't be given this address or study UID: it has characters other than those of a URL")
		}
	}
	command := `$dicom:rs --url "` + strings.TrimSuffix(root, "/") + `" -r "studyUID=` + studyUID + `" -H "Authorization: Bearer ` + token + `"`
	// Weasis looks for the first $ and no further back. The command is a query,
	// as browsers since 2024 take what follows // for the name of a host. Both +
	// and %20 are read as a space; only %20 is one in every program that the
	// address passes on its way.
	return "weasis://?" + strings.ReplaceAll(url.QueryEscape(command), "+", "%20"), nil
}
