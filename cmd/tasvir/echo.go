package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/connectivity"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
)

// EchoCmd asks a DICOM node whether it answers: C-ECHO.
type EchoCmd struct {
	peerFlags `embed:""`
	Trial     bool `name:"trial" help:"Also say which kinds of images the node takes, and in which transfer syntaxes."`
	JSON      bool `name:"json" help:"Print the result as one JSON object."`
}

// echoResult is what --json prints.
type echoResult struct {
	Address   string     `json:"address"`
	Calling   string     `json:"callingAET"`
	Called    string     `json:"calledAET"`
	OK        bool       `json:"ok"`
	Software  string     `json:"software"`
	RoundTrip float64    `json:"echoSeconds"`
	Seconds   float64    `json:"seconds"`
	Steps     []echoStep `json:"steps"`
	// Taken are the UIDs of the storage classes and transfer syntaxes that the
	// node takes; with --trial.
	Classes  []string `json:"sopClasses,omitempty"`
	Syntaxes []string `json:"transferSyntaxes,omitempty"`
}

// echoStep is one step of the way there.
type echoStep struct {
	Stage   connectivity.Stage `json:"stage"`
	Code    connectivity.Code  `json:"code"`
	Message string             `json:"message"`
	Seconds float64            `json:"seconds"`
}

// Run returns nil when the node answered with success.
func (c *EchoCmd) Run(ctx context.Context) error { return c.run(ctx, os.Stdout) }

func (c *EchoCmd) run(ctx context.Context, out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	device, err := c.device()
	if err != nil {
		return err
	}
	device.Destination = c.Trial // then it must take images
	tester := &connectivity.Tester{CallingAE: c.AET, Patience: c.Timeout, NoTrial: !c.Trial}
	if c.TLS {
		tester.TLS = func() *tls.Config { return c.credentials.ClientConfig(dicomtls.BCP195) }
	}
	start := time.Now()
	report, err := tester.Test(ctx, device)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if c.JSON {
		if err := printJSON(out, c.result(report, took)); err != nil {
			return err
		}
	}
	switch {
	case !report.OK:
		return c.whyNot(report)
	case c.JSON:
		return nil
	}
	if _, err := fmt.Fprintf(out, "%s at %s answers: in %s, C-ECHO in %s, software %s\n", c.Called, c.Address,
		took.Round(time.Microsecond), report.RoundTrip.Round(time.Microsecond), printable(cmp.Or(report.Software, "unknown"))); err != nil {
		return err
	}
	if c.Trial {
		printTaken(out, "takes", report.Classes, true)
		printTaken(out, "takes not", report.Classes, false)
		printTaken(out, "in", report.TransferSyntaxes, true)
		printTaken(out, "not in", report.TransferSyntaxes, false)
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
	return access.Device{
		AETitle: p.Called, Host: cmp.Or(host, "localhost"), Port: int(port), TLS: p.TLS, TLSServerName: p.TLSName,
	}, nil
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

// result is the report in JSON's terms.
func (c *EchoCmd) result(report *connectivity.Report, took time.Duration) echoResult {
	r := echoResult{
		Address: c.Address, Calling: c.AET, Called: c.Called, OK: report.OK, Software: report.Software,
		RoundTrip: report.RoundTrip.Seconds(), Seconds: took.Seconds(), Steps: []echoStep{},
	}
	for _, s := range report.Steps {
		r.Steps = append(r.Steps, echoStep{Stage: s.Stage, Code: s.Code, Message: s.Explain(), Seconds: s.Took})
	}
	for _, t := range report.Classes {
		if t.Taken {
			r.Classes = append(r.Classes, t.UID)
		}
	}
	for _, t := range report.TransferSyntaxes {
		if t.Taken {
			r.Syntaxes = append(r.Syntaxes, t.UID)
		}
	}
	return r
}

func printTaken(out io.Writer, heading string, list []connectivity.Taken, taken bool) {
	for _, t := range list {
		if t.Taken == taken {
			fmt.Fprintf(out, "  %s %s (%s)\n", heading, t.Name, t.UID)
		}
	}
}
