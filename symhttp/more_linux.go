package symhttp

import (
	"net"

	"golang.org/x/sys/unix"
)

// moreWriter returns how to write to a TCP connection what more follows at once: the
// kernel keeps the part that does not fill a segment until the next write, for up to
// 200 ms. Source: tcp(7) and send(2), MSG_MORE. It is nil for other connections.
func moreWriter(conn net.Conn) func(p []byte) (int, error) {
	t, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil // it is closed
	}
	return func(p []byte) (n int, err error) {
		for n < len(p) && err == nil {
			waited := raw.Write(func(fd uintptr) bool {
				var sent int
				sent, err = unix.SendmsgN(int(fd), p[n:], nil, nil, unix.MSG_MORE|unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
				switch err {
				case unix.EAGAIN:
					return false
				case unix.EINTR:
					err = nil // the loop goes on
				case nil:
					n += sent
				}
				return true
			})
			if waited != nil {
				return n, waited
			}
		}
		return n, err
	}
}
