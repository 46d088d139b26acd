package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// DeviceCmd manages the AE titles that may send images.
type DeviceCmd struct {
	Add    DeviceAddCmd    `cmd:"" help:"Let an AE title send images for a facility."`
	List   DeviceListCmd   `cmd:"" help:"List known AE titles."`
	Remove DeviceRemoveCmd `cmd:"" help:"Forget an AE title. What it sent stays."`
}

// DeviceAddCmd makes an AE title known.
type DeviceAddCmd struct {
	DatabaseFlags
	AETitle     string `arg:"" name:"ae-title" help:"The sender's AE title, 1 to 16 characters; case matters."`
	Facility    string `arg:"" help:"Code of the facility it belongs to."`
	Description string `help:"What and where it is."`
	Charset     string `help:"Character set of its text when it declares none or a wrong one, for example windows-1251."`
}

// Run adds the device; running servers know it within seconds.
func (c *DeviceAddCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	d, err := a.AddDevice(ctx, operator(), access.Device{
		AETitle: c.AETitle, FacilityCode: c.Facility, Description: c.Description, Charset: c.Charset,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s may send images for %s.\n", d.AETitle, d.FacilityCode)
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
	return table("AE TITLE\tFACILITY\tCHARSET\tLAST SEEN\tDESCRIPTION", devices, func(d access.Device) string {
		return strings.Join([]string{d.AETitle, d.FacilityCode, d.Charset, day(d.LastSeenAt), d.Description}, "\t")
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
