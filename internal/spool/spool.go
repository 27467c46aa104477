// Package spool makes files of a package out of archives, and out of images that carry
// their debug information inside. It decides which members are of use to a debugger,
// opens archives inside archives, and keeps what is of use in a directory of its own,
// since validation and uploads read files more than once and at any offset. Members of
// no use are named and not kept.
//
// A Dir takes no more disk than container.Limits allow an archive to unpack to, and
// gives all of it back on Close. Memory does not grow with the size of members. A
// Dir is safe for concurrent use.
package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"symkeep/internal/container"
)

// A Room promises disk space before it is used, until release is called.
type Room func(bytes int64) (release func(), err error)

// A Dir is a temporary directory. It is made when the first file goes into it.
type Dir struct {
	parent string
	room   Room
	limits container.Limits

	mu       sync.Mutex
	path     string
	files    int
	closed   bool
	releases []func()
}

// New returns a Dir below parent; an empty parent is the system's directory for
// temporary files. A nil room asks nobody for space.
func New(parent string, room Room) *Dir {
	return &Dir{parent: parent, room: room, limits: container.DefaultLimits()}
}

// Close removes everything. No file of the Dir may be used afterwards.
func (d *Dir) Close() error {
	d.mu.Lock()
	path, releases := d.path, d.releases
	d.path, d.releases, d.closed = "", nil, true
	d.mu.Unlock()
	for _, release := range releases {
		release()
	}
	if path == "" {
		return nil
	}
	return os.RemoveAll(path)
}

// Create makes a new, empty file for the caller to write and close.
func (d *Dir) Create() (*os.File, error) {
	path, err := d.next()
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// Keep writes what r gives to a new file, and returns its path and size.
func (d *Dir) Keep(r io.Reader) (path string, size int64, err error) {
	file, err := d.Create()
	if err != nil {
		return "", 0, err
	}
	size, err = io.Copy(&writer{d: d, file: file}, r)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", 0, errors.Join(err, remove(file.Name()))
	}
	return file.Name(), size, nil
}

// next returns the path of a file that is not there.
func (d *Dir) next() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return "", fs.ErrClosed
	}
	if d.path == "" {
		path, err := os.MkdirTemp(d.parent, "symkeep-")
		if err != nil {
			return "", fmt.Errorf("directory for unpacked files: %w", err)
		}
		d.path = path
	}
	d.files++
	return filepath.Join(d.path, strconv.Itoa(d.files)), nil
}

// roomStep is how much space is asked for at once.
const roomStep = 16 << 20

// A writer writes one file, and asks for space before it does.
type writer struct {
	d    *Dir
	file *os.File
	left int64 // of the space it was promised
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	for w.d.room != nil && w.left < int64(len(p)) {
		release, err := w.d.room(roomStep)
		if err != nil {
			return 0, err
		}
		w.left += roomStep
		w.d.keep(release)
	}
	w.left -= int64(len(p))
	return w.file.Write(p)
}

func (d *Dir) keep(release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.releases = append(d.releases, release)
}

// remove takes back a file of the Dir that is of no use after all.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
