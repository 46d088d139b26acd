package cluster

import (
	"fmt"
	"syscall"
)

// settings are those of a small server on which PostgreSQL is one program of
// several. They are given at every start and stand above postgresql.conf.
func settings(sockets string, unsafe bool) map[string]string {
	ram := memoryMiB()
	s := map[string]string{
		"listen_addresses":        "",
		"port":                    port,
		"unix_socket_directories": sockets,
		"unix_socket_permissions": "0700",

		"max_connections":      "100",
		"shared_buffers":       mib(min(max(ram/8, 128), 2048)),
		"effective_cache_size": mib(max(ram/2, 256)),
		"work_mem":             mib(8),
		"maintenance_work_mem": mib(min(max(ram/32, 64), 512)),
		"random_page_cost":     "1.1", // an SSD
		"jit":                  "off", // costs more than our short queries

		"wal_level":          "replica",
		"wal_compression":    "on",
		"max_wal_size":       mib(2048),
		"checkpoint_timeout": "15min",
		"fsync":              "on",
		"synchronous_commit": "on",
		"full_page_writes":   "on",

		// Its log must not hold patients' data: no statement's text, no DETAIL.
		"log_destination":         "stderr",
		"logging_collector":       "off",
		"log_min_messages":        "warning",
		"log_error_verbosity":     "terse",
		"log_min_error_statement": "panic",
		"log_line_prefix":         "%m [%p] %d ",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
		"cluster_name":            "tasvir",
	}
	if unsafe {
		s["fsync"], s["synchronous_commit"], s["full_page_writes"] = "off", "off", "off"
		s["wal_level"], s["max_wal_senders"], s["wal_compression"] = "minimal", "0", "off"
		s["shared_buffers"] = mib(128)
		s["checkpoint_timeout"] = "1h"
	}
	return s
}

func mib(n uint64) string { return fmt.Sprintf("%dMB", n) }

func memoryMiB() uint64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 1024
	}
	return uint64(info.Totalram) * uint64(info.Unit) >> 20 //nolint:unconvert // the width differs between architectures
}
