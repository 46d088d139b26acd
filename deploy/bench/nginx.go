package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
)

// nginx sends files from a folder as fast as anything does: what a server of
// images is held against.
type nginx struct {
	home   string
	server *child
	port   int
}

const nginxName = "nginx"

func nginxBinary() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	const path = "/usr/sbin/nginx" // not in an ordinary user's PATH
	_, err := os.Stat(path)
	return path, err
}

// start serves what is put into files().
func (n *nginx) start(parent string) (err error) {
	binary, err := nginxBinary()
	if err != nil {
		return errors.New("nginx is not installed: run deploy/install-debian.sh bench")
	}
	if n.home, err = newHome(parent, nginxName); err != nil {
		return err
	}
	if err := os.Mkdir(n.files(), 0o755); err != nil {
		return err
	}
	if n.port, err = freePort(); err != nil {
		return err
	}
	config := filepath.Join(n.home, "nginx.conf")
	text := fmt.Sprintf(`daemon off;
worker_processes auto;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 100000;
	default_type application/octet-stream;
	client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
	server { listen 127.0.0.1:%[2]d; root %[3]s; }
}
`, n.home, n.port, n.files())
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // our folders are closed to others
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if n.server, err = startChild(exec.Command(binary, "-c", config, "-p", n.home), filepath.Join(n.home, "log")); err != nil {
		return err
	}
	return n.server.await(func() error {
		answer, err := http.Get(n.url(""))
		if err == nil {
			_ = answer.Body.Close()
		}
		return err
	})
}

func (n *nginx) files() string { return filepath.Join(n.home, "files") }

func (n *nginx) url(name string) string { return "http://" + loopback(n.port) + "/" + name }

func (n *nginx) stop() error { return errors.Join(n.server.stop(), removeHome(n.home)) }
