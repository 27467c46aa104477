//go:build !linux

package node

import (
	"errors"
	"os"
)

// allocate makes a file of size bytes that have their place on the disk.
func allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(fill(f, size), f.Sync(), f.Close())
}
