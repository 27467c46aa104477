// Package courier runs a process of low priority that moves the bytes of repair, so
// that where processors are short, requests come first. Within one process nothing
// could tell them apart: its scheduler knows no priorities.
package courier

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

const (
	idleFor    = time.Minute      // without anything to do the process ends
	patience   = 5 * time.Second  // until a job that is called off has to have ended
	startAgain = 10 * time.Second // after a start that failed
	doneAlone  = time.Minute      // by the node, once the process gets no processor time
)

// A Config says how the process is started and whom it asks.
type Config struct {
	Command []string // the program and its arguments, which calls Child
	Cluster func() catalog.ClusterID
	Addr    func(catalog.NodeID) string // peer address of a member
	Logger  *slog.Logger
}

// A Courier is a replication.Courier: it starts the process when there is something to
// move. Jobs and what became of them go over its standard input and output.
type Courier struct {
	cfg  Config
	jobs atomic.Uint64

	mu     sync.Mutex
	proc   *process  // nil: none runs
	refuse time.Time // until then none is used: the last start failed, or it got no turns
	closed bool
}

// New returns a Courier; no process runs yet.
func New(cfg Config) *Courier { return &Courier{cfg: cfg} }

// A process is one that was started.
type process struct {
	cmd    *exec.Cmd
	client *rpc.Client
	idle   *time.Timer
	users  int           // under the lock of the courier
	exited chan struct{} // closed once it is gone
}

// Fetch implements replication.Courier.
func (c *Courier) Fetch(ctx context.Context, source catalog.NodeID, p replication.Part) (int64, error) {
	job := FetchJob{ID: c.jobs.Add(1), Cluster: c.cfg.Cluster(), Addr: c.cfg.Addr(source), Part: p}
	var done Fetched
	if err := c.do(ctx, "Fetch", job.ID, job, &done); err != nil {
		return 0, err
	}
	if done.Starved {
		return 0, c.starved()
	}
	if done.FileErr != nil {
		return 0, &replication.FileError{Err: done.FileErr}
	}
	if done.Err != nil {
		return done.Copied, done.Err
	}
	return done.Copied, nil
}

// Verify implements replication.Courier.
func (c *Courier) Verify(ctx context.Context, path string, size int64) (cab.Info, error) {
	job := VerifyJob{ID: c.jobs.Add(1), Path: path, Size: size}
	var done Verified
	if err := c.do(ctx, "Verify", job.ID, job, &done); err != nil {
		return cab.Info{}, err
	}
	if done.Starved {
		return cab.Info{}, c.starved()
	}
	if done.Err != nil {
		return cab.Info{}, done.Err
	}
	return done.Info, nil
}

// do has the process do one job. It returns once the job has ended, or the process.
func (c *Courier) do(ctx context.Context, method string, id uint64, job, done any) error {
	p, err := c.use()
	if err != nil {
		return err
	}
	defer c.unuse(p)
	call := p.client.Go(service+"."+method, job, done, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		p.client.Go(service+".Cancel", id, &struct{}{}, make(chan *rpc.Call, 1))
		limit := time.NewTimer(patience)
		defer limit.Stop()
		select {
		case <-call.Done:
		case <-limit.C:
			p.cmd.Process.Kill()
			<-call.Done // its output has ended
		}
	}
	if call.Error != nil { // it tells its own errors otherwise
		p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("courier: ended: %v: %w", call.Error, catalog.ErrUnavailable)
	}
	return nil
}

// use returns the process, which is started if none runs. Errors wrap
// replication.ErrNoCourier.
func (c *Courier) use() (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc != nil {
		select {
		case <-c.proc.exited:
			c.proc = nil
		default:
		}
	}
	if c.closed || time.Now().Before(c.refuse) {
		return nil, replication.ErrNoCourier
	}
	if c.proc == nil {
		p, err := c.start()
		if err != nil {
			c.refuse = time.Now().Add(startAgain)
			c.cfg.Logger.Warn("no process to repair with, this one does it", "err", err)
			return nil, fmt.Errorf("%v: %w", err, replication.ErrNoCourier)
		}
		c.proc = p
	}
	c.proc.users++
	return c.proc, nil
}

// starved leaves the work to the node for a while.
func (c *Courier) starved() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.After(c.refuse) {
		c.refuse = now.Add(doneAlone)
		c.cfg.Logger.Info("others need all the processors, so repair takes its share", "for", doneAlone)
	}
	return fmt.Errorf("courier: %w: %w", errStarved, replication.ErrNoCourier)
}

func (c *Courier) unuse(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.users--; p.users == 0 {
		p.idle.Reset(idleFor)
	}
}

// rest ends a process that has nothing to do.
func (c *Courier) rest(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.users == 0 && c.proc == p {
		c.proc = nil
		p.client.Close()
	}
}

// start starts a process. The caller holds mu.
func (c *Courier) start() (*process, error) {
	cmd := exec.Command(c.cfg.Command[0], c.cfg.Command[1:]...)
	cmd.SysProcAttr = lowPriority()
	cmd.WaitDelay = patience
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := lowerPriority(cmd.Process); err != nil {
		c.cfg.Logger.Warn("repair has the priority of everything else", "err", err)
	}
	p := &process{cmd: cmd, client: rpc.NewClient(pipes{out, in}), exited: make(chan struct{})}
	p.idle = time.AfterFunc(idleFor, func() { c.rest(p) })
	go func() {
		defer close(p.exited)
		defer p.idle.Stop()
		if err := cmd.Wait(); err != nil {
			c.cfg.Logger.Warn("the process that repairs has ended", "err", err)
		}
		p.client.Close()
	}()
	return p, nil
}

// Close ends the process. Jobs under way fail.
func (c *Courier) Close() {
	c.mu.Lock()
	p := c.proc
	c.proc, c.closed = nil, true
	c.mu.Unlock()
	if p == nil {
		return
	}
	p.client.Close()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.cmd.Process.Kill()
	}
}

// pipes are the two ends of a conversation with another process.
type pipes struct {
	io.Reader
	io.WriteCloser
}

const service = "Courier"

// A FetchJob asks for a part of a member's copy.
type FetchJob struct {
	ID      uint64
	Cluster catalog.ClusterID
	Addr    string
	Part    replication.Part
}

// Fetched is what became of a FetchJob.
type Fetched struct {
	Copied  int64
	Err     *api.Error
	FileErr *api.Error // of the file that is written
	Starved bool       // called off: the process gets no processor time
}

// A VerifyJob asks for a packed file to be read.
type VerifyJob struct {
	ID   uint64
	Path string
	Size int64
}

// Verified is what became of a VerifyJob.
type Verified struct {
	Info    cab.Info
	Err     *api.Error
	Starved bool
}
