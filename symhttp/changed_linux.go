package symhttp

import (
	"os"
	"syscall"
)

// changed is when the file or its attributes last changed, in nanoseconds. Nobody
// can set it back, as the modification time can be.
func changed(file os.FileInfo) int64 {
	if st, ok := file.Sys().(*syscall.Stat_t); ok {
		return syscall.TimespecToNsec(st.Ctim)
	}
	return 0
}
