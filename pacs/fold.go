package pacs

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold makes the key by which names are searched: spellings of one name in
// Uzbek Latin, Uzbek Cyrillic and Russian, with the letters that devices
// replace and people leave out, give the same key. It is for finding, not for
// showing: it unites names that are different, too.
//
// The key has lower-case letters and digits, words separated by one space;
// everything else (^ = - . ,) separates words. Fold(Fold(s)) is Fold(s).
//
//	written                          key   because
//	қ q к k c(a,o,u) ck              k     devices without Қ write К
//	ғ gʻ gh г g                      g     likewise
//	ҳ h х x kh                       h     likewise; Latin x is х
//	ў oʻ o о у u ө ӯ                 u     ў is oʻ and is written у; apostrophes get lost
//	ж j zh, дж dj dzh                j     Джамшид is Jamshid
//	ц ts c(e,i,y), с s               s     school spelling of ц is s
//	ч ch, ç                          ch
//	ш sh, щ shch sch, ş              sh
//	в v w                            v
//	ф f ph                           f
//	е э e ye, ё and yo behind a consonant   e   Elena, Yelena; Semenov, Semyonov
//	и й ы i y                        i     Dmitry, Dmitriy, Дмитрий
//	ю yu iu                          iu
//	я ya ia                          ia
//	ё yo elsewhere                   iu    Ёқуб, Yoqub
//	ъ ь and apostrophes of all kinds –
//	accents                          –     é is e
//	doubled letters                  one   Muhammad, Muhamad
//
// Vowels that differ in sound stay apart: Рахманов (Russian) and Rahmonov
// (Uzbek) have different keys.
func Fold(s string) string {
	f := folder{out: make([]byte, 0, len(s))}
	// Apostrophes go first: normalisation would make some of them spaces.
	s = strings.Map(func(r rune) rune {
		switch {
		case isApostrophe(r):
			return '\''
		case r == utf8.RuneError || r == 0:
			return ' '
		}
		return unicode.ToLower(r)
	}, s)
	f.in = []rune(norm.NFKC.String(s))
	for i := range f.in {
		// Normalisation takes ligatures and capitals of other alphabets apart.
		f.in[i] = unicode.ToLower(f.in[i])
	}
	f.in = spellOut(f.in)
	for f.at = 0; f.at < len(f.in); f.at++ {
		f.step(f.in[f.at])
	}
	return strings.TrimRight(string(f.out), " ")
}

// isApostrophe tells whether r is one of the signs that Uzbek oʻ, gʻ and the
// tutuq belgisi are typed with.
func isApostrophe(r rune) bool {
	switch r {
	case '\'', '`', '´', '‘', '’', '‛', 'ʹ', 'ʻ', 'ʼ', 'ʽ', 'ʾ', 'ʿ', 'ˈ', '′', '‵', '＇', '｀', '\u0313', '\u0314', '\u0315':
		return true
	}
	return false
}

// cyrillicToLatin is the table of 1995 (with letters of Russian, Karakalpak,
// Kazakh and Tajik), and the letters of other Latin alphabets that aren't a
// letter with an accent. Apostrophes of the result are left out: ў is u.
var cyrillicToLatin = map[rune]string{
	'а': "a", 'б': "b", 'в': "v", 'г': "g", 'д': "d", 'е': "e", 'ё': "yo", 'ж': "j", 'з': "z", 'и': "i", 'й': "y",
	'к': "k", 'л': "l", 'м': "m", 'н': "n", 'о': "o", 'п': "p", 'р': "r", 'с': "s", 'т': "t", 'у': "u", 'ф': "f",
	'х': "h", 'ц': "ts", 'ч': "ch", 'ш': "sh", 'щ': "sh", 'ъ': "", 'ы': "i", 'ь': "", 'э': "e", 'ю': "yu", 'я': "ya",
	'ў': "u", 'қ': "k", 'ғ': "g", 'ҳ': "h",
	'і': "i", 'ї': "i", 'є': "e", 'ґ': "g", 'ә': "a", 'ң': "n", 'ө': "o", 'ү': "u", 'ұ': "u", 'һ': "h", 'ҷ': "j", 'ӣ': "i", 'ӯ': "u",
	'ı': "i", 'ə': "a", 'ş': "sh", 'ș': "sh", 'ç': "ch", 'ß': "ss", 'æ': "e", 'œ': "e", 'ø': "o", 'đ': "d", 'ł': "l", 'ð': "d", 'þ': "t",
}

// spellOut replaces letters by cyrillicToLatin and takes accents off.
func spellOut(in []rune) []rune {
	out := make([]rune, 0, len(in)+len(in)/4)
	for _, r := range in {
		if latin, ok := cyrillicToLatin[r]; ok {
			for _, l := range latin {
				out = append(out, l)
			}
			continue
		}
		if r < utf8.RuneSelf {
			out = append(out, r)
			continue
		}
		for _, d := range norm.NFKD.String(string(r)) {
			switch {
			case isApostrophe(d):
				out = append(out, '\'')
			case unicode.Is(unicode.M, d):
			default:
				if latin, ok := cyrillicToLatin[unicode.ToLower(d)]; ok {
					for _, l := range latin {
						out = append(out, l)
					}
				} else {
					out = append(out, unicode.ToLower(d))
				}
			}
		}
	}
	return out
}

// folder reduces spelled-out Latin letters to the key. Every rule looks only
// at the end of what is written already, so that no pair of letters is left
// that a second run would reduce.
type folder struct {
	in  []rune
	at  int
	out []byte
}

// next is the rune n places ahead, 0 at the end.
func (f *folder) next(n int) rune {
	if f.at+n < len(f.in) {
		return f.in[f.at+n]
	}
	return 0
}

func (f *folder) step(r rune) {
	switch {
	case r == '\'':
	case r >= 'a' && r <= 'z':
		f.letter(byte(r))
	case unicode.IsLetter(r) || unicode.IsDigit(r):
		f.out = utf8.AppendRune(f.out, r)
	case len(f.out) > 0 && f.out[len(f.out)-1] != ' ':
		f.out = append(f.out, ' ')
	}
}

// letter maps one letter of the spelled-out name; pairs are push's work.
func (f *folder) letter(c byte) {
	switch c {
	case 'q':
		c = 'k'
	case 'x':
		c = 'h'
	case 'w':
		c = 'v'
	case 'o':
		c = 'u'
	case 'c':
		switch f.next(1) {
		case 'h':
		case 'c':
			return
		case 'e', 'i', 'y':
			c = 's'
		default:
			c = 'k'
		}
	case 'y':
		switch {
		case f.next(1) == 'e':
			return
		case f.next(1) == 'o' && f.next(2) != '\'' && f.behindConsonant():
			f.at++
			c = 'e'
		default:
			c = 'i'
		}
	}
	f.push(c)
}

func (f *folder) behindConsonant() bool {
	if len(f.out) == 0 {
		return false
	}
	c := f.out[len(f.out)-1]
	return c >= 'b' && c <= 'z' && !strings.ContainsRune("aeiu", rune(c))
}

// pairs are what two letters at the end of the key become. "sc" and "tc" exist
// only in front of h.
var pairs = map[string]string{
	"kh": "h", "gh": "g", "zh": "j", "dj": "j", "ts": "s", "ph": "f", "sc": "s", "tc": "c",
}

// push writes one letter and reduces what it completes.
func (f *folder) push(c byte) {
	if n := len(f.out); n > 0 && f.out[n-1] < utf8.RuneSelf {
		last := f.out[n-1]
		if last == c {
			return
		}
		if short, ok := pairs[string([]byte{last, c})]; ok {
			f.out = f.out[:n-1]
			f.push(short[0])
			return
		}
		// shch: ш and ч are щ.
		if c == 'c' && last == 'h' && n > 1 && f.out[n-2] == 's' {
			f.out = f.out[:n-1]
			return
		}
	}
	f.out = append(f.out, c)
}
