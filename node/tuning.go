package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// replStatus says how this node's own repair and scrub are doing.
func (n *Node) replStatus() api.ReplStatus {
	out := api.ReplStatus{Node: n.id.Node, Name: n.name, Errors: map[string]string{}}
	st, err := n.repl.Status()
	if err != nil {
		out.Err = err.Error()
		return out
	}
	out.Paused, out.Rate, out.PulledBytes = st.Paused, st.Rate, st.PulledBytes
	out.Scrub = api.ScrubStatus{
		Asked: st.Scrub.Asked, Running: st.Scrub.Running, Done: st.Scrub.Done, Total: st.Scrub.Total, Damaged: st.Scrub.Damaged,
		Quarantined: st.Scrub.Quarantined, Rate: st.Scrub.Rate,
	}
	if !st.Scrub.Finished.IsZero() {
		out.Scrub.FinishedMS = st.Scrub.Finished.UnixMilli()
	}
	out.Queue, out.Running, out.Missing, out.MissBytes, out.Orphans = st.Queue, st.Running, st.Missing, st.MissBytes, st.Orphans
	for d, text := range st.Errors {
		out.Errors[d.String()] = text
	}
	return out
}

// ReplStatus returns how repair and scrub are doing on every member.
func (n *Node) ReplStatus(ctx context.Context) (api.ReplResponse, error) {
	if n.consensus() == nil {
		return api.ReplResponse{}, errNoCluster
	}
	s := n.settings()
	out := api.ReplResponse{
		Paused: s.RepairPaused, RepairRate: s.RepairRate, ScrubRate: s.ScrubRate, Delay: s.RepairAfter().Milliseconds(),
		Nodes: []api.ReplStatus{},
	}
	for _, v := range n.askMembers(ctx) {
		st := api.ReplStatus{}
		switch {
		case !v.answered:
			st.Err = fmt.Sprintf("the node is %s and does not answer", v.state)
		case v.said.Repl == nil:
			st.Err = fmt.Sprintf("the node runs version %s, which does not tell", v.said.Version)
		default:
			st = *v.said.Repl
		}
		st.Node, st.Name = v.member.ID, v.member.Name
		out.Nodes = append(out.Nodes, st)
	}
	return out, nil
}

// SetRepl changes how repair and scrub go in the whole cluster, then starts the
// scrubs that are asked for. Members that cannot be told are named in the answer; it
// is an error if that is all of them.
func (n *Node) SetRepl(ctx context.Context, r api.ReplRequest) (api.ReplResponse, error) {
	if n.consensus() == nil {
		return api.ReplResponse{}, errNoCluster
	}
	scrub, err := n.toScrub(r)
	if err != nil {
		return api.ReplResponse{}, err
	}
	if r.Paused != nil || r.RepairRate != nil || r.ScrubRate != nil || r.Delay != nil {
		if _, err := n.propose(ctx, raftfsm.ChangeSettings{
			RepairPaused: r.Paused, RepairRate: r.RepairRate, ScrubRate: r.ScrubRate, RepairDelay: r.Delay,
		}); err != nil {
			return api.ReplResponse{}, err
		}
	}
	unasked, err := n.tellToScrub(ctx, scrub)
	if err != nil {
		return api.ReplResponse{}, err
	}
	out, err := n.ReplStatus(ctx)
	out.Unasked = unasked
	return out, err
}

// tellTimeout bounds the patience with members that are told to scrub; each notes it on
// its disk first.
const tellTimeout = 5 * time.Second

// tellToScrub asks all of the members at the same time and returns why some could not
// be told, by name; an error if none could.
func (n *Node) tellToScrub(ctx context.Context, members []catalog.Member) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	failed := make([]error, len(members))
	var asking sync.WaitGroup
	for i, m := range members {
		asking.Go(func() {
			if m.ID == n.id.Node {
				failed[i] = n.ScrubNow(ctx)
			} else {
				failed[i] = n.peers.Scrub(ctx, n.peerAddr(m.ID, m.PeerAddr))
			}
		})
	}
	asking.Wait()
	var errs []error
	unasked := map[string]string{}
	for i, err := range failed {
		if err != nil {
			unasked[members[i].Name] = err.Error()
			errs = append(errs, fmt.Errorf("member %s does not scrub: %v: %w", members[i].Name, err, catalog.ErrUnavailable))
		}
	}
	if len(errs) == len(members) {
		return nil, errors.Join(errs...)
	}
	return unasked, nil
}

// toScrub returns the members that are to verify their copies now.
func (n *Node) toScrub(r api.ReplRequest) ([]catalog.Member, error) {
	switch {
	case !r.Scrub && len(r.Nodes) > 0:
		return nil, fmt.Errorf("nodes %q: rates, the delay and pausing are those of the whole cluster; name nodes for a scrub only: %w", r.Nodes, catalog.ErrInvalid)
	case !r.Scrub:
		return nil, nil
	case len(r.Nodes) == 0:
		return n.members(), nil
	}
	var out []catalog.Member
	for _, name := range r.Nodes {
		m, err := n.memberNamed(name)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// ScrubNow begins to verify every copy of this node.
func (n *Node) ScrubNow(context.Context) error {
	return n.repl.Scrub()
}
