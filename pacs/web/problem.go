package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// statuses is the one table from error codes to HTTP.
var statuses = map[pacs.Code]struct {
	status int
	title  string
}{
	pacs.Invalid:         {http.StatusBadRequest, "The request can't be accepted"},
	pacs.Unauthenticated: {http.StatusUnauthorized, "Not signed in"},
	pacs.Forbidden:       {http.StatusForbidden, "Not allowed"},
	pacs.NotFound:        {http.StatusNotFound, "Not found"},
	pacs.Conflict:        {http.StatusConflict, "Not possible in this state"},
	pacs.TooLarge:        {http.StatusRequestEntityTooLarge, "Too large"},
	pacs.Unsupported:     {http.StatusUnsupportedMediaType, "Not supported"},
	pacs.NotAcceptable:   {http.StatusNotAcceptable, "Nothing acceptable"},
	pacs.OutOfResources:  {http.StatusInsufficientStorage, "Out of space"},
	pacs.Unavailable:     {http.StatusServiceUnavailable, "Not available at the moment"},
	pacs.Internal:        {http.StatusInternalServerError, "Internal error"},
}

// StatusOf returns the HTTP status of an error. Reasons refine the table in
// some cases: an Invalid request with a reason could be read, but its content
// is refused (422); too many attempts or requests are 429; pixel data that a retention
// policy has deleted are 410.
func StatusOf(err error) int {
	code := pacs.CodeOf(err)
	reason, _ := pacs.ReasonOf(err)
	switch {
	case reason == "too_many_attempts", reason == reasonRateLimit:
		return http.StatusTooManyRequests
	case code == pacs.Invalid && reason != "":
		return http.StatusUnprocessableEntity
	case reason == "pixels_deleted":
		return http.StatusGone
	}
	if known, ok := statuses[code]; ok {
		return known.status
	}
	return http.StatusInternalServerError
}

// problem is RFC 9457's problem details, as openapi.yaml specifies them.
type problem struct {
	Type      string    `json:"type"`
	Title     string    `json:"title"`
	Status    int       `json:"status"`
	Detail    string    `json:"detail,omitempty"`
	Code      pacs.Code `json:"code"`
	Reason    string    `json:"reason,omitempty"`
	Who       string    `json:"who,omitempty"`
	RequestID string    `json:"request_id,omitempty"` // finds the details of an internal error in the log
}

// Problem answers with err as problem details and ends the request's chain. An
// answer that has begun can't become an error any more: its connection is cut,
// so that the client does not take it for complete.
func Problem(c *gin.Context, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) && pacs.CodeOf(err) != pacs.TooLarge {
		err = pacs.Wrap(pacs.TooLarge, err, "The request has more than the "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes that are taken")
	}
	respond(c, StatusOf(err), err)
}

func respond(c *gin.Context, status int, err error) {
	_ = c.Error(err) // for the request log
	c.Abort()
	if c.Writer.Written() {
		if errors.Is(c.Request.Context().Err(), context.Canceled) {
			return // nobody listens
		}
		panic(http.ErrAbortHandler)
	}
	code := pacs.CodeOf(err)
	p := problem{Type: "about:blank", Title: statuses[code].title, Status: status, Detail: pacs.MessageOf(err), Code: code}
	p.Reason, p.Who = pacs.ReasonOf(err)
	if status == http.StatusGone {
		p.Title = "Deleted"
	}
	header := c.Writer.Header()
	var later interface{ RetryAfter() time.Duration }
	switch {
	case errors.As(err, &later):
		header.Set("Retry-After", strconv.Itoa(int((later.RetryAfter()+time.Second-1)/time.Second)))
	case code == pacs.Unavailable:
		header.Set("Retry-After", "5")
	case code == pacs.Internal:
		p.RequestID = header.Get(requestIDHeader)
	}
	if status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="Tasvir"`)
	}
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Disposition", "Etag", "Last-Modified"} {
		header.Del(name) // set for an answer that isn't coming
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/problem+json")
	body, _ := json.Marshal(p) // strings and a number
	c.Writer.WriteHeader(status)
	_, _ = c.Writer.Write(body)
}

// Handle makes a gin handler of one that returns an error.
func Handle(handler func(c *gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := handler(c); err != nil {
			Problem(c, err)
		}
	}
}
