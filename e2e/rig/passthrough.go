package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A ward is a file system that passes through to a directory and has a sickness.
// The page cache is used, which keeps shared mappings, such as those of bbolt, in
// step with writes; nothing is handed to the kernel to do by itself.
type ward struct {
	mu      sync.Mutex
	now     Sickness
	changed chan struct{} // closed at the next change
}

// servePassThrough serves backing at a mount point until orders end. Each order is
// a Sickness, a line of JSON; each is answered by a line, and so is the start.
func servePassThrough(backing, at string, orders io.Reader, answers io.Writer) error {
	w := &ward{changed: make(chan struct{})}
	inner, err := fs.NewLoopbackRoot(backing)
	if err != nil {
		return err
	}
	root := &sickNode{inner.(*fs.LoopbackNode), w}
	second := time.Second
	server, err := fs.Mount(at, root, &fs.Options{
		EntryTimeout: &second, AttrTimeout: &second,
		MountOptions: fuse.MountOptions{FsName: backing, Name: "symkeep-rig", DirectMount: true, MaxBackground: 64},
	})
	if err != nil {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	fmt.Fprintln(answers, "ok")
	for dec := json.NewDecoder(orders); ; {
		var s Sickness
		if err := dec.Decode(&s); err != nil {
			w.set(Sickness{}) // who waits goes on
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, server.Unmount())
		}
		w.set(s)
		if s.FailRead != "" {
			forget(root.EmbeddedInode())
		}
		fmt.Fprintln(answers, "ok")
	}
}

// forget drops cached bytes, so that reads come here.
func forget(n *fs.Inode) {
	if !n.IsDir() {
		_ = n.NotifyContent(0, 0)
	}
	for _, child := range n.Children() {
		forget(child)
	}
}

func (w *ward) set(s Sickness) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = s
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *ward) state() (Sickness, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now, w.changed
}

// fsync returns what an fsync of a file comes to, before or instead of the real
// one. A process that is killed does not wait.
func (w *ward) fsync(ctx context.Context, path string) syscall.Errno {
	for {
		s, changed := w.state()
		if !strings.HasPrefix(path, s.Only) {
			return 0
		}
		switch {
		case s.FailSync:
			return syscall.EIO
		case s.HangSync:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return syscall.EINTR
			}
		case s.SlowSync > 0:
			select {
			case <-time.After(s.SlowSync):
			case <-ctx.Done():
				return syscall.EINTR
			}
		}
		return 0
	}
}

func (w *ward) write(ctx context.Context, path string) syscall.Errno {
	for {
		s, changed := w.state()
		switch {
		case !strings.HasPrefix(path, s.Only):
			return 0
		case s.FailWrite:
			return syscall.EIO
		case !s.HangWrite:
			return 0
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return syscall.EINTR
		}
	}
}

func (w *ward) read(path string) syscall.Errno {
	if s, _ := w.state(); s.FailRead != "" && strings.HasPrefix(path, s.FailRead) {
		return syscall.EIO
	}
	return 0
}

// A sickNode is a file or directory of a ward.
type sickNode struct {
	*fs.LoopbackNode
	ward *ward
}

// WrapChild makes every node of the file system one of the ward.
func (n *sickNode) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &sickNode{child.(*fs.LoopbackNode), n.ward}
}

// below returns the node's path below the data directory, which is one below the
// root.
func (n *sickNode) below() string { return strings.TrimPrefix(n.Path(nil), "data/") }

// Open opens a file whose operations the ward sees.
func (n *sickNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &sickFile{fh.(*fs.LoopbackFile), n.ward, n.below}, 0, 0
}

// Create makes and opens a file whose operations the ward sees.
func (n *sickNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.ward.write(ctx, strings.TrimPrefix(filepath.Join(n.Path(nil), name), "data/")); errno != 0 {
		return nil, nil, 0, errno
	}
	node, fh, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	below := func() string { return strings.TrimPrefix(node.Path(nil), "data/") }
	return node, &sickFile{fh.(*fs.LoopbackFile), n.ward, below}, 0, 0
}

// CopyFileRange makes the kernel copy by reads and writes, which the ward sees.
func (n *sickNode) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// OpendirHandle opens a directory whose fsync the ward sees.
func (n *sickNode) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, _, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &sickDir{fh.(directory), n}, 0, 0
}

// A directory is what an open directory of go-fuse can do.
type directory interface {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
	fs.FileFsyncdirer
}

// A sickDir is an open directory of a ward.
type sickDir struct {
	directory
	node *sickNode
}

// Fsyncdir syncs the directory as the sickness lets it.
func (d *sickDir) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	if errno := d.node.ward.fsync(ctx, d.node.below()+"/"); errno != 0 {
		return errno
	}
	return d.directory.Fsyncdir(ctx, flags)
}

// A sickFile is an open file of a ward.
type sickFile struct {
	*fs.LoopbackFile
	ward  *ward
	below func() string
}

// PassthroughFd keeps the kernel from reading and writing past the ward.
func (f *sickFile) PassthroughFd() (int, bool) { return 0, false }

// Read reads as the sickness lets it.
func (f *sickFile) Read(ctx context.Context, buf []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.ward.read(f.below()); errno != 0 {
		return nil, errno
	}
	return f.LoopbackFile.Read(ctx, buf, off)
}

// Write writes as the sickness lets it.
func (f *sickFile) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.ward.write(ctx, f.below()); errno != 0 {
		return 0, errno
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

// Fsync syncs as the sickness lets it.
func (f *sickFile) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if errno := f.ward.fsync(ctx, f.below()); errno != 0 {
		return errno
	}
	return f.LoopbackFile.Fsync(ctx, flags)
}
