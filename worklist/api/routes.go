package api

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
	"github.com/tasvir-pacs/tasvir/worklist/report"
)

// API answers the client's requests about work.
type API struct {
	Index    *index.Index
	Worklist *worklist.Worklist
	Reports  *report.Reports
	Orders   *orders.Orders
	// Platform is the address of the FHIR server that reports go to, "" when
	// none is configured.
	Platform string

	views views
}

// Register adds the routes to /api.
func (a *API) Register(r gin.IRouter) {
	r = r.Group("", readable)
	may := web.Require
	r.GET("/tasks", may(access.TaskRead), a.listTasks)
	r.POST("/tasks/next", may(access.TaskClaim), a.claimNext)
	r.GET("/tasks/:task", may(access.TaskRead), a.getTask)
	r.POST("/tasks/:task/claim", may(access.TaskClaim), a.claim)
	r.POST("/tasks/:task/release", may(access.TaskClaim), a.release)

	r.GET("/tasks/:task/report", may(access.ReportRead), a.getReport)
	r.PUT("/tasks/:task/report/draft", may(access.ReportWrite), a.saveDraft)
	r.DELETE("/tasks/:task/report/draft", may(access.ReportWrite), a.discardDraft)
	r.POST("/tasks/:task/report/sign", may(access.ReportSign), a.sign)
	r.POST("/tasks/:task/report/amend", may(access.ReportWrite), a.amend)
	r.GET("/reports/:report/versions/:version/pdf", may(access.ReportRead), a.pdf)

	r.GET("/studies", may(access.StudyRead), a.listStudies)
	r.GET("/studies/:study", may(access.StudyRead), a.getStudy)

	r.GET("/deliveries", may(access.DeliveryRead), a.listDeliveries)
	r.POST("/deliveries/:report/:version/retry", may(access.DeliveryRetry), a.retryDelivery)

	r.GET("/orders", may(access.OrderRead), a.listOrders)
	r.POST("/orders", may(access.OrderWrite), a.addOrder)
	r.GET("/orders/:order", may(access.OrderRead), a.getOrder)
	r.PUT("/orders/:order", may(access.OrderWrite), a.updateOrder)
	r.POST("/orders/:order/state", may(access.OrderWrite), a.moveOrder)
	r.GET("/order-patients", may(access.OrderWrite), a.orderPatients)
	r.GET("/order-stations", may(access.OrderRead), a.orderStations)

	r.GET("/admin/groups", may(access.AdminRules), a.listGroups)
	r.POST("/admin/groups", may(access.AdminRules), a.addGroup)
	r.PUT("/admin/groups/:id", may(access.AdminRules), a.updateGroup)
	r.GET("/admin/rules", may(access.AdminRules), a.listRules)
	r.POST("/admin/rules", may(access.AdminRules), a.addRule)
	r.PUT("/admin/rules/:id", may(access.AdminRules), a.updateRule)
	r.DELETE("/admin/rules/:id", may(access.AdminRules), a.removeRule)
}

// maxQuery is the longest query parameter in bytes. Each word of a search costs
// the database a comparison per patient.
const maxQuery = 500

// readable refuses texts that PostgreSQL can't hold and that no client of ours
// sends.
func readable(c *gin.Context) {
	texts := []string{c.Request.URL.Path}
	for _, values := range c.Request.URL.Query() {
		texts = append(texts, values...)
	}
	for _, s := range texts {
		if len(s) > maxQuery {
			web.Problem(c, pacs.Errorf(pacs.Invalid, "The address has a part of %d bytes; at most %d are taken", len(s), maxQuery))
			return
		}
		if strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
			web.Problem(c, pacs.Errorf(pacs.Invalid, "The address has characters that no text has (NUL, or bytes that are not UTF-8)"))
			return
		}
	}
}

// answer sends a value, or the problem.
func answer(c *gin.Context, status int, value any, err error) {
	switch {
	case err != nil:
		web.Problem(c, err)
	case value == nil:
		c.Status(status)
	default:
		c.JSON(status, value)
	}
}

func done(c *gin.Context, status int, err error) { answer(c, status, nil, err) }

// scope is what the caller may see.
func scope(c *gin.Context) pacs.Scope { return web.Identity(c).Scope }

func user(c *gin.Context) int64 { return web.Identity(c).UserID() }

// limit reads the page length.
func limit(c *gin.Context, otherwise int) int {
	n, err := strconv.Atoi(c.Query("limit"))
	if err != nil || n < 1 {
		return otherwise
	}
	return min(n, 200)
}

// number reads a path parameter that is a row number.
func number(c *gin.Context, name string) (int64, error) {
	n, err := strconv.ParseInt(c.Param(name), 10, 64)
	if err != nil {
		return 0, pacs.Errorf(pacs.NotFound, "There is no such %s", name)
	}
	return n, nil
}

func text(id int64) string { return strconv.FormatInt(id, 10) }

const (
	ok        = http.StatusOK
	created   = http.StatusCreated
	accepted  = http.StatusAccepted
	noContent = http.StatusNoContent
)
