package dicom

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// graphicSet is a set of characters that ISO 2022 can put into G0 (codes 0x21
// to 0x7E) or G1 (0xA1 to 0xFE).
type graphicSet struct {
	charmap *charmap.Charmap  // one byte per character; G1 only
	pairs   encoding.Encoding // two bytes per character, as in this EUC encoding
	prefix  byte              // what EUC puts in front of a pair
}

// The sets of PS3.3 C.12.1.1.2, tables C.12-2 to C.12-4, by their number in
// the ISO register.
var (
	setASCII    = &graphicSet{} // ISO-IR 6, and ISO-IR 14 (JIS X 0201 romaji), which only redraws two glyphs
	setKatakana = &graphicSet{} // ISO-IR 13, JIS X 0201
	setLatin1   = &graphicSet{charmap: charmap.ISO8859_1}
	setLatin2   = &graphicSet{charmap: charmap.ISO8859_2}
	setLatin3   = &graphicSet{charmap: charmap.ISO8859_3}
	setLatin4   = &graphicSet{charmap: charmap.ISO8859_4}
	setLatin5   = &graphicSet{charmap: charmap.ISO8859_9}
	setLatin9   = &graphicSet{charmap: charmap.ISO8859_15}
	setCyrillic = &graphicSet{charmap: charmap.ISO8859_5}
	setArabic   = &graphicSet{charmap: charmap.ISO8859_6}
	setGreek    = &graphicSet{charmap: charmap.ISO8859_7}
	setHebrew   = &graphicSet{charmap: charmap.ISO8859_8}
	setThai     = &graphicSet{charmap: charmap.Windows874} // TIS 620 and a few more
	setJIS0208  = &graphicSet{pairs: japanese.EUCJP}
	setJIS0212  = &graphicSet{pairs: japanese.EUCJP, prefix: 0x8F}
	setKSX1001  = &graphicSet{pairs: korean.EUCKR}
	setGB2312   = &graphicSet{pairs: simplifiedchinese.GBK}
)

// codedSet is what one value of Specific Character Set stands for: either a
// complete encoding, or what is in G0 and G1 at the start.
type codedSet struct {
	whole  encoding.Encoding // nil for UTF-8 when isUTF8, and for ISO 2022 sets
	isUTF8 bool
	g0, g1 *graphicSet
}

// codedSets by the letters and digits of their defined term. Besides the
// defined terms of PS3.3 C.12.1.1.2 there are names that devices and people
// write instead, and those of fallback character sets.
var codedSets = map[string]codedSet{
	"":     {g0: setASCII},
	"IR6":  {g0: setASCII},
	"IR14": {g0: setASCII, g1: setKatakana}, "IR13": {g0: setASCII, g1: setKatakana},
	"IR100": {g0: setASCII, g1: setLatin1}, "IR101": {g0: setASCII, g1: setLatin2},
	"IR109": {g0: setASCII, g1: setLatin3}, "IR110": {g0: setASCII, g1: setLatin4},
	"IR144": {g0: setASCII, g1: setCyrillic}, "IR127": {g0: setASCII, g1: setArabic},
	"IR126": {g0: setASCII, g1: setGreek}, "IR138": {g0: setASCII, g1: setHebrew},
	"IR148": {g0: setASCII, g1: setLatin5}, "IR203": {g0: setASCII, g1: setLatin9},
	"IR166": {g0: setASCII, g1: setThai},
	"IR87":  {g0: setASCII}, "IR159": {g0: setASCII}, // reached by escape sequences only
	"IR149": {g0: setASCII, g1: setKSX1001}, "IR58": {g0: setASCII, g1: setGB2312},
	"IR192": {isUTF8: true}, "UTF8": {isUTF8: true},
	"GB18030": {whole: simplifiedchinese.GB18030}, "GBK": {whole: simplifiedchinese.GBK},
	"GB2312": {whole: simplifiedchinese.GBK}, "SHIFTJIS": {whole: japanese.ShiftJIS},
	"EUCKR": {whole: korean.EUCKR}, "EUCJP": {whole: japanese.EUCJP},
	"WINDOWS1250": {whole: charmap.Windows1250}, "WINDOWS1251": {whole: charmap.Windows1251},
	"WINDOWS1252": {whole: charmap.Windows1252}, "WINDOWS1253": {whole: charmap.Windows1253},
	"WINDOWS1254": {whole: charmap.Windows1254}, "WINDOWS1256": {whole: charmap.Windows1256},
	"CP1251": {whole: charmap.Windows1251}, "CP1252": {whole: charmap.Windows1252},
	"CP866": {whole: charmap.CodePage866}, "IBM866": {whole: charmap.CodePage866},
	"KOI8R": {whole: charmap.KOI8R}, "KOI8U": {whole: charmap.KOI8U},
	"88591": {g0: setASCII, g1: setLatin1}, "88592": {g0: setASCII, g1: setLatin2},
	"88595": {g0: setASCII, g1: setCyrillic}, "88599": {g0: setASCII, g1: setLatin5},
}

// lookupCharset finds the set for a defined term, however it is punctuated:
// "ISO_IR 100", "ISO-IR 100", "ISO 2022 IR 100" and "iso_ir100" are one.
func lookupCharset(term string) (codedSet, bool) {
	if len(term) > 32 {
		return codedSet{}, false
	}
	var b [32]byte
	n := 0
	for i := 0; i < len(term); i++ {
		switch c := term[i]; {
		case c >= 'a' && c <= 'z':
			b[n] = c - 'a' + 'A'
			n++
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			b[n] = c
			n++
		}
	}
	key := strings.TrimPrefix(string(b[:n]), "ISO")
	if rest, ok := strings.CutPrefix(key, "2022"); ok && strings.HasPrefix(rest, "IR") {
		key = rest
	}
	set, ok := codedSets[key]
	return set, ok
}

// KnownCharset tells whether term names a character set that can be decoded:
// a defined term of (0008,0005) or a fallback such as "windows-1251".
func KnownCharset(term string) bool {
	_, ok := lookupCharset(term)
	return ok || strings.EqualFold(term, FallbackCyrillic)
}

var charsetUTF8 = []string{"ISO_IR 192"}

// parseCharsetValue splits the value of (0008,0005). The result is nil for an
// empty value.
func parseCharsetValue(v []byte) []string {
	s := trimSpace(dropNUL(string(v)))
	if s == "" {
		return nil
	}
	values := strings.Split(s, `\`)
	for i := range values {
		values[i] = trimSpace(values[i])
	}
	return values
}

// chooseSet reduces the values of (0008,0005) to the set at the beginning of a
// value; without a value that is understood it is ASCII.
func chooseSet(charset []string) codedSet {
	set := codedSet{g0: setASCII}
	for i, term := range charset {
		c, ok := lookupCharset(term)
		if !ok {
			continue
		}
		// A complete encoding doesn't mix with others; where it is
		// nevertheless one of several values it is the one that is meant.
		if c.isUTF8 || c.whole != nil {
			return c
		}
		if i == 0 {
			set = c
		}
		// Value 1 may be empty and the rest code extensions. Korean and
		// Chinese in G1 are designated by escape sequences, but some
		// writers forget them.
		if i > 0 && set.g1 == nil && c.g1 != nil && c.g1.pairs != nil {
			set.g1 = c.g1
		}
	}
	return set
}

// hasExtension tells whether a value behind the first announces characters
// beyond ASCII.
func hasExtension(charset []string) bool {
	for i, term := range charset {
		if c, ok := lookupCharset(term); i > 0 && ok && (c.g1 != nil || strings.HasSuffix(term, "87") || strings.HasSuffix(term, "159")) {
			return true
		}
	}
	return false
}

// DecodeText turns the raw bytes of a text value into UTF-8. charset are the
// values of Specific Character Set (0008,0005), nil when it is absent; the
// terms are tolerant of the usual misspellings. Code extensions (ISO 2022) are
// followed, and reset at line ends, backslashes and the delimiters of names.
//
// fallback, when not "", names what the sender really writes when it declares
// nothing, the default repertoire, ISO_IR 100 or ISO_IR 144: "windows-1251",
// "cp866", "koi8-r" or "cyrillic" for the likeliest of the three. It is used
// only where the text reads clearly better that way; UTF-8 is tried first.
// Where nothing is declared and nothing fits, bytes are read as ISO 8859-1, so
// that they aren't lost.
//
// The result is valid UTF-8 without NUL; bytes that mean nothing in the
// character set become U+FFFD. Padding and delimiters are kept.
func DecodeText(raw []byte, charset []string, fallback string) string {
	return decodeText(raw, charset, fallback, true)
}

func decodeText(raw []byte, charset []string, fallback string, name bool) string {
	high, escape := !isASCII(raw), hasEscape(raw)
	if !high && !escape {
		return dropNUL(string(raw))
	}
	set := chooseSet(charset)
	if set.isUTF8 {
		if utf8.Valid(raw) {
			return dropNUL(string(raw))
		}
		if fallback != "" {
			if s, ok := guessText(raw, "", fallback); ok {
				return dropNUL(s)
			}
		}
		return dropNUL(strings.ToValidUTF8(string(raw), "\uFFFD"))
	}
	if set.whole != nil {
		return dropNUL(decodeWhole(raw, set.whole))
	}
	undeclared := set.g1 == nil
	doubtful := fallback != "" && (set.g1 == setLatin1 || set.g1 == setCyrillic)
	if high && !escape && (undeclared || doubtful) {
		declared := ""
		if doubtful {
			declared = decodeISO2022(raw, set, name)
		}
		if utf8.Valid(raw) && (set.g1 != setCyrillic || readsAsUTF8(raw, declared)) {
			return dropNUL(string(raw))
		}
		if fallback != "" {
			if s, ok := guessText(raw, declared, fallback); ok {
				return dropNUL(s)
			}
		}
	}
	if set.g1 == nil && !hasExtension(charset) {
		set.g1 = setLatin1
	}
	return dropNUL(decodeISO2022(raw, set, name))
}

func decodeWhole(raw []byte, e encoding.Encoding) string {
	out, err := e.NewDecoder().Bytes(raw)
	if err != nil { // decoders replace what they can't read; this is unreachable
		return strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return string(out)
}

// escapes are the designations of PS3.3 tables C.12-3 and C.12-4, and three
// that Japanese and Chinese writers use beside them.
var escapes = []struct {
	sequence string // behind ESC
	g1       bool
	set      *graphicSet
}{
	{"(B", false, setASCII},
	{"(J", false, setASCII},
	{")I", true, setKatakana},
	{"(I", false, setKatakana},
	{"-A", true, setLatin1},
	{"-B", true, setLatin2},
	{"-C", true, setLatin3},
	{"-D", true, setLatin4},
	{"-L", true, setCyrillic},
	{"-G", true, setArabic},
	{"-F", true, setGreek},
	{"-H", true, setHebrew},
	{"-M", true, setLatin5},
	{"-b", true, setLatin9},
	{"-T", true, setThai},
	{"$B", false, setJIS0208},
	{"$@", false, setJIS0208},
	{"$(B", false, setJIS0208},
	{"$(D", false, setJIS0212},
	{"$)C", true, setKSX1001},
	{"$)A", true, setGB2312},
	{"$A", false, setGB2312},
}

// decodeISO2022 follows code extensions (PS3.5 6.1.2.5).
func decodeISO2022(raw []byte, start codedSet, name bool) string {
	g0, g1 := start.g0, start.g1
	var out strings.Builder
	out.Grow(len(raw) + len(raw)/2)
	var run []byte // pairs of runSet, as EUC
	var runSet *graphicSet
	flush := func() {
		if len(run) > 0 {
			out.WriteString(decodeWhole(run, runSet.pairs))
			run = run[:0]
		}
	}
	pair := func(set *graphicSet, a, b byte) {
		if runSet != set {
			flush()
			runSet = set
		}
		if set.prefix != 0 {
			run = append(run, set.prefix)
		}
		run = append(run, a|0x80, b|0x80)
	}
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == 0x1B {
			for _, e := range escapes {
				if strings.HasPrefix(string(raw[i+1:min(i+4, len(raw))]), e.sequence) {
					if e.g1 {
						g1 = e.set
					} else {
						g0 = e.set
					}
					i += len(e.sequence)
					break
				}
			}
			continue // an unknown escape is dropped, its letters stay
		}
		set, code := g0, c
		if c >= 0x80 {
			set, code = g1, c&0x7F
		}
		if set != nil && set.pairs != nil && code > 0x20 && code < 0x7F && i+1 < len(raw) &&
			raw[i+1]&0x80 == c&0x80 && raw[i+1]&0x7F > 0x20 && raw[i+1]&0x7F < 0x7F {
			pair(set, c, raw[i+1])
			i++
			continue
		}
		flush()
		switch {
		case set == setKatakana && code >= 0x21 && code <= 0x5F:
			out.WriteRune(0xFF61 + rune(code) - 0x21)
		case c < 0x80:
			out.WriteByte(c)
			if c == '\n' || c == '\r' || c == '\f' || c == '\t' || c == '\\' || name && (c == '^' || c == '=') {
				g0 = start.g0
				if start.g1 != nil {
					g1 = start.g1
				}
			}
		case set != nil && set.charmap != nil:
			out.WriteRune(set.charmap.DecodeByte(c))
		default:
			out.WriteRune(utf8.RuneError)
		}
	}
	flush()
	return out.String()
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func hasEscape(b []byte) bool {
	for _, c := range b {
		if c == 0x1B {
			return true
		}
	}
	return false
}

func dropNUL(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "")
}
