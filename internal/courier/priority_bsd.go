//go:build unix && !linux

package courier

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lowest priority there is; the usual one is 0.
const lowest = 19

// lowPriority gives a process a group of its own, whose priority lowerPriority lowers.
func lowPriority() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// lowerPriority lets others go first.
func lowerPriority(p *os.Process) error {
	return os.NewSyscallError("setpriority", unix.Setpriority(unix.PRIO_PGRP, p.Pid, lowest))
}
