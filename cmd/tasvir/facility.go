package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// FacilityCmd manages hospitals and clinics.
type FacilityCmd struct {
	Add  FacilityAddCmd  `cmd:"" help:"Add a hospital or clinic."`
	List FacilityListCmd `cmd:"" help:"List facilities."`
}

// FacilityAddCmd adds a facility.
type FacilityAddCmd struct {
	DatabaseFlags
	Code  string `arg:"" help:"Code: A-Z, 0-9, _ and -. It never changes."`
	Name  string `arg:"" help:"Name."`
	TaxID string `name:"tax-id" help:"STIR, for the national platform."`
}

// Run adds the facility.
func (c *FacilityAddCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	f, err := a.AddFacility(ctx, operator(), pacs.Facility{Code: c.Code, Name: c.Name, TaxID: c.TaxID})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Added %s (%s). Next: tasvir device add AE-TITLE %s\n", f.Code, f.Name, f.Code)
	return nil
}

// FacilityListCmd lists facilities.
type FacilityListCmd struct {
	DatabaseFlags
}

// Run prints a line for each facility.
func (c *FacilityListCmd) Run(ctx context.Context) error {
	a, close, err := openAccess(ctx, c.DatabaseFlags)
	if err != nil {
		return err
	}
	defer close()
	list, err := a.Facilities(ctx, operator().Scope)
	if err != nil {
		return err
	}
	return table("CODE\tNAME\tTAX ID", list, func(f pacs.Facility) string {
		return strings.Join([]string{f.Code, f.Name, f.TaxID}, "\t")
	})
}
