package dicomweb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// Workitems keeps unified procedure steps: the DIMSE service and UPS-RS are two
// doors of it (PS3.4 CC.1). c says who calls. A status is that of the DIMSE
// operation; an error is one of the archive, NotFound where the item is outside
// of what the caller sees.
type Workitems interface {
	// Create makes an item; uid may be "". It returns the UID that it has.
	Create(c *gin.Context, uid string, ds *dicom.Dataset) (string, dimse.Status, error)
	Get(c *gin.Context, uid string) (*dicom.Dataset, error)
	// Find calls each with every item that the keys match; an error of each ends
	// it. Invalid when the keys can't be understood.
	Find(c *gin.Context, keys *dicom.Dataset, each func(*dicom.Dataset) error) error
	// Update sets attributes; transaction is "" for an item that nobody has begun.
	Update(c *gin.Context, uid, transaction string, ds *dicom.Dataset) (dimse.Status, error)
	ChangeState(c *gin.Context, uid, state, transaction string) (dimse.Status, error)
	// RequestCancel says why in ds; ae is the requester's, "" for the caller.
	RequestCancel(c *gin.Context, uid, ae string, ds *dicom.Dataset) (dimse.Status, error)
	// Subscribe, Unsubscribe and Suspend are of an AE title that is told over the
	// caller's WebSocket. keys are those of a filtered global subscription.
	Subscribe(c *gin.Context, ae, uid string, lock bool, keys *dicom.Dataset) (dimse.Status, error)
	Unsubscribe(c *gin.Context, ae, uid string) (dimse.Status, error)
	Suspend(c *gin.Context, ae, uid string) (dimse.Status, error)
	// Listen hands the caller's events to send, in order, until ctx ends, send
	// fails, the caller may no longer hear them, or another channel of the AE
	// title is opened. What send has taken without error is forgotten.
	Listen(ctx context.Context, c *gin.Context, ae string, send func(WorkitemEvent) error) error
}

// WorkitemEvent is an event of PS3.4 Table CC.2.4-1.
type WorkitemEvent struct {
	ID          int64
	UID         string // of the item
	Type        int
	Information *dicom.Dataset
}

// maxWorkitem is the longest body of a request about an item.
const maxWorkitem = 2 << 20

// workitemRoutes mounts UPS-RS, PS3.18 section 11.
func (s *service) workitemRoutes(route func(method, path string, h handler)) {
	const item = "/workitems/:workitem"
	route(http.MethodPost, "/workitems", s.createWorkitem)
	route(http.MethodGet, "/workitems", s.searchWorkitems)
	route(http.MethodGet, item, s.retrieveWorkitem)
	route(http.MethodPost, item, s.updateWorkitem)
	for _, requester := range []string{"", "/:requester"} { // a later edition names who asks
		route(http.MethodPut, item+"/state"+requester, s.changeWorkitem)
		route(http.MethodPost, item+"/cancelrequest"+requester, s.cancelWorkitem)
	}
	route(http.MethodPost, item+"/subscribers/:aet", s.subscribe)
	route(http.MethodDelete, item+"/subscribers/:aet", s.unsubscribe)
	route(http.MethodPost, item+"/subscribers/:aet/suspend", s.suspend)
	route(http.MethodGet, "/subscribers/:aet", s.notifications)
}

func init() {
	takes := []string{mediaDICOMJSON, mediaJSON, mediaDICOMXML}
	sends := []string{mediaDICOMJSON, mediaJSON, mediaDICOMXML}
	const item = " /workitems/:workitem"
	for route, t := range map[string]transaction{
		"POST /workitems":                           {name: "CreateWorkitem", section: "11.4", takes: takes},
		"GET /workitems":                            {name: "SearchForWorkitems", section: "11.9", sends: sendsModels},
		"GET" + item:                                {name: "RetrieveWorkitem", section: "11.5", sends: sends},
		"POST" + item:                               {name: "UpdateWorkitem", section: "11.6", takes: takes},
		"PUT" + item + "/state":                     {name: "ChangeWorkitemState", section: "11.7", takes: takes},
		"POST" + item + "/cancelrequest":            {name: "RequestWorkitemCancellation", section: "11.8", takes: takes},
		"POST" + item + "/subscribers/:aet":         {name: "SubscribeToWorkitem", section: "11.10"},
		"DELETE" + item + "/subscribers/:aet":       {name: "UnsubscribeFromWorkitem", section: "11.11"},
		"POST" + item + "/subscribers/:aet/suspend": {name: "SuspendGlobalSubscription", section: "11.12"},
		"GET /subscribers/:aet":                     {name: "OpenNotificationChannel", section: "11.13"},
	} {
		transactions[route] = t
		if strings.HasSuffix(route, "/state") || strings.HasSuffix(route, "/cancelrequest") {
			transactions[route+"/:requester"] = t
		}
	}
}

func (r *request) workitem() (string, error) {
	uid := r.Param("workitem")
	if !uidPattern.MatchString(uid) {
		return "", pacs.Errorf(pacs.Invalid, "The UID of the work item in the address is not a UID.")
	}
	return uid, nil
}

// workitemBody reads the data set of a request, in JSON or XML. A request without
// one has an empty one.
func workitemBody(r *request) (*dicom.Dataset, error) {
	raw, err := io.ReadAll(io.LimitReader(r.Request.Body, maxWorkitem+1))
	switch {
	case err != nil:
		return nil, pacs.Wrap(pacs.Invalid, err, "The body of the request breaks off.")
	case len(raw) > maxWorkitem:
		return nil, pacs.Errorf(pacs.TooLarge, "The body has more than %d bytes.", maxWorkitem)
	case len(bytes.TrimSpace(raw)) == 0:
		return new(dicom.Dataset).UTF8(), nil
	}
	opt := dicom.ParseOptions{MaxBytes: maxWorkitem, MaxDepth: 16, MaxElements: maxWorkitem / 16}
	var parsed dicom.Parsed
	media, _, _ := strings.Cut(r.GetHeader("Content-Type"), ";")
	switch media = strings.ToLower(strings.TrimSpace(media)); {
	case strings.HasSuffix(media, "xml"):
		parsed, err = dicom.ParseXML(bytes.NewReader(raw), opt)
	case media == "" || strings.HasSuffix(media, "json"):
		parsed, err = dicom.ParseJSON(raw, opt)
	default:
		return nil, pacs.Errorf(pacs.Unsupported, "Send the work item as %s or %s, not as %q.", mediaDICOMJSON, mediaDICOMXML, media)
	}
	if err != nil {
		return nil, pacs.Errorf(pacs.Invalid, "The work item can't be read: %v.", err)
	}
	if len(parsed.URIs) > 0 {
		return nil, pacs.Errorf(pacs.Invalid, "A work item has no bulk data.")
	}
	return parsed.Dataset, nil
}

// uidOfQuery is a UID that is given as ?name=UID or, as the standard's template
// has it, as ?UID.
func uidOfQuery(r *request, names ...string) string {
	for _, name := range names {
		if v := r.Query(name); v != "" {
			return v
		}
	}
	if raw := r.Request.URL.RawQuery; uidPattern.MatchString(raw) {
		return raw
	}
	return ""
}

// Statuses of the DIMSE service (PS3.4 Annex CC) that are not 409 Conflict.
var workitemStatuses = map[dimse.Code]int{
	dimse.InvalidAttributeValue: http.StatusBadRequest, dimse.MissingAttribute: http.StatusBadRequest, dimse.MissingAttributeValue: http.StatusBadRequest,
	dimse.InvalidInstance: http.StatusBadRequest, dimse.MistypedArgument: http.StatusBadRequest, dimse.ResourceLimitation: http.StatusRequestEntityTooLarge,
	dimse.NotAuthorized: http.StatusForbidden, dimse.NoSuchInstance: http.StatusNotFound,
	0xC303: http.StatusBadRequest, 0xC307: http.StatusNotFound, 0xC308: http.StatusNotFound, 0xC309: http.StatusBadRequest, 0xC314: http.StatusBadRequest,
}

// answerWorkitem answers with what became of an operation: code when it was done.
// Warnings and failures are told in a Warning header, in the words of PS3.18.
func (s *service) answerWorkitem(r *request, code int, status dimse.Status, err error) error {
	if err != nil {
		return err
	}
	if status.Code != dimse.Success {
		comment := strings.Map(func(c rune) rune {
			if c < ' ' || c > '~' || c == '"' || c == '\\' {
				return ' '
			}
			return c
		}, status.Comment)
		r.Header("Warning", `299 `+strings.TrimPrefix(strings.TrimPrefix(s.serviceURL(r.Request), "https://"), "http://")+`: "`+comment+`"`)
	}
	if status.OK() {
		r.Status(code)
		r.Writer.WriteHeaderNow()
		return nil
	}
	kind := map[int]pacs.Code{
		http.StatusBadRequest: pacs.Invalid, http.StatusForbidden: pacs.Forbidden, http.StatusNotFound: pacs.NotFound, http.StatusRequestEntityTooLarge: pacs.TooLarge,
	}[workitemStatuses[status.Code]]
	if kind == "" {
		kind = pacs.Conflict
	}
	text := status.Comment
	if text == "" {
		text = status.Code.String()
	}
	problem := pacs.Errorf(kind, "%s (%04X)", text, uint16(status.Code))
	return problem
}

// createWorkitem is PS3.18 11.4.
func (s *service) createWorkitem(r *request) error {
	ds, err := workitemBody(r)
	if err != nil {
		return err
	}
	uid := uidOfQuery(r, "workitem", "AffectedSOPInstanceUID")
	if uid == "" {
		uid = ds.String(dicom.TagSOPInstanceUID)
	}
	made, status, err := s.Workitems.Create(r.Context, uid, ds)
	if err == nil && status.OK() {
		address := s.serviceURL(r.Request) + "/workitems/" + made
		r.Header("Location", address)
		r.Header("Content-Location", address)
	}
	return s.answerWorkitem(r, http.StatusCreated, status, err)
}

// retrieveWorkitem is PS3.18 11.5.
func (s *service) retrieveWorkitem(r *request) error {
	uid, err := r.workitem()
	if err != nil {
		return err
	}
	form, err := negotiate(r.Request, workitemForms)
	if err != nil {
		return err
	}
	ds, err := s.Workitems.Get(r.Context, uid)
	if err != nil {
		return err
	}
	r.Header("Cache-Control", "no-cache")
	writeWorkitems(r, form, []*dicom.Dataset{ds})
	return nil
}

// workitemForms are the forms in which items are sent.
var workitemForms = []offer{{media: mediaDICOMJSON}, {media: mediaJSON}, {media: mediaDICOMXML}, {multipart: true, media: mediaDICOMXML}}

// writeWorkitems sends items: a JSON array, an XML document, or for several of
// them the parts of a multipart body.
func writeWorkitems(r *request, form offer, list []*dicom.Dataset) {
	if form.media != mediaDICOMXML {
		body := []byte("[")
		for i, ds := range list {
			if i > 0 {
				body = append(body, ',')
			}
			body = dicom.AppendJSON(body, ds, dicom.JSONOptions{})
		}
		r.Data(http.StatusOK, form.media, append(body, ']'))
		return
	}
	if !form.multipart && len(list) == 1 {
		r.Data(http.StatusOK, mediaDICOMXML, dicom.AppendXML(nil, list[0], dicom.XMLOptions{}))
		return
	}
	boundary := dicom.NewUID()
	var body []byte
	for _, ds := range list {
		body = append(body, "--"+boundary+"\r\nContent-Type: "+mediaDICOMXML+"\r\n\r\n"...)
		body = dicom.AppendXML(body, ds, dicom.XMLOptions{})
		body = append(body, "\r\n"...)
	}
	body = append(body, "--"+boundary+"--\r\n"...)
	r.Data(http.StatusOK, `multipart/related; type="`+mediaDICOMXML+`"; boundary=`+boundary, body)
}

// changedWorkitem is the item that a request is about, and what it says of it.
func (r *request) changedWorkitem() (uid string, ds *dicom.Dataset, err error) {
	if uid, err = r.workitem(); err != nil {
		return "", nil, err
	}
	ds, err = workitemBody(r)
	return uid, ds, err
}

// updateWorkitem is PS3.18 11.6.
func (s *service) updateWorkitem(r *request) error {
	uid, ds, err := r.changedWorkitem()
	if err != nil {
		return err
	}
	transaction := uidOfQuery(r, "transaction-uid", "TransactionUID")
	if transaction == "" {
		transaction = ds.String(dicom.TagTransactionUID)
	}
	status, err := s.Workitems.Update(r.Context, uid, transaction, ds)
	return s.answerWorkitem(r, http.StatusOK, status, err)
}

// changeWorkitem is PS3.18 11.7.
func (s *service) changeWorkitem(r *request) error {
	uid, ds, err := r.changedWorkitem()
	if err != nil {
		return err
	}
	state, transaction := ds.String(dicom.TagProcedureStepState), ds.String(dicom.TagTransactionUID)
	if state == "" || transaction == "" {
		return pacs.Errorf(pacs.Invalid, "The body has the Procedure Step State (0074,1000) and the Transaction UID (0008,1195).")
	}
	status, err := s.Workitems.ChangeState(r.Context, uid, state, transaction)
	return s.answerWorkitem(r, http.StatusOK, status, err)
}

// cancelWorkitem is PS3.18 11.8.
func (s *service) cancelWorkitem(r *request) error {
	uid, ds, err := r.changedWorkitem()
	if err != nil {
		return err
	}
	requester := r.Param("requester")
	if requester == "" {
		requester = r.Query("requester")
	}
	status, err := s.Workitems.RequestCancel(r.Context, uid, requester, ds)
	return s.answerWorkitem(r, http.StatusAccepted, status, err)
}

// subscribe is PS3.18 11.10. The answer says where events are heard.
func (s *service) subscribe(r *request) error {
	uid, err := r.workitem()
	if err != nil {
		return err
	}
	lock := false
	if v := r.Query("deletionlock"); v != "" {
		if lock, err = strconv.ParseBool(strings.ToLower(v)); err != nil {
			return pacs.Errorf(pacs.Invalid, "deletionlock is true or false.")
		}
	}
	keys := new(dicom.Dataset).UTF8()
	for _, filter := range r.QueryArray("filter") {
		for pair := range strings.SplitSeq(filter, ",") {
			name, value, ok := strings.Cut(pair, "=")
			if !ok {
				return pacs.Errorf(pacs.Invalid, "filter is a list of ATTRIBUTE=VALUE.")
			}
			if err := addKey(keys, name, value); err != nil {
				return err
			}
		}
	}
	status, err := s.Workitems.Subscribe(r.Context, r.Param("aet"), uid, lock, keys)
	if err == nil && status.OK() {
		r.Header("Content-Location", "ws"+strings.TrimPrefix(s.serviceURL(r.Request), "http")+"/subscribers/"+r.Param("aet"))
	}
	return s.answerWorkitem(r, http.StatusCreated, status, err)
}

// unsubscribe is PS3.18 11.11.
func (s *service) unsubscribe(r *request) error {
	uid, err := r.workitem()
	if err != nil {
		return err
	}
	status, err := s.Workitems.Unsubscribe(r.Context, r.Param("aet"), uid)
	return s.answerWorkitem(r, http.StatusOK, status, err)
}

// suspend is PS3.18 11.12.
func (s *service) suspend(r *request) error {
	uid, err := r.workitem()
	if err != nil {
		return err
	}
	status, err := s.Workitems.Suspend(r.Context, r.Param("aet"), uid)
	return s.answerWorkitem(r, http.StatusOK, status, err)
}

// maxWorkitems is how many items one answer holds at most.
const maxWorkitems = 1000

var errEnough = errors.New("enough")

// searchWorkitems is PS3.18 11.9.
func (s *service) searchWorkitems(r *request) error {
	form, err := negotiate(r.Request, []offer{{media: mediaDICOMJSON}, {media: mediaJSON}, {multipart: true, media: mediaDICOMXML}, {media: mediaDICOMXML}})
	if err != nil {
		return err
	}
	q, err := parseWorkitemQuery(r.Request.URL.Query())
	if err != nil {
		return err
	}
	var found []*dicom.Dataset
	passed, more := 0, false
	err = s.Workitems.Find(r.Context, q.keys, func(ds *dicom.Dataset) error {
		switch {
		case passed < q.offset:
			passed++
			return nil
		case len(found) == q.limit:
			more = true
			return errEnough
		}
		found = append(found, ds)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for _, name := range q.ignored {
		r.Writer.Header().Add("Warning", `299 `+r.Request.Host+`: "The parameter `+name+` was ignored"`)
	}
	if more {
		r.Writer.Header().Add("Warning", `299 `+r.Request.Host+`: "There are additional results that can be requested"`)
	}
	r.Header("Cache-Control", "no-cache")
	form.multipart = form.media == mediaDICOMXML
	writeWorkitems(r, form, found)
	return nil
}
