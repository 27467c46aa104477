package node

import (
	"context"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// A receiptJob is the receipt of one finished upload on its way into the log.
type receiptJob struct {
	receipt catalog.Receipt
	done    chan error // capacity 1
}

// recordReceipt makes the copies of an uploaded blob known to the cluster, so that
// nobody is asked for it again and that it is collected if its package never
// comes to a commit.
func (n *Node) recordReceipt(ctx context.Context, r catalog.Receipt) error {
	job := receiptJob{r, make(chan error, 1)}
	select {
	case n.receipts <- job:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-job.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runReceipts proposes receipts, as many at a time as have come meanwhile.
func (n *Node) runReceipts(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case job := <-n.receipts:
			n.proposeReceipts(ctx, n.moreReceipts(job))
		}
	}
}

func (n *Node) moreReceipts(first receiptJob) []receiptJob {
	jobs := []receiptJob{first}
	for len(jobs) < receiptChunk {
		select {
		case job := <-n.receipts:
			jobs = append(jobs, job)
		default:
			return jobs
		}
	}
	return jobs
}

func (n *Node) proposeReceipts(ctx context.Context, jobs []receiptJob) {
	var cmd raftfsm.PutReceipts
	for _, job := range jobs {
		cmd.Receipts = append(cmd.Receipts, job.receipt)
	}
	_, err := n.propose(ctx, cmd)
	for _, job := range jobs {
		job.done <- err
	}
}
