package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// WebFlags say who may come to the web port how, and for how much.
type WebFlags struct {
	TLSCert string        `name:"tls-cert" env:"TASVIR_TLS_CERT" placeholder:"FILE" help:"Our certificate for HTTPS, PEM, followed by intermediate ones; with it the web port speaks HTTPS and HTTP/2 instead of HTTP. A new one in its place is taken without a restart."`
	TLSKey  string        `name:"tls-key" env:"TASVIR_TLS_KEY" placeholder:"FILE" help:"Its private key, PEM."`
	HSTS    time.Duration `name:"hsts" env:"TASVIR_HSTS" help:"How long browsers that came over HTTPS shall refuse anything else (Strict-Transport-Security), for instance 8760h; 0 does not tell them (${default})."`

	CORSOrigins []string `name:"cors-origin" env:"TASVIR_CORS_ORIGIN" placeholder:"ORIGIN" help:"Web sites whose pages may read DICOMweb answers, for instance https://viewer.example.uz; several are separated by commas. * is all sites, without their users' sessions."`
	CORSAPI     bool     `name:"cors-api" env:"TASVIR_CORS_API" help:"Those sites' pages may use the client's API (/api/), too."`

	RateLimit      float64       `name:"rate-limit" env:"TASVIR_RATE_LIMIT" placeholder:"N" help:"How many HTTP requests a second one token, person or unknown address may make; more are refused with 429. 0 sets no limit."`
	RateLimitBytes float64       `name:"rate-limit-bytes" env:"TASVIR_RATE_LIMIT_BYTES" placeholder:"MIB" help:"How many MiB a second one of them may be sent; 0 sets no limit."`
	RateLimitBurst time.Duration `name:"rate-limit-burst" default:"10s" env:"TASVIR_RATE_LIMIT_BURST" help:"For how long somebody who was quiet may have at once what these rates allow (${default})."`
}

func (f WebFlags) check() error {
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return pacs.Errorf(pacs.Invalid, "--tls-cert and --tls-key go together")
	}
	if f.HSTS < 0 {
		return pacs.Errorf(pacs.Invalid, "--hsts %s is negative; 0 tells browsers nothing", f.HSTS)
	}
	if f.RateLimit < 0 || f.RateLimitBytes < 0 || f.RateLimitBurst < 0 {
		return pacs.Errorf(pacs.Invalid, "--rate-limit, --rate-limit-bytes and --rate-limit-burst are 0 or more; 0 sets no limit")
	}
	_, err := web.NewCORS(f.CORSOrigins, f.CORSAPI)
	return err
}

func (f WebFlags) rateLimit() web.RateLimit {
	return web.RateLimit{Requests: f.RateLimit, Bytes: f.RateLimitBytes * (1 << 20), Burst: f.RateLimitBurst}
}

// serveWeb runs the web port, and OHIF's, with TLS where there is a certificate.
func (n *Node) serveWeb(server *web.Server, listener net.Listener, second *secondViewer, registry prometheus.Registerer) error {
	if n.flags.TLSCert == "" {
		n.serveSecondViewer(second, server, nil)
		n.spawn(&n.doors, "the web server", func(ctx context.Context) error { return server.Serve(ctx, listener) })
		return nil
	}
	credentials, err := dicomtls.LoadFor("HTTPS", dicomtls.Files{Cert: n.flags.TLSCert, Key: n.flags.TLSKey})
	if err != nil {
		_ = listener.Close()
		return err
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tasvir_https_certificate_expires_timestamp_seconds", Help: "When the certificate for HTTPS expires, in Unix time.",
	}, func() float64 { return float64(credentials.NotAfter().Unix()) }))
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	n.spawn(&n.doors, "the watch on the certificate for HTTPS", func(ctx context.Context) error {
		defer signal.Stop(hangup)
		credentials.Watch(ctx, tlsReread, hangup, n.log.With("part", "web"))
		return nil
	})
	n.serveSecondViewer(second, server, credentials.Certificate)
	n.spawn(&n.doors, "the web server", func(ctx context.Context) error {
		return server.ServeTLS(ctx, listener, credentials.Certificate)
	})
	return nil
}
