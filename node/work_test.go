package node

import (
	"slices"
	"testing"
	"time"

	"symkeep/internal/catalog"
)

// TestLongGoneUnseen: a member that died before this node started is never seen by
// its gossip, and its copies must be made anew all the same.
func TestLongGoneUnseen(t *testing.T) {
	n, _ := newLedgerNode(t)
	for _, tt := range []struct {
		up   time.Duration // of this node
		want []catalog.NodeID
	}{
		{goneFor - time.Minute, nil},
		{goneFor + time.Minute, []catalog.NodeID{"away"}},
	} {
		n.started = time.Now().Add(-tt.up)
		if got := n.longGone(); !slices.Equal(got, tt.want) {
			t.Errorf("longGone after %s = %v, want %v", tt.up, got, tt.want)
		}
	}
}
