package main

import (
	"context"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/dicomweb"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist/ups"
)

// workitems is UPS-RS over the unified procedure steps.
type workitems struct {
	steps    *ups.Steps
	access   *access.Access
	facility func(ctx context.Context, code string) (row int64, err error)
	closing  <-chan struct{}
}

// workitems is what DICOMweb serves of the steps.
func (n *Node) workitems() dicomweb.Workitems {
	return &workitems{
		steps: n.procedures, access: n.Access, closing: n.doors.ctx.Done(),
		facility: func(ctx context.Context, code string) (row int64, err error) {
			err = n.Index.Pool().QueryRow(ctx, `SELECT id FROM facility WHERE code = $1`, code).Scan(&row)
			return row, err
		},
	}
}

// performer is who calls.
func performer(who *access.Identity) ups.Caller {
	return ups.Caller{Scope: who.Scope, UserID: who.UserID(), Remote: who.Remote}
}

// requester is the AE title that stands for a caller: what the request names, or
// what they are known by.
func requester(ae string, who *access.Identity) string {
	if ae = strings.TrimSpace(ae); ae != "" {
		return ae
	}
	_, name, ok := strings.Cut(who.Who(), ":")
	if !ok {
		name = who.Who()
	}
	return name[:min(len(name), 16)]
}

func (w *workitems) Create(c *gin.Context, uid string, ds *dicom.Dataset) (string, dimse.Status, error) {
	who := web.Identity(c)
	by := performer(who)
	code := who.FacilityCode
	if code == "" && who.Scope.All {
		code = pacs.Unassigned
	}
	if code != "" {
		var err error
		if by.FacilityID, err = w.facility(c.Request.Context(), code); err != nil {
			return "", dimse.Status{}, pacs.Wrap(pacs.Unavailable, err, "The facility can't be looked up")
		}
	}
	return w.steps.Create(c.Request.Context(), by, uid, ds)
}

func (w *workitems) Get(c *gin.Context, uid string) (*dicom.Dataset, error) {
	return w.steps.Get(c.Request.Context(), performer(web.Identity(c)), uid)
}

func (w *workitems) Find(c *gin.Context, keys *dicom.Dataset, each func(*dicom.Dataset) error) error {
	return w.steps.Find(c.Request.Context(), performer(web.Identity(c)), keys, each)
}

func (w *workitems) Update(c *gin.Context, uid, transaction string, ds *dicom.Dataset) (dimse.Status, error) {
	return w.steps.Update(c.Request.Context(), performer(web.Identity(c)), uid, transaction, ds)
}

func (w *workitems) ChangeState(c *gin.Context, uid, state, transaction string) (dimse.Status, error) {
	return w.steps.ChangeState(c.Request.Context(), performer(web.Identity(c)), uid, ups.State(state), transaction)
}

func (w *workitems) RequestCancel(c *gin.Context, uid, ae string, ds *dicom.Dataset) (dimse.Status, error) {
	who := web.Identity(c)
	return w.steps.RequestCancel(c.Request.Context(), performer(who), uid, requester(ae, who), ds)
}

func (w *workitems) Subscribe(c *gin.Context, ae, uid string, lock bool, keys *dicom.Dataset) (dimse.Status, error) {
	who := web.Identity(c)
	return w.steps.Subscribe(c.Request.Context(), performer(who), ups.Subscriber{AETitle: ae, Owner: who.Who()}, uid, lock, keys)
}

func (w *workitems) Unsubscribe(c *gin.Context, ae, uid string) (dimse.Status, error) {
	who := web.Identity(c)
	return w.steps.Unsubscribe(c.Request.Context(), performer(who), ups.Subscriber{AETitle: ae, Owner: who.Who()}, uid)
}

func (w *workitems) Suspend(c *gin.Context, ae, uid string) (dimse.Status, error) {
	who := web.Identity(c)
	return w.steps.Suspend(c.Request.Context(), performer(who), ups.Subscriber{AETitle: ae, Owner: who.Who()}, uid)
}

// stillEvery is how often it is looked whether who listens still may.
const stillEvery = time.Minute

// Listen ends, too, when the server stops, and when the caller's session or token
// does.
func (w *workitems) Listen(ctx context.Context, c *gin.Context, ae string, send func(dicomweb.WorkitemEvent) error) error {
	who := web.Identity(c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		ticker := time.NewTicker(stillEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.closing:
				return
			case <-ticker.C:
			}
			now, err := w.access.Renew(ctx, who)
			if pacs.CodeOf(err) == pacs.Unauthenticated || err == nil && !now.Can(access.UPSRead) {
				return
			}
		}
	}()
	return w.steps.Listen(ctx, performer(who), ups.Subscriber{AETitle: ae, Owner: who.Who()}, func(e ups.Event) error {
		return send(dicomweb.WorkitemEvent{ID: e.ID, UID: e.StepUID, Type: e.Type, Information: e.Information})
	})
}
