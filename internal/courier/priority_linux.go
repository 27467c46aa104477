package courier

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// lowPriority keeps the signals of a terminal from the process: the node ends it.
func lowPriority() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// lowerPriority lets others go first, with the policy SCHED_IDLE of sched(7). The
// highest niceness would share the processors as fairly, but a thread that wakes up
// then waits until the slice of a nice one ends, milliseconds; an idle one makes room
// at once. A policy is that of a thread, and of those it starts from then on.
func lowerPriority(p *os.Process) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	lowered := map[string]bool{}
	for {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid))
		if err != nil {
			return err
		}
		before := len(lowered)
		for _, t := range threads {
			if lowered[t.Name()] {
				continue
			}
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			err = unix.SchedSetAttr(id, &attr, 0)
			if err != nil && !errors.Is(err, unix.ESRCH) { // otherwise it has ended
				return os.NewSyscallError("sched_setattr", err)
			}
			lowered[t.Name()] = true
		}
		if len(lowered) == before {
			return nil
		}
	}
}
