package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

// minio is the object store that deploy/minio.sh has built.
type minio struct {
	run    *run
	home   string
	server *child
	port   int
}

const (
	minioUser     = "tasvir-bench"
	minioPassword = "tasvir-bench-secret"
)

func minioBinary() (string, error) {
	cache := os.Getenv("TASVIR_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache", "tasvir")
	}
	binary := filepath.Join(cache, "bin", "minio")
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("there is no MinIO at %s: run deploy/minio.sh", binary)
	}
	return binary, nil
}

func (m *minio) start(ctx context.Context) (err error) {
	binary, err := minioBinary()
	if err != nil {
		return err
	}
	if m.home, err = newHome(m.run.dir, "minio"); err != nil {
		return err
	}
	if m.port, err = freePort(); err != nil {
		return err
	}
	cmd := exec.Command(binary, "server", "--address", loopback(m.port), "--quiet", filepath.Join(m.home, "data"))
	cmd.Env = []string{
		"MINIO_ROOT_USER=" + minioUser, "MINIO_ROOT_PASSWORD=" + minioPassword,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off",
		"HOME=" + m.home, "PATH=" + os.Getenv("PATH"),
	}
	if m.server, err = startChild(cmd, filepath.Join(m.home, "log")); err != nil {
		return err
	}
	return m.server.await(func() error {
		rq, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loopback(m.port)+"/minio/health/ready", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(rq)
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		return nil
	})
}

func (m *minio) url() string {
	query := url.Values{"endpoint": {loopback(m.port)}, "insecure": {"true"}}
	return "s3://tasvir-bench?" + query.Encode()
}

func (m *minio) credentials() []string {
	return []string{"TASVIR_S3_ACCESS_KEY=" + minioUser, "TASVIR_S3_SECRET_KEY=" + minioPassword}
}

func (m *minio) stop() error { return errors.Join(m.server.stop(), removeHome(m.home)) }
