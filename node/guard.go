package node

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// A diskGuard stands between raft and what it keeps on disk. When there is no space
// left it gives up the ballast and tries again. What then still cannot be written
// ends the node: raft would panic without its term, would lead again and again
// without its log, and the catalog may skip nothing. First the node is cut off, so
// that nobody hears from one that has not written down what it says.
type diskGuard struct {
	relieve func(why string) bool
	fail    func(error)
	fence   func()
	goOn    func(error) bool // with a damaged log
	doubt   func() error     // why the catalog is not to be copied

	mu       sync.Mutex
	broken   error     // set once, when the node is cut off
	applying time.Time // since when entries are applied; zero: none are
	restored uint64    // applied index at the last restore
	restores int       // in a row, without an entry applied between them
	loop     func(restores int, index uint64)
}

// write does what raft asks for. It returns an error to whoever can bear one.
func (g *diskGuard) write(what string, op func() error) error {
	if err := g.failed(); err != nil {
		return err
	}
	err := op()
	if err != nil && isFull(err) && g.relieve(err.Error()) {
		err = op()
	}
	if err != nil {
		g.breakOff(fmt.Errorf("%s: %w", what, err))
	}
	return err
}

func (g *diskGuard) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken
}

func (g *diskGuard) breakOff(err error) {
	switch {
	case isFull(err):
		err = fmt.Errorf("the disk is full: free or add disk space, then start the node again: %w", err)
	case errors.Is(err, raftfsm.ErrDamaged), errors.Is(err, errLogDamaged):
		err = fmt.Errorf("look at the disk, then move the data directory away and join as a new node, or restore a backup if too few other nodes are left: %w", err)
	default:
		err = fmt.Errorf("the disk fails: look at the kernel's log and at the disk: %w", err)
	}
	g.mu.Lock()
	first := g.broken == nil
	if first {
		g.fence() // whoever sees broken may answer with what was not written down
		g.broken = err
	}
	g.mu.Unlock()
	if first {
		g.fail(err)
	}
}

// stalled reports entries whose application does not come back.
func (g *diskGuard) stalled() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if since := g.applying; !since.IsZero() && time.Since(since) > 6*liveAfter {
		return fmt.Errorf("log entries are being applied for %s: end the process and start it again", time.Since(since).Round(time.Second))
	}
	return nil
}

// guardedLog is raft's log, each entry with a sum.
type guardedLog struct {
	raft.LogStore
	guard *diskGuard
}

// GetLog reads an entry. One that is not what was written is neither applied nor sent
// to anybody: it ends the node. A command is used all the same where too few members
// could go on without this node.
func (l guardedLog) GetLog(index uint64, e *raft.Log) error {
	err := readEntry(l.LogStore, index, e)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	err = fmt.Errorf("log index %d: %w", index, err)
	if e.Index == index && e.Type == raft.LogCommand && l.guard.goOn(err) {
		return nil
	}
	l.guard.breakOff(err)
	*e = raft.Log{Index: index, Type: raft.LogNoop} // raft would panic; a node that is cut off may believe what it likes
	return nil
}

func (l guardedLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

func (l guardedLog) StoreLogs(es []*raft.Log) error {
	sealed := make([]*raft.Log, len(es))
	for i, e := range es {
		sealed[i] = sealEntry(e)
	}
	return l.guard.write("raft log", func() error { return l.LogStore.StoreLogs(sealed) })
}

func (l guardedLog) DeleteRange(from, to uint64) error {
	return l.guard.write("raft log", func() error { return l.LogStore.DeleteRange(from, to) })
}

// guardedVotes is raft's term and vote. Raft panics on an error here; a node that
// is cut off may believe what it likes until it ends.
type guardedVotes struct {
	raft.StableStore
	guard *diskGuard
}

func (s guardedVotes) Set(key, value []byte) error {
	_ = s.guard.write("raft vote", func() error { return s.StableStore.Set(key, value) })
	return nil
}

func (s guardedVotes) SetUint64(key []byte, value uint64) error {
	_ = s.guard.write("raft term", func() error { return s.StableStore.SetUint64(key, value) })
	return nil
}

// guardedFSM is the catalog.
type guardedFSM struct {
	fsm   *raftfsm.FSM
	guard *diskGuard
}

func (f guardedFSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries, those that are left after a failure once more. An
// entry whose result was lost on the way is answered as unknown.
func (f guardedFSM) ApplyBatch(logs []*raft.Log) (out []any) {
	f.guard.begin()
	defer f.guard.end()
	if f.guard.failed() == nil {
		err := f.try(logs, &out)
		if err == nil {
			return out
		}
		rest := logs
		out = nil
		for len(rest) > 0 && rest[0].Index <= f.fsm.AppliedIndex() {
			out, rest = append(out, unknownResult(rest[0].Index)), rest[1:]
		}
		var more []any
		if isFull(err) && f.guard.relieve(err.Error()) {
			if err = f.try(rest, &more); err == nil {
				return append(out, more...)
			}
		}
		f.guard.breakOff(err)
	}
	for _, l := range logs[len(out):] {
		out = append(out, unknownResult(l.Index))
	}
	return out
}

// try is ApplyBatch of the catalog with its panic about the disk as an error.
func (f guardedFSM) try(logs []*raft.Log, out *[]any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			cause, disk := r.(error)
			if _, ours := r.(interface{ RuntimeError() }); !disk || ours {
				panic(r)
			}
			err = cause
		}
	}()
	*out = f.fsm.ApplyBatch(logs)
	return nil
}

func unknownResult(index uint64) raftfsm.Result {
	return raftfsm.Result{Index: index, Code: codeUnavailable, Error: fmt.Sprintf("log index %d: the node's disk failed, what came of it is not known here: %v", index, catalog.ErrUnavailable)}
}

// codeUnavailable is what raftfsm calls catalog.ErrUnavailable in a Result.
const codeUnavailable = "unavailable"

func (g *diskGuard) begin() {
	g.mu.Lock()
	g.applying = time.Now()
	g.mu.Unlock()
}

func (g *diskGuard) end() {
	g.mu.Lock()
	g.applying = time.Time{}
	g.mu.Unlock()
}

// Snapshot refuses while the catalog may have lost rows: copies of it would bear witness
// to each other. It refuses once entries were left unapplied: raft counts those as applied
// and would put their index on a snapshot without them; from that a restarted node would
// go on behind them, with another catalog than everybody else's.
func (f guardedFSM) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.guard.failed(); err != nil {
		return nil, err
	}
	if err := f.guard.doubt(); err != nil {
		return nil, err
	}
	return f.fsm.Snapshot()
}

// Restore is called at the start and for each snapshot that the leader sends.
func (f guardedFSM) Restore(r io.ReadCloser) error {
	before := f.fsm.AppliedIndex()
	err := f.fsm.Restore(r)
	switch {
	case err == nil:
		f.guard.countRestore(before, f.fsm.AppliedIndex())
	case isFull(err):
		f.guard.relieve(err.Error()) // the leader sends it again
	}
	return err
}

// countRestore notices snapshots that lead nowhere: none of the log is applied
// after one before the next one comes.
func (g *diskGuard) countRestore(before, after uint64) {
	g.mu.Lock()
	if g.restores > 0 && before <= g.restored {
		g.restores++
	} else {
		g.restores = 1
	}
	g.restored = after
	restores := g.restores
	g.mu.Unlock()
	if g.loop != nil {
		g.loop(restores, after)
	}
}
