package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/raftfsm"
)

// Timings of the disk watch.
const (
	probeEvery = time.Second
	judgeEvery = 250 * time.Millisecond
	slowWrite  = 2 * time.Second
	hungWrite  = 15 * time.Second
	slowKept   = 10 * time.Second // a slow disk counts as such for so long after its last slow write
	probeBytes = 4 << 10
	samples    = 300 // five minutes of them
)

// A diskWatch writes a little file to each of the node's directories again and
// again, for a disk that has become slow or that hangs gives no other sign: raft
// goes on to send heartbeats while its log waits for the disk.
type diskWatch struct {
	slowAfter, hungAfter time.Duration

	mu     sync.Mutex
	last   time.Time // when judged
	probes []*diskProbe
}

// A diskProbe is the writes to one directory. Its fields are guarded by the watch.
type diskProbe struct {
	dir   string
	what  string
	count int           // writes begun
	busy  bool          // one is under way
	seen  int           // write that the judge saw under way last
	stuck time.Duration // for so long, by the judge's watch: not while the process stood still
	slow  time.Time     // until then it counts as slow
	why   string        // it is slow
	took  []time.Duration
}

func newDiskWatch(hungAfter time.Duration) *diskWatch {
	if hungAfter <= 0 {
		hungAfter = hungWrite
	}
	return &diskWatch{slowAfter: min(slowWrite, hungAfter/2), hungAfter: hungAfter}
}

// runDiskWatch watches until ctx ends and the writes under way have come back, or
// hang.
func (n *Node) runDiskWatch(ctx context.Context) error {
	w := n.disk
	var probing sync.WaitGroup
	probing.Go(func() { w.probe(ctx, "blob directory", filepath.Join(n.cfg.DataDir, "tmp")) })
	probing.Go(func() {
		if _, err := n.awaitConsensus(ctx); err == nil {
			w.probe(ctx, "raft directory", n.raftDir())
		}
	})
	back := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() { probing.Wait(); close(back) })
	defer waiting.Wait()
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-back:
			return nil
		case <-tick.C:
			if err := w.judge(); err != nil {
				n.hang(err)
				n.severing.Go(func() { n.raiseHung(err) })
				return err
			}
		}
	}
}

// probe writes to one directory each second.
func (w *diskWatch) probe(ctx context.Context, what, dir string) {
	p := &diskProbe{dir: dir, what: what}
	w.mu.Lock()
	w.probes = append(w.probes, p)
	w.mu.Unlock()
	for ok := true; ok; ok = pause(ctx, probeEvery) {
		begun := time.Now()
		w.mu.Lock()
		p.count, p.busy = p.count+1, true
		w.mu.Unlock()
		err := writeProbe(filepath.Join(dir, "probe"))
		w.note(p, time.Since(begun), err)
	}
}

// writeProbe writes and syncs a small file, a new one each time: a sync that failed
// says nothing when it is asked again of the same file.
func writeProbe(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// note records a write that came back. A disk that is full is not slow.
func (w *diskWatch) note(p *diskProbe, took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.busy = false
	if p.took = append(p.took, took); len(p.took) > samples {
		p.took = slices.Delete(p.took, 0, len(p.took)-samples)
	}
	if err != nil && !isFull(err) {
		p.slowNow(fmt.Sprintf("a write failed: %v", err))
	}
}

func (p *diskProbe) slowNow(why string) { p.slow, p.why = time.Now().Add(slowKept), why }

// judge looks at the writes under way, and returns an error once one hangs. Time
// in which this process stood still counts for little.
func (w *diskWatch) judge() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	passed := judgeEvery
	if !w.last.IsZero() {
		passed = min(now.Sub(w.last), 2*judgeEvery)
	}
	w.last = now
	for _, p := range w.probes {
		if !p.busy || p.seen != p.count {
			p.seen, p.stuck = p.count, 0
			continue
		}
		p.stuck += passed
		if p.stuck >= w.hungAfter {
			return fmt.Errorf("disk hangs: a write of %d bytes to the %s %s has not come back for %s: look at the kernel's log and at the disk, then start the node again",
				probeBytes, p.what, p.dir, p.stuck.Round(time.Second))
		}
		if p.stuck >= w.slowAfter {
			p.slowNow(fmt.Sprintf("a write of %d bytes takes more than %s", probeBytes, w.slowAfter))
		}
	}
	return nil
}

// stalled reports a watch that has stopped, or a write that hangs.
func (w *diskWatch) stalled() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.probes {
		if p.stuck >= w.hungAfter {
			return fmt.Errorf("a write to the %s hangs", p.what)
		}
	}
	return standstill("the disk watch", w.last)
}

// slow says which disk is slow, if one is.
func (w *diskWatch) slow() (text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.probes {
		if time.Now().Before(p.slow) {
			return fmt.Sprintf("%s %s: %s: pushes go to other nodes; look at the disk and at what else uses it", p.what, p.dir, p.why)
		}
	}
	return ""
}

// p99 returns what 99 of 100 writes of the last minutes stayed below, on the slower
// of the directories.
func (w *diskWatch) p99() (worst time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.probes {
		if len(p.took) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(p.took))
		worst = max(worst, sorted[(len(sorted)*99-1)/100])
	}
	return worst
}

// raiseHung tells the others why this node is about to go, if they have a leader in
// time. Nothing of this node's own raft is asked: it may wait for the disk.
func (n *Node) raiseHung(cause error) {
	if n.fsm.FeatureLevel() < alarmLevel {
		return
	}
	a := catalog.Alarm{Node: n.id.Node, Code: catalog.AlarmDiskHung, Text: alarmText(cause.Error()), At: fault.Now().UTC()}
	cmd, err := raftfsm.Encode(raftfsm.RaiseAlarm{Alarm: a})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), hangPatience)
	defer cancel()
	asker := api.NewPeerClient(n.ClusterID)
	defer asker.Close()
	for {
		for _, m := range n.otherMembers() {
			one, cancel := context.WithTimeout(ctx, statusTimeout) // one of them may be dead, too
			_, err := asker.Propose(one, m.PeerAddr, cmd)
			cancel()
			if err == nil {
				return
			}
		}
		if !pause(ctx, proposePause) {
			return
		}
	}
}

// isFull reports whether an error is a lack of space.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, catalog.ErrFull)
}
