package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// machine is where a run was made, and with what.
type machine struct {
	Processor string            `json:"processor"`
	Cores     int               `json:"cores"`
	Memory    uint64            `json:"memory_bytes"`
	Kernel    string            `json:"kernel"`
	Disk      string            `json:"disk"` // the file system of the scratch folder
	Sync      float64           `json:"fdatasync_ms"`
	Versions  map[string]string `json:"versions"`
	order     []string
}

func (m machine) text() string {
	var versions []string
	for _, name := range m.order {
		versions = append(versions, name+" "+m.Versions[name])
	}
	return fmt.Sprintf("%d cores of %s, %d MB, Linux %s, %s on which 64 KB and fdatasync take %s ms (median). %s.",
		m.Cores, m.Processor, m.Memory>>20, m.Kernel, m.Disk, figure(m.Sync), strings.Join(versions, "; "))
}

// examine looks at the machine and asks the programs for their versions.
func examine(ctx context.Context, r *run) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Versions: map[string]string{}}
	m.Processor = field("/proc/cpuinfo", "model name")
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err == nil {
		m.Memory = uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // the width differs between architectures
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(kernel))
	m.Disk = firstLine(ctx, "df", "--output=fstype", r.dir)
	var err error
	if m.Sync, err = timeToSync(r.dir); err != nil {
		return m, err
	}
	for _, program := range []struct {
		name string
		args []string
	}{
		{"tasvir", []string{r.binary, "--version"}},
		{"dcmtk", []string{"storescp", "--version"}},
		{"orthanc", []string{"/usr/sbin/Orthanc", "--version"}},
		{"postgresql", postgresVersion()},
	} {
		if text := firstLine(ctx, program.args[0], program.args[1:]...); text != "" {
			m.Versions[program.name] = text
			m.order = append(m.order, program.name)
		}
	}
	return m, nil
}

func postgresVersion() []string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return []string{"postgres", "--version"}
	}
	return []string{found[len(found)-1], "--version"}
}

// firstLine is the last word of what a program prints first that has a digit
// in it, or the whole line; "" if there is no such program.
func firstLine(ctx context.Context, program string, args ...string) string {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) == 0 {
		return ""
	}
	if args[0] != "--version" {
		return strings.TrimSpace(lines[len(lines)-1])
	}
	for _, word := range strings.Fields(lines[0]) {
		if strings.ContainsAny(word, "0123456789") {
			return strings.TrimSuffix(word, ",")
		}
	}
	return strings.TrimSpace(lines[0])
}

// field is the first value of a name in a file such as /proc/cpuinfo.
func field(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		key, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// timeToSync is the median time, in milliseconds, of appending 64 KB and
// fdatasync: what a durable answer costs at least.
func timeToSync(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	block := make([]byte, 64<<10)
	var samples []float64
	for range 50 {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		samples = append(samples, time.Since(began).Seconds()*1000)
	}
	return median(samples), nil
}

// noteLoad keeps how busy the machine is.
func (r *run) noteLoad(what string) {
	var load float64
	text, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(text), &load)
	r.report.Load = append(r.report.Load, loadAverage{what, load})
}

// processorTime is the time that processes and their children, ended ones
// too, have taken of the processors.
func processorTime(pids []int) time.Duration {
	const ticks = 100 // a second, in /proc: USER_HZ
	var sum int64
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d", pid)
		stat, _ := os.ReadFile(dir + "/stat")
		// The name, in brackets, may hold anything; utime is the 14th field.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 15 {
			continue // it has just ended
		}
		for _, text := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.ParseInt(text, 10, 64)
			sum += n
		}
		for _, child := range childrenOf(pid) {
			sum += int64(processorTime([]int{child}) * ticks / time.Second)
		}
	}
	return time.Duration(sum) * time.Second / ticks
}

// childrenOf are the processes that a process has started and that run.
func childrenOf(pid int) (children []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(text)) {
			if id, err := strconv.Atoi(child); err == nil {
				children = append(children, id)
			}
		}
	}
	return children
}
