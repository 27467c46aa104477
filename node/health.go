package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/gossip"
)

// judgeHealth computes how many members may fail, and why the cluster is not as
// it should be. Neither a vote nor a copy of a node that is away or has not
// completed its first copy counts.
//
// A draining member is a reason for as long as blobs need its copies. Once its drain
// is finished the cluster is healthy: what was asked for is done, and scripts wait
// for just that before they remove it.
func (n *Node) judgeHealth(st *api.ClusterStatus, roles map[catalog.NodeID]string) {
	voters, firmVoters, infirm, eligible, usable := 0, 0, 0, 0, 0
	for _, role := range roles { // a server without a row has its vote nevertheless
		if role == "voter" {
			voters++
		}
	}
	var reasons []string
	say := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	missing := 0
	for _, s := range st.Nodes {
		alive := isAlive(s)
		missing += s.Missing
		for _, text := range troubles(s) {
			say("%s", text)
		}
		if roles[s.ID] == "" {
			say("node %s gets no log yet", s.Name)
		}
		switch firm := alive && s.Synced; {
		case !firm:
			infirm++
		case s.Role == "voter":
			firmVoters++
		}
		if s.Role == "voter" || alive {
			eligible++
		}
		if s.Drain == nil {
			usable++
		}
	}
	leads := func(s api.NodeStatus) bool { return s.ID == st.Leader }
	switch {
	case st.Leader == "":
		say("there is no leader: packages cannot be pushed")
	case !slices.ContainsFunc(st.Nodes, leads):
		say("the leader %s is not in the member table", st.Leader)
	}
	if want := targetVoters(eligible); voters < want && voters > 0 {
		say("%d of %d votes given: a node is catching up", voters, want)
	}
	want := min(st.Replicas, max(usable, 1))
	if st.Under = n.fsm.UnderReplicated(want); st.Under > 0 {
		say("%d of %d blobs have fewer than %d copies", st.Under, st.Blobs, want)
	}
	if behind := n.behindLayout(); st.Moving > 0 && len(behind) > 0 {
		say("copies are on the move: %s does not hold all of layout %d yet", strings.Join(behind, ", "), st.Layout)
	}
	if st.Paused && (missing > 0 || st.Under > 0) {
		say("repair is paused, and copies are missing: let it go on with `symkeep cluster repl resume`")
	}
	for _, a := range st.Alarms {
		if grave(a.Code) {
			say("alarm %s on %s: %s", a.Code, n.nodeName(a.Node), a.Text)
		}
	}
	st.Tolerates = max(0, firmVoters-(voters/2+1))
	if fewest, ok := n.fsm.MinHolders(); ok { // those that do not count may be among the holders
		st.Tolerates = max(0, min(st.Tolerates, fewest-1-infirm))
	}
	st.Reasons, st.Healthy = reasons, len(reasons) == 0
}

// behindLayout names the members that have not said that they hold all that the
// present layout gives them.
func (n *Node) behindLayout() (names []string) {
	version := n.fsm.Layout().Version
	for _, m := range n.members() {
		if !m.Draining && m.LayoutSynced < version {
			names = append(names, m.Name)
		}
	}
	return names
}

func isAlive(s api.NodeStatus) bool { return s.State == string(gossip.Alive) || s.State == "draining" }

// troubles says what is wrong with one member.
func troubles(s api.NodeStatus) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	alive := isAlive(s)
	planned := time.Duration(s.Maintenance) * time.Millisecond
	switch {
	case !alive && planned > 0:
		say("node %s is %s as planned: in maintenance for another %s", s.Name, s.State, planned.Round(time.Second))
	case !alive:
		say("node %s is %s", s.Name, s.State)
	case !s.Synced:
		say("node %s has not completed its first copy: %d blobs missing", s.Name, s.Missing)
	case s.Missing > 0:
		say("node %s lacks %d blobs it should hold, %d bytes", s.Name, s.Missing, s.MissBytes)
	}
	if s.Drain != nil && !s.Drain.Finished {
		say("node %s is draining: %d blobs would have too few copies without it", s.Name, s.Drain.Needed)
	}
	if s.Disk.Level == "no-ingest" || s.Disk.Level == "read-only" {
		say("node %s takes no pushes: its disk is %.0f%% full", s.Name, 100*s.Disk.Share)
	}
	return out
}

// grave reports whether the cluster is not healthy while an alarm of the code
// stands. The others tell of what is mended already, or of what costs time only; how
// full a disk is follows from its level.
func grave(code catalog.AlarmCode) bool {
	switch code {
	case catalog.AlarmDiverged, catalog.AlarmSuspectDisk, catalog.AlarmDiskHung, catalog.AlarmSnapshotLoop, catalog.AlarmStuck:
		return true
	}
	return false
}

// nodeName returns the name of a member, or the id of one that is gone.
func (n *Node) nodeName(id catalog.NodeID) string {
	if m, err := n.fsm.Member(id); err == nil {
		return m.Name
	}
	return string(id)
}
