package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNameOfFounder has nodes wait for a founder whose name they have, too. None
// may take its place, however early it asks.
func TestNameOfFounder(t *testing.T) {
	c := &cluster{t: t, dir: diskDir(t)}
	founder := c.add("n1")
	var namesakes []*node
	for i := range 3 {
		n := c.add(fmt.Sprintf("n1-again%d", i), "--join", founder.gossip)
		n.name = founder.name // data and log stay apart
		n.start()
		namesakes = append(namesakes, n)
	}
	founder.start()
	for _, n := range namesakes {
		n.waitLog(`name \"n1\" belongs to member`)
	}
	eventually(t, 30*time.Second, "a cluster of the founder alone", func() error {
		st, err := founder.status()
		if err != nil {
			return err
		}
		if !st.Healthy || len(st.Nodes) != 1 || st.Nodes[0].HTTPAddr != founder.http || st.Nodes[0].Role != "voter" || st.Leader != st.Nodes[0].ID {
			return fmt.Errorf("status %+v", st)
		}
		return nil
	})
	for _, n := range namesakes {
		if log := n.log(t); strings.Contains(log, "this node holds everything") {
			t.Errorf("a node of the founder's name became a member:\n%s", log)
		}
	}
}
