package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
)

// orthanc is Debian's Orthanc at its best: index in PostgreSQL, images in
// files (its documentation advises against images in the database), Nagle's
// algorithm off. PostgreSQL is started exactly as Tasvir starts its own.
type orthanc struct {
	run      *run
	home     string
	database *cluster.Cluster
	server   *child
	web      int
	port     int
}

func (o *orthanc) name() string { return "orthanc" }

func (o *orthanc) dicom() (address, aet string) { return loopback(o.port), "ORTHANC" }

const orthancPlugins = "/usr/share/orthanc/plugins"

func orthancBinary() (string, error) {
	if path, err := exec.LookPath("Orthanc"); err == nil {
		return path, nil
	}
	const path = "/usr/sbin/Orthanc" // not in an ordinary user's PATH
	_, err := os.Stat(path)
	return path, err
}

func (o *orthanc) start(ctx context.Context) (err error) {
	binary, err := orthancBinary()
	if err != nil {
		return errors.New("orthanc is not installed: run deploy/install-debian.sh bench")
	}
	if o.home, err = newHome(o.run.dir, "orthanc"); err != nil {
		return err
	}
	if o.web, err = freePort(); err != nil {
		return err
	}
	if o.port, err = freePort(); err != nil {
		return err
	}
	o.database, err = cluster.Start(ctx, cluster.Options{Dir: filepath.Join(o.home, "postgres"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	config, err := o.configuration()
	if err != nil {
		return err
	}
	file := filepath.Join(o.home, "orthanc.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	cmd := exec.Command(binary, file)
	cmd.Dir = o.home
	cmd.Env = withoutNagle(os.Environ(), false)
	if o.server, err = startChild(cmd, filepath.Join(o.home, "log")); err != nil {
		return err
	}
	return o.server.await(func() error {
		if _, err := o.count(ctx); err != nil {
			return err
		}
		return echo(ctx, o)
	})
}

func (o *orthanc) configuration() ([]byte, error) {
	address, err := url.Parse(o.database.URL(cluster.Database))
	if err != nil {
		return nil, err
	}
	query := address.Query()
	return json.MarshalIndent(map[string]any{
		"Name":                  "bench",
		"StorageDirectory":      filepath.Join(o.home, "storage"),
		"Plugins":               []string{orthancPlugins + "/libOrthancPostgreSQLIndex.so", orthancPlugins + "/libOrthancDicomWeb.so"},
		"RemoteAccessAllowed":   true,
		"AuthenticationEnabled": false,
		"HttpPort":              o.web,
		"DicomServerEnabled":    true,
		"DicomAet":              "ORTHANC",
		"DicomPort":             o.port,
		"DicomCheckCalledAet":   false,
		"DicomAlwaysAllowFind":  true,
		"DicomAlwaysAllowGet":   true,
		"DicomAlwaysAllowMove":  true,
		"PostgreSQL": map[string]any{
			"EnableIndex": true, "EnableStorage": false, "EnableSsl": false,
			"Host": query.Get("host"), "Port": 5432, "Database": cluster.Database, "Username": query.Get("user"), "Password": "",
		},
	}, "", "  ")
}

// know is asked.know.
func (o *orthanc) know(ctx context.Context, port int) error {
	body, err := json.Marshal(map[string]any{"AET": "MOVER", "Host": "127.0.0.1", "Port": port})
	if err != nil {
		return err
	}
	rq, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+loopback(o.web)+"/modalities/mover", bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := qidoClient.Do(rq)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("orthanc takes no modality: %s", answer.Status)
	}
	return nil
}

func (o *orthanc) qido() string { return "http://" + loopback(o.web) + "/dicom-web" }

func (o *orthanc) count(ctx context.Context) (int, error) { return countInQIDO(ctx, o.qido()) }

func (o *orthanc) pids() []int { return []int{o.server.pid(), o.database.PID()} }

func (o *orthanc) stop() error {
	err := o.server.stop()
	if o.database != nil {
		err = errors.Join(err, o.database.Stop(context.Background()))
	}
	return errors.Join(err, removeHome(o.home))
}
