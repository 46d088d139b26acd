package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/connectivity"
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
	Trial     bool `help:"Also say which kinds of images the node takes, and in which transfer syntaxes."`
}

// Run returns nil when the node answered with success.
func (c *EchoCmd) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	device, err := c.device()
	if err != nil {
		return err
	}
	device.Destination = c.Trial // then it must take images
	start := time.Now()
	report, err := (&connectivity.Tester{CallingAE: c.AET, Patience: c.Timeout, NoTrial: !c.Trial}).Test(ctx, device)
	if err != nil {
		return err
	}
	if !report.OK {
		return c.whyNot(report)
	}
	fmt.Fprintf(os.Stdout, "%s at %s answers: in %s, C-ECHO in %s, software %s\n", c.Called, c.Address,
		time.Since(start).Round(time.Microsecond), report.RoundTrip.Round(time.Microsecond), cmp.Or(report.Software, "unknown"))
	if c.Trial {
		printTaken("takes", report.Classes, true)
		printTaken("takes not", report.Classes, false)
		printTaken("in", report.TransferSyntaxes, true)
		printTaken("not in", report.TransferSyntaxes, false)
	}
	return nil
}

// device is the node as the archive would know it.
func (p *peerFlags) device() (access.Device, error) {
	host, text, _ := net.SplitHostPort(p.Address)
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return access.Device{}, fmt.Errorf("%q is no address of a DICOM node: the port is 1 to 65535", p.Address)
	}
	return access.Device{AETitle: p.Called, Host: cmp.Or(host, "localhost"), Port: int(port)}, nil
}

// whyNot is the step that failed and what the operator of either side can do.
func (p *peerFlags) whyNot(report *connectivity.Report) error {
	step := report.Steps[len(report.Steps)-1]
	switch step.Code {
	case connectivity.CallingAETitle:
		return fmt.Errorf("%s at %s does not know the calling AE title %q: let its operator register %q, or give another --aet", p.Called, p.Address, p.AET, p.AET)
	case connectivity.CalledAETitle:
		return fmt.Errorf("the node at %s does not answer to the called AE title %q: give its own with --called", p.Address, p.Called)
	}
	if step.Stage == connectivity.Resolve || step.Stage == connectivity.Connect {
		return fmt.Errorf("can't connect to %s: %s", p.Address, step.Explain())
	}
	return fmt.Errorf("%s at %s: %s", p.Called, p.Address, step.Explain())
}

func printTaken(heading string, list []connectivity.Taken, taken bool) {
	for _, t := range list {
		if t.Taken == taken {
			fmt.Fprintf(os.Stdout, "  %s %s (%s)\n", heading, t.Name, t.UID)
		}
	}
}
