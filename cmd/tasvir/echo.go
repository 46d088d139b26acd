package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// peerFlags say which DICOM node to talk to, and as whom.
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

func (p *peerFlags) dialer(contexts []ul.ProposedContext) dimse.Dialer {
	return dimse.Dialer{
		DialContext: p.dialTLS(p.Timeout),
		CallingAE:   p.AET, CalledAE: p.Called, Contexts: contexts, DialTimeout: p.Timeout,
		Timeouts: ul.Timeouts{ARTIM: p.Timeout, Progress: p.Timeout, Idle: p.Timeout},
	}
}

// explain adds what to do to the errors that the operator of either side can
// mend.
func (p *peerFlags) explain(err error) error {
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

// EchoCmd asks a DICOM node whether it answers: C-ECHO.
type EchoCmd struct {
	peerFlags `embed:""`
}

// Run returns nil when the node answered with success.
func (c *EchoCmd) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	start := time.Now()
	client, err := dimse.Dial(ctx, c.Address, c.dialer(nil))
	if err != nil {
		return c.explain(err)
	}
	defer client.Close()
	associated := time.Since(start)
	start = time.Now()
	status, err := client.Echo(ctx)
	if err != nil {
		return fmt.Errorf("%s at %s did not answer C-ECHO: %w", c.Called, c.Address, err)
	}
	took := time.Since(start)
	if status.Code != dimse.Success {
		return fmt.Errorf("%s at %s answered C-ECHO with %s", c.Called, c.Address, status)
	}
	if err := client.Release(ctx); err != nil {
		return fmt.Errorf("%s at %s answered C-ECHO but not the release: %w", c.Called, c.Address, err)
	}
	peer := client.Peer()
	_, err = fmt.Fprintf(os.Stdout, "%s at %s answers: associated in %s, C-ECHO in %s, software %s\n", c.Called, c.Address,
		associated.Round(time.Microsecond), took.Round(time.Microsecond),
		cmp.Or(peer.ImplementationVersion, peer.ImplementationClassUID, "unknown"))
	return err
}
