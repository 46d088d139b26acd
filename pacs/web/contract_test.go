package web

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/web/contracttest"
)

// contract is openapi.yaml.
var contract = contracttest.Parse(openAPI)

// Each route of this package is in the contract, and the contract's
// administration of people and devices is all there.
func TestRoutesAreInTheContract(t *testing.T) {
	s := open(t, nil)
	have := map[string]bool{}
	inContract := contract.Operations(regexp.MustCompile(`^/api/`))
	for _, route := range s.server.engine.Routes() {
		operation := route.Method + " " + contracttest.Template(route.Path)
		have[operation] = true
		if strings.HasPrefix(route.Path, "/api/") && route.Path != "/api/probe" && !slices.Contains(inContract, operation) {
			t.Errorf("%s is not in openapi.yaml", operation)
		}
	}
	for _, operation := range contract.Operations(regexp.MustCompile(`^/api/(session|admin/(status|facilities|devices|users)|events|openapi\.yaml)`)) {
		if !have[operation] {
			t.Errorf("openapi.yaml promises %s", operation)
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
