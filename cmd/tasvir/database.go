package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
)

// DatabaseFlags say where the index is.
type DatabaseFlags struct {
	Data     string `env:"TASVIR_DATA" type:"path" placeholder:"DIR" help:"Folder for journal, database and images (default: /var/lib/tasvir as root, ~/.local/share/tasvir otherwise)."`
	Database string `env:"TASVIR_DATABASE" placeholder:"URL" help:"PostgreSQL to use (postgres://…). Without it a private one runs in the data folder."`
}

// dir is the data folder.
func (f DatabaseFlags) dir() string {
	if f.Data != "" {
		return f.Data
	}
	return defaultData()
}

func defaultData() string {
	if os.Getuid() == 0 {
		return "/var/lib/tasvir"
	}
	if base := os.Getenv("XDG_DATA_HOME"); base != "" {
		return filepath.Join(base, "tasvir")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "tasvir-data"
	}
	return filepath.Join(home, ".local", "share", "tasvir")
}

// clusterDir is where the private PostgreSQL lives.
func (f DatabaseFlags) clusterDir() string { return filepath.Join(f.dir(), "postgres") }

// openDatabase opens the index for a command beside the server: the configured
// database, or the private one, started for as long as the command runs if no
// server has it running.
func openDatabase(ctx context.Context, flags DatabaseFlags) (ix *index.Index, close func(), err error) {
	url := flags.Database
	stop := func() {}
	if url == "" {
		c, err := cluster.Attach(ctx, cluster.Options{Dir: flags.clusterDir(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, nil, err
		}
		url = c.URL(cluster.Database)
		stop = func() { _ = c.Stop(context.WithoutCancel(ctx)) }
	}
	ix, err = index.Open(ctx, url)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return ix, func() { ix.Close(); stop() }, nil
}
