package api_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/web/contracttest"
	"github.com/tasvir-pacs/tasvir/pacs/web/webtest"
	"github.com/tasvir-pacs/tasvir/worklist/api"
)

// The contract's part of this package and the routes are the same.
func TestRoutesAreThoseOfTheContract(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	(&api.API{}).Register(engine.Group("/api"))
	var have []string
	for _, route := range engine.Routes() {
		have = append(have, route.Method+" "+contracttest.Template(route.Path))
	}
	slices.Sort(have)
	promised := webtest.Contract.Operations(regexp.MustCompile(`^/api/(tasks|studies|reports|deliveries|orders|order-patients|order-stations|admin/groups|admin/rules)(/|$)`))
	if !slices.Equal(have, promised) {
		t.Errorf("there is\n%s\npromised is\n%s", strings.Join(have, "\n"), strings.Join(promised, "\n"))
	}
}
