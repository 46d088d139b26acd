package publish

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// niceness of the publisher's threads: at full load a receiver gets three
// times the time that a publisher does; alone, the publisher has it all.
const niceness = 5

// background gives the calling goroutine a thread of its own that steps back
// when there is not enough processor and disk for all: receiving, which a
// modality waits for, goes first. A failure costs only that.
func background() {
	runtime.LockOSThread() // until the goroutine and with it the thread ends
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), niceness)
	const (
		whoProcess = 1 // which means a thread, ioprio_set(2)
		bestEffort = 2 << 13
		lowest     = 7
	)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(unix.Gettid()), bestEffort|lowest)
}
