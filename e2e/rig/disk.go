package rig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// A Disk is what a data directory lies on. The zero value is the file system of
// Config.Dir, which can be filled or frozen by nobody.
type Disk struct {
	Kind DiskKind
	Size int64 // DiskLoop: bytes, default 96 MiB
	Raft int64 // DiskLoop: bytes of another disk for the directory raft; 0: none
}

// A DiskKind is how the faults of a disk are made.
type DiskKind int

// Disk kinds.
const (
	DiskPlain DiskKind = iota // no faults
	DiskLoop                  // ext4 of its own: can be full or frozen
	DiskFUSE                  // passed through by a process of the rig: can be slow, hang or fail
)

// defaultDiskSize leaves room for a few large files; ext4 takes a few MiB.
const defaultDiskSize = 96 << 20

// A Volume is one file system of a host.
type Volume string

// Volumes.
const (
	Data Volume = "data" // everything, or everything but raft
	Raft Volume = "raft" // with Disk.Raft
)

// A disk is what New attached for one host.
type disk struct {
	kind      DiskKind
	raftMount string   // empty: raft has no disk of its own
	sick      *patient // of DiskFUSE

	mu     sync.Mutex
	frozen map[Volume]bool
}

// attachDisk makes the file systems of a host and mounts them.
func (h *Host) attachDisk() error {
	conf, own := h.rig.cfg.Disks[h.number]
	if !own {
		conf = h.rig.cfg.Disk
	}
	h.disk.kind, h.disk.frozen = conf.Kind, map[Volume]bool{}
	top := filepath.Join(h.dir, "disk")
	if err := os.MkdirAll(top, 0o755); err != nil {
		return err
	}
	switch conf.Kind {
	case DiskPlain:
	case DiskLoop:
		size := conf.Size
		if size == 0 {
			size = defaultDiskSize
		}
		if err := mountImage(filepath.Join(h.dir, "disk.img"), size, top); err != nil {
			return err
		}
	case DiskFUSE:
		var err error
		if h.disk.sick, err = newPatient(filepath.Join(h.dir, "backing"), top); err != nil {
			return err
		}
	default:
		return fmt.Errorf("disk kind %d: unknown", conf.Kind)
	}
	raft := filepath.Join(h.DataDir(), "raft")
	if conf.Raft == 0 {
		return os.MkdirAll(h.DataDir(), 0o755)
	}
	if conf.Kind != DiskLoop {
		return fmt.Errorf("a disk for raft: wanted DiskLoop for the rest")
	}
	if err := os.MkdirAll(raft, 0o755); err != nil {
		return err
	}
	h.disk.raftMount = raft
	return mountImage(filepath.Join(h.dir, "raft.img"), conf.Raft, raft)
}

// mountImage makes an ext4 of so many bytes in a file and mounts it. Nothing is
// reserved for root, which is who the nodes run as.
func mountImage(image string, size int64, at string) error {
	f, err := os.OpenFile(image, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	if _, err := tool("mkfs.ext4", "-q", "-F", "-m", "0", image); err != nil {
		return err
	}
	dev, err := tool("losetup", "--find", "--show", image)
	if err != nil {
		return err
	}
	dev = strings.TrimSpace(dev)
	if _, err := tool("mount", "-t", "ext4", dev, at); err != nil {
		return err
	}
	_, err = tool("losetup", "-d", dev) // takes effect with the unmount
	return err
}

// detachDisk ends what runs for the disks; sweep unmounts them.
func (h *Host) detachDisk() error {
	if h.disk.sick == nil {
		return nil
	}
	return h.disk.sick.close()
}

// mountOf returns where a volume that can be filled and frozen is mounted.
func (h *Host) mountOf(v Volume) (string, error) {
	switch {
	case h.disk.kind == DiskLoop && v == Data:
		return filepath.Join(h.dir, "disk"), nil
	case h.disk.raftMount != "" && v == Raft:
		return h.disk.raftMount, nil
	}
	return "", fmt.Errorf("%s: volume %q: wanted one that Config.Disk makes a DiskLoop", h.Name, v)
}

// Space returns size and free bytes of a volume.
func (h *Host) Space(v Volume) (size, free int64, err error) {
	at, err := h.mountOf(v)
	if err != nil {
		return 0, 0, err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(at, &st); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", at, err)
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

// filler is the file that fills a volume, at its top.
func filler(mount string) string { return filepath.Join(mount, "filler") }

// Fill leaves at most so many bytes free on a DiskLoop. Called again it leaves as
// many as are asked for then.
func (h *Host) Fill(v Volume, left int64) error {
	if err := h.Free(v); err != nil {
		return err
	}
	_, free, err := h.Space(v)
	if err != nil {
		return err
	}
	at, _ := h.mountOf(v)
	f, err := os.OpenFile(filler(at), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	// What cannot be had in one piece, the file system's own blocks take part of, is
	// taken in smaller and smaller ones.
	at64, step := int64(0), free-left
	for step >= 4096 && at64 < free-left {
		switch err := syscall.Fallocate(int(f.Fd()), 0, at64, min(step, free-left-at64)); {
		case err == nil:
			at64 += min(step, free-left-at64)
		case errors.Is(err, syscall.ENOSPC):
			step /= 2
		default:
			return errors.Join(fmt.Errorf("fill %s: %w", at, err), f.Close())
		}
	}
	return f.Close()
}

// Free takes back what Fill took.
func (h *Host) Free(v Volume) error {
	at, err := h.mountOf(v)
	if err != nil {
		return err
	}
	if h.isFrozen(v) {
		return fmt.Errorf("%s: volume %s is frozen: thaw it first", h.Name, v)
	}
	if err := os.Remove(filler(at)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (h *Host) isFrozen(v Volume) bool {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.disk.frozen[v]
}

// Freeze makes every write to a DiskLoop wait, as a hung disk does; the waiting
// process ignores even SIGKILL.
func (h *Host) Freeze(v Volume) error { return h.freeze(v, "-f", true) }

// Thaw ends Freeze.
func (h *Host) Thaw(v Volume) error { return h.freeze(v, "-u", false) }

func (h *Host) freeze(v Volume, flag string, frozen bool) error {
	at, err := h.mountOf(v)
	if err != nil {
		return err
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.disk.frozen[v] == frozen {
		return nil
	}
	_, err = tool("fsfreeze", flag, at)
	if err == nil {
		h.disk.frozen[v] = frozen
	}
	return err
}

func (h *Host) thawAll() error {
	var errs []error
	for _, v := range []Volume{Data, Raft} {
		if h.isFrozen(v) {
			errs = append(errs, h.Thaw(v))
		}
	}
	return errors.Join(errs...)
}

// healDisk ends every fault of the disks.
func (h *Host) healDisk() error {
	errs := []error{h.thawAll()}
	for _, v := range []Volume{Data, Raft} {
		if _, err := h.mountOf(v); err == nil {
			errs = append(errs, h.Free(v))
		}
	}
	if h.disk.sick != nil {
		errs = append(errs, h.Sicken(Sickness{}))
	}
	return errors.Join(errs...)
}
