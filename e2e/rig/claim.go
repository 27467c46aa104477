package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A claim is the name prefix of one rig, written down where later rigs find it. It
// is locked while the rig's process lives, so an unlocked one is a leftover.
type claim struct {
	prefix string
	file   *os.File
}

// claimsDir holds a file per rig: its name is the prefix, its text the directory.
func claimsDir() string { return filepath.Join(os.TempDir(), "symkeep-rigs") }

// newClaim claims a prefix, which is short enough for the names of links.
func newClaim(dir string) (*claim, error) {
	if err := os.MkdirAll(claimsDir(), 0o755); err != nil {
		return nil, err
	}
	prefix := fmt.Sprintf("sk%06x", rand.IntN(1<<24))
	f, err := os.OpenFile(filepath.Join(claimsDir(), prefix), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	c := &claim{prefix, f}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, c.drop())
	}
	if _, err := f.WriteString(dir); err != nil {
		return nil, errors.Join(err, c.drop())
	}
	return c, nil
}

// drop gives the claim up, once everything of its prefix is gone.
func (c *claim) drop() error {
	return errors.Join(os.Remove(c.file.Name()), c.file.Close())
}

// sweepLeftovers removes what rigs left whose process is gone.
func sweepLeftovers() error {
	entries, err := os.ReadDir(claimsDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		f, err := os.OpenFile(filepath.Join(claimsDir(), e.Name()), os.O_RDWR, 0)
		if err != nil {
			continue // another rig was faster
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			f.Close() // its rig lives
			continue
		}
		dir, err := os.ReadFile(f.Name())
		if err == nil && len(dir) > 0 { // otherwise it was claimed this moment, or nothing was made yet
			if err = sweep(e.Name(), string(dir)); err == nil {
				err = os.Remove(f.Name())
			}
		}
		errs = append(errs, err, f.Close())
	}
	return errors.Join(append(errs, err)...)
}

// sweep removes what has this prefix, or lies under dir: processes in the
// namespaces, mounts, loop devices, namespaces and with them their links.
func sweep(prefix, dir string) error {
	var errs []error
	mounts, err := mountsUnder(dir)
	errs = append(errs, err)
	for _, m := range mounts { // who waits for a frozen disk ignores every signal
		if m.kind == "ext4" {
			_, _ = tool("fsfreeze", "-u", m.path)
		}
	}
	spaces, err := namespaces(prefix)
	errs = append(errs, err)
	for _, ns := range spaces {
		errs = append(errs, killAll(ns))
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		_, err := tool("umount", "-l", mounts[i].path)
		errs = append(errs, err)
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	errs = append(errs, err)
	for _, l := range loops {
		file, err := os.ReadFile(l)
		if err == nil && strings.HasPrefix(string(file), dir+"/") {
			dev := "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(l)))
			_, _ = tool("losetup", "-d", dev) // its mount may have released it meanwhile
		}
	}
	for _, ns := range spaces {
		_, err := tool("ip", "netns", "del", ns)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// namespaces returns the network namespaces whose names begin with the prefix.
func namespaces(prefix string) (names []string, err error) {
	out, err := tool("ip", "netns", "list")
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], prefix+"-") {
			names = append(names, f[0])
		}
	}
	return names, err
}

// killAll kills the processes in a namespace and waits until they are gone.
func killAll(ns string) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		out, err := tool("ip", "netns", "pids", ns)
		pids := strings.Fields(out)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, p := range pids {
			if pid, err := strconv.Atoi(p); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("namespace %s: processes %v do not die", ns, pids)
		}
		time.Sleep(20 * time.Millisecond) // other processes' ends; nothing to wait on
	}
}

// A mounted is one line of the table of mounts.
type mounted struct{ path, kind string }

// mountsUnder returns what is mounted below dir, outer ones first.
func mountsUnder(dir string) (ms []mounted, err error) {
	b, err := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[1], dir+"/") {
			ms = append(ms, mounted{f[1], f[2]})
		}
	}
	return ms, err
}
