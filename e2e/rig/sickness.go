package rig

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Sickness is how a DiskFUSE misbehaves from now on; the zero value is health.
// Paths are below the data directory, with slashes.
type Sickness struct {
	SlowSync  time.Duration // each fsync takes so much longer
	FailSync  bool          // each fsync fails with EIO
	HangSync  bool          // each fsync waits until the sickness changes
	FailWrite bool          // each write fails with EIO
	HangWrite bool          // each write waits until the sickness changes
	FailRead  string        // reads of files whose path begins so fail with EIO
	Only      string        // fsync and writes: of files whose path begins so; empty: all
}

// childVariable makes the test's own program a child of a rig.
const childVariable = "SYMKEEP_RIG_CHILD"

// Child does the work of a process that the rig started from the test's own
// program, such as serving a file system. A TestMain calls it first, and if ok
// exits with the code at once.
func Child() (code int, ok bool) {
	spec := os.Getenv(childVariable)
	if spec == "" {
		return 0, false
	}
	backing, at, _ := strings.Cut(spec, "\n")
	if err := servePassThrough(backing, at, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// A patient is the process that serves one DiskFUSE. It must not be this one: a
// process that forks while it serves its own files can wait for itself forever.
type patient struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu      sync.Mutex
	orders  io.WriteCloser
	answers *bufio.Reader
}

// newPatient serves the files of backing at a mount point.
func newPatient(backing, at string) (*patient, error) {
	if err := os.MkdirAll(backing, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(filepath.Dir(backing), "fuse.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &patient{cmd: exec.Command(self), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childVariable+"="+backing+"\n"+at)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // no ^C: it outlives the nodes
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.answers = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		<-p.done // reads of answers are over
		_ = p.cmd.Wait()
	}()
	if err := p.answer(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w; does TestMain call rig.Child first?", err), p.close())
	}
	return p, nil
}

// answer reads one line of the child: "ok", or what went wrong.
func (p *patient) answer() error {
	line, err := p.answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("process that serves the file system: %w: see fuse.log", err)
	}
	if line != "ok\n" {
		return fmt.Errorf("process that serves the file system: %s", strings.TrimSpace(line))
	}
	return nil
}

func (p *patient) order(s Sickness) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.orders.Write(append(b, '\n')); err != nil {
		return err
	}
	return p.answer()
}

// close ends the process, which unmounts its file system.
func (p *patient) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.orders.Close()
	stop := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	_, _ = io.Copy(io.Discard, p.answers)
	stop.Stop()
	close(p.done)
	return err
}

// Sicken sets how a DiskFUSE misbehaves.
func (h *Host) Sicken(s Sickness) error {
	if h.disk.sick == nil {
		return fmt.Errorf("%s: its disk cannot be sick: wanted DiskFUSE", h.Name)
	}
	return h.disk.sick.order(s)
}
