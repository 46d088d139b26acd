package index

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Limits of a search by attributes without a column: each key is a path that the
// database evaluates row by row.
const (
	maxAttributeKeys  = 32 // items included
	maxAttributeDepth = 3
)

// attributes matches by the DICOM JSON (PS3.18 Annex F) in a column.
func (c *conditions) attributes(column string, keys []pacs.AttributeKey) {
	for _, k := range keys {
		count := 0
		condition, ok := attributeCondition(k, 0, &count)
		if !ok {
			c.nothing()
			return
		}
		c.add("jsonb_path_exists("+column+", %s::jsonpath)", "$ ? ("+condition+")")
	}
}

var hexTag = regexp.MustCompile(`^[0-9A-F]{8}$`)

// attributeCondition is a key as a condition of jsonpath on the data set @. ok is
// false when nothing can match it.
func attributeCondition(k pacs.AttributeKey, depth int, count *int) (condition string, ok bool) {
	if *count++; *count > maxAttributeKeys || depth > maxAttributeDepth || !hexTag.MatchString(k.Tag) {
		return "", false
	}
	values := `@."` + k.Tag + `".Value[*]`
	if k.Empty {
		return "!(exists (" + values + ` ? (@ != null)))`, true
	}
	var all []string // of one value
	for _, sub := range k.Item {
		c, ok := attributeCondition(sub, depth+1, count)
		if !ok {
			return "", false
		}
		all = append(all, c)
	}
	value := "@"
	if k.VR == "PN" {
		value = "@.Alphabetic"
	}
	if k.All && len(k.Values) > 1 {
		if *count += len(k.Values); *count > maxAttributeKeys {
			return "", false
		}
		var each []string // has a value of its own that fits
		for _, v := range k.Values {
			if !matchable(v) {
				return "", false
			}
			each = append(each, "exists ("+values+" ? ("+attributeValue(value, k.VR, v)+"))")
		}
		return strings.Join(each, " && "), true
	}
	if len(k.Values) > 0 {
		var any []string
		for _, v := range k.Values {
			if !matchable(v) {
				continue
			}
			any = append(any, attributeValue(value, k.VR, v))
		}
		if len(any) == 0 {
			return "", false
		}
		all = append(all, "("+strings.Join(any, " || ")+")")
	}
	if !matchable(k.Range.From) || !matchable(k.Range.To) {
		return "", false
	}
	if k.Range.From != "" {
		all = append(all, value+" >= "+quoted(k.Range.From))
	}
	if k.Range.To != "" {
		all = append(all, value+" <= "+quoted(k.Range.To+"~"))
	}
	if len(all) > 0 {
		values += " ? (" + strings.Join(all, " && ") + ")"
	}
	return "exists (" + values + ")", true
}

// attributeValue is the condition that a value of this VR matches the text.
func attributeValue(value, vr, text string) string {
	switch {
	case vr == "IS" || vr == "DS" || vr == "US" || vr == "UL":
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return value + " == " + strconv.FormatFloat(n, 'f', -1, 64)
		}
		return "1 == 2"
	case vr == "PN":
		return value + " like_regex " + quoted(wildcardPattern(text)) + ` flag "i"`
	case strings.ContainsAny(text, "*?"):
		return value + " like_regex " + quoted(wildcardPattern(text))
	}
	return value + " == " + quoted(text)
}

// wildcardPattern turns DICOM wild cards into a regular expression.
func wildcardPattern(text string) string {
	return "^" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(text)) + "$"
}

// quoted is a string literal of jsonpath, which is one of JSON.
func quoted(s string) string {
	b, _ := json.Marshal(s) // strings always marshal
	return string(b)
}
