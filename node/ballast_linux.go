package node

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate makes a file of size bytes that have their place on the disk.
func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = fill(f, size)
	}
	return errors.Join(err, f.Sync(), f.Close())
}
