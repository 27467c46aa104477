package blobstore

import (
	"os"

	"golang.org/x/sys/windows"
)

// SyncDir implements FS: NTFS journals its directories by itself.
func (OS) SyncDir(string) error { return nil }

// Usage implements FS.
func (OS) Usage(path string) (used, avail int64, err error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	var free, total, totalFree uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, &total, &totalFree); err != nil {
		return 0, 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: path, Err: err}
	}
	return int64(total - totalFree), int64(free), nil
}
