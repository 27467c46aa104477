package node

import (
	"net"
	"testing"

	"symkeep/raftfsm"
)

// TestServerAddr: what raft still wants to tell a server that was replaced must not
// reach its successor, who may listen at the same address.
func TestServerAddr(t *testing.T) {
	n, l := newLedgerNode(t)
	old, err := n.fsm.Member("away")
	if err != nil {
		t.Fatal(err)
	}
	if addr, err := n.ServerAddr("away"); err != nil || string(addr) != old.PeerAddr {
		t.Errorf("ServerAddr of a member = %q, %v, want %q", addr, err, old.PeerAddr)
	}
	heir := old
	heir.ID = "heir"
	l.apply(raftfsm.PutMember{Member: heir, Replaces: old.ID})
	if addr, err := n.ServerAddr("heir"); err != nil || string(addr) != old.PeerAddr {
		t.Errorf("ServerAddr of the successor = %q, %v, want %q", addr, err, old.PeerAddr)
	}
	addr, err := n.ServerAddr("away")
	if err != nil {
		t.Fatalf("ServerAddr of a replaced member = %v: raft would fall back to its old address", err)
	}
	if conn, err := net.Dial("tcp", string(addr)); err == nil {
		conn.Close()
		t.Errorf("ServerAddr of a replaced member = %q, which can be dialled", addr)
	}
	empty, err := raftfsm.Open(t.TempDir() + "/fsm.db")
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	n.fsm = empty
	if addr, err := n.ServerAddr("away"); err == nil {
		t.Errorf("ServerAddr before any member is known = %q, want an error", addr)
	}
}
