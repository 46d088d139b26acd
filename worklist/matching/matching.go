// Package matching compares values with the keys of a worklist query, PS3.4
// C.2.2.2, where that is not the database's work.
package matching

import (
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// HasWildcard says whether a key has wild cards.
func HasWildcard(s string) bool { return strings.ContainsAny(s, "*?") }

// Text is single value and wild card matching, PS3.4 C.2.2.2.1 and
// C.2.2.2.4.
func Text(pattern, value string) bool {
	if !HasWildcard(pattern) {
		return pattern == value
	}
	return wild([]rune(pattern), []rune(value))
}

// wild matches * (any characters) and ? (any one). It looks back to the last *
// only, so that it takes no more than the product of the lengths.
func wild(pattern, text []rune) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Name matches a person's name: as written, whatever its case, or as it is
// spelled in another script. Components that a pattern leaves out at the end
// must be empty, as everywhere.
func Name(pattern, name string) bool {
	pattern, name = strings.TrimRight(pattern, "^= "), strings.TrimRight(name, "^= ")
	if strings.Trim(pattern, "*^=") == "" {
		return true
	}
	groups := append(strings.Split(name, "="), name)
	return slices.ContainsFunc(groups, func(group string) bool {
		return Text(strings.ToLower(pattern), strings.ToLower(group)) || matchFolded(pattern, group)
	})
}

// matchFolded compares by the key that makes Каримов and KARIMOV one
// (pacs.Fold). A ? may stand for what is several letters there, so it is taken
// for any.
func matchFolded(pattern, name string) bool {
	parts := strings.Split(strings.ReplaceAll(pattern, "?", "*"), "*")
	text := pacs.Fold(name)
	if len(parts) == 1 {
		return pacs.Fold(pattern) == text
	}
	for i, part := range parts {
		folded := pacs.Fold(part)
		// A component's end is a word's end; folding takes it off the edge.
		if i > 0 && strings.HasPrefix(part, "^") {
			folded = " " + folded
		}
		if i < len(parts)-1 && strings.HasSuffix(part, "^") && folded != "" {
			folded += " "
		}
		switch {
		case strings.TrimSpace(part) == "":
		case folded == "":
			return false // letters that the key has none of
		case i == 0:
			if !strings.HasPrefix(text, folded) {
				return false
			}
			text = text[len(folded):]
		case i == len(parts)-1:
			return strings.HasSuffix(text, folded)
		default:
			at := strings.Index(text, folded)
			if at < 0 {
				return false
			}
			text = text[at+len(folded):]
		}
	}
	return true
}
