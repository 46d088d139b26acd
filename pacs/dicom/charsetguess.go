package dicom

import (
	"math"
	"strings"
	"unicode"

	"golang.org/x/text/encoding/charmap"
)

// FallbackCyrillic as a fallback character set asks for the likeliest of the three eight-bit encodings of
// Cyrillic that devices use without saying so.
const FallbackCyrillic = "cyrillic"

var cyrillicEncodings = []*charmap.Charmap{charmap.Windows1251, charmap.CodePage866, charmap.KOI8R}

// guessText decodes raw by the fallback when that reads better than declared,
// the text as the declared character set has it ("" when nothing is declared).
func guessText(raw []byte, declared, fallback string) (string, bool) {
	var candidates []*charmap.Charmap
	if strings.EqualFold(fallback, FallbackCyrillic) {
		candidates = cyrillicEncodings
	} else {
		set, ok := lookupCharset(fallback)
		if !ok {
			return "", false
		}
		switch set.whole {
		case charmap.Windows1251, charmap.CodePage866, charmap.KOI8R:
			candidates = []*charmap.Charmap{set.whole.(*charmap.Charmap)}
		default:
			// Nothing is known about other scripts: used only where
			// nothing is declared.
			if declared != "" {
				return "", false
			}
			if set.whole != nil {
				return decodeWhole(raw, set.whole), true
			}
			if set.g1 == nil {
				return "", false
			}
			return decodeISO2022(raw, set, true), true
		}
	}
	best, bestScore := "", math.Inf(-1)
	for _, c := range candidates {
		s := decodeWhole(raw, c)
		score := cyrillicScore(s)
		if len(candidates) > 1 && c != charmap.Windows1251 {
			score -= 4 // the others are rare
		}
		if score > bestScore {
			best, bestScore = s, score
		}
	}
	if declared == "" {
		// High bytes under no declaration mean nothing by themselves; what
		// competes is the other common mistake, Latin letters with accents.
		return best, bestScore > latinScore(decodeWhole(raw, charmap.ISO8859_1))
	}
	if strings.ContainsFunc(declared, func(r rune) bool { return unicode.Is(unicode.Cyrillic, r) }) {
		// Who declares Cyrillic means Cyrillic, most of the time.
		return best, bestScore > 0 && bestScore > cyrillicScore(declared)+8
	}
	rival := latinScore(declared)
	return best, bestScore > rival+1 && (bestScore > 0 || bestScore > -3 && rival <= -6)
}

// readsAsUTF8 tells whether raw, which is valid UTF-8, reads better so than as
// the declared Cyrillic, which some pairs of capitals do by chance.
func readsAsUTF8(raw []byte, declared string) bool {
	s := string(raw)
	return max(cyrillicScore(s), latinScore(s)) > cyrillicScore(declared)
}

// cyrillicFrequency is how often a letter occurs in Russian text, in per mille
// (after the National Corpus of the Russian Language). The Uzbek ў, қ, ғ, ҳ
// are given what their letters have in Uzbek names, roughly.
var cyrillicFrequency = map[rune]float64{
	'о': 109.7, 'е': 84.5, 'а': 80.1, 'и': 73.5, 'н': 67, 'т': 62.6, 'с': 54.7, 'р': 47.3, 'в': 45.4, 'л': 44,
	'к': 34.9, 'м': 32.1, 'д': 29.8, 'п': 28.1, 'у': 26.2, 'я': 20.1, 'ы': 19, 'ь': 17.4, 'г': 17, 'з': 16.5,
	'б': 15.9, 'ч': 14.4, 'й': 12.1, 'х': 9.7, 'ж': 9.4, 'ш': 7.3, 'ю': 6.4, 'ц': 4.8, 'щ': 3.6, 'э': 3.2,
	'ф': 2.6, 'ъ': 0.4, 'ё': 0.4, 'ў': 6, 'қ': 6, 'ғ': 5, 'ҳ': 6,
}

// cyrillicScore says how much s reads like Russian or Uzbek: positive when it
// does, strongly negative when letters, cases or scripts are mixed as no
// writer mixes them. ASCII counts for nothing.
func cyrillicScore(s string) float64 {
	score := 0.0
	asciiWords := hasASCIILetters(s)
	eachWord(s, func(word []rune) {
		cyrillic, latin, sum := 0, 0, 0.0
		for i, r := range word {
			l := unicode.ToLower(r)
			if f, ok := cyrillicFrequency[l]; ok {
				cyrillic++
				sum += math.Log2(f / 1000 * 33)
				if i == 0 && (l == 'ь' || l == 'ъ' || l == 'ы') {
					sum -= 4
				}
			} else if l < 0x80 {
				latin++
			} else {
				cyrillic++
				sum -= 4 // a letter of some other language
			}
		}
		switch {
		case cyrillic == 0:
			return
		case latin > 0:
			sum = -8 * float64(min(cyrillic, latin))
		case len(word) == 1 && asciiWords && sum > 0:
			sum = 0
		default:
			sum -= caseFaults(word)
			if len(word) > 1 {
				sum += float64(len(word)) // the whole word is of one script
			}
		}
		score += sum
	})
	last := ' '
	for _, r := range s {
		switch {
		case r == '№' && unicode.IsLetter(last):
			score -= 6 // the р of windows-1251, read as ISO 8859-5
		case r >= 0x80 && !unicode.IsLetter(r) && !strings.ContainsRune("№«»–—“”„’‘ \u00a0", r):
			score -= 4
		}
		last = r
	}
	return score
}

// latinScore says how much s reads like a language that is written with some
// accented letters among plain ones.
func latinScore(s string) float64 {
	score := 0.0
	asciiWords := hasASCIILetters(s)
	eachWord(s, func(word []rune) {
		plain, accented := 0, 0
		for _, r := range word {
			if r < 0x80 {
				plain++
			} else {
				accented++
			}
		}
		switch {
		case accented == 0:
		case plain == 0 && accented > 1:
			score -= 3 * float64(accented)
		case plain == 0 && asciiWords:
		case plain == 0:
			score--
		case accented > plain+1:
			score -= 2 * float64(accented-plain)
		default:
			score += 3 - caseFaults(word)
		}
	})
	for _, r := range s {
		if r >= 0x80 && !unicode.IsLetter(r) {
			score -= 2
		}
	}
	return score
}

func hasASCIILetters(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x80 && unicode.IsLetter(r) })
}

// caseFaults counts capitals where a word that began otherwise has none:
// words are lower case, upper case, or capitalised.
func caseFaults(word []rune) float64 {
	faults, upper := 0.0, 0
	for i, r := range word {
		if unicode.IsUpper(r) {
			upper++
			if i > 0 && unicode.IsLower(word[i-1]) {
				faults += 6
			}
		} else if i > 1 && unicode.IsLower(r) && upper == i {
			faults += 6 // ABc
		}
	}
	return faults
}

// eachWord calls f for every run of letters in s.
func eachWord(s string, f func([]rune)) {
	var word []rune
	for _, r := range s {
		if unicode.IsLetter(r) {
			word = append(word, r)
			continue
		}
		if len(word) > 0 {
			f(word)
			word = word[:0]
		}
	}
	if len(word) > 0 {
		f(word)
	}
}
