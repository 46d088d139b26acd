package pacs

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// DisplayName turns a DICOM person name (PS3.5 6.2.1: Family^Given^Middle^
// Prefix^Suffix, groups separated by =) into one for reading, family name
// first: "Каримов Али Бахтиёрович".
func DisplayName(pn string) string {
	group, _, _ := strings.Cut(pn, "=")
	return strings.Join(strings.Fields(strings.ReplaceAll(group, "^", " ")), " ")
}

// NameParts splits a DICOM person name into family name, given name and
// patronymic (the middle name component).
func NameParts(pn string) (family, given, patronymic string) {
	group, _, _ := strings.Cut(pn, "=")
	parts := strings.Split(group, "^")
	at := func(i int) string {
		if i < len(parts) {
			return strings.TrimSpace(parts[i])
		}
		return ""
	}
	return at(0), at(1), at(2)
}

// OtherScript writes a name in the other of Uzbekistan's two scripts, by the
// table of 1995: Cyrillic becomes Latin, Latin becomes Cyrillic. It is a help
// for the eye, not a spelling anyone registered: the two scripts don't map
// one to one. Empty when the name has letters of neither.
func OtherScript(name string) string {
	for _, r := range name {
		switch {
		case unicode.Is(unicode.Cyrillic, r):
			return toLatin(name)
		case unicode.Is(unicode.Latin, r):
			return toCyrillic(name)
		}
	}
	return ""
}

// InASCII spells a text in ASCII, for data sets and devices in a character set
// that has no room for it: Cyrillic in the Latin letters of the 1995 table,
// accents left out, and '?' for what has no letters there.
func InASCII(s string) string {
	for _, r := range s {
		if unicode.Is(unicode.Cyrillic, r) {
			s = OtherScript(s)
			break
		}
	}
	var out strings.Builder
	for _, r := range s {
		switch {
		case r < unicode.MaxASCII:
			out.WriteRune(r)
			continue
		case strings.ContainsRune("ʻʼ’‘`´", r):
			out.WriteByte('\'')
			continue
		}
		plain := rune('?')
		for _, d := range norm.NFKD.String(string(r)) {
			if d < unicode.MaxASCII {
				plain = d
				break
			}
		}
		out.WriteRune(plain)
	}
	return out.String()
}

// latinOf is the 1995 table, Cyrillic to Latin (UNGEGN romanization of Uzbek,
// version 2.2), and the Russian letters that names bring along.
var latinOf = map[rune]string{
	'а': "a", 'б': "b", 'в': "v", 'г': "g", 'д': "d", 'е': "e", 'ё': "yo", 'ж': "j", 'з': "z", 'и': "i", 'й': "y",
	'к': "k", 'л': "l", 'м': "m", 'н': "n", 'о': "o", 'п': "p", 'р': "r", 'с': "s", 'т': "t", 'у': "u", 'ф': "f",
	'х': "x", 'ц': "s", 'ч': "ch", 'ш': "sh", 'щ': "sh", 'ъ': "ʼ", 'ы': "i", 'ь': "", 'э': "e", 'ю': "yu", 'я': "ya",
	'ў': "oʻ", 'қ': "q", 'ғ': "gʻ", 'ҳ': "h",
}

// Latin writes what is Cyrillic in a text in Latin letters, by the table of
// 1995; all else stays.
func Latin(text string) string { return toLatin(text) }

func toLatin(name string) string {
	var out strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		lower := unicode.ToLower(r)
		latin, ok := latinOf[lower]
		if !ok {
			out.WriteRune(r)
			continue
		}
		var before rune
		if i > 0 {
			before = unicode.ToLower(runes[i-1])
		}
		switch {
		case lower == 'е' && (!unicode.IsLetter(before) || strings.ContainsRune("аеёиоуўэюяъь", before)):
			latin = "ye"
		case lower == 'ц' && strings.ContainsRune("аеёиоуўэюя", before) && before != 0:
			latin = "ts"
		case lower == 'ъ' && before == 'ў':
			latin = ""
		}
		if unicode.IsUpper(r) && latin != "" {
			shout := i+1 < len(runes) && unicode.IsUpper(runes[i+1]) || i+1 >= len(runes) && i > 0 && unicode.IsUpper(runes[i-1])
			if shout {
				latin = strings.ToUpper(latin)
			} else {
				first := []rune(latin)
				latin = string(unicode.ToUpper(first[0])) + string(first[1:])
			}
		}
		out.WriteString(latin)
	}
	return out.String()
}

// cyrillicOf is the same table the other way, longest match first.
var cyrillicOf = []struct{ latin, cyrillic string }{
	{"oʻ", "ў"},
	{"gʻ", "ғ"},
	{"sh", "ш"},
	{"ch", "ч"},
	{"yo", "ё"},
	{"yu", "ю"},
	{"ya", "я"},
	{"ye", "е"},
	{"ts", "ц"},
	{"a", "а"},
	{"b", "б"},
	{"c", "к"},
	{"d", "д"},
	{"e", "е"},
	{"f", "ф"},
	{"g", "г"},
	{"h", "ҳ"},
	{"i", "и"},
	{"j", "ж"},
	{"k", "к"},
	{"l", "л"},
	{"m", "м"},
	{"n", "н"},
	{"o", "о"},
	{"p", "п"},
	{"q", "қ"},
	{"r", "р"},
	{"s", "с"},
	{"t", "т"},
	{"u", "у"},
	{"v", "в"},
	{"w", "в"},
	{"x", "х"},
	{"y", "й"},
	{"z", "з"},
	{"ʼ", "ъ"},
}

// apostrophes brings the many marks that keyboards give to the two of the
// alphabet: ʻ after o and g, ʼ elsewhere.
func apostrophes(s string) string {
	var out strings.Builder
	var before rune
	for _, r := range s {
		if strings.ContainsRune("'’‘`ʻʼ´", r) {
			r = 'ʼ'
			if strings.ContainsRune("oOgG", before) && before != 0 {
				r = 'ʻ'
			}
		}
		out.WriteRune(r)
		before = r
	}
	return out.String()
}

func toCyrillic(name string) string {
	var out strings.Builder
	rest := apostrophes(name)
	wordStart := true
	for rest != "" {
		first := []rune(rest)[0]
		matched := false
		for _, pair := range cyrillicOf {
			n := len(pair.latin)
			if len(rest) < n || !strings.EqualFold(rest[:n], pair.latin) {
				continue
			}
			cyrillic := pair.cyrillic
			if wordStart && pair.latin == "e" {
				cyrillic = "э"
			}
			if unicode.IsUpper(first) {
				cyrillic = strings.ToUpper(cyrillic)
			}
			out.WriteString(cyrillic)
			rest, matched, wordStart = rest[n:], true, false
			break
		}
		if !matched {
			out.WriteRune(first)
			rest = rest[len(string(first)):]
			wordStart = !unicode.IsLetter(first)
		}
	}
	return out.String()
}
