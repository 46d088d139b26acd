// Command bench measures the archive beside its peers, one after the other in
// one run on one machine, and prints a table of medians and ratios with the
// numbers that Tasvir wants to reach. "make bench" builds everything and runs
// it; deploy/bench/README.md says what is measured, and how to ask for a part.
//
// It is never a test: nothing fails because a machine is slow. What does end
// it is a count that is wrong, for a receiver that loses images is not fast.
//
// # How it works
//
//   - study.go makes the studies: generated once, then given fresh UIDs,
//     patients and accession numbers for each use, so that nothing a receiver
//     gets is a duplicate. All files are written before a clock starts.
//   - system.go is what a system under test can do; tasvir.go, orthanc.go,
//     storescp.go, nginx.go and minio.go start each on free loopback ports with its data
//     in a folder of its own on the same disk; child.go runs and ends them.
//   - storescu.go is dcmtk's sender, one process per association, with the
//     time it needs for its own start taken off.
//     sender.go is our own, which tells when each instance was acknowledged.
//   - receive.go, sustained.go, onminio.go, visible.go, memory.go, scale.go,
//     merge.go, queryretrieve.go, dicomweb.go, slide.go and pullers.go are the
//     parts of a run; main.go lists them.
//   - report.go keeps samples, compares them with the targets, and writes
//     table, JSON and Markdown; machine.go says where all this was measured.
package main
