// Package charset writes answers in the character set that a device shows:
// what the set does not have is transliterated, Cyrillic into Latin, Uzbek letters
// into the nearest ones, never into question marks.
package charset

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Character sets that are named elsewhere, as defined terms.
const (
	UTF8  = "ISO_IR 192"
	ASCII = "ISO_IR 6"
)

// writable are the character sets that answers are written in, by what their
// terms have in common: PS3.3 C.12.1.1.2 without those that need code
// extensions.
var writable = []string{
	UTF8, "GB18030", "GBK", "ISO_IR 144", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 127", "ISO_IR 126", "ISO_IR 138",
	"ISO_IR 148", "ISO_IR 203", "ISO_IR 166", ASCII,
}

// ForAnswer is the character set for a device: the one it is registered
// with, else one that its request declares, else ASCII, which every device
// shows. Of several declared ones, the one that has most of our letters.
func ForAnswer(registered string, declared []string) string {
	if registered != "" {
		declared = []string{registered}
	}
	best := ASCII
	for _, term := range declared {
		term = strings.ToUpper(strings.Join(strings.Fields(term), " "))
		if number, ok := strings.CutPrefix(term, "ISO 2022 IR "); ok {
			term = "ISO_IR " + number
		}
		if at := slices.Index(writable, term); at >= 0 && at < slices.Index(writable, best) {
			best = term
		}
	}
	return best
}

// Convert returns a copy of a data set whose text is UTF-8 with its text in
// another character set. What the set does not have is transliterated, what is
// then too long for its value representation is cut.
func Convert(ds *dicom.Dataset, term string) *dicom.Dataset {
	s := script{term: term}
	out := s.convert(ds)
	if s.beyondASCII {
		out.SetBytes(dicom.TagSpecificCharacterSet, dicom.CS, []byte(term))
	}
	return out
}

// script writes text in a character set.
type script struct {
	term        string
	beyondASCII bool // something was written that is not ASCII
}

func (s *script) can(text string) bool {
	_, ok := s.encode(text)
	return ok
}

func (s *script) encode(text string) ([]byte, bool) {
	if s.term == ASCII {
		return dicom.EncodeText(text, nil)
	}
	return dicom.EncodeText(text, []string{s.term})
}

func (s *script) convert(ds *dicom.Dataset) *dicom.Dataset {
	out := new(dicom.Dataset)
	for _, e := range ds.Elements {
		switch {
		case e.Tag == dicom.TagSpecificCharacterSet:
		case e.VR == dicom.SQ:
			items := make([]*dicom.Dataset, len(e.Items))
			for i, item := range e.Items {
				items[i] = s.convert(item)
			}
			out.SetSequence(e.Tag, items...)
		case longest[e.VR] == 0 || !utf8.Valid(e.Value):
			out.SetBytes(e.Tag, e.VR, e.Value)
		default:
			out.SetBytes(e.Tag, e.VR, s.value(string(e.Value), e.VR))
		}
	}
	return out
}

// longest are the lengths in characters of the value representations that the
// character set applies to, PS3.5 Table 6.2-1; of PN each component group's.
var longest = map[dicom.VR]int{
	dicom.SH: 16, dicom.LO: 64, dicom.PN: 64, dicom.ST: 1024, dicom.LT: 10240, dicom.UT: 1 << 20, dicom.UC: 1 << 20,
}

// Bounded says whether the length of a value is bounded in characters, as that of
// all text that the character set applies to.
func Bounded(vr dicom.VR) bool { return longest[vr] > 0 }

// Value writes the values of an attribute in a character set.
func Value(term, text string, vr dicom.VR) []byte {
	s := script{term: term}
	return s.value(text, vr)
}

// value writes the values of an attribute.
func (s *script) value(text string, vr dicom.VR) []byte {
	values := []string{text}
	switch vr {
	case dicom.ST, dicom.LT, dicom.UT:
	default:
		values = strings.Split(text, `\`)
	}
	for i, v := range values {
		if vr != dicom.PN {
			values[i] = s.shortened(s.fit(v), longest[vr])
			continue
		}
		groups := strings.Split(v, "=")
		for j := range groups {
			groups[j] = s.shortened(s.fit(groups[j]), longest[vr])
		}
		values[i] = strings.TrimRight(strings.Join(groups, "="), "=")
	}
	raw, ok := s.encode(strings.Join(values, `\`))
	if !ok { // fit leaves only what can be encoded
		return nil
	}
	for _, c := range raw {
		if c >= utf8.RuneSelf {
			s.beyondASCII = true
		}
	}
	return raw
}

func (s *script) shortened(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return strings.TrimRight(string([]rune(text)[:most]), " ^")
}

// fit writes a text with the letters that the character set has. Cyrillic
// becomes Latin where there is none (the table of 1995), letters of Uzbek that a
// Cyrillic set lacks become those that Russian documents have for them, accents
// go. What then has no letter at all is left out: a question mark would say that
// something stands there which doesn't.
func (s *script) fit(text string) string {
	if s.can(text) {
		return text
	}
	cyrillic := s.can("Я")
	if !cyrillic {
		text = pacs.Latin(text)
	}
	var out strings.Builder
	for _, r := range text {
		if s.can(string(r)) {
			out.WriteRune(r)
			continue
		}
		out.WriteString(s.nearest(r, cyrillic))
	}
	return out.String()
}

// cyrillicNearest are letters that ISO 8859-5 lacks, latinNearest those of other
// languages of the country that the table of 1995 lacks, marks what stands for
// signs.
var (
	cyrillicNearest = map[rune]string{
		'қ': "к", 'ғ': "г", 'ҳ': "х", 'ў': "у", 'ә': "а", 'ң': "н", 'ө': "о", 'ү': "у", 'ұ': "у", 'һ': "х", 'ҷ': "ч", 'ӣ': "и", 'ӯ': "у", 'ґ': "г",
	}
	latinNearest = map[rune]string{
		'ә': "a", 'ң': "n", 'ө': "o", 'ү': "u", 'ұ': "u", 'һ': "h", 'ҷ': "j", 'ӣ': "i", 'ӯ': "u", 'ґ': "g", 'і': "i", 'ї': "i", 'є': "e",
		'ı': "i", 'ə': "a", 'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'đ': "d", 'ł': "l", 'ð': "d", 'þ': "th", 'ŋ': "n",
	}
	marks = map[rune]string{
		'ʻ': "'", 'ʼ': "'", '‘': "'", '’': "'", '‛': "'", '`': "'", '´': "'", 'ʹ': "'", '′': "'", '“': `"`, '”': `"`, '„': `"`, '«': `"`, '»': `"`,
		'–': "-", '—': "-", '‑': "-", '−': "-", '№': "N", '…': "...", '\u00a0': " ", '\u202f': " ", '\u2009': " ", '×': "x", '°': " ", '•': "-",
	}
)

// nearest is what a letter becomes that the character set lacks, "" for nothing.
func (s *script) nearest(r rune, cyrillic bool) string {
	tables := []map[rune]string{marks, latinNearest}
	if cyrillic {
		tables = []map[rune]string{marks, cyrillicNearest, latinNearest}
	}
	lower := unicode.ToLower(r)
	for _, table := range tables {
		near, ok := table[lower]
		if !ok || !s.can(near) {
			continue
		}
		if unicode.IsUpper(r) {
			near = strings.ToUpper(near[:1]) + near[1:]
			if first, size := utf8.DecodeRuneInString(table[lower]); size > 1 {
				near = string(unicode.ToUpper(first)) + table[lower][size:]
			}
		}
		return near
	}
	var out strings.Builder
	for _, part := range norm.NFKD.String(string(r)) {
		if part != r && !unicode.Is(unicode.M, part) && s.can(string(part)) && unicode.IsPrint(part) {
			out.WriteRune(part)
		}
	}
	return out.String()
}
