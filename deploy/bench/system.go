package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// system is something that takes images and can be asked how many it has.
type system interface {
	name() string
	// start starts it, empty. It is ready to receive when nil is returned.
	start(ctx context.Context) error
	// dicom is where it listens, and aet what it is called.
	dicom() (address, aet string)
	// count is how many instances it shows: in QIDO-RS, or as files where there
	// is no index.
	count(ctx context.Context) (int, error)
	// pids are the processes whose time, with that of their children, is its.
	pids() []int
	// stop ends it and removes its data.
	stop() error
}

// newHome makes a data folder. PostgreSQL, which runs as another user when
// we are root, must get in.
func newHome(parent, name string) (string, error) {
	dir, err := os.MkdirTemp(parent, name+"-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// freePort is a loopback port that nobody has at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// echo asks a system for a sign of life.
func echo(ctx context.Context, s system) error {
	address, aet := s.dicom()
	client, err := dimse.Dial(ctx, address, dimse.Dialer{CallingAE: "BENCH", CalledAE: aet})
	if err != nil {
		return err
	}
	defer client.Close()
	status, err := client.Echo(ctx)
	if err == nil && !status.OK() {
		err = fmt.Errorf("C-ECHO: %s", status)
	}
	if err == nil {
		err = client.Release(ctx)
	}
	return err
}

// qidoClient keeps its connections, as a viewer's server would.
var qidoClient = &http.Client{
	Timeout:   5 * time.Minute,
	Transport: &http.Transport{MaxIdleConnsPerHost: 16},
}

// qido asks a QIDO-RS question.
func qido(ctx context.Context, url string, out any) error {
	raw, _, err := ask(ctx, url)
	if err == nil && len(raw) > 0 {
		err = json.Unmarshal(raw, out)
	}
	return err
}

// ask asks for a page and returns it with the address of the next, "" after
// the last.
func ask(ctx context.Context, url string) (raw []byte, next string, err error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	rq.Header.Set("Accept", "application/dicom+json")
	answer, err := qidoClient.Do(rq)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	if raw, err = io.ReadAll(answer.Body); err != nil {
		return nil, "", err
	}
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNoContent {
		return nil, "", fmt.Errorf("QIDO-RS %s: %s %.300s", url, answer.Status, raw)
	}
	for _, link := range answer.Header.Values("Link") {
		address, rest, _ := strings.Cut(link, ">")
		if strings.Contains(rest, `rel="next"`) {
			next = strings.TrimPrefix(address, "<")
		}
	}
	return raw, next, nil
}

// studyRow is what a count needs of a QIDO-RS answer.
type studyRow struct {
	Study     struct{ Value []string } `json:"0020000D"`
	Instances struct{ Value []any }    `json:"00201208"` // Number of Study Related Instances
}

// instances is the number of instances, which some write as a string.
func (r studyRow) instances() int {
	if len(r.Instances.Value) == 0 {
		return 0
	}
	switch v := r.Instances.Value[0].(type) {
	case float64:
		return int(v)
	case string:
		n, _ := strconv.Atoi(v)
		return n
	}
	return 0
}

// countInQIDO sums the instances of all studies.
func countInQIDO(ctx context.Context, base string) (int, error) {
	const page = 500
	total := 0
	for offset := 0; ; offset += page {
		var rows []studyRow
		if err := qido(ctx, fmt.Sprintf("%s/studies?includefield=00201208&limit=%d&offset=%d", base, page, offset), &rows); err != nil {
			return 0, err
		}
		for _, r := range rows {
			total += r.instances()
		}
		if len(rows) < page {
			return total, nil
		}
	}
}

// awaitCount waits until a system shows n instances and returns when that was.
func awaitCount(ctx context.Context, s system, n int, pause time.Duration) (time.Time, error) {
	deadline := time.Now().Add(countPatience)
	for {
		have, err := s.count(ctx)
		now := time.Now()
		switch {
		case err != nil:
			return now, fmt.Errorf("%s: %w", s.name(), err)
		case have == n:
			return now, nil
		case have > n:
			return now, fmt.Errorf("%s shows %d instances, sent were %d", s.name(), have, n)
		case now.After(deadline):
			return now, fmt.Errorf("%s shows %d instances %s after the last was acknowledged, sent were %d", s.name(), have, countPatience, n)
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-time.After(pause):
		}
	}
}

const countPatience = 3 * time.Minute
