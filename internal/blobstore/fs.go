package blobstore

import (
	"io"
	"os"
)

// File is what the store needs of an open file; *os.File is one.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// FS is the file system under a store, so that tests can break it. Every path is
// absolute or relative to the working directory.
type FS interface {
	// Create makes a new file for reading and writing.
	Create(path string) (File, error)
	// Open opens a file for reading.
	Open(path string) (*os.File, error)
	// Rename replaces what is at to.
	Rename(from, to string) error
	Remove(path string) error
	// Mkdir makes one directory; one that exists is fine.
	Mkdir(path string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(path string) error
	// Usage returns the bytes used and available to us on the file system.
	Usage(path string) (used, avail int64, err error)
}

// OS is the real file system.
type OS struct{}

// Create implements FS.
func (OS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Open implements FS.
func (OS) Open(path string) (*os.File, error) { return os.Open(path) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// Mkdir implements FS.
func (OS) Mkdir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}
