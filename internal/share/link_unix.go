//go:build !windows

package share

import (
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// link makes tmp, which is in .tmp, a hard link to the file at the path source.
// The directory is named by its descriptor, so that nothing put in its place can
// redirect the link.
func (t *tree) link(source, tmp string) error {
	if err := unix.Linkat(unix.AT_FDCWD, source, int(t.tmp.Fd()), path.Base(tmp), 0); err != nil {
		return &os.LinkError{Op: "link", Old: source, New: tmp, Err: err}
	}
	return nil
}

const tooManyLinks = unix.EMLINK

// lockFile takes a lock that ends with the process.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
