// Package contracttest checks answers of the client API against its contract,
// openapi.yaml: statuses, media types, and JSON in both directions. What the
// contract promises must be there, and what it doesn't name must not.
package contracttest

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Contract is an OpenAPI document.
type Contract map[string]any

// Parse reads the document; one that can't be read is a defect of the build.
func Parse(text []byte) Contract {
	var doc map[string]any // not Contract: the parts within would get that type too
	if err := yaml.Unmarshal(text, &doc); err != nil {
		panic(err)
	}
	return doc
}

// at follows names, and $refs, into a part of the document.
func (c Contract) at(value any, names ...string) any {
	for _, name := range names {
		m, _ := c.resolve(value).(map[string]any)
		value = m[name]
	}
	return c.resolve(value)
}

// resolve follows a $ref.
func (c Contract) resolve(value any) any {
	if m, ok := value.(map[string]any); ok {
		if ref, ok := m["$ref"].(string); ok {
			return c.at(map[string]any(c), strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return value
}

func (c Contract) paths() map[string]any {
	paths, _ := c["paths"].(map[string]any)
	return paths
}

// operation finds the operation for a request, the path with the fewest
// parameters first.
func (c Contract) operation(method, path string) any {
	var found any
	fewest := 99
	for template, item := range c.paths() {
		pattern := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		if n := strings.Count(template, "{"); n < fewest && regexp.MustCompile("^"+pattern+"$").MatchString(path) {
			fewest, found = n, c.at(item, strings.ToLower(method))
		}
	}
	return found
}

// Names reports whether the contract has an operation for a request.
func (c Contract) Names(method, path string) bool { return c.operation(method, path) != nil }

// Operations lists the contract's operations as "METHOD /path/{parameter}",
// sorted: those whose path matches ours.
func (c Contract) Operations(ours *regexp.Regexp) []string {
	var list []string
	for template, item := range c.paths() {
		operations, _ := item.(map[string]any)
		for method := range operations {
			if method != "parameters" && ours.MatchString(template) {
				list = append(list, strings.ToUpper(method)+" "+template)
			}
		}
	}
	slices.Sort(list)
	return list
}

// CheckAnswer reports what is wrong with an answer to a request. An error must
// come as problem details.
func (c Contract) CheckAnswer(t testing.TB, method, path string, status int, header http.Header, body []byte) {
	t.Helper()
	request := method + " " + path
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if status >= 400 {
		if media != "application/problem+json" {
			t.Errorf("%s: %d comes as %q", request, status, media)
			return
		}
		c.checkBody(t, request, c.at(map[string]any(c), "components", "schemas", "Problem"), body)
		return
	}
	response := c.at(c.operation(method, path), "responses", fmt.Sprint(status))
	if response == nil {
		t.Errorf("%s: the contract has no answer %d", request, status)
		return
	}
	switch content := c.at(response, "content"); {
	case media == "application/json" && content != nil:
		c.checkBody(t, request, c.at(content, media, "schema"), body)
	case content != nil && c.at(content, media) == nil:
		t.Errorf("%s: the contract has no answer of type %q", request, media)
	}
}

func (c Contract) checkBody(t testing.TB, request string, schema any, body []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Errorf("%s: not JSON: %v", request, err)
		return
	}
	for _, fault := range c.faults(schema, value, "answer") {
		t.Errorf("%s: %s in %.300s", request, fault, body)
	}
}

// merged is a schema with those it is composed of.
func (c Contract) merged(schema any) map[string]any {
	s, _ := c.resolve(schema).(map[string]any)
	all, ok := s["allOf"].([]any)
	if !ok {
		return s
	}
	properties, required := map[string]any{}, []any{}
	for _, part := range all {
		part := c.merged(part)
		if members, ok := part["properties"].(map[string]any); ok {
			for name, property := range members {
				properties[name] = property
			}
		}
		names, _ := part["required"].([]any)
		required = append(required, names...)
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// faults knows as much of JSON Schema as openapi.yaml uses. Members that the
// contract does not name are faults too.
func (c Contract) faults(schema, value any, path string) (list []string) {
	s := c.merged(schema)
	fault := func(format string, args ...any) { list = append(list, path+" "+fmt.Sprintf(format, args...)) }
	kind := ""
	switch v := value.(type) {
	case map[string]any:
		kind = "object"
		names, _ := s["required"].([]any)
		for _, name := range names {
			if _, ok := v[name.(string)]; !ok {
				fault("lacks %s", name)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for name, member := range v {
			if property, ok := properties[name]; ok {
				list = append(list, c.faults(property, member, path+"."+name)...)
			} else if properties != nil {
				list = append(list, path+"."+name+" is not in the contract")
			}
		}
	case []any:
		kind = "array"
		for i, item := range v {
			list = append(list, c.faults(s["items"], item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case string:
		kind = "string"
		if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v) {
			fault("%q does not match %s", v, pattern)
		}
		if members, ok := s["enum"].([]any); ok && !slices.Contains(members, any(v)) {
			fault("%q is not one of %v", v, members)
		}
		if _, err := time.Parse(time.RFC3339Nano, v); s["format"] == "date-time" && err != nil {
			fault("%q is no time", v)
		}
	case float64:
		if kind = "number"; v == float64(int64(v)) {
			kind = "integer"
		}
	case bool:
		kind = "boolean"
	case nil:
		kind = "null"
	}
	if want, ok := s["type"].(string); ok && want != kind && !(want == "number" && kind == "integer") {
		fault("is %s, not %s", kind, want)
	}
	return list
}

// Template is a gin route as the contract writes it.
func Template(route string) string {
	return regexp.MustCompile(`:(\w+)`).ReplaceAllString(route, "{$1}")
}
