package dicomweb

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// mediaRange is one entry of an Accept header, RFC 9110 12.5.1.
type mediaRange struct {
	media  string            // lower case, "image/*"
	params map[string]string // names in lower case, without q
	q      float64
}

// offer is one form in which a resource can be sent.
type offer struct {
	multipart      bool
	media          string // of the body, or of each part when multipart
	transferSyntax string // "" where it has no meaning
}

func (o offer) String() string {
	s := o.media
	if o.multipart {
		s = `multipart/related; type="` + o.media + `"`
	}
	if o.transferSyntax != "" {
		s += "; transfer-syntax=" + o.transferSyntax
	}
	return s
}

// maxAccept bounds what is parsed of a request's Accept headers.
const maxAccept = 16 << 10

// acceptOf returns what a request accepts: the accept query parameter (PS3.18
// 8.3.3.1) if there is one, otherwise all Accept headers, otherwise anything.
func acceptOf(r *http.Request) []mediaRange {
	if v := r.URL.Query()["accept"]; len(v) > 0 {
		s := strings.Join(v, ",")
		// A plus sign that was not escaped in the query has become a space.
		s = strings.NewReplacer("dicom json", "dicom+json", "dicom xml", "dicom+xml").Replace(s)
		if ranges := parseAccept(s); len(ranges) > 0 {
			return ranges
		}
	}
	ranges := parseAccept(strings.Join(r.Header.Values("Accept"), ","))
	if len(ranges) == 0 {
		ranges = []mediaRange{{media: "*/*", q: 1}}
	}
	return ranges
}

// parseAccept reads an Accept header as DICOMweb clients write it, which is
// often not as RFC 9110 has it: a type parameter with a slash and no quotes, or
// with the transfer syntax within them, a media type without a subtype ("image/"),
// empty entries. What can't be made sense of is left out.
func parseAccept(s string) []mediaRange {
	if len(s) > maxAccept {
		s = s[:maxAccept]
	}
	var ranges []mediaRange
	for _, entry := range splitQuoted(s, ',') {
		fields := splitQuoted(entry, ';')
		m := mediaRange{media: strings.ToLower(strings.Trim(fields[0], `"' `+"\t")), q: 1}
		switch {
		case m.media == "":
			continue
		case m.media == "*":
			m.media = "*/*"
		case strings.HasSuffix(m.media, "/"):
			m.media += "*"
		case !strings.Contains(m.media, "/"):
			continue
		}
		for fields = fields[1:]; len(fields) > 0; {
			f := fields[0]
			fields = fields[1:]
			name, value, _ := strings.Cut(f, "=")
			name = strings.ToLower(strings.TrimSpace(name))
			value = strings.TrimSpace(value)
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = strings.ReplaceAll(value[1:len(value)-1], `\`, "")
			}
			value = strings.Trim(value, `"' `)
			if name == "q" {
				if q, err := strconv.ParseFloat(value, 64); err == nil && q >= 0 && q <= 1 {
					m.q = q
				}
				continue
			}
			if m.params == nil {
				m.params = make(map[string]string)
			}
			if name == "type" {
				// The parts' own parameters may stand within the quotes.
				within := strings.Split(strings.ToLower(value), ";")
				value, fields = strings.TrimSpace(within[0]), append(fields, within[1:]...)
				if strings.HasSuffix(value, "/") {
					value += "*"
				}
			}
			m.params[name] = value
		}
		ranges = append(ranges, m)
	}
	return ranges
}

// splitQuoted splits s at sep, but not within double quotes. An open quote
// ends with s.
func splitQuoted(s string, sep byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// matchesMedia reports whether pattern, which may be */* or image/*, covers
// media.
func matchesMedia(pattern, media string) bool {
	if pattern == "*/*" || pattern == media {
		return true
	}
	main, ok := strings.CutSuffix(pattern, "*")
	return ok && strings.HasPrefix(media, main)
}

// fits reports whether the range covers o, and how specific it is: a range
// that names the media type beats one with a wildcard (RFC 9110 12.5.1).
func (m mediaRange) fits(o offer) (specific int, ok bool) {
	if ts := m.params["transfer-syntax"]; ts != "" && ts != "*" && o.transferSyntax != "" && ts != o.transferSyntax {
		return 0, false
	}
	if m.media == "*/*" {
		return 1, true
	}
	pattern := m.media
	if o.multipart {
		if !matchesMedia(m.media, "multipart/related") {
			return 0, false
		}
		if pattern = m.params["type"]; pattern == "" {
			return 2, true
		}
	}
	if !matchesMedia(pattern, o.media) {
		return 0, false
	}
	if strings.HasSuffix(pattern, "*") {
		return 2, true
	}
	return 3, true
}

// rank sorts the offers that the client takes, best first; between equals the one
// that stands first.
func rank(r *http.Request, offers []offer) []offer {
	type ranked struct {
		offer
		q        float64
		specific int
	}
	accept := acceptOf(r)
	var taken []ranked
	for _, o := range offers {
		// The most specific range that covers an offer decides its quality.
		q, specific := 0.0, 0
		for _, m := range accept {
			if n, ok := m.fits(o); ok && (n > specific || n == specific && m.q > q) {
				q, specific = m.q, n
			}
		}
		if q > 0 {
			taken = append(taken, ranked{o, q, specific})
		}
	}
	slices.SortStableFunc(taken, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.q, a.q), cmp.Compare(b.specific, a.specific)) })
	list := make([]offer, len(taken))
	for i, t := range taken {
		list[i] = t.offer
	}
	return list
}

// negotiate picks the offer the client likes best. It fails with NotAcceptable,
// naming what could be had.
func negotiate(r *http.Request, offers []offer) (offer, error) {
	if list := rank(r, offers); len(list) > 0 {
		return list[0], nil
	}
	return offer{}, notAcceptable(offers)
}

func notAcceptable(offers []offer) error {
	var b strings.Builder
	for i, o := range offers {
		if i > 0 {
			b.WriteString(" or ")
		}
		b.WriteString(o.String())
	}
	return pacs.Errorf(pacs.NotAcceptable, "Nothing that the Accept header allows can be sent. Accept %s.", b.String())
}

// Media types of data sets and of bytes.
const (
	mediaDICOMXML  = "application/dicom+xml"
	mediaDICOM     = "application/dicom"
	mediaDICOMJSON = "application/dicom+json"
	mediaJSON      = "application/json"
	mediaOctets    = "application/octet-stream"
)
