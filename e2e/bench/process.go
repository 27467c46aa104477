package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// patience is how long a server may take to come up, and to stop.
const patience = 30 * time.Second

// A process is one server that this program started.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start runs a command whose output goes to a file in dir.
func start(dir, name string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(name), log: filepath.Join(dir, filepath.Base(name)+".log"), done: make(chan struct{})}
	f, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.cmd = exec.Command(name, args...) // ended by stop, in order
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended matters only to await, which looks at the log
		close(p.done)
	}()
	return p, nil
}

// await asks a URL until it answers as it should.
func (p *process) await(ctx context.Context, url string, ready func(*http.Response) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			ok := ready(resp)
			resp.Body.Close()
			if ok {
				return nil
			}
		}
		select {
		case <-p.done:
			log, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended: %v: %s", p.name, p.cmd.ProcessState, log[max(0, len(log)-1000):])
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer at %s: %w", p.name, url, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func isOK(r *http.Response) bool { return r.StatusCode == http.StatusOK }

// stop ends the process and waits for it. It may be called again.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// anonymous returns the anonymous resident memory of a process in bytes: what is mapped
// from files belongs to the system, which takes it back when it likes.
func (p *process) anonymous() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no RssAnon in /proc/PID/status")
}

// ticks are seconds that all processors together spent, since the machine began.
type ticks struct {
	all    float64
	stolen float64 // by the host, while something wanted to run
}

func readTicks() (ticks, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return ticks{}, err
	}
	stat, err := fs.Stat()
	c := stat.CPUTotal // what it tells of guests is in user and nice already
	return ticks{all: c.User + c.Nice + c.System + c.Idle + c.Iowait + c.IRQ + c.SoftIRQ + c.Steal, stolen: c.Steal}, err
}

// freePort returns a loopback port that nobody uses.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}
