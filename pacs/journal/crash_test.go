package journal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	crashSenders = 4
	crashSegment = 1 << 20 // small, so that segments are used again and again
)

// crashSize is how long the instance is that a sender sends as its n-th.
func crashSize(sender, n int) int {
	switch n % 9 {
	case 7:
		return bufferLength + 1000*sender // in more than one piece
	case 8:
		return 0
	}
	return (n*7919 + sender*104729) % 200_000
}

// TestKillChild is not a test: it is the process that TestKill kills. It
// receives on several associations, publishes some of it, and says what it has
// done.
func TestKillChild(t *testing.T) {
	dir, round := os.Getenv("JOURNAL_CRASH_DIR"), os.Getenv("JOURNAL_CRASH_ROUND")
	if dir == "" {
		t.Skip("runs as a child of TestKill")
	}
	j, err := Open(Options{Dir: dir, SegmentSize: crashSegment, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	for sender := range crashSenders {
		go func() {
			for n := 0; ; n++ {
				sop := fmt.Sprintf("1.%s.%d.%d", round, sender+1, n+1)
				in := incoming(sop, crashSize(sender, n))
				if n%11 == 10 {
					in.Data = brokenOff{io.LimitReader(in.Data, 150)}
				}
				if _, err := j.Receive(context.Background(), in); err == nil {
					fmt.Printf("received %s\n", sop) // one write(2)
				}
			}
		}()
	}
	fmt.Println("ready")
	for {
		records, err := j.Take(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			if i%4 != 0 || !strings.HasPrefix(r.SOPInstanceUID, "1."+round+".") {
				fmt.Printf("published %s\n", r.SOPInstanceUID)
				j.Drop(r)
			}
		}
	}
}

// TestKill kills a process that receives, again and again with the same
// journal. What it has acknowledged and not published is there, once and byte
// for byte; what is there beside that are instances that were being
// acknowledged at that moment.
func TestKill(t *testing.T) {
	rounds, limit := 200, 8*time.Second
	if testing.Short() {
		rounds, limit = 20, 5*time.Second
	}
	if s := os.Getenv("TASVIR_CRASH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds, limit = n, time.Hour
	}
	dir := t.TempDir()
	received, published := map[string]bool{}, map[string]bool{}
	started, round, total, extra := time.Now(), 0, 0, 0
	for ; round < rounds && time.Since(started) < limit; round++ {
		if round%10 == 9 { // begin with an empty folder
			dir = t.TempDir()
			clear(received)
			clear(published)
		}
		total += killOnce(t, dir, round+1, received, published)
		extra += afterKill(t, dir, received, published)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d rounds, %d instances acknowledged, %d sealed but not yet acknowledged", round, total, extra)
	if total == 0 {
		t.Error("nothing was received in all rounds")
	}
}

// killOnce runs the child until it has acknowledged a random number of
// instances, or a moment longer. It returns how many they were.
func killOnce(t *testing.T, dir string, round int, received, published map[string]bool) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
	cmd.Env = append(os.Environ(), "JOURNAL_CRASH_DIR="+dir, fmt.Sprintf("JOURNAL_CRASH_ROUND=%d", round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	n, last := 0, rand.IntN(60)
	kill := func() {
		if n == last {
			time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, sop, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "ready":
			kill()
		case "received":
			received[sop] = true
			n++
			kill()
		case "published":
			published[sop] = true
		}
	}
	err = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return n
}

// afterKill reads what the child has left, without changing it. It returns how
// many records are there that were not acknowledged.
func afterKill(t *testing.T, dir string, received, published map[string]bool) (extra int) {
	t.Helper()
	j, err := Open(Options{Dir: copyDir(t, dir), SegmentSize: crashSegment, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-j.recovered
	defer func() {
		j.dropAll()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if damaged := files(t, j.options.Dir, "*.damaged"); len(damaged) != 0 {
			t.Errorf("kept as damaged: %v", damaged)
		}
	}()
	there := map[string]bool{}
	j.mu.Lock()
	n := len(j.queue)
	j.mu.Unlock()
	if n > 0 {
		for _, r := range take(t, j, n) {
			if there[r.SOPInstanceUID] {
				t.Errorf("%s is there twice", r.SOPInstanceUID)
			}
			there[r.SOPInstanceUID] = true
			var round, sender, n int
			if _, err := fmt.Sscanf(r.SOPInstanceUID, "1.%d.%d.%d", &round, &sender, &n); err != nil {
				t.Fatal(err)
			}
			checkRecord(t, r, r.SOPInstanceUID, crashSize(sender-1, n-1))
			if !received[r.SOPInstanceUID] && !published[r.SOPInstanceUID] {
				received[r.SOPInstanceUID] = true // from now on it must stay
				extra++
			}
		}
	}
	for sop := range received {
		if !there[sop] && !published[sop] {
			t.Errorf("%s was acknowledged and is lost", sop)
		}
	}
	if extra > crashSenders {
		t.Errorf("%d records were never acknowledged", extra)
	}
	return extra
}
