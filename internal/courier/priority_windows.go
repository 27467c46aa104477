package courier

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// lowPriority lets others go first.
func lowPriority() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.BELOW_NORMAL_PRIORITY_CLASS | windows.CREATE_NEW_PROCESS_GROUP}
}

func lowerPriority(*os.Process) error { return nil }
