package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// DeviceCmd manages remote AEs: those that may call the archive, and those
// that it calls.
type DeviceCmd struct {
	Add    DeviceAddCmd    `cmd:"" help:"Make an AE title known; without more it may send images for a facility."`
	Change DeviceChangeCmd `cmd:"" help:"Change what is known of an AE; what is not named stays."`
	List   DeviceListCmd   `cmd:"" help:"List known AE titles."`
	Remove DeviceRemoveCmd `cmd:"" help:"Forget an AE title. What it sent stays."`
}

// deviceFlags say what is known of an AE; nil is not said.
type deviceFlags struct {
	Description         *string   `help:"What and where it is."`
	Address             *string   `placeholder:"HOST:PORT" help:"Where it answers; empty: the archive never calls it."`
	Service             *[]string `help:"What it may ask of the archive: store, query, retrieve, worklist, mpps, commitment, ups (comma separated; none: nothing). A new AE gets store and commitment."`
	Destination         *bool     `negatable:"" help:"Images may be sent to it."`
	Notify              *bool     `negatable:"" help:"It is told when studies are available (instance availability notification)."`
	AllFacilities       *bool     `negatable:"" help:"It queries and retrieves the studies of every facility."`
	TransferSyntax      *[]string `help:"UIDs of the transfer syntaxes it takes images in (comma separated; none: what negotiation finds)."`
	Charset             *string   `help:"Character set of its text when it declares none or a wrong one, for example windows-1251."`
	AnswerCharset       *string   `help:"Character set of what it is answered, for example ISO_IR 144; empty: UTF-8, and in the modality worklist what the request declares, or else ASCII."`
	TLS                 *bool     `name:"tls" negatable:"" help:"It is talked to over TLS only."`
	TLSServerName       *string   `name:"tls-server-name" help:"The name in its certificate; empty: the host."`
	Certificate         *string   `help:"The certificate it is bound to: SHA-256 fingerprint or subject."`
	MaxAssociationsFrom *int      `name:"max-associations-from" help:"Associations at a time that it may open; 0: the default."`
	MaxAssociationsTo   *int      `name:"max-associations-to" help:"Associations at a time that the archive opens to it; 0: the default."`
}

func (f *deviceFlags) apply(d *access.Device) error {
	assign(&d.Description, f.Description)
	assign(&d.Destination, f.Destination)
	assign(&d.Notify, f.Notify)
	assign(&d.AllFacilities, f.AllFacilities)
	assign(&d.Charset, f.Charset)
	assign(&d.AnswerCharset, f.AnswerCharset)
	assign(&d.TLS, f.TLS)
	assign(&d.TLSServerName, f.TLSServerName)
	assign(&d.Certificate, f.Certificate)
	assign(&d.MaxAssociationsFrom, f.MaxAssociationsFrom)
	assign(&d.MaxAssociationsTo, f.MaxAssociationsTo)
	if f.Service != nil {
		d.Services = []access.Service{}
		for _, name := range listed(*f.Service) {
			d.Services = append(d.Services, access.Service(name))
		}
	}
	if f.TransferSyntax != nil {
		d.TransferSyntaxes = listed(*f.TransferSyntax)
	}
	if f.Address == nil {
		return nil
	}
	d.Host, d.Port = "", 0
	if *f.Address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(*f.Address)
	if err == nil {
		d.Host = host
		d.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		return pacs.Errorf(pacs.Invalid, "%q is no address: write host:port, for example 10.1.2.3:104", *f.Address)
	}
	return nil
}

func assign[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// listed is the names of a flag that may be repeated; "" and "none" name
// nothing.
func listed(names []string) []string {
	list := []string{}
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" && name != "none" {
			list = append(list, name)
		}
	}
	return list
}

// DeviceAddCmd makes an AE title known.
type DeviceAddCmd struct {
	DatabaseFlags
	AETitle  string `arg:"" name:"ae-title" help:"Its AE title, 1 to 16 characters; case matters."`
	Facility string `arg:"" help:"Code of the facility it belongs to."`
	deviceFlags
}

// Run adds the device; running servers know it within seconds.
func (c *DeviceAddCmd) Run(ctx context.Context) error {
	added := access.Device{AETitle: c.AETitle, FacilityCode: c.Facility}
	if err := c.apply(&added); err != nil {
		return err
	}
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	d, err := a.AddDevice(ctx, operator(), added)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, allowance(d))
	return nil
}

// allowance says what an AE may do.
func allowance(d access.Device) string {
	said := fmt.Sprintf("%s of %s may %s", d.AETitle, d.FacilityCode, serviceList(d.Services))
	if d.Address() != "" {
		said += "; it answers at " + d.Address()
	}
	return said + "."
}

func serviceList(services []access.Service) string {
	if len(services) == 0 {
		return "ask nothing of the archive"
	}
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// DeviceChangeCmd changes what is known of an AE.
type DeviceChangeCmd struct {
	DatabaseFlags
	AETitle  string  `arg:"" name:"ae-title" help:"The AE title."`
	Facility *string `help:"Code of the facility it belongs to."`
	deviceFlags
}

// Run changes the device; running servers know it within seconds.
func (c *DeviceChangeCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	d, err := a.UpdateDevice(ctx, operator(), c.AETitle, func(d *access.Device) error {
		assign(&d.FacilityCode, c.Facility)
		return c.apply(d)
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, allowance(d))
	return nil
}

// DeviceListCmd lists devices.
type DeviceListCmd struct {
	DatabaseFlags
}

// Run prints a line for each device.
func (c *DeviceListCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	devices, err := a.Devices(ctx, operator())
	if err != nil {
		return err
	}
	return table("AE TITLE\tFACILITY\tADDRESS\tMAY\tCHARSET\tLAST SEEN\tDESCRIPTION", devices, func(d access.Device) string {
		return strings.Join([]string{d.AETitle, d.FacilityCode, d.Address(), serviceList(d.Services), d.Charset, day(d.LastSeenAt), d.Description}, "\t")
	})
}

// DeviceRemoveCmd forgets an AE title.
type DeviceRemoveCmd struct {
	DatabaseFlags
	AETitle string `arg:"" name:"ae-title" help:"The AE title."`
}

// Run removes the device; running servers refuse it within seconds.
func (c *DeviceRemoveCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	if err := a.RemoveDevice(ctx, operator(), c.AETitle); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s is forgotten.\n", c.AETitle)
	return nil
}
