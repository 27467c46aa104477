package node

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestPipelineIsNeverStuck sends entries whose answers nobody takes, as raft does
// for a moment after a follower refused.
func TestPipelineIsNeverStuck(t *testing.T) {
	log := newRaftLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	newTransport := func() *raft.NetworkTransport {
		nt, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nt.Close() })
		return nt
	}
	follower := newTransport()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 9}, nil)
			case <-done:
				return
			}
		}
	}()
	p, err := raftTransport{newTransport()}.AppendEntriesPipeline("follower", follower.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	const sends = pipelineRoom / 2
	sent := make(chan error, 1)
	go func() {
		for range sends {
			if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, new(raft.AppendEntriesResponse)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the sender waits for a taker of answers")
	}
	for i := range sends {
		select {
		case f := <-p.Consumer():
			if f.Response().Term != 9 {
				t.Fatalf("answer %d has term %d, want 9", i, f.Response().Term)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("answer %d does not come", i)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
