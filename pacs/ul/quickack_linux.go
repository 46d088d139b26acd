package ul

import (
	"net"

	"golang.org/x/sys/unix"
)

// quickAck returns a function that makes the kernel acknowledge at once what it
// received. Senders that leave Nagle's algorithm on, dcmtk's among them, hold
// back the tail of each object until the head is acknowledged, and Linux delays
// that by 40 ms. The option does not last (tcp(7)), so it is set after every
// read.
func quickAck(c *net.TCPConn) func() {
	raw, err := c.SyscallConn()
	if err != nil {
		return func() {}
	}
	set := func(fd uintptr) {
		// A failure costs speed only.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}
	_ = raw.Control(set)
	return func() { _ = raw.Control(set) }
}
