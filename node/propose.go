package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

const (
	proposeTimeout   = 15 * time.Second
	proposePause     = 100 * time.Millisecond // before the first new attempt, half of it at least
	proposePauseMost = 800 * time.Millisecond
	forwardTimeout   = 4 * time.Second // one attempt; the leader may be cut off, and another one elected
	leaderPatience   = 6 * time.Second // an agent waits for an election, and asks another node if that is not over by then
)

// propose commits cmd through the leader, wherever that is, and waits until this
// node has applied it too. A refusal is returned as an error with the result. An
// unknown outcome is tried again: every command tolerates being repeated. It
// blocks until the end of ctx, at most proposeTimeout.
func (n *Node) propose(ctx context.Context, cmd raftfsm.Command) (raftfsm.Result, error) {
	return n.proposeUnless(ctx, cmd, func() bool { return false })
}

// proposeUnless is propose, and gives up where there is no leader and no hope of one.
func (n *Node) proposeUnless(ctx context.Context, cmd raftfsm.Command, hopeless func() bool) (raftfsm.Result, error) {
	b, err := raftfsm.Encode(cmd)
	if err != nil {
		return raftfsm.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	if need := raftfsm.Requires(cmd); need > n.fsm.FeatureLevel() { // a leader of the former version could not say what is wrong
		if err := n.confirmApplied(ctx); err != nil {
			return raftfsm.Result{}, err
		}
		if err := n.needLevel(need); err != nil {
			return raftfsm.Result{}, err
		}
	}
	for wait := proposePause; ; wait = min(2*wait, proposePauseMost) {
		res, err := n.proposeOnce(ctx, cmd, b)
		if err == nil {
			if werr := n.fsm.WaitApplied(ctx, res.Index); werr != nil {
				return res, fmt.Errorf("log index %d is committed, not yet applied here: %w", res.Index, catalog.ErrUnavailable)
			}
			return res, res.AsError()
		}
		if errors.Is(err, errNoCluster) || !retriable(ctx, err) || errors.Is(err, errNoLeader) && hopeless() {
			return raftfsm.Result{}, err
		}
		if !pause(ctx, wait/2+rand.N(wait/2)) {
			return raftfsm.Result{}, fmt.Errorf("no leader took the command: %v: %w", err, catalog.ErrUnavailable)
		}
	}
}

// retriable reports whether another attempt may do better: the end of an attempt's
// own time is no reason to give up.
func retriable(ctx context.Context, err error) bool {
	return errors.Is(err, catalog.ErrUnavailable) || errors.Is(err, api.ErrNotLeader) ||
		errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

func (n *Node) proposeOnce(ctx context.Context, cmd raftfsm.Command, b []byte) (raftfsm.Result, error) {
	c := n.consensus()
	if c == nil {
		return raftfsm.Result{}, errNoCluster
	}
	addr, id := c.raft.LeaderWithID()
	if id == raft.ServerID(n.id.Node) {
		if err := n.allowed(cmd); err != nil {
			return raftfsm.Result{}, err
		}
		return n.proposeHere(c, b)
	}
	if id == "" {
		return raftfsm.Result{}, errNoLeader
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	raw, err := n.peers.Propose(ctx, n.peerAddr(catalog.NodeID(id), string(addr)), b)
	if err != nil {
		return raftfsm.Result{}, err
	}
	var res raftfsm.Result
	if err := json.Unmarshal(raw, &res); err != nil {
		return res, fmt.Errorf("leader %s: result %.80q: %v: %w", id, raw, err, catalog.ErrUnavailable)
	}
	return res, nil
}

var (
	errNoCluster = fmt.Errorf("this node belongs to no cluster yet: start it with --join, or run `symkeep cluster join`: %w", catalog.ErrUnavailable)
	errNoLeader  = fmt.Errorf("no leader is known: a majority of the voters must be up, `symkeep cluster check` says which are: %w", catalog.ErrUnavailable)
)

// proposeHere appends to the log of this node, which must lead. While leadership is
// handed over it appends nothing: raft comes to the hand-over between two writes of its
// log, and with a disk that takes seconds for one each command more would delay it.
func (n *Node) proposeHere(c *consensus, b []byte) (raftfsm.Result, error) {
	if err := n.staying(); err != nil {
		return raftfsm.Result{}, err
	}
	f := c.raft.Apply(b, 5*time.Second)
	n.transfer.note(f.Error())
	switch err := f.Error(); {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return raftfsm.Result{}, fmt.Errorf("%v: %w", err, api.ErrNotLeader)
	case err != nil:
		return raftfsm.Result{}, fmt.Errorf("raft: %v: %w", err, catalog.ErrUnavailable)
	}
	res, ok := f.Response().(raftfsm.Result)
	if !ok {
		return raftfsm.Result{}, fmt.Errorf("raft: response %T, wanted a result", f.Response())
	}
	return res, nil
}

// Propose commits a command that another node forwarded, without a further hop.
// Errors wrap api.ErrNotLeader when this node does not lead.
func (n *Node) Propose(_ context.Context, command []byte) ([]byte, error) {
	cmd, err := raftfsm.Decode(command)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
	}
	c := n.consensus()
	if c == nil || c.raft.State() != raft.Leader {
		return nil, fmt.Errorf("node %s: %w", n.name, api.ErrNotLeader)
	}
	if err := n.allowed(cmd); err != nil {
		return nil, err
	}
	if err := n.roomFor(cmd); err != nil {
		return nil, err
	}
	res, err := n.proposeHere(c, command)
	if err != nil {
		return nil, err
	}
	return json.Marshal(res)
}

// proposeValue proposes cmd and decodes the value of its result into v.
func (n *Node) proposeValue(ctx context.Context, cmd raftfsm.Command, v any) (raftfsm.Result, error) {
	res, err := n.propose(ctx, cmd)
	return res, decodeValue(res, v, err)
}

// proposeForAgent is proposeValue for somebody who can ask another node: one that is
// cut off from the leader, while others are not, could not say so sooner otherwise.
func (n *Node) proposeForAgent(ctx context.Context, cmd raftfsm.Command, v any) (raftfsm.Result, error) {
	res, err := n.proposeUnless(ctx, cmd, n.leaderless)
	return res, decodeValue(res, v, err)
}

// leaderless reports whether this node has been without a leader for longer than an
// election takes.
func (n *Node) leaderless() bool {
	c := n.consensus()
	if c == nil {
		return true
	}
	return time.Since(n.lastLeader(c)) > leaderPatience
}

// lastLeader returns when this node last knew of a leader: now if it does, its own start
// if it never did. Raft forgets that it leads before it notes when it stopped to, and
// writes a term to disk in between; that moment is no time without a leader.
func (n *Node) lastLeader(c *consensus) time.Time {
	if _, id := c.raft.LeaderWithID(); id != "" || n.leading.Load() {
		return time.Now()
	}
	if last := c.raft.LastContact(); last.After(n.started) {
		return last
	}
	return n.started
}

// decodeValue decodes the value of a result, if there is any, and returns err or
// what went wrong with that.
func decodeValue(res raftfsm.Result, v any, err error) error {
	if len(res.Value) > 0 {
		if derr := res.Into(v); derr != nil && err == nil {
			err = derr
		}
	}
	return err
}
