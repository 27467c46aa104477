package node

import (
	"testing"
)

// TestThreeNodes: what is pushed through any node is served by all, the leader may
// go, and a node that comes back at other addresses is a member like before.
func TestThreeNodes(t *testing.T) {
	nodes := startCluster(t, 3)
	st, err := nodes[2].ClusterStatus(t.Context())
	if err != nil || st.Tolerates != 1 {
		t.Fatalf("three healthy nodes tolerate %d, %v, want 1", st.Tolerates, err)
	}
	a := breakpad(1, 100)
	leader, others := leaderOf(t, nodes...)
	others[0].push("a", a)
	for _, n := range nodes {
		n.serves(a)
		if status, _ := n.get("/none.pdb/0123456789ABCDEF0123456789ABCDEF1/none.pdb"); status != 404 {
			t.Errorf("miss from %s = %d, want 404", n.cfg.Name, status)
		}
	}

	leader.halt()
	b := breakpad(2, 100)
	others[1].push("b", b)
	others[0].serves(b)
	leader.start()
	awaitHealthy(t, nodes...)
	leader.serves(a)
	leader.serves(b)
}
