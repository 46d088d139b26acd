package main

import (
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/index/indextest"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
)

// Two nodes with journals of their own publish into one database and one
// store: instances that only one of them received, and, at the same time, the
// very same instances that a modality sent to both. Each is there once.
func TestTwoNodesPublish(t *testing.T) {
	database, minio := indextest.New(t, nil), miniotest.Start(t)
	env := append(minio.Env(), "TASVIR_DATABASE="+database, "TASVIR_STORE="+minio.URL("tasvir-two-nodes"))
	flags := []string{"--unknown-ae", "park", "--trusted-loopback"}
	one := startArchive(t, env, flags...)
	two := startArchive(t, env, flags...)

	first, second := newLoad(t), newLoad(t)
	first.strict, second.strict = true, true
	first.to(one)
	second.to(two)
	first.start(1, 2, 8, 9)
	second.start(1, 2, 4, 5) // 1 and 2 send the same to both
	first.more(600)
	second.more(600)
	first.stop()
	second.stop()

	// Everything is visible on both, whoever took it.
	all := newLoad(t)
	seen := map[parcel]bool{}
	for _, p := range append(first.acknowledged, second.acknowledged...) {
		if !seen[p] {
			seen[p] = true
			all.acknowledged = append(all.acknowledged, p)
		}
	}
	both := len(first.acknowledged) + len(second.acknowledged) - len(all.acknowledged)
	if both < 100 {
		t.Errorf("only %d instances came to both nodes", both)
	}
	all.arrived(one, database)
	all.arrived(two, database)
	t.Logf("%d instances, %d of them by both nodes", len(all.acknowledged), both)
	one.stop()
	two.stop()
}
