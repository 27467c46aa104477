package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// startLimit bounds how long Start waits, endLimit how long Kill does.
const (
	startLimit = 20 * time.Second
	endLimit   = 20 * time.Second
)

// A process is one life of a node.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Launch runs the node and returns at once.
func (h *Host) Launch() error {
	if h.Running() {
		return fmt.Errorf("start %s: it runs", h.Name)
	}
	log, err := os.OpenFile(h.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	// nsenter replaces itself by the node, so the process id is the node's. Unlike
	// ip netns exec it makes no copy of the table of mounts, which would hold disks.
	p := &process{h.Command(context.Background(), h.rig.cfg.Bin, h.arguments()...), make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), h.rig.cfg.Env...), "SYMKEEP_FAULTS="+h.faults)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", h.Name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.done)
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.proc = p
	return nil
}

// Command returns a command that runs on this host, as a client on it would. Its
// end is up to the caller.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + h.rig.Net.space(h), "--", name}, args...)...)
}

// Start runs the node and returns once it listens, or with an error once it has
// ended or 20 s have passed.
func (h *Host) Start() error {
	if err := h.Launch(); err != nil {
		return err
	}
	_, from := h.Log(0)
	p := h.process()
	for deadline := time.Now().Add(startLimit); ; {
		conn, err := net.DialTimeout("tcp", h.Addr()+":8480", time.Second)
		if err == nil {
			h.found = false
			return conn.Close()
		}
		select {
		case <-p.done:
			text, _ := h.Log(from)
			return fmt.Errorf("start %s: it ended: %v: %s", h.Name, p.cmd.ProcessState, tail(text, 2000))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("start %s: it does not listen after %v: %w", h.Name, startLimit, err)
		}
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func (h *Host) process() *process {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.proc
}

// Running reports whether the node's process lives, stopped ones too.
func (h *Host) Running() bool {
	p := h.process()
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID is the process id of the node, 0 when it does not run.
func (h *Host) PID() int {
	if !h.Running() {
		return 0
	}
	return h.process().cmd.Process.Pid
}

// Kill is kill -9. It returns once the process is gone; a frozen disk is thawed
// for that. It is no error if none runs.
func (h *Host) Kill() error {
	p := h.process()
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Kill() // it may just have ended
	if err := h.thawAll(); err != nil {
		return err
	}
	_, err := h.Wait(endLimit)
	return err
}

// signal sends a signal to the node.
func (h *Host) signal(s syscall.Signal) error {
	if !h.Running() {
		return fmt.Errorf("signal %v to %s: it does not run", s, h.Name)
	}
	return h.process().cmd.Process.Signal(s)
}

// Pause is SIGSTOP, Resume is SIGCONT.
func (h *Host) Pause() error { return h.signal(syscall.SIGSTOP) }

// Resume makes a paused process go on.
func (h *Host) Resume() error { return h.signal(syscall.SIGCONT) }

// Stop is SIGTERM. It waits for the end, at most so long, and returns an error
// unless the process ended with status 0.
func (h *Host) Stop(limit time.Duration) error {
	if err := h.signal(syscall.SIGTERM); err != nil {
		return err
	}
	state, err := h.Wait(limit)
	if err != nil {
		return err
	}
	if !state.Success() {
		return fmt.Errorf("stop %s: %v, wanted success", h.Name, state)
	}
	return nil
}

// Wait waits for the process to end by itself, at most so long.
func (h *Host) Wait(limit time.Duration) (*os.ProcessState, error) {
	p := h.process()
	if p == nil {
		return nil, errors.New(h.Name + ": never started")
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState, nil
	case <-time.After(limit):
		return nil, fmt.Errorf("%s: process %d has not ended after %v", h.Name, p.cmd.Process.Pid, limit)
	}
}

// Restart kills the node if it runs, and starts it.
func (h *Host) Restart() error {
	if err := h.Kill(); err != nil {
		return err
	}
	return h.Start()
}
