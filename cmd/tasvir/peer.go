package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/connectivity"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// peerFlags say which DICOM node to talk to, as whom, and how securely.
type peerFlags struct {
	Address string        `arg:"" name:"host:port" help:"Where the DICOM node listens."`
	AET     string        `name:"aet" default:"TASVIR" env:"TASVIR_AET" help:"Our application entity title."`
	Called  string        `name:"called" default:"ANY-SCP" help:"The node's application entity title."`
	Timeout time.Duration `name:"timeout" default:"60s" help:"How long the node may be silent."`
	peerTLSFlags
}

// check refuses what no association could carry.
func (p *peerFlags) check() error {
	if _, _, err := net.SplitHostPort(p.Address); err != nil {
		return fmt.Errorf("%q is no address of a DICOM node: write host:port, for example pacs.example.uz:11112", p.Address)
	}
	for _, ae := range []string{p.AET, p.Called} {
		if ae == "" || len(ae) > 16 {
			return fmt.Errorf("%q is no AE title: it has 1 to 16 characters", ae)
		}
	}
	return p.peerTLSFlags.check()
}

// dialer is how to associate with the node; the caller adds what it proposes.
func (p *peerFlags) dialer() (dimse.Dialer, error) {
	if err := p.check(); err != nil {
		return dimse.Dialer{}, err
	}
	return dimse.Dialer{
		CallingAE: p.AET, CalledAE: p.Called, DialContext: p.dialTLS(p.Timeout), DialTimeout: p.Timeout,
		Timeouts: ul.Timeouts{ARTIM: p.Timeout, Progress: p.Timeout, Idle: p.Timeout},
	}, nil
}

// dial associates.
func (p *peerFlags) dial(ctx context.Context, d dimse.Dialer) (*dimse.Client, error) {
	client, err := dimse.Dial(ctx, p.Address, d)
	return client, p.explain(err)
}

// explain adds what to do to the errors that the operator of either side can
// mend.
func (p *peerFlags) explain(err error) error {
	if why, ok := connectivity.ExplainDial(err); ok {
		return fmt.Errorf("can't connect to %s: %s", p.Address, why)
	}
	var rj *ul.Reject
	if !errors.As(err, &rj) {
		return err
	}
	switch *rj {
	case ul.RejectCallingAE:
		return fmt.Errorf("%w: let the node's operator register %q, or give another --aet", err, p.AET)
	case ul.RejectCalledAE:
		return fmt.Errorf("%w: %q is not its name, give the right one with --called", err, p.Called)
	case ul.RejectCongestion, ul.RejectLocalLimit:
		return fmt.Errorf("%w: try again later, or with fewer --jobs", err)
	}
	return err
}

// afterInterrupt is how long a node may take to end what was cancelled.
const afterInterrupt = 5 * time.Second

// cancellable runs an operation of client. When ctx is done, the node is asked
// to cancel it (C-CANCEL) and has a moment to say how far it got.
func cancellable(ctx context.Context, client *dimse.Client, operation func(context.Context) error) error {
	hard, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	stop := context.AfterFunc(ctx, func() {
		_ = client.Cancel() // a link that broke is found by the operation itself
		timer := time.AfterFunc(afterInterrupt, abort)
		context.AfterFunc(hard, func() { timer.Stop() })
	})
	defer stop()
	return operation(hard)
}

// printJSON prints one result.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
