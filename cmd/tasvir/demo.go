package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/associations"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls"
	"github.com/tasvir-pacs/tasvir/pacs/retention"
)

// DemoCmd runs a complete installation on one machine: the archive, a FHIR
// platform to deliver to, people in every role, and studies that were sent to
// it as a modality would. What it made stays in the data folder, so a second
// start has it all at once.
type DemoCmd struct {
	Data    string `env:"TASVIR_DATA" type:"path" placeholder:"DIR" help:"Folder for everything (default: /var/lib/tasvir-demo as root, ~/.local/share/tasvir-demo otherwise)."`
	HTTP    string `name:"http" default:"127.0.0.1:8080" env:"TASVIR_HTTP" placeholder:"ADDR" help:"Address of the web client; another port is taken when this one is busy (${default})."`
	DICOM   string `name:"dicom" default:"127.0.0.1:11112" env:"TASVIR_DICOM" placeholder:"ADDR" help:"Address of the DICOM port; another port is taken when this one is busy (${default})."`
	Sandbox string `default:"deploy/fhir-sandbox" type:"path" placeholder:"DIR" help:"Folder of the FHIR sandbox (${default})."`
	OHIF    string `name:"ohif-dist" type:"path" placeholder:"DIR" help:"The folder with OHIF, to offer it as a second viewer on port 8081, or another when that is busy."`
	Studies int    `default:"0" help:"How many of the demo studies to send; 0 for all."`
	Verbose bool   `help:"Show the server's log."`
}

// demoPassword is that of every demo account. The demo listens on this machine
// only, unless told otherwise.
const demoPassword = "tasvir-demo"

// Run starts the demo and serves until ctx ends.
func (c *DemoCmd) Run(ctx context.Context) error {
	dir := c.Data
	if dir == "" {
		dir = defaultData() + "-demo"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fmt.Println("Tasvir", version)
	sandbox, err := startSandbox(ctx, c.Sandbox, filepath.Join(dir, "fhir"))
	if err != nil {
		return err
	}
	defer sandbox.stop()
	fmt.Println("  FHIR sandbox     ", sandbox.page())

	flags := c.server(dir, sandbox.url)
	log := flags.logger()
	slog.SetDefault(log)
	if _, err := os.Stat(filepath.Join(dir, "postgres")); errors.Is(err, fs.ErrNotExist) {
		fmt.Println("  preparing a private PostgreSQL in", dir)
	}
	node, err := Start(ctx, flags, log)
	if err != nil {
		return err
	}
	if err := c.fill(ctx, node, dir); err != nil {
		node.Close()
		if ctx.Err() != nil {
			return nil // stopped by hand while it was filling
		}
		return err
	}
	c.announce(node, sandbox)
	err = node.Wait(ctx)
	fmt.Println("\nstopped; everything is kept in", dir)
	return err
}

// demoState remembers, in the data folder, what has been made already.
type demoState struct {
	// Now is the day the studies were made for; their UIDs depend on it.
	Now time.Time `json:"now"`
	// Sent are the studies whose last image was acknowledged.
	Sent map[string]bool `json:"sent"`
}

// server is what the demo's archive is told. The environment has no say.
func (c *DemoCmd) server(dir, platform string) ServerFlags {
	flags := ServerFlags{
		DatabaseFlags: DatabaseFlags{Data: dir},
		HTTP:          freeAddress(c.HTTP), DICOM: freeAddress(c.DICOM),
		AET: "TASVIR", Ack: "received", UnknownAE: "refuse", MaxAssociations: 100, DICOMUserIdentity: identityIgnore, Quiet: 4 * time.Second,
		QuarantineFlags:  QuarantineFlags{Quota: 10 << 30},
		DICOMTLSFlags:    DICOMTLSFlags{DICOMTLSProfile: string(dicomtls.BCP195)},
		RetentionFlags:   RetentionFlags{RetentionLimit: retention.DefaultLimit},
		AssociationFlags: AssociationFlags{KeepAssociations: associations.DefaultKeep},
		CompressFlags:    CompressFlags{Compress: "none"},
		FrameCacheFlags:  FrameCacheFlags{FrameCache: 128},
		WebFlags:         WebFlags{RateLimitBurst: 10 * time.Second},
		VerifyFlags:      VerifyFlags{VerifyRate: 20, VerifyInterval: 30 * 24 * time.Hour},
		CommitmentFlags:  CommitmentFlags{CommitmentPatience: 10 * time.Minute},
		KeepChanges:      365 * 24 * time.Hour,
		FHIR:             platform, FHIRNamespace: "https://tasvir.example.uz/fhir/sid",
		AdminPassword: demoPassword, LogFormat: "text", LogLevel: "warn",
	}
	if c.OHIF != "" {
		host, _, _ := net.SplitHostPort(c.HTTP)
		flags.ViewerFlags = ViewerFlags{OHIF: freeAddress(net.JoinHostPort(host, "8081")), OHIFDist: c.OHIF}
	}
	if c.Verbose {
		flags.LogLevel = "info"
	}
	return flags
}

// fill makes people and studies that are not there yet.
func (c *DemoCmd) fill(ctx context.Context, node *Node, dir string) error {
	if err := seedPeople(ctx, node); err != nil {
		return err
	}
	if err := seedOrders(ctx, node); err != nil {
		return err
	}
	path := filepath.Join(dir, "demo.json")
	state := demoState{Now: time.Now(), Sent: map[string]bool{}}
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s can't be read; remove it to send the studies again: %w", path, err)
	}
	save := func() error {
		raw, err := json.Marshal(state)
		if err != nil {
			return err
		}
		return os.WriteFile(path, raw, 0o640)
	}
	if err := save(); err != nil {
		return err
	}
	if err := node.known.Refresh(ctx, node.Access); err != nil {
		return err
	}
	sent := 0
	for _, study := range demoStudies(state.Now, c.Studies) {
		if state.Sent[study.StudyInstanceUID()] {
			continue
		}
		if err := sendStudy(ctx, node.DICOMAddr.String(), study); err != nil {
			return err
		}
		state.Sent[study.StudyInstanceUID()] = true
		if err := save(); err != nil {
			return err
		}
		sent++
	}
	if sent == 0 {
		return nil
	}
	if err := waitForTasks(ctx, node, len(state.Sent)); err != nil {
		return err
	}
	return readPriors(ctx, node)
}

// waitForTasks waits until every study sent is complete and on the worklist.
func waitForTasks(ctx context.Context, node *Node, want int) error {
	fmt.Print("  studies become complete ")
	for {
		var have int
		err := node.Index.Pool().QueryRow(ctx, `SELECT count(*) FROM reading_task`).Scan(&have)
		if err != nil {
			return err
		}
		if have >= want {
			fmt.Println(" done")
			return nil
		}
		fmt.Print(".")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (c *DemoCmd) announce(node *Node, sandbox *sandbox) {
	fmt.Printf(`
Ready.

  Web client         %s
  DICOM              %s   AE title TASVIR
  DICOMweb           %s/dicom-web
  FHIR platform      %s   (what has arrived: %s)

  password of every account: %s

`, node.WebURL(), node.DICOMAddr, node.WebURL(), sandbox.url, sandbox.page(), demoPassword)
	if node.OHIFAddr != nil {
		fmt.Printf("  OHIF, the second viewer, is at %s; open it from a study.\n\n", node.OHIFAddr)
	}
	fmt.Printf("  %-12s %-24s %s\n", "user", "role", "name")
	fmt.Printf("  %-12s %-24s %s\n", "admin", pacs.Administrator, "")
	for _, p := range demoPeople {
		where := ""
		if len(p.Facilities) > 0 {
			where = " (" + p.Facilities[0] + ")"
		}
		fmt.Printf("  %-12s %-24s %s%s\n", p.Login, p.Roles[0], p.Name, where)
	}
	fmt.Print("\nCtrl-C stops everything; nothing is lost.\n")
}

// freeAddress is the address if it can be listened on, otherwise one with a
// free port on the same host.
func freeAddress(address string) string {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		host, _, _ := net.SplitHostPort(address)
		return net.JoinHostPort(host, "0")
	}
	_ = ln.Close()
	return address
}
