package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// tasvir is the archive as "make build" builds it, with its private PostgreSQL
// and packs in a folder or, with minio, in MinIO.
type tasvir struct {
	run   *run
	minio bool
	build string   // the binary, when it is not the one to measure
	flags []string // further ones for serve

	home   string
	server *child
	store  *minio
	web    string
	port   string // host:port of the DICOM port
}

func (t *tasvir) name() string {
	switch {
	case t.minio:
		return tasvirOnMinIO
	case t.build != "":
		return earlierName
	}
	return "tasvir"
}

const tasvirOnMinIO = "tasvir on MinIO"

func (t *tasvir) dicom() (address, aet string) { return t.port, "TASVIR" }

func (t *tasvir) data() string { return filepath.Join(t.home, "data") }

func (t *tasvir) start(ctx context.Context) (err error) {
	if t.home, err = newHome(t.run.dir, "tasvir"); err != nil {
		return err
	}
	if t.minio {
		t.store = &minio{run: t.run}
		if err := t.store.start(ctx); err != nil {
			return err
		}
	}
	return t.serve()
}

var readyLine = regexp.MustCompile(`msg=ready web=(\S+) dicom=(\S+)`)

// serve starts the server on the data there is.
func (t *tasvir) serve() error {
	log := filepath.Join(t.home, "log")
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	args := []string{
		"serve", "--data", t.data(), "--http", "127.0.0.1:0", "--dicom", "127.0.0.1:0",
		"--unknown-ae", "park", "--trusted-loopback",
	}
	cmd := exec.Command(cmp.Or(t.build, t.run.binary), append(args, t.flags...)...)
	cmd.Env = append(os.Environ(), "TASVIR_ADMIN_PASSWORD=only for this benchmark")
	if t.minio {
		cmd.Args = append(cmd.Args, "--store", t.store.url())
		cmd.Env = append(cmd.Env, t.store.credentials()...)
	}
	var err error
	if t.server, err = startChild(cmd, log); err != nil {
		return err
	}
	return t.server.await(func() error {
		found, err := findLine(log, readyLine)
		if err == nil {
			t.web, t.port = found[1], found[2]
		}
		return err
	})
}

// findLine finds the first line of a file that matches.
func findLine(name string, pattern *regexp.Regexp) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if found := pattern.FindStringSubmatch(lines.Text()); found != nil {
			return found, nil
		}
	}
	return nil, errors.New("not ready yet")
}

// know is asked.know. Whose images were parked for want of a registration is
// registered only now, as one that sees everything.
func (t *tasvir) know(ctx context.Context, port int) error {
	for _, args := range [][]string{
		{"BENCH", pacs.Unassigned, "--service", "store,query,retrieve", "--all-facilities"},
		{"MOVER", pacs.Unassigned, "--address", loopback(port), "--destination"},
	} {
		cmd := exec.CommandContext(ctx, cmp.Or(t.build, t.run.binary), append([]string{"device", "add"}, args...)...)
		cmd.Env = append(os.Environ(), "TASVIR_DATA="+t.data())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %.300s", err, out)
		}
	}
	// A new device is known within two seconds.
	deadline := time.Now().Add(countPatience)
	for {
		_, err := findRate(ctx, t)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (t *tasvir) qido() string { return strings.TrimSuffix(t.web, "/") + "/dicom-web" }

func (t *tasvir) count(ctx context.Context) (int, error) { return countInQIDO(ctx, t.qido()) }

func (t *tasvir) pids() []int {
	if t.store != nil {
		return []int{t.server.pid(), t.store.server.pid()}
	}
	return []int{t.server.pid()}
}

func (t *tasvir) stop() error {
	err := t.server.stop()
	if t.store != nil {
		err = errors.Join(err, t.store.stop())
	}
	return errors.Join(err, removeHome(t.home))
}

// removeHome removes a folder that newHome has made.
func removeHome(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}
