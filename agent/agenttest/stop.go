package agenttest

import (
	"io"
	"net/http"
)

// Stop makes the node stand still, as SIGSTOP does with a process: connections are
// accepted and stay open, what has arrived waits, and nothing is answered.
func (n *Node) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.resumed == nil {
		n.resumed = make(chan struct{})
	}
}

// Resume ends a Stop. The node goes on with every request that it was given, also
// with those whose agents have hung up since.
func (n *Node) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.resumed != nil {
		close(n.resumed)
		n.resumed = nil
	}
}

// stand waits while the node stands still. A test that ends first breaks the
// connection.
func (n *Node) stand() {
	n.mu.Lock()
	resumed := n.resumed
	n.mu.Unlock()
	if resumed == nil {
		return
	}
	select {
	case <-resumed:
	case <-n.cluster.ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// halting is a body of which a node that stands still reads nothing.
type halting struct {
	io.ReadCloser
	n *Node
}

func (h halting) Read(p []byte) (int, error) {
	h.n.stand()
	return h.ReadCloser.Read(p)
}
