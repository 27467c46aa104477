package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// Timings and bounds of the comparison of catalogs.
const (
	auditEvery   = time.Minute
	compareEvery = 5 * time.Second
	compareSoon  = time.Second // while this node is unsure of its rows
	auditSteps   = 8           // recent ones that are told
	tiedLimit    = 2 * time.Minute
)

// runAudit compares what this node made of the log with what the others made of it,
// soon after each raftfsm.HashStep entries, and what its disk made of that, soon
// after each check of the contents.
func (n *Node) runAudit(ctx context.Context) error {
	c, err := n.awaitConsensus(ctx)
	if err != nil {
		return nil
	}
	settled, whole := uint64(0), uint64(0) // every member agreed up to this step, and on the contents there
	var tied time.Time                     // since when members differ and no majority is on either side: others may be slower to know
	for n.pauseToCompare(ctx) {
		mine, err := n.catalogSteps()
		if err != nil {
			n.log.Warn("catalogs not compared", "node", n.name, "err", err)
			continue
		}
		rows := n.contentHashes()
		if !newer(mine, settled) && !newer(rows, whole) {
			continue
		}
		witnesses := n.witnesses(c)
		others, members := n.askSteps(ctx, witnesses), len(witnesses)+1
		log, contents := agreement(mine, others, members), agreement(rows, others, members)
		settled, whole = max(settled, log.agreed), max(whole, contents.agreed)
		if contents.backed {
			n.unsure.Store(false)
		}
		undecided := false
		for _, a := range []opinion{log, contents} {
			switch {
			case a.differs == "":
			case a.diverged:
				n.stopDiverged(ctx, a.differs)
			case a.upheld:
				n.log.Warn("a member's catalog differs, a majority has what this node has", "node", n.name, "err", a.differs)
			default:
				undecided = true
				if !tied.IsZero() && time.Since(tied) >= tiedLimit {
					n.notice(catalog.AlarmDiverged, a.differs+"; no majority says which is right: keep the data of all, and restore from a backup")
				}
			}
		}
		switch {
		case !undecided:
			tied = time.Time{}
		case tied.IsZero():
			tied = time.Now()
		}
	}
	return nil
}

// pauseToCompare waits for the next comparison and reports whether ctx still goes on.
func (n *Node) pauseToCompare(ctx context.Context) bool {
	if n.unsure.Load() {
		return pause(ctx, compareSoon)
	}
	return pause(ctx, compareEvery)
}

// newer reports whether the newest of some hashes is past an index.
func newer(hashes []api.CatalogHash, index uint64) bool {
	return len(hashes) > 0 && hashes[0].Index > index
}

// askSteps asks other members what they made of the log, all at the same time.
func (n *Node) askSteps(ctx context.Context, others []catalog.Member) []api.PeerStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	said := make([]api.PeerStatus, len(others))
	var asking sync.WaitGroup
	for i, m := range others {
		if n.foundDead(m.ID) {
			continue
		}
		asking.Go(func() {
			if st, err := n.peers.Status(ctx, n.peerAddr(m.ID, m.PeerAddr)); err == nil && st.ID == m.ID {
				said[i] = st
			}
		})
	}
	asking.Wait()
	return said
}

// An opinion is what the members' answers say of this node's catalog.
type opinion struct {
	agreed   uint64 // newest step at which every member has this node's hash
	backed   bool   // at one of them a majority has
	differs  string // where this node and others differ, for people; empty: nowhere
	diverged bool   // a majority of the members agrees on something else
	upheld   bool   // a majority has what this node has where they differ
}

// agreement compares this node's hashes, newest first, with those of the others. A
// member counts where it answered and knows the step.
func agreement(mine []api.CatalogHash, others []api.PeerStatus, members int) (a opinion) {
	for _, h := range mine {
		same, votes, names := 1, map[string]int{}, map[string][]string{}
		for _, st := range others {
			for _, o := range slices.Concat(st.Hashes, st.Contents) {
				switch {
				case !o.Step && !o.Content || o.Step != h.Step || o.Content != h.Content || o.Index != h.Index:
				case o.Hash == h.Hash:
					same++
				default:
					votes[o.Hash]++
					names[o.Hash] = append(names[o.Hash], st.Name)
				}
			}
		}
		if same >= members {
			a.agreed = max(a.agreed, h.Index)
		}
		a.backed = a.backed || same > members/2
		for hash, k := range votes {
			if a.diverged && k <= members/2 {
				continue
			}
			a.diverged, a.upheld = k > members/2, same > members/2
			what := "below log index %d this node made another catalog of the log than %s (%d of %d members)"
			if h.Content {
				what = "after log index %d the rows in this node's catalog file are not those of %s (%d of %d members)"
			}
			a.differs = fmt.Sprintf(what, h.Index, strings.Join(names[hash], ", "), k, members)
		}
	}
	return a
}

// stopDiverged raises the alarm and ends this node for good: its catalog is wrong,
// and so is what it answers.
func (n *Node) stopDiverged(ctx context.Context, why string) {
	text := why + ": this node stops. Keep a copy of its data directory, then empty that and start the node with --join"
	if err := n.id.markDiverged(text); err != nil {
		n.log.Error("divergence not noted in the data directory", "node", n.name, "err", err)
	}
	n.notice(catalog.AlarmDiverged, text)
	_ = n.tell(ctx, catalog.AlarmDiverged, text) // the process ends: the others must know
	n.fail(fmt.Errorf("catalog diverged: %s: %w", text, catalog.ErrConflict))
}

const divergedFile = "diverged"

// markDiverged keeps later starts from using the catalog.
func (id *identity) markDiverged(reason string) error {
	return writeFile(id.dir, divergedFile, reason)
}

// checkDiverged refuses a directory that markDiverged has marked.
func (id *identity) checkDiverged() error {
	b, err := os.ReadFile(filepath.Join(id.dir, divergedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("data directory %s: its catalog has diverged from the cluster's (%.500s): keep a copy of the directory, empty it and start with --join: %w",
		id.dir, strings.TrimSpace(string(b)), catalog.ErrConflict)
}

// catalogSteps returns the rolling hashes of this node's catalog at the recent
// steps, newest first. Members that are busy are seldom asked at the same command.
func (n *Node) catalogSteps() (steps []api.CatalogHash, err error) {
	index, _ := n.fsm.Hash()
	newest := index / raftfsm.HashStep * raftfsm.HashStep
	for k := uint64(0); k < auditSteps && newest > k*raftfsm.HashStep; k++ {
		at := newest - k*raftfsm.HashStep
		hash, err := n.fsm.HashAt(at)
		if errors.Is(err, catalog.ErrNotFound) {
			continue // no command fell into it
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, api.CatalogHash{Index: at, Hash: hash.String(), Step: true})
	}
	return steps, nil
}

// catalogHashes returns the rolling hash as of the newest command, and those of the
// recent steps.
func (n *Node) catalogHashes() ([]api.CatalogHash, error) {
	index, hash := n.fsm.Hash()
	steps, err := n.catalogSteps()
	return append([]api.CatalogHash{{Index: index, Hash: hash.String()}}, steps...), err
}

// differ names two members whose catalogs have come to differ although they
// applied the same log; empty when no two are known to.
func differ(said []api.PeerStatus) string {
	type moment struct {
		index uint64
		step  bool // the hash before the index, rather than with it
	}
	first := map[moment]int{}
	for i, st := range said {
		for _, h := range st.Hashes {
			at := moment{h.Index, h.Step}
			j, known := first[at]
			if !known {
				first[at] = i
				continue
			}
			for _, o := range said[j].Hashes {
				if o.Index == h.Index && o.Step == h.Step && o.Hash != h.Hash {
					return fmt.Sprintf("the catalogs of nodes %s and %s differ at log index %d: stop both, keep their data and compare them with the others", said[j].Name, st.Name, h.Index)
				}
			}
		}
	}
	return ""
}
