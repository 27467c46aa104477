package node

import (
	"context"
	"errors"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/raftfsm"
	"symkeep/symhttp"
)

// OpenBackup begins a backup file of this node's catalog, once the leader has
// confirmed that nothing acknowledged is missing in it.
func (n *Node) OpenBackup(ctx context.Context) (symhttp.Backup, error) {
	if err := n.confirmApplied(ctx); err != nil {
		return nil, err
	}
	b, err := n.fsm.Backup(fault.Now())
	if err != nil {
		return nil, err
	}
	n.log.Info("backup begins", "node", n.name, "index", b.Info().AppliedIndex, "bytes", b.Info().Size())
	return catalogBackup{b}, nil
}

type catalogBackup struct{ *raftfsm.Backup }

// Size implements symhttp.Backup.
func (b catalogBackup) Size() int64 { return b.Info().Size() }

// BlobStates says where the cluster has blobs. Retired ones and those it knows
// nothing of have a zero state.
func (n *Node) BlobStates(ctx context.Context, digests []catalog.Digest) ([]api.BlobState, error) {
	if err := n.confirmApplied(ctx); err != nil {
		return nil, err
	}
	states := make([]api.BlobState, len(digests))
	for i, d := range digests {
		b, err := n.fsm.Blob(d)
		switch {
		case errors.Is(err, catalog.ErrNotFound) || err == nil && b.Retired:
		case err != nil:
			return nil, err
		default:
			states[i] = api.BlobState{Packed: b.Packed, Holders: b.Holders}
		}
	}
	return states, nil
}
