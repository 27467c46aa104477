//go:build unix

package courier

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// niceness of what may wait; the usual one is 0, this the highest.
const niceness = 19

// lowPriority gives a process a group of its own, whose priority lowerPriority lowers.
func lowPriority() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// lowerPriority lets others go first. On Linux a priority is that of a thread, and of
// a group that of all threads in it.
func lowerPriority(p *os.Process) error {
	return os.NewSyscallError("setpriority", unix.Setpriority(unix.PRIO_PGRP, p.Pid, niceness))
}
