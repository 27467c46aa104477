package symhttp

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file do not wait: the sockets are ones that do not block. So the runtime
// is not told about them, which would have it look after a processor that seems to be held
// up, and give it away. Errors are those of the call, unwrapped.

// pollNow returns how many events there are, with the first of them.
func pollNow(poll int, events []unix.EpollEvent) int {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll),
			uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case unix.EINTR:
		default:
			return 0
		}
	}
}

// readNow reads what there is. p is not empty.
func readNow(fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendNow sends what there is room for, of head and then of body. head is not empty. flags
// are those of send(2), beside the ones that it always has.
func sendNow(fd int, head, body []byte, flags uintptr) (int, error) {
	flags |= unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	var n uintptr
	var errno syscall.Errno
	if len(body) == 0 {
		n, _, errno = syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(&head[0])), uintptr(len(head)), flags, 0, 0)
	} else {
		parts := [2]unix.Iovec{{Base: &head[0]}, {Base: &body[0]}}
		parts[0].SetLen(len(head))
		parts[1].SetLen(len(body))
		msg := unix.Msghdr{Iov: &parts[0]}
		msg.SetIovlen(len(parts))
		n, _, errno = syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), flags)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendFileNow sends what there is room for of n bytes of a file, from at on or, if that is
// nil, from its position; that moves along. They are in the page cache, else it waits for
// the disk.
func sendFileNow(fd, file int, at *int64, n int64) (int64, error) {
	k, _, errno := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(fd), uintptr(file),
		uintptr(unsafe.Pointer(at)), uintptr(n), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int64(k), nil
}

// inPageCache reports whether a part of a file is in the page cache, as far as a byte of
// each 64 KiB, and the last, tell. Not every file system does.
func inPageCache(file int, off, n int64) bool {
	var b [1]byte
	for end := off + n; off < end; off = min(off+64<<10, max(end-1, off+1)) {
		if k, err := unix.Preadv2(file, [][]byte{b[:]}, off, unix.RWF_NOWAIT); err != nil || k != 1 {
			return false
		}
	}
	return true
}
