package symhttp

import (
	"io"
	"net"
	"os"

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

// cachedPiece is how much of a file is sent in one call: it holds a processor for some 0.2 ms.
const cachedPiece = 512 << 10

// sendCached sends of a part of a file what is in the page cache, up to the first piece that
// is not, or cannot be sent; r is at the rest then. The runtime does not hear of the calls,
// else it gives the processor away during each, which takes longer than the next answer would
// have to wait. It sends nothing of what is no part of a file, and on what is no TCP
// connection. atOnce reports that all of it was sent and there was room at every time.
func sendCached(conn net.Conn, r io.Reader) (sent int64, atOnce bool, err error) {
	t, tcp := conn.(*net.TCPConn)
	part, ok := r.(*io.LimitedReader)
	if !tcp || !ok {
		return 0, false, nil
	}
	f, ok := part.R.(*os.File)
	if !ok {
		return 0, false, nil
	}
	to, err := t.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	from, err := f.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, false, err
	}
	atOnce = true
	for part.N > 0 {
		n := min(part.N, cachedPiece)
		var k int64
		var failed error
		err := to.Write(func(socket uintptr) bool {
			k, failed = 0, nil // so it stays for what is not cached, and for a closed file
			_ = from.Control(func(file uintptr) {
				if inPageCache(int(file), at, n) {
					k, failed = sendFileNow(int(socket), int(file), nil, n)
				}
			})
			atOnce = atOnce && k == n
			return failed != unix.EAGAIN
		})
		switch {
		case err != nil:
			return sent, false, err
		case failed == unix.EINTR:
		case failed != nil || k == 0:
			return sent, false, nil // whoever sends the rest meets the same
		}
		sent, at, part.N = sent+k, at+k, part.N-k
	}
	return sent, atOnce, nil
}
