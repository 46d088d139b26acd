package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// ServerFlags are what a node can be told.
type ServerFlags struct {
	DatabaseFlags
	QuarantineFlags
	DICOMTLSFlags
	WebFlags
	FrameCacheFlags
	ViewerFlags
	HTTP  string `name:"http" default:":8080" env:"TASVIR_HTTP" placeholder:"ADDR" help:"Address of the web client, the API and DICOMweb (${default})."`
	DICOM string `name:"dicom" default:":11112" env:"TASVIR_DICOM" placeholder:"ADDR" help:"Address of the DICOM port (${default})."`
	AET   string `name:"aet" default:"TASVIR" env:"TASVIR_AET" help:"Our application entity title (${default})."`
	Store string `env:"TASVIR_STORE" placeholder:"URL" help:"Where images are kept: a folder, or s3://BUCKET[/PREFIX]?endpoint=HOST:PORT. Default: a folder in the data folder."`

	CompressFlags
	RetentionFlags
	AssociationFlags

	DICOMUserIdentity       string `name:"dicom-user-identity" enum:"ignore,check,require" default:"ignore" env:"TASVIR_DICOM_USER_IDENTITY" help:"What a user identity in an association request is good for: ignore, check (a wrong login or token is refused) or require (${default})."`
	MaxAssociations         int    `name:"max-associations" default:"100" env:"TASVIR_MAX_ASSOCIATIONS" help:"How many DICOM associations are served at a time, on both ports together (${default}); more are told to come again. A device can have a bound of its own, tasvir device change."`
	AcceptUnknownSOPClasses bool   `name:"accept-unknown-sop-classes" env:"TASVIR_ACCEPT_UNKNOWN_SOP_CLASSES" help:"Also take instances of storage SOP classes that are not in the standard: private ones, and those of later editions."`

	Ack       string        `enum:"received,published" default:"received" env:"TASVIR_ACK" help:"When a sender is told success: received (safe on this node's disk) or published (safe in storage and index)."`
	UnknownAE string        `name:"unknown-ae" enum:"refuse,park" default:"refuse" env:"TASVIR_UNKNOWN_AE" help:"What an unknown calling AE title gets: refuse, or park (accept; its studies belong to the facility UNASSIGNED)."`
	Quiet     time.Duration `default:"60s" env:"TASVIR_QUIET" help:"A study is complete when nothing has arrived for so long (${default})."`

	JournalQuota int64 `name:"journal-quota" env:"TASVIR_JOURNAL_QUOTA" placeholder:"GIB" help:"How many GiB may wait to be published before senders are told to try again later; 0 for as much as the disk takes."`

	KeepChanges time.Duration `name:"keep-changes" default:"8760h" env:"TASVIR_KEEP_CHANGES" help:"How long the feed of changes goes back (${default}, a year); 0 keeps it for ever."`

	VerifyFlags
	CommitmentFlags
	ForwardFlags

	FHIR          string `name:"fhir" env:"TASVIR_FHIR" placeholder:"URL" help:"FHIR R5 server that signed reports go to."`
	FHIRToken     string `name:"fhir-token" env:"TASVIR_FHIR_TOKEN" help:"Bearer token for it."`
	FHIRClient    string `name:"fhir-client" env:"TASVIR_FHIR_CLIENT" help:"OAuth client id for it, with --fhir-secret and --fhir-token-url."`
	FHIRSecret    string `name:"fhir-secret" env:"TASVIR_FHIR_SECRET" help:"OAuth client secret."`
	FHIRTokenURL  string `name:"fhir-token-url" env:"TASVIR_FHIR_TOKEN_URL" help:"OAuth token address."`
	FHIRNamespace string `name:"fhir-namespace" default:"https://tasvir.uz/fhir/sid" env:"TASVIR_FHIR_NAMESPACE" help:"URL under which this installation issues identifiers; must never change (${default})."`
	WADORoot      string `name:"wado-root" env:"TASVIR_WADO_ROOT" placeholder:"URL" help:"Public DICOMweb address, told to the FHIR server as an Endpoint."`

	AdminPassword   string   `name:"admin-password" env:"TASVIR_ADMIN_PASSWORD" help:"Password of the first administrator, user admin. Without it one is generated and printed once."`
	TrustedLoopback bool     `name:"trusted-loopback" env:"TASVIR_TRUSTED_LOOPBACK" help:"Programs on this machine may use DICOMweb without a token."`
	TrustedProxies  []string `name:"trusted-proxies" env:"TASVIR_TRUSTED_PROXIES" placeholder:"CIDR" help:"Reverse proxies whose X-Forwarded-* headers are believed."`

	LogFormat string `name:"log-format" enum:"text,json" default:"text" env:"TASVIR_LOG_FORMAT" help:"text or json."`
	LogLevel  string `name:"log-level" enum:"debug,info,warn,error" default:"info" env:"TASVIR_LOG_LEVEL" help:"debug, info, warn or error."`
}

// check refuses settings that would only show themselves as wrong much later.
func (f ServerFlags) check() error {
	if _, err := access.CheckAETitle(f.AET); err != nil {
		return pacs.Wrap(pacs.Invalid, err, "--aet can't be used")
	}
	if err := f.CompressFlags.check(); err != nil {
		return err
	}
	if f.Quiet < time.Second {
		return pacs.Errorf(pacs.Invalid, "--quiet %s is too short: a study would be complete between two of its images; use 1s or more", f.Quiet)
	}
	if f.VerifyRate < 0 || f.VerifyInterval < time.Hour {
		return pacs.Errorf(pacs.Invalid, "--verify-rate is 0 or more megabytes a second, and --verify-interval an hour or more")
	}
	if f.JournalQuota < 0 || f.JournalQuota > 1<<30 {
		return pacs.Errorf(pacs.Invalid, "--journal-quota %d is no size in GiB; 0 sets no limit but the disk's", f.JournalQuota)
	}
	if f.KeepChanges < 0 {
		return pacs.Errorf(pacs.Invalid, "--keep-changes %s is negative; 0 keeps the feed of changes for ever", f.KeepChanges)
	}
	if f.MaxAssociations < 1 || f.MaxAssociations > 10000 {
		return pacs.Errorf(pacs.Invalid, "--max-associations %d: it is a number from 1 to 10000; each association takes about 300 KiB of memory", f.MaxAssociations)
	}
	if err := f.WebFlags.check(); err != nil {
		return err
	}
	if err := f.ViewerFlags.check(); err != nil {
		return err
	}
	if err := f.FrameCacheFlags.check(); err != nil {
		return err
	}
	if err := f.DICOMTLSFlags.check(); err != nil {
		return err
	}
	for _, address := range []struct{ flag, value string }{
		{"--fhir", f.FHIR}, {"--fhir-namespace", f.FHIRNamespace}, {"--fhir-token-url", f.FHIRTokenURL}, {"--wado-root", f.WADORoot},
	} {
		if address.value == "" {
			continue
		}
		u, err := url.Parse(address.value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return pacs.Errorf(pacs.Invalid, "%s %q is not an address; it looks like https://host/path", address.flag, address.value)
		}
	}
	return nil
}

func (f ServerFlags) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// ServeCmd runs the archive.
type ServeCmd struct{ ServerFlags }

// Run serves until ctx ends.
func (c *ServeCmd) Run(ctx context.Context) error {
	log := c.logger()
	slog.SetDefault(log) // packages that are not given one
	if os.Getenv("GOMAXPROCS") == "" {
		// The publisher's threads step back behind those that receive. While
		// they wait for a processor they must not keep others from theirs.
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	}
	n, err := Start(ctx, c.ServerFlags, log)
	if err != nil {
		return err
	}
	if n.GeneratedPassword != "" {
		fmt.Printf("First administrator: user admin, password %s\nIt is shown only this once. Sign in and change it.\n", n.GeneratedPassword)
	}
	ready := []any{"web", n.WebURL(), "dicom", n.DICOMAddr.String(), "aet", c.AET, "version", version}
	if n.DICOMTLSAddr != nil {
		ready = append(ready, "dicom_tls", n.DICOMTLSAddr.String())
	}
	if n.OHIFAddr != nil {
		ready = append(ready, "ohif", n.OHIFAddr.String())
	}
	log.Info("ready", ready...)
	return n.Wait(ctx)
}
