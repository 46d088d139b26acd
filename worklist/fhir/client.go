package fhir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Client speaks to one platform. Fill the fields, then use it from any number of
// goroutines; it must not be copied.
type Client struct {
	// BaseURL is the FHIR base, as https://fhir.example.uz/fhir.
	BaseURL string
	// Token is a fixed bearer token; Credentials take its place where set.
	Token       string
	Credentials *Credentials
	// HTTP carries the requests; nil means a client with a time-out of a minute.
	HTTP *http.Client
	Builder

	tokens tokenCache
	caps   capabilityCache
	// busy holds what one goroutine at a time may look for and create: a report,
	// a patient, the endpoint.
	busy keyedMutex
}

// Credentials are for OAuth 2.0's client credentials grant (RFC 6749, 4.4).
type Credentials struct {
	TokenURL, ID, Secret, Scope string
}

// Bounds on what is read from a platform.
const (
	maxAnswer      = 64 << 20 // a DiagnosticReport with its PDF, or a Bundle of a few
	maxStatement   = 16 << 20
	requestTimeout = time.Minute
	capsLifetime   = 5 * time.Minute
)

var defaultHTTP = &http.Client{
	Timeout: requestTimeout,
	CheckRedirect: func(next *http.Request, via []*http.Request) error {
		// A report goes to the host that was configured and nowhere else.
		if next.URL.Host != via[0].URL.Host || len(via) > 3 {
			return http.ErrUseLastResponse
		}
		return nil
	},
}

func (c *Client) http() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return defaultHTTP
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// call sends one FHIR request and returns the answer if it is a success, else a
// DeliveryError. A refused token is renewed once.
func (c *Client) call(ctx context.Context, method, path string, body []byte, ifMatch string) (*answer, error) {
	for attempt := 0; ; attempt++ {
		bearer, err := c.bearer(ctx)
		if err != nil {
			return nil, err
		}
		got, err := c.send(ctx, method, path, body, ifMatch, bearer)
		if err != nil {
			return nil, doubt(method, err)
		}
		if got.status >= 200 && got.status < 300 {
			return got, nil
		}
		if got.status == http.StatusUnauthorized && c.Credentials != nil && attempt == 0 {
			c.tokens.forget(bearer)
			continue
		}
		return nil, doubt(method, refusal(got.status, got.header, got.body))
	}
}

// doubt marks the failure of a write that may have been carried out: no answer to
// what was sent, or an answer by a gateway or a server in trouble.
func doubt(method string, err error) error {
	var failed *DeliveryError
	if method == http.MethodGet || !errors.As(err, &failed) {
		return err
	}
	switch {
	case failed.Status == http.StatusRequestTimeout || failed.Status >= 500:
		failed.doubtful = true
	case failed.Status == 0 && !neverSent(failed.Err):
		failed.doubtful = true
		failed.RetryAfter = max(failed.RetryAfter, waitForUnknown)
	}
	return err
}

// neverSent tells whether a request failed before there was a connection.
func neverSent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

func (c *Client) send(ctx context.Context, method, path string, body []byte, ifMatch, bearer string) (*answer, error) {
	target := strings.TrimSuffix(c.BaseURL, "/")
	if path != "" {
		target += "/" + path
	}
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, permanent("the platform's address %q can't be used: correct it in the settings", c.BaseURL)
	}
	request.Header.Set("Accept", "application/fhir+json")
	if body != nil {
		request.Header.Set("Content-Type", "application/fhir+json")
	} else {
		// Some servers answer a repeated search from memory for a while; a search
		// after a doubtful failure has to see the truth.
		request.Header.Set("Cache-Control", "no-cache")
	}
	if ifMatch != "" {
		request.Header.Set("If-Match", ifMatch)
	}
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	limit := int64(maxAnswer)
	if path == "metadata" {
		limit = maxStatement
	}
	return roundTrip(c.http(), request, limit)
}

// roundTrip sends a request and reads at most limit bytes of the answer.
func roundTrip(client *http.Client, request *http.Request, limit int64) (*answer, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, unreachable(request.Context(), err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, unreachable(request.Context(), err)
	}
	if int64(len(body)) > limit {
		return nil, temporary(nil, "the platform's answer is longer than %d bytes", limit)
	}
	return &answer{status: response.StatusCode, header: response.Header, body: body}, nil
}

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return temporary(err, "the platform did not answer in time")
	}
	return temporary(err, "the platform can't be reached")
}

// capabilities returns /metadata, at most five minutes old.
func (c *Client) capabilities(ctx context.Context) (Capabilities, error) {
	c.caps.Lock()
	defer c.caps.Unlock()
	if c.caps.known && time.Since(c.caps.read) < capsLifetime {
		return c.caps.caps, nil
	}
	got, err := c.call(ctx, http.MethodGet, "metadata", nil, "")
	if err != nil {
		var refused *DeliveryError
		if errors.As(err, &refused) && refused.Status != 0 {
			// Whatever is wrong with the address, no report is at fault.
			refused.Permanent = false
		}
		return Capabilities{}, err
	}
	caps, err := ParseCapabilities(got.body)
	if err != nil {
		return Capabilities{}, temporary(err, "%v", err)
	}
	c.caps.caps, c.caps.read, c.caps.known = caps, time.Now(), true
	return caps, nil
}

type capabilityCache struct {
	sync.Mutex
	caps  Capabilities
	read  time.Time
	known bool
}

func (cache *capabilityCache) forget() {
	cache.Lock()
	defer cache.Unlock()
	cache.known = false
}

func (c *Client) bearer(ctx context.Context) (string, error) {
	if c.Credentials == nil {
		return c.Token, nil
	}
	c.tokens.Lock()
	defer c.tokens.Unlock()
	if c.tokens.token != "" && time.Now().Before(c.tokens.until) {
		return c.tokens.token, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.Credentials.ID}, "client_secret": {c.Credentials.Secret}}
	if c.Credentials.Scope != "" {
		form.Set("scope", c.Credentials.Scope)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Credentials.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", permanent("the platform's token address %q can't be used: correct it in the settings", c.Credentials.TokenURL)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	got, err := roundTrip(c.http(), request, 1<<20)
	if err != nil {
		return "", err
	}
	var granted struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if got.status != http.StatusOK || json.Unmarshal(got.body, &granted) != nil || granted.AccessToken == "" {
		refused := refusal(got.status, got.header, nil)
		refused.Permanent = false
		refused.Message = "the platform gave no access token: check the client id and secret in the settings"
		refused.RetryAfter = max(refused.RetryAfter, waitForAccount)
		if got.status >= 500 {
			refused.Message, refused.RetryAfter = "the platform's sign-in service fails", 0
		}
		return "", refused
	}
	// Renewed a little early, so that it doesn't run out on its way.
	life := time.Duration(granted.ExpiresIn * float64(time.Second))
	c.tokens.token, c.tokens.until = granted.AccessToken, time.Now().Add(life-min(life/10, time.Minute))
	return granted.AccessToken, nil
}

type tokenCache struct {
	sync.Mutex
	token string
	until time.Time
}

// forget drops a refused token, unless someone has renewed it already.
func (cache *tokenCache) forget(token string) {
	cache.Lock()
	defer cache.Unlock()
	if cache.token == token {
		cache.token = ""
	}
}

// keyedMutex lets one goroutine at a time work on a key.
type keyedMutex struct {
	mu   sync.Mutex
	held map[string]*heldKey
}

type heldKey struct {
	turn  chan struct{} // holds a token while someone works
	users int
}

// lock waits for key, or for the context's end, and returns what releases it.
func (k *keyedMutex) lock(ctx context.Context, key string) (func(), error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*heldKey{}
	}
	one := k.held[key]
	if one == nil {
		one = &heldKey{turn: make(chan struct{}, 1)}
		k.held[key] = one
	}
	one.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(k.held, key)
		}
	}
	select {
	case one.turn <- struct{}{}:
		return func() { <-one.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
