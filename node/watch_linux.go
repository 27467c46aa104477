package node

import (
	"net"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// shutSockets shuts down every TCP connection that was accepted on one of the
// addresses, whoever holds it: also one that a stuck thread is about to write to.
func shutSockets(addrs ...net.Addr) {
	var ports []int
	for _, a := range addrs {
		if t, ok := a.(*net.TCPAddr); ok {
			ports = append(ports, t.Port)
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		port := 0
		switch sa, _ := unix.Getsockname(fd); sa := sa.(type) {
		case *unix.SockaddrInet4:
			port = sa.Port
		case *unix.SockaddrInet6:
			port = sa.Port
		}
		if port != 0 && slices.Contains(ports, port) {
			_ = unix.Shutdown(fd, unix.SHUT_RDWR) // fails where nobody is connected
		}
	}
}
