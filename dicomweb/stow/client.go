package stow

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
)

// Files reads instances as they are served.
type Files interface {
	Instance(ctx context.Context, i pacs.Instance) (pacs.File, error)
}

const (
	timeToConnect = 15 * time.Second
	// stall is how long a node may take nothing of a request.
	stall = 2 * time.Minute
	// timeToAnswer is how long it may take after that: it stores what it got.
	timeToAnswer = 10 * time.Minute
	// maxAnswer bounds an answer in bytes.
	maxAnswer = 8 << 20
)

// Client is a forward.Storer. Safe for concurrent use.
type Client struct {
	Files Files
	// Authorities are whose certificates are trusted of nodes, beside those that
	// the system trusts; nil for none.
	Authorities *Authorities

	mu   sync.Mutex
	http *http.Client
	of   *x509.CertPool // which http trusts
}

// client is one that trusts who is to be trusted now.
func (c *Client) client() *http.Client {
	roots := c.Authorities.pool()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil && c.of == roots {
		return c.http
	}
	if c.http != nil {
		c.http.CloseIdleConnections() // of another trust
	}
	c.of = roots
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: timeToConnect}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: timeToConnect, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4, ForceAttemptHTTP2: true,
		},
		// The secret is for the address that was given, and for no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c.http
}

// Close drops connections that are kept open.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// Store implements forward.Storer. A node that refuses a request as a whole for
// what is in it gets smaller ones, until it is known for which instances.
func (c *Client) Store(ctx context.Context, node forward.Target, instances []pacs.Instance) ([]*forward.Refusal, error) {
	out := make([]*forward.Refusal, len(instances))
	var parts []part
	for n, i := range instances {
		file, err := c.Files.Instance(ctx, i)
		if err != nil {
			out[n] = &forward.Refusal{Text: "It could not be read: " + pacs.MessageOf(err)}
			continue
		}
		parts = append(parts, part{at: n, instance: i, file: file})
	}
	return out, c.store(ctx, node, parts, out)
}

// store sends parts and sets their outcomes.
func (c *Client) store(ctx context.Context, node forward.Target, parts []part, out []*forward.Refusal) error {
	if len(parts) == 0 {
		return nil
	}
	answered, err := c.send(ctx, node, parts)
	var unread *unreadablePart
	if errors.As(err, &unread) {
		// The others go without it.
		out[unread.at] = &forward.Refusal{Text: "It could not be read: " + unread.err.Error()}
		return c.store(ctx, node, slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return p.at == unread.at }), out)
	}
	if err != nil {
		return err
	}
	if answered.whole != nil {
		if len(parts) == 1 {
			out[parts[0].at] = answered.whole
			return nil
		}
		half := len(parts) / 2
		if err := c.store(ctx, node, parts[:half], out); err != nil {
			return err
		}
		return c.store(ctx, node, parts[half:], out)
	}
	for _, p := range parts {
		out[p.at] = answered.of(p.instance.SOPInstanceUID)
	}
	return nil
}

// send makes one request.
func (c *Client) send(ctx context.Context, node forward.Target, parts []part) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body := newBody(ctx, parts)
	defer body.Close()
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	body.progress = func(done bool) {
		if done {
			watch.Reset(timeToAnswer)
		} else {
			watch.Reset(stall)
		}
	}
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, node.URL+"/studies", body)
	if err != nil {
		return nil, &forward.NodeError{Err: err}
	}
	rq.ContentLength = body.length
	rq.Header.Set("Content-Type", body.contentType())
	rq.Header.Set("Accept", "application/dicom+json")
	rq.Header.Set("User-Agent", "Tasvir")
	switch node.Authorization {
	case forward.Basic:
		rq.SetBasicAuth(node.Login, node.Secret)
	case forward.Bearer:
		rq.Header.Set("Authorization", "Bearer "+node.Secret)
	}
	rsp, err := c.client().Do(rq)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if unread := body.unreadable(); unread != nil && ctx.Err() == nil {
			return nil, unread
		}
		// A node that has taken nothing of the request is down.
		return nil, &forward.NodeError{Down: !body.begun(), Err: fmt.Errorf("sending to %s: %w", node.URL, bare(err))}
	}
	defer rsp.Body.Close()
	return read(rsp, node.URL)
}

var errStalled = errors.New("the node has taken nothing for too long")

// bare is an error of net/http without the address, which is said already.
func bare(err error) error {
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return errors.New(dicomtls.Explain(untrusted))
	}
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// readAll reads an answer.
func readAll(rsp *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)
	}
	return b, err
}
