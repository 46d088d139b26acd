package fhir

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DeliveryError is why a report did not arrive. Every error of Client.Deliver is
// one, but for the context's own.
type DeliveryError struct {
	// Permanent: sending the same again fails again; a person has to look. All
	// else is worth another try.
	Permanent bool
	// Status is the platform's HTTP status, 0 where it didn't answer or wasn't asked.
	Status int
	// Message is for the person who looks: the platform's OperationOutcome in its
	// own words, or ours.
	Message string
	// RetryAfter is how long to wait at least; 0 leaves it to the caller's backoff.
	RetryAfter time.Duration
	// Err is the cause, for the log.
	Err error

	// doubtful: a write that may have been carried out all the same.
	doubtful bool
}

func (e *DeliveryError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("the platform answered %d: %s", e.Status, e.Message)
	}
	return e.Message
}

func (e *DeliveryError) Unwrap() error { return e.Err }

func permanent(format string, args ...any) *DeliveryError {
	return &DeliveryError{Permanent: true, Message: fmt.Sprintf(format, args...)}
}

func temporary(err error, format string, args ...any) *DeliveryError {
	return &DeliveryError{Message: fmt.Sprintf(format, args...), Err: err}
}

// Waits where the platform names none.
const (
	// A refused account is put right by a person, for all reports at once: no
	// report is at fault, so they wait rather than fail.
	waitForAccount = 5 * time.Minute
	// After an answer that never came, the request may still be at work over
	// there. Looking again before it is done would find nothing.
	waitForUnknown = 30 * time.Second
	maxRetryAfter  = time.Hour
)

// refusal makes a DeliveryError of an HTTP answer that is not a success.
func refusal(status int, header http.Header, body []byte) *DeliveryError {
	e := &DeliveryError{Status: status, Message: outcomeText(body)}
	if e.Message == "" {
		e.Message = http.StatusText(status)
	}
	e.RetryAfter = retryAfter(header.Get("Retry-After"), time.Now())
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.RetryAfter = max(e.RetryAfter, waitForAccount)
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusPreconditionFailed,
		http.StatusTooEarly, http.StatusTooManyRequests, http.StatusLocked:
	default:
		// A redirect that was not followed is a matter of the address, not of the report.
		e.Permanent = status >= 400 && status < 500
	}
	return e
}

// retryAfter reads the header (RFC 9110, 10.2.3): seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return min(max(0, time.Duration(seconds)*time.Second), maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter)
	}
	return 0
}

// outcomeText reads an OperationOutcome as one line for people, "" if body is none.
func outcomeText(body []byte) string {
	var outcome struct {
		ResourceType string `json:"resourceType"`
		Issue        []struct {
			Severity, Code, Diagnostics string
			Details                     struct {
				Text   string   `json:"text"`
				Coding []coding `json:"coding"`
			}
			Expression []string
		} `json:"issue"`
	}
	if json.Unmarshal(body, &outcome) != nil || outcome.ResourceType != "OperationOutcome" {
		return ""
	}
	var said []string
	for _, issue := range outcome.Issue {
		if issue.Severity == "information" || issue.Severity == "success" {
			continue
		}
		text := issue.Details.Text
		if text == "" {
			text = issue.Diagnostics
		}
		if text == "" && len(issue.Details.Coding) > 0 {
			text = issue.Details.Coding[0].Display
		}
		if text == "" {
			text = issue.Code
		}
		if len(issue.Expression) > 0 {
			text += " (" + strings.Join(issue.Expression, ", ") + ")"
		}
		said = append(said, text)
	}
	return clip(oneLine(strings.Join(said, "; ")), 1000)
}

// clip shortens text to n runes.
func clip(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
