package dicom

import (
	"maps"
	"slices"
	"strings"
)

// Charsets lists the character sets that are decoded: the defined terms of
// PS3.3 C.12.1.1.2, those without code extensions first, and the other names
// that a fallback character set can have.
func Charsets() (terms, extensions, fallbacks []string) {
	for _, key := range slices.Sorted(maps.Keys(codedSets)) {
		set := codedSets[key]
		number, registered := strings.CutPrefix(key, "IR")
		switch {
		case set.isUTF8 && registered:
			terms = append(terms, "ISO_IR "+number)
		case key == "GB18030" || key == "GBK": // defined terms without a number
			terms = append(terms, key)
		case !registered && key != "":
			fallbacks = append(fallbacks, key)
		case registered:
			// Sets of two bytes, and those that are reached by escape sequences
			// only, are code extensions.
			if twoBytes := set.g1 == nil && key != "IR6" || set.g1 != nil && set.g1.pairs != nil; !twoBytes && key != "IR6" && key != "IR14" {
				terms = append(terms, "ISO_IR "+number)
			}
			if key != "IR14" {
				extensions = append(extensions, "ISO 2022 IR "+number)
			}
		}
	}
	return terms, extensions, append(fallbacks, FallbackCyrillic)
}
