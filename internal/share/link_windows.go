package share

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// link makes tmp, which is in .tmp, a hard link to the file at the path source.
func (t *tree) link(source, tmp string) error {
	return os.Link(source, filepath.Join(t.root.Name(), filepath.FromSlash(tmp)))
}

const tooManyLinks = windows.ERROR_TOO_MANY_LINKS

// lockFile takes a lock that ends with the process.
func lockFile(f *os.File) error {
	const all = ^uint32(0)
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, all, all, new(windows.Overlapped))
}
