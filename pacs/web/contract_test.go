package web

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// contract is openapi.yaml.
var contract = func() (doc map[string]any) {
	if err := yaml.Unmarshal(openAPI, &doc); err != nil {
		panic(err)
	}
	return doc
}()

// at follows names into a document.
func at(value any, names ...string) any {
	for _, name := range names {
		m, _ := resolve(value).(map[string]any)
		value = m[name]
	}
	return resolve(value)
}

// resolve follows a $ref.
func resolve(value any) any {
	if m, ok := value.(map[string]any); ok {
		if ref, ok := m["$ref"].(string); ok {
			return at(contract, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return value
}

// operationOf finds the contract's operation for a request.
func operationOf(method, path string) any {
	best, found := -1, any(nil)
	for template, item := range contract["paths"].(map[string]any) {
		pattern := regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		if regexp.MustCompile("^" + pattern + "$").MatchString(path) {
			if fixed := -strings.Count(template, "{"); found == nil || fixed > best {
				best, found = fixed, at(item, strings.ToLower(method))
			}
		}
	}
	return found
}

// checkContract checks an answer against openapi.yaml: problems always, other
// answers of operations that it lists.
func checkContract(t *testing.T, method, path string, response *http.Response, body []byte) {
	t.Helper()
	media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode >= 400 {
		if media == "application/problem+json" {
			checkSchema(t, method+" "+path, at(contract, "components", "schemas", "Problem"), body)
		}
		return
	}
	operation := operationOf(method, path)
	if operation == nil {
		return
	}
	answer := at(operation, "responses", fmt.Sprint(response.StatusCode))
	if answer == nil {
		t.Errorf("%s %s: the contract has no answer %d", method, path, response.StatusCode)
		return
	}
	if schema := at(answer, "content", media, "schema"); schema != nil && media == "application/json" {
		checkSchema(t, method+" "+path, schema, body)
	} else if at(answer, "content") != nil && at(answer, "content", media) == nil && len(body) > 0 {
		t.Errorf("%s %s: the contract has no answer of type %s", method, path, media)
	}
}

func checkSchema(t *testing.T, where string, schema any, body []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Errorf("%s: not JSON: %v", where, err)
		return
	}
	for _, fault := range faults(schema, value, "") {
		t.Errorf("%s: against the contract: %s in %.300s", where, fault, body)
	}
}

// faults knows as much of JSON Schema as openapi.yaml uses.
func faults(schema, value any, path string) (list []string) {
	s, _ := resolve(schema).(map[string]any)
	for _, part := range asList(s["allOf"]) {
		list = append(list, faults(part, value, path)...)
	}
	kind := map[string]bool{"object": false, "array": false, "string": false, "integer": false, "number": false, "boolean": false}
	switch v := value.(type) {
	case map[string]any:
		kind["object"] = true
		for _, name := range asList(s["required"]) {
			if _, ok := v[name.(string)]; !ok {
				list = append(list, path+"."+name.(string)+" is missing")
			}
		}
		for name, member := range v {
			if property := at(s, "properties", name); property != nil {
				list = append(list, faults(property, member, path+"."+name)...)
			}
		}
	case []any:
		kind["array"] = true
		for i, item := range v {
			list = append(list, faults(s["items"], item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case string:
		kind["string"] = true
		if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v) {
			list = append(list, fmt.Sprintf("%s: %q does not match %s", path, v, pattern))
		}
		if members := asList(s["enum"]); members != nil && !slices.Contains(members, any(v)) {
			list = append(list, fmt.Sprintf("%s: %q is not one of %v", path, v, members))
		}
	case float64:
		kind["number"], kind["integer"] = true, v == float64(int64(v))
	case bool:
		kind["boolean"] = true
	}
	if want, ok := s["type"].(string); ok && !kind[want] {
		list = append(list, fmt.Sprintf("%s is no %s", path, want))
	}
	return list
}

func asList(value any) []any {
	list, _ := value.([]any)
	return list
}

// Each route of this package is in the contract, and the contract's
// administration of people and devices is all there.
func TestRoutesAreInTheContract(t *testing.T) {
	s := open(t, nil)
	have := map[string]bool{}
	for _, route := range s.server.engine.Routes() {
		have[route.Method+" "+route.Path] = true
		if !strings.HasPrefix(route.Path, "/api/") || route.Path == "/api/probe" {
			continue
		}
		template := regexp.MustCompile(`:(\w+)`).ReplaceAllString(route.Path, "{$1}")
		if at(contract, "paths", template, strings.ToLower(route.Method)) == nil {
			t.Errorf("%s %s is not in openapi.yaml", route.Method, template)
		}
	}
	for template, item := range contract["paths"].(map[string]any) {
		for _, prefix := range []string{"/api/session", "/api/admin/status", "/api/admin/facilities", "/api/admin/devices", "/api/admin/users", "/api/events", "/api/openapi.yaml"} {
			if !strings.HasPrefix(template, prefix) {
				continue
			}
			for method := range item.(map[string]any) {
				path := regexp.MustCompile(`\{(\w+)\}`).ReplaceAllString(template, ":$1")
				if method != "parameters" && !have[strings.ToUpper(method)+" "+path] {
					t.Errorf("openapi.yaml promises %s %s", strings.ToUpper(method), template)
				}
			}
		}
	}
}

// Nobody gets past the door unknown, at whatever route, whoever registered it.
func TestEveryRouteIsGuarded(t *testing.T) {
	s := open(t, nil)
	open := []string{"POST /api/session", "GET /api/openapi.yaml", "GET /healthz", "GET /readyz", "GET /metrics"}
	stranger := &browser{site: s}
	for _, route := range s.server.engine.Routes() {
		if slices.Contains(open, route.Method+" "+route.Path) {
			continue
		}
		path := regexp.MustCompile(`:\w+`).ReplaceAllString(route.Path, "1")
		stranger.do(route.Method, path, nil).problem(401, "unauthenticated", "")
		stranger.do(route.Method, path, nil, bearer("tasvir_guessed")).problem(401, "unauthenticated", "")
		stranger.do(route.Method, path, nil, header("Cookie", sessionCookie+"=guessed")).problem(401, "unauthenticated", "")
		stranger.do(route.Method, path, nil, header("Authorization", "Basic YWRtaW46YWRtaW4=")).problem(401, "unauthenticated", "")
	}
}
