package node

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipelineRoom is how many answers of a follower wait for raft at most.
const pipelineRoom = 64

// A raftTransport is raft's own, whose pipelines cannot get stuck. In raft 1.7.3 the
// goroutine that takes a follower's answers ends at the first refusal or broken
// connection, while the one that sends may go on for some entries; nobody takes
// the answers to those, and the pipeline's channels have no room: the sender waits
// for ever. The follower then gets heartbeats and no entries for as long as this
// node leads, and raft.Shutdown does not return. With room for some answers the
// sender comes to see that the other one has ended.
type raftTransport struct{ *raft.NetworkTransport }

// AppendEntriesPipeline implements raft.Transport.
func (t raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	r := &roomyPipeline{AppendPipeline: p, answers: make(chan raft.AppendFuture, pipelineRoom), closed: make(chan struct{})}
	r.forwarding.Go(r.forward)
	return r, nil
}

// A roomyPipeline keeps answers until raft takes them.
type roomyPipeline struct {
	raft.AppendPipeline
	answers    chan raft.AppendFuture
	closing    sync.Once
	closed     chan struct{}
	forwarding sync.WaitGroup
}

// Consumer implements raft.AppendPipeline.
func (p *roomyPipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *roomyPipeline) Close() error {
	err := p.AppendPipeline.Close()
	p.closing.Do(func() { close(p.closed) })
	p.forwarding.Wait()
	return err
}

func (p *roomyPipeline) forward() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			select {
			case p.answers <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}
