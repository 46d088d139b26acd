package stow

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
)

// answer is what a node has said to a request.
type answer struct {
	// whole is set when it refused the request as a whole, for what is in it.
	whole *forward.Refusal
	// all says that it has stored everything, without a list.
	all    bool
	stored map[string]bool
	failed map[string]*forward.Refusal
}

func (a *answer) of(sop string) *forward.Refusal {
	switch {
	case a.failed[sop] != nil:
		return a.failed[sop]
	case a.all || a.stored[sop]:
		return nil
	}
	return &forward.Refusal{Text: "The node's answer does not name it among what was stored"}
}

// read understands an answer. PS3.18 10.5.3 and Table 10.5.3-1.
func read(rsp *http.Response, address string) (*answer, error) {
	down := func(format string, args ...any) (*answer, error) {
		return nil, &forward.NodeError{Down: true, Err: fmt.Errorf(format, args...)}
	}
	status := rsp.StatusCode
	switch {
	case status >= 300 && status < 400:
		return down("%s sends us elsewhere (%d), to %.200q; give that address if it is right", address, status, rsp.Header.Get("Location"))
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return down("%s does not let us store (%d): check login, password or token", address, status)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return down("%s does not take instances (%d): check the address", address, status)
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout, status == http.StatusInsufficientStorage:
		return down("%s can't store at the moment (%d)", address, status)
	}
	raw, err := readAll(rsp)
	if err != nil {
		return nil, &forward.NodeError{Err: fmt.Errorf("the answer of %s could not be read: %w", address, err)}
	}
	a := &answer{stored: map[string]bool{}, failed: map[string]*forward.Refusal{}}
	listed, err := a.parse(rsp.Header.Get("Content-Type"), raw)
	switch {
	case listed && (status == http.StatusOK || status == http.StatusAccepted || status == http.StatusConflict):
		return a, nil
	case status == http.StatusOK && len(raw) == 0:
		a.all = true
		return a, nil
	case status >= 200 && status < 300:
		if err == nil {
			err = errors.New("it names no instance")
		}
		return nil, &forward.NodeError{Err: fmt.Errorf("the answer of %s (%d) is not understood: %w", address, status, err)}
	}
	text := fmt.Sprintf("The node refused it (%d)", status)
	if said := oneLine(raw); said != "" && !strings.HasPrefix(said, "<") {
		text += ": " + said
	}
	a.whole = &forward.Refusal{Permanent: status < 500, Text: text}
	return a, nil
}

// oneLine is the beginning of a text.
func oneLine(raw []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(raw[:min(len(raw), 200)]), "")), " ")
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, text)
}

// reference is an item of the two sequences of PS3.18 Table 10.5.3.2-1.
type reference struct {
	SOP    attribute[string] `json:"00081155"` // Referenced SOP Instance UID
	Reason attribute[int]    `json:"00081197"` // Failure Reason
}

type attribute[T any] struct {
	Value []T `json:"Value"`
}

// parse reads the lists of an answer in DICOM JSON; listed is false when there are
// none.
func (a *answer) parse(contentType string, raw []byte) (listed bool, err error) {
	media, _, _ := mime.ParseMediaType(contentType)
	if media != "application/dicom+json" && media != "application/json" {
		return false, fmt.Errorf("it is %.100q", contentType)
	}
	var said struct {
		Failed attribute[reference] `json:"00081198"` // Failed SOP Sequence
		Stored attribute[reference] `json:"00081199"` // Referenced SOP Sequence
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		// Some answer with an array of one.
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || len(list) != 1 || json.Unmarshal(list[0], &said) != nil {
			return false, err
		}
	}
	for _, r := range said.Stored.Value {
		for _, uid := range r.SOP.Value {
			a.stored[uid], listed = true, true
		}
	}
	for _, r := range said.Failed.Value {
		code := dimse.ProcessingFailure
		if len(r.Reason.Value) > 0 {
			code = dimse.Code(r.Reason.Value[0])
		}
		for _, uid := range r.SOP.Value {
			a.failed[uid], listed = &forward.Refusal{Permanent: forward.Lasting(code), Text: "The node refused it: " + code.String()}, true
		}
	}
	return listed, nil
}
