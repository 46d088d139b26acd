package api_test

import (
	"encoding/json"
	"fmt"
	"mime"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"go.yaml.in/yaml/v3"

	"github.com/tasvir-pacs/tasvir/worklist/api"
)

// contract is openapi.yaml.
var contract = func() (doc map[string]any) {
	text, err := os.ReadFile("../../pacs/web/openapi.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &doc)
	}
	if err != nil {
		panic(err)
	}
	return doc
}()

// at follows names, and $refs, into a document.
func at(value any, names ...string) any {
	for _, name := range names {
		m, _ := resolve(value).(map[string]any)
		value = m[name]
	}
	return resolve(value)
}

func resolve(value any) any {
	if m, ok := value.(map[string]any); ok {
		if ref, ok := m["$ref"].(string); ok {
			return at(contract, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return value
}

// operation finds the contract's operation for a request, the path with the
// fewest parameters first.
func operation(method, path string) any {
	var found any
	fewest := 99
	for template, item := range contract["paths"].(map[string]any) {
		pattern := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		if n := strings.Count(template, "{"); n < fewest && regexp.MustCompile("^"+pattern+"$").MatchString(path) {
			fewest, found = n, at(item, strings.ToLower(method))
		}
	}
	return found
}

// checkContract checks an answer against openapi.yaml.
func (a *answer) checkContract(method, path string) {
	a.Helper()
	media, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.StatusCode >= 400 {
		if media != "application/problem+json" {
			a.Errorf("%s: %s comes as %q", a.request, a.Status, media)
			return
		}
		a.checkSchema(at(contract, "components", "schemas", "Problem"), "request_id")
		return
	}
	response := at(operation(method, path), "responses", fmt.Sprint(a.StatusCode))
	if response == nil {
		a.Errorf("%s: the contract has no answer %d", a.request, a.StatusCode)
		return
	}
	switch content := at(response, "content"); {
	case media == "application/json" && content != nil:
		a.checkSchema(at(content, media, "schema"))
	case content != nil && at(content, media) == nil:
		a.Errorf("%s: the contract has no answer of type %q", a.request, media)
	}
}

// checkSchema checks the body; extra names members that the contract leaves out.
func (a *answer) checkSchema(schema any, extra ...string) {
	a.Helper()
	var value any
	if err := json.Unmarshal(a.body, &value); err != nil {
		a.Errorf("%s: not JSON: %v", a.request, err)
		return
	}
	for _, fault := range faults(schema, value, "answer") {
		if !slices.ContainsFunc(extra, func(name string) bool { return strings.HasPrefix(fault, "answer."+name+" ") }) {
			a.Errorf("%s: %s", a.request, fault)
		}
	}
}

// merged is a schema with those it is composed of.
func merged(schema any) map[string]any {
	s, _ := resolve(schema).(map[string]any)
	all, ok := s["allOf"].([]any)
	if !ok {
		return s
	}
	properties, required := map[string]any{}, []any{}
	for _, part := range all {
		part := merged(part)
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
func faults(schema, value any, path string) (list []string) {
	s := merged(schema)
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
				list = append(list, faults(property, member, path+"."+name)...)
			} else if properties != nil {
				list = append(list, path+"."+name+" is not in the contract")
			}
		}
	case []any:
		kind = "array"
		for i, item := range v {
			list = append(list, faults(s["items"], item, fmt.Sprintf("%s[%d]", path, i))...)
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

// The contract's part of this package and the routes are the same.
func TestRoutesAreThoseOfTheContract(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	(&api.API{}).Register(engine.Group("/api"))
	var have, promised []string
	for _, route := range engine.Routes() {
		have = append(have, route.Method+" "+regexp.MustCompile(`:(\w+)`).ReplaceAllString(route.Path, "{$1}"))
	}
	ours := regexp.MustCompile(`^/api/(tasks|studies|reports|deliveries|admin/groups|admin/rules)(/|$)`)
	for template, item := range contract["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" && ours.MatchString(template) {
				promised = append(promised, strings.ToUpper(method)+" "+template)
			}
		}
	}
	slices.Sort(have)
	slices.Sort(promised)
	if !slices.Equal(have, promised) {
		t.Errorf("there is\n%s\npromised is\n%s", strings.Join(have, "\n"), strings.Join(promised, "\n"))
	}
}
