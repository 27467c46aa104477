package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// auditEvery is how often the leader compares what the members made of the log.
const auditEvery = time.Minute

// runAudit has the leader compare the catalogs, whether or not anybody asks for the
// status.
func (n *Node) runAudit(ctx context.Context) error {
	for pause(ctx, auditEvery) {
		if _, err := n.ClusterStatus(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("catalogs not compared", "err", err)
		}
	}
	return nil
}

// catalogHashes returns the rolling hash of this node's catalog, as of its newest
// command and as of the last recorded step: members that are busy are seldom asked
// at the same command.
func (n *Node) catalogHashes() ([]api.CatalogHash, error) {
	index, hash := n.fsm.Hash()
	hashes := []api.CatalogHash{{Index: index, Hash: hash.String()}}
	step := index / raftfsm.HashStep * raftfsm.HashStep
	switch hash, err := n.fsm.HashAt(step); {
	case errors.Is(err, catalog.ErrNotFound):
		return hashes, nil
	case err != nil:
		return nil, err
	default:
		return append(hashes, api.CatalogHash{Index: step, Hash: hash.String(), Step: true}), nil
	}
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
