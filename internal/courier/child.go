package courier

import (
	"context"
	"errors"
	"io"
	"net/rpc"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

// The process gets what others leave of the processors, which may be next to nothing
// for hours. It looks every so often whether it gets its turns; if in a round of looks
// they came so late, together, the node does the work itself for a while.
const (
	lookEvery = 100 * time.Millisecond
	looks     = 20 // of a round
	mostLate  = looks * lookEvery
)

// ahead is how many bytes members may send before they are read.
const ahead = 256 << 10

// Child is the whole life of a process that moves bytes for a node: it does
// what it is asked for over in and answers over out, until in ends.
func Child(ctx context.Context, in io.Reader, out io.WriteCloser) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &work{ctx: ctx, pace: replication.NewPace(), running: map[uint64]context.CancelCauseFunc{}, called: map[uint64]bool{}}
	w.peers = api.NewSlowPeerClient(func() catalog.ClusterID { return *w.cluster.Load() }, ahead)
	defer w.peers.Close()
	go w.watch(ctx)
	s := rpc.NewServer()
	if err := s.RegisterName(service, Methods{w}); err != nil {
		return err
	}
	s.ServeConn(pipes{endingReader{in, func() { cancel(errCalledOff) }}, out})
	return nil
}

// An endingReader says when there is no more: nobody wants the answers then.
type endingReader struct {
	io.Reader
	end func()
}

// Read implements io.Reader.
func (r endingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		r.end()
	}
	return n, err
}

var (
	errCalledOff = errors.New("called off")
	errStarved   = errors.New("no processor time")
)

// sleep is time.Sleep, except in tests of what a process does that gets no turns.
var sleep = time.Sleep

// work is what a process has been asked for.
type work struct {
	ctx     context.Context
	peers   *api.PeerClient
	pace    *replication.Pace
	cluster atomic.Pointer[catalog.ClusterID]

	mu      sync.Mutex
	running map[uint64]context.CancelCauseFunc
	called  map[uint64]bool // off, before they were begun
}

// begin returns the context of a job, and what to call at its end.
func (w *work) begin(id uint64) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(w.ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.called[id] {
		delete(w.called, id)
		cancel(errCalledOff)
	}
	w.running[id] = cancel
	return ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.running, id)
		cancel(nil)
	}
}

func (w *work) cancel(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel, ok := w.running[id]; ok {
		cancel(errCalledOff)
	} else {
		w.called[id] = true
	}
}

// watch calls all jobs off while the process gets hardly any processor time.
func (w *work) watch(ctx context.Context) {
	for ctx.Err() == nil {
		var late time.Duration
		for range looks {
			begun := time.Now()
			sleep(lookEvery)
			if late += time.Since(begun) - lookEvery; late > mostLate {
				w.callOff(errStarved)
				break
			}
		}
	}
}

// callOff ends all jobs.
func (w *work) callOff(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, cancel := range w.running {
		cancel(cause)
	}
}

func (w *work) fetch(ctx context.Context, job FetchJob) (copied int64, err, fileErr error) {
	f, err := os.OpenFile(job.Part.Path, os.O_WRONLY, 0)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	to := &noted{f: f}
	copied, err = job.Part.Copy(ctx, func(ctx context.Context, d catalog.Digest, offset, n int64) (io.ReadCloser, int64, error) {
		return w.peers.Blob(ctx, job.Addr, d, offset, n)
	}, to, w.pace.After)
	if to.err == nil && copied > 0 {
		to.err = f.Sync()
	}
	if to.err != nil {
		return 0, nil, blobstore.FullError(to.err)
	}
	return copied, err, nil
}

// noted keeps the error of a file apart from those of what is copied to it.
type noted struct {
	f   *os.File
	err error
}

// WriteAt implements io.WriterAt.
func (n *noted) WriteAt(p []byte, off int64) (int, error) {
	k, err := n.f.WriteAt(p, off)
	if err != nil {
		n.err = err
	}
	return k, err
}

func (w *work) verify(ctx context.Context, path string, size int64) (cab.Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return cab.Info{}, err
	}
	defer f.Close()
	return cab.Verify(ctx, replication.PacedReaderAt{ReaderAt: f, Pace: w.pace}, size)
}

// Methods are what net/rpc calls.
type Methods struct{ w *work }

// Fetch copies a part of a blob.
func (m Methods) Fetch(job FetchJob, done *Fetched) error {
	ctx, end := m.w.begin(job.ID)
	defer end()
	m.w.cluster.Store(&job.Cluster)
	copied, err, fileErr := m.w.fetch(ctx, job)
	done.Starved = context.Cause(ctx) == errStarved
	done.Copied, done.Err, done.FileErr = copied, api.NewError(err, ""), api.NewError(fileErr, "")
	return nil
}

// Verify compares a file with its hashes.
func (m Methods) Verify(job VerifyJob, done *Verified) error {
	ctx, end := m.w.begin(job.ID)
	defer end()
	info, err := m.w.verify(ctx, job.Path, job.Size)
	done.Starved = context.Cause(ctx) == errStarved
	done.Info, done.Err = info, api.NewError(err, "")
	return nil
}

// Cancel calls a job off.
func (m Methods) Cancel(id uint64, _ *struct{}) error {
	m.w.cancel(id)
	return nil
}
