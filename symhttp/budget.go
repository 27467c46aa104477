package symhttp

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// Memory that one answer takes while it is made: a packed group where that is sent,
// the raw one beside it where it is unpacked, and so once more for each group that is
// there ahead of it.
const (
	packedBytes = cab.GroupSize + cab.GroupSize/8
	groupBytes  = packedBytes + cab.GroupSize
)

// A budget bounds the memory of all answers being made. An eighth of it is for
// unpacking ahead: who comes later unpacks one group at a time, which is as fast when
// the processors are busy, and is not kept waiting by a few slow readers.
type budget struct{ all, ahead *semaphore.Weighted }

func newBudget(bytes int64) *budget {
	return &budget{semaphore.NewWeighted(bytes - bytes/8), semaphore.NewWeighted(bytes / 8)}
}

// A share is what one answer has of the budget.
type share struct{ all, ahead int64 }

// packed waits for memory to send one packed group after the other.
func (b *budget) packed(ctx context.Context) (share, error) { return b.take(ctx, packedBytes) }

// unpacked waits for memory to unpack so many groups, and returns how many of them may
// be there at the same time.
func (b *budget) unpacked(ctx context.Context, groups int64) (s share, window int, err error) {
	if s, err = b.take(ctx, groupBytes); err != nil {
		return s, 0, err
	}
	window = int(min(groups, int64(cab.Window())))
	if more := int64(window-1) * groupBytes; window > 1 && b.ahead.TryAcquire(more) {
		s.ahead = more
		return s, window, nil
	}
	return s, 1, nil
}

func (b *budget) take(ctx context.Context, n int64) (share, error) {
	if err := b.all.Acquire(ctx, n); err != nil {
		return share{}, fmt.Errorf("memory for unpacking: %w: %v", catalog.ErrUnavailable, err)
	}
	return share{all: n}, nil
}

func (b *budget) give(s share) {
	b.all.Release(s.all)
	b.ahead.Release(s.ahead)
}
