package dicomweb

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// A client that does not answer a ping, or does not take a message, in time is
// dropped: its events wait for its next channel. Nothing but the message that is
// being sent is held for it.
const (
	pingEvery  = 20 * time.Second
	timeToTake = 10 * time.Second
	// maxChannels bounds the channels of a node.
	maxChannels = 2000
)

// notifications is Open Notification Channel, PS3.18 8.10 and 11.13: a WebSocket
// over which the caller hears the events of an AE title that it has subscribed.
func (s *service) notifications(r *request) error {
	if !r.IsWebsocket() {
		r.Header("Upgrade", "websocket")
		return pacs.Errorf(pacs.Invalid, "Events are heard over a WebSocket: ask for an upgrade of the connection.")
	}
	if !s.channels.TryAcquire(1) {
		return pacs.Errorf(pacs.Unavailable, "Too many notification channels are open. Try again later.")
	}
	defer s.channels.Release(1)
	options := &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}
	// A page of another site must not listen with the visitor's session. Ours may
	// be known by another name than that of the request, behind a proxy.
	if at, err := url.Parse(s.origin(r.Request)); err == nil {
		options.OriginPatterns = []string{at.Host}
	}
	conn, err := websocket.Accept(upgraded{r.Writer}, r.Request, options)
	if err != nil {
		r.Abort()
		return nil // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	// Nothing is expected from the client but answers to pings and the end.
	ctx := conn.CloseRead(r.Request.Context())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		ticker := time.NewTicker(pingEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			ping, done := context.WithTimeout(ctx, timeToTake)
			err := conn.Ping(ping)
			done()
			if err != nil {
				return
			}
		}
	}()
	err = s.Workitems.Listen(ctx, r.Context, r.Param("aet"), func(e WorkitemEvent) error {
		take, done := context.WithTimeout(ctx, timeToTake)
		defer done()
		return conn.Write(take, websocket.MessageText, e.message())
	})
	if ctx.Err() == nil {
		code, why := websocket.StatusGoingAway, "The channel has ended"
		if err != nil && pacs.CodeOf(err) == pacs.Invalid {
			code, why = websocket.StatusPolicyViolation, pacs.MessageOf(err)
		}
		_ = conn.Close(code, why[:min(len(why), 120)])
	}
	return nil
}

// message is an event as a client hears it: the elements of the command set of
// N-EVENT-REPORT that say what it is, and its information. PS3.18 11.13.
func (e WorkitemEvent) message() []byte {
	ds := e.Information.UTF8()
	ds.SetString(dicom.TagAffectedSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.34.6.4").
		SetInts(dicom.TagMessageID, dicom.US, int(e.ID&0xFFFF)).
		SetString(dicom.TagAffectedSOPInstanceUID, dicom.UI, e.UID).
		SetInts(dicom.TagEventTypeID, dicom.US, e.Type)
	return dicom.AppendJSON(nil, ds, dicom.JSONOptions{})
}

// upgraded hands the connection over: what is around the answer (compression, the
// pace) has nothing to do with it any more.
type upgraded struct{ gin.ResponseWriter }

// Hijack implements http.Hijacker. Gin's own takes what it wraps for a hijacker,
// which it need not be.
func (u upgraded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	var w http.ResponseWriter = u.ResponseWriter
	for {
		_, gins := w.(gin.ResponseWriter)
		inner, wraps := w.(interface{ Unwrap() http.ResponseWriter })
		if !gins || !wraps {
			return http.NewResponseController(w).Hijack()
		}
		w = inner.Unwrap()
	}
}
