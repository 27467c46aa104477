package node

import (
	"context"
	"time"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

const (
	receiptQueue = 4096                   // receipts that wait to be recorded
	receiptPause = 100 * time.Millisecond // between proposals: each is synced by every voter, twice
)

// recordReceipt has the copies of an uploaded blob made known to the cluster soon,
// so that nobody is asked for it again and that it is collected if its package
// never comes to a commit. It does not wait: a commit confirms and records every
// copy itself, so a receipt that is lost here costs nothing but that work.
func (n *Node) recordReceipt(r catalog.Receipt) {
	select {
	case n.receipts <- r:
	default:
	}
}

// runReceipts proposes receipts, as many at a time as have come meanwhile.
func (n *Node) runReceipts(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-n.receipts:
			batch := n.moreReceipts(r)
			if _, err := n.propose(ctx, raftfsm.PutReceipts{Receipts: batch}); err != nil && ctx.Err() == nil {
				n.log.Warn("copies not recorded yet, the commit will", "blobs", len(batch), "err", err)
			}
			pause(ctx, receiptPause)
		}
	}
}

func (n *Node) moreReceipts(first catalog.Receipt) []catalog.Receipt {
	batch := []catalog.Receipt{first}
	for len(batch) < receiptChunk {
		select {
		case r := <-n.receipts:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}
