package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// A DiskConfig says how a node treats its disk. The zero value is right for all but
// tests.
type DiskConfig struct {
	Marks     blobstore.Marks // shares of the file system at which the node does less
	HungAfter time.Duration   // a write that takes longer ends the node; 0 means 15 s
	Ballast   int64           // bytes kept in reserve for the raft log; 0 means 1 % of the file system, at most 128 MiB; negative: none
}

// Timings of the look at the disk.
const (
	roomEvery = 5 * time.Second
	handEvery = time.Minute // a leader with a bad disk looks for another one
)

// diskStatus says how full and how fast the disk is. A file system that does not
// answer counts as full.
func (n *Node) diskStatus() api.DiskStatus {
	st := api.DiskStatus{Level: string(blobstore.LevelReadOnly), Share: 1, SyncMS: n.disk.p99().Milliseconds()}
	if sp, err := n.blobs.Space(); err == nil {
		st.Used, st.Avail, st.Share, st.Level = sp.Used, sp.Avail, sp.Share(), string(sp.Level())
	}
	return st
}

// runRoom looks at how full and how slow the disk is, and acts on it.
func (n *Node) runRoom(ctx context.Context) error {
	level, handed := blobstore.LevelOK, time.Time{}
	defer n.ballast.stop()
	for {
		n.notice(catalog.AlarmDiskSlow, n.disk.slow())
		if sp, err := n.blobs.Space(); err != nil {
			n.log.Warn("disk not measured", "node", n.name, "err", err)
		} else {
			where := n.cfg.DataDir
			if raft := n.raftSpace(sp); raft.Level() == blobstore.LevelReadOnly {
				where, sp = n.raftDir(), raft // room in the data directory is no help then
			}
			level = n.noteLevel(where, sp, level)
		}
		if err := n.ballast.keep(); err != nil {
			n.log.Warn("no space kept in reserve for the log", "node", n.name, "err", err)
		}
		if cause := n.badDisk(); cause != nil && n.leads() && len(n.members()) > 1 && time.Since(handed) > handEvery {
			handed = time.Now()
			n.handToFit(ctx, cause)
		}
		if !pause(ctx, min(roomEvery, n.disk.slowAfter)) {
			return nil
		}
	}
}

// levelSlack is how far below a mark the disk must be to count as below it again.
const levelSlack = 0.01

// noteLevel raises and ends the alarm of a full disk, and returns the level that
// counts from now on.
func (n *Node) noteLevel(where string, sp blobstore.Space, before blobstore.Level) blobstore.Level {
	level := sp.Level()
	if level == before {
		return before
	}
	fuller := sp
	fuller.Reserved += int64(levelSlack * float64(sp.Used+sp.Avail))
	if levelRank(level) < levelRank(before) && fuller.Level() == before {
		return before
	}
	text, can := "", ""
	switch level {
	case blobstore.LevelNoRebalance:
		can = "it takes no more copies from others"
	case blobstore.LevelNoIngest:
		can = "it takes no more pushes"
	case blobstore.LevelReadOnly:
		can = "the catalog does not grow through it"
	}
	if can != "" {
		text = fmt.Sprintf("the disk of %s is at level %s (%.0f %% of %d bytes): %s; free or add disk space", where, level, 100*sp.Share(), sp.Used+sp.Avail, can)
	}
	n.log.Info("disk level", "node", n.name, "level", string(level), "before", string(before))
	n.notice(catalog.AlarmDiskFull, text)
	return level
}

// levels are those of a disk, from empty to full.
var levels = []blobstore.Level{blobstore.LevelOK, blobstore.LevelWarn, blobstore.LevelNoRebalance, blobstore.LevelNoIngest, blobstore.LevelReadOnly}

func levelRank(l blobstore.Level) int { return slices.Index(levels, l) }

// roomToGrow refuses what makes the catalog larger while this node's disk, or the one
// of its raft log, is nearly full. The error wraps catalog.ErrFull.
func (n *Node) roomToGrow() error {
	sp, err := n.blobs.Space()
	if err != nil {
		return err
	}
	for _, d := range []struct {
		what string
		sp   blobstore.Space
	}{{n.cfg.DataDir, sp}, {n.raftDir(), n.raftSpace(sp)}} {
		if d.sp.Level() != blobstore.LevelReadOnly {
			continue
		}
		return fmt.Errorf("node %s: %.1f %% of the %d bytes of the disk of %s are used, from %.0f %% on the catalog is not to grow: free or add disk space on this node, or push to another one: %w",
			n.name, 100*d.sp.Share(), d.sp.Used+d.sp.Avail, d.what, 100*d.sp.Marks.ReadOnly, catalog.ErrFull)
	}
	return nil
}

// raftSpace returns how full the file system of the raft log is: often that of the
// data, whose space it is given.
func (n *Node) raftSpace(data blobstore.Space) blobstore.Space {
	used, avail, err := n.ballast.usage(n.raftDir())
	if err != nil {
		return data // not made yet
	}
	return blobstore.Space{Used: used, Avail: avail, Marks: data.Marks}
}

// roomFor is roomToGrow for those commands that make the catalog larger.
func (n *Node) roomFor(cmd raftfsm.Command) error {
	switch cmd.(type) {
	case raftfsm.OpenPackage, raftfsm.AddFiles:
		return n.roomToGrow()
	}
	return nil
}

// diskReady is why this node takes no pushes, nil if it does.
func (n *Node) diskReady() error {
	if text := n.disk.slow(); text != "" {
		return errors.New(text)
	}
	if err := n.roomToGrow(); err != nil {
		return err
	}
	release, err := n.blobs.Reserve(1 << 20)
	if err == nil {
		release()
	}
	return err
}

// badDisk is why another member should lead.
func (n *Node) badDisk() error {
	if text := n.disk.slow(); text != "" {
		return errors.New(text)
	}
	return n.roomToGrow()
}

// unfit is why another member should lead, and no member should hand over to this one.
func (n *Node) unfit() error {
	if err := n.stopError(); err != nil {
		return err
	}
	if n.leaving.Load() {
		return errors.New("the node is leaving the cluster")
	}
	if err := n.end.failed(); err != nil {
		return err
	}
	if n.unsure.Load() {
		return errors.New("the node's catalog is not compared yet with those of the others")
	}
	return n.badDisk()
}

// handToFit hands leadership to a voter whose disk is well, if there is one.
func (n *Node) handToFit(ctx context.Context, cause error) {
	c := n.consensus()
	heir, err := n.fitVoter(ctx, c)
	if err == nil {
		n.log.Warn("another node is to lead", "node", n.name, "err", cause)
		err = n.handTo(c, heir)
	}
	if err != nil {
		n.log.Warn("leadership not handed over", "node", n.name, "err", errors.Join(err, cause))
	}
}

// diskFit is what the first builds say of whether they are fit to lead.
func diskFit(st api.PeerStatus) bool {
	return st.Disk.Level != string(blobstore.LevelReadOnly) && !slices.ContainsFunc(st.Alarms, func(a catalog.Alarm) bool {
		return a.Code == catalog.AlarmDiskSlow
	})
}
