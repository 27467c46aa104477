package agenttest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

// Feature levels of a Cluster: it was upgraded, and nobody has raised the level. A
// policy needs policyLevel.
const (
	oldLevel    = 1
	newLevel    = 3
	policyLevel = 3
)

// An office is what operators see and change. The member table starts with every
// node of the cluster; who is killed stays in it.
type office struct {
	members  []*member
	layout   uint64
	replicas int
	feature  int
	repl     api.ReplResponse
	policy   catalog.Policy
	alarms   []catalog.Alarm
}

type member struct {
	name        string
	dead        bool
	level       int
	weight      int
	draining    bool
	needed      int64 // copies that a drain has yet to make elsewhere; each look finds one less
	maintenance time.Duration
	scrub       api.ScrubStatus
	rotten      int64 // copies that the next scrub finds damaged
}

func newOffice(nodes []*Node) office {
	o := office{layout: 1, replicas: 3, feature: oldLevel}
	for _, n := range nodes {
		o.members = append(o.members, &member{name: n.Name, level: newLevel, weight: catalog.DefaultWeight})
	}
	return o
}

// Kill makes a node vanish from the network; it stays a member.
func (c *Cluster) Kill(name string) { c.setDead(name, true) }

// Revive brings it back.
func (c *Cluster) Revive(name string) { c.setDead(name, false) }

func (c *Cluster) setDead(name string, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, err := c.office.member(name); err == nil {
		m.dead = dead
	}
}

// Downgrade makes a node one of an older build, which understands level 1 only.
func (c *Cluster) Downgrade(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, err := c.office.member(name); err == nil {
		m.level = oldLevel
	}
}

// Rot damages a copy on a node. The next scrub finds it and raises an alarm.
func (c *Cluster) Rot(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, err := c.office.member(name); err == nil {
		m.rotten++
	}
}

// down reports whether a node does not answer.
func (c *Cluster) down(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.office.member(name)
	return err == nil && m.dead
}

func (o *office) member(name string) (*member, error) {
	for _, m := range o.members {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("member %q: `symkeep cluster members` lists them: %w", name, catalog.ErrNotFound)
}

func (o *office) alive() []string {
	var names []string
	for _, m := range o.members {
		if !m.dead {
			names = append(names, m.name)
		}
	}
	return names
}

// leader is the first living member while a majority lives.
func (o *office) leader() string {
	if alive := o.alive(); 2*len(alive) > len(o.members) {
		return alive[0]
	}
	return ""
}

func (o *office) led() error {
	if o.leader() == "" {
		return fmt.Errorf("no leader for 10s: %d of %d voters answer: %w", len(o.alive()), len(o.members), catalog.ErrUnavailable)
	}
	return nil
}

// operatorRoutes are those that change or describe the cluster. Each is called with
// mu held.
func (c *Cluster) operatorRoutes() map[string]func(http.ResponseWriter, *http.Request) (any, error) {
	o := &c.office
	routes := map[string]func(*http.Request) (any, error){
		"GET /api/v1/cluster":                  func(*http.Request) (any, error) { return c.look(), nil },
		"GET /api/v1/cluster/check":            func(*http.Request) (any, error) { return o.check(), nil },
		"GET /api/v1/cluster/feature":          func(*http.Request) (any, error) { return o.levels(), nil },
		"GET /api/v1/cluster/repl":             func(*http.Request) (any, error) { defer o.verify(); return o.replication(), nil },
		"GET /api/v1/cluster/policy":           func(*http.Request) (any, error) { return api.NewClusterPolicy(o.policy), nil },
		"POST /api/v1/cluster/policy":          with(o.setPolicy),
		"GET /api/v1/cluster/layout":           func(*http.Request) (any, error) { return c.planned(api.LayoutRequest{}) },
		"POST /api/v1/cluster/layout/plan":     with(c.planned),
		"POST /api/v1/cluster/layout/apply":    with(c.applyLayout),
		"POST /api/v1/cluster/join":            with(c.join),
		"POST /api/v1/cluster/leave":           func(*http.Request) (any, error) { return nil, c.leave() },
		"POST /api/v1/cluster/remove":          with(o.remove),
		"POST /api/v1/cluster/drain":           with(o.drain),
		"POST /api/v1/cluster/maintenance":     with(o.maintain),
		"POST /api/v1/cluster/transfer-leader": with(o.transfer),
		"POST /api/v1/cluster/feature":         with(o.raise),
		"POST /api/v1/cluster/repl":            with(o.setRepl),
		"POST /api/v1/cluster/alarms/clear":    with(o.clearAlarms),
	}
	out := map[string]func(http.ResponseWriter, *http.Request) (any, error){}
	for pattern, h := range routes {
		out[pattern] = func(_ http.ResponseWriter, r *http.Request) (any, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if err := o.led(); err != nil && r.Method == "POST" {
				return nil, err
			}
			return h(r)
		}
	}
	return out
}

// with decodes the body of a request.
func with[In, Out any](f func(In) (Out, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return nil, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
		}
		return f(in)
	}
}

// nothing is the answer of routes that only change something.
type nothing struct{}

// Status is what `cluster status` shows.
func (c *Cluster) Status() api.ClusterStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.look()
}

func (c *Cluster) look() api.ClusterStatus {
	o := &c.office
	st := api.ClusterStatus{
		ClusterID: c.ID, Leader: catalog.NodeID(o.leader()), Term: 1, Tolerates: max(0, len(o.alive())-(len(o.members)/2+1)), Replicas: o.replicas,
		Blobs: len(c.blobs), Feature: o.feature, Layout: o.layout, Paused: o.repl.Paused, Alarms: slices.Clone(o.alarms), Nodes: []api.NodeStatus{},
	}
	if st.Leader == "" {
		st.Reasons = append(st.Reasons, "there is no leader: packages cannot be pushed")
	}
	for _, m := range o.members {
		n := api.NodeStatus{
			ID: catalog.NodeID(m.name), Name: m.name, Role: "voter", State: "alive", Synced: true, Weight: m.weight, Feature: m.level, Version: "devel", JoinedAt: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
			Maintenance: m.maintenance.Milliseconds(), Disk: api.DiskStatus{Share: 0.41, Level: "ok"}, AppliedIndex: 10, Holds: int64(len(c.blobs)),
		}
		if i := slices.IndexFunc(c.Nodes, func(n *Node) bool { return n.Name == m.name }); i >= 0 {
			n.HTTPAddr = c.Nodes[i].Listener.Addr().String()
			n.PeerAddr, n.GossipAddr = "127.0.0.1:1", "127.0.0.1:2"
		}
		switch {
		case m.dead:
			n.State, n.Disk, n.LastContact, n.AppliedIndex = "dead", api.DiskStatus{}, 90_000, 0
			st.Reasons = append(st.Reasons, fmt.Sprintf("node %s is dead", m.name))
		case m.draining:
			n.State = "draining"
			n.Drain = &api.DrainProgress{Blobs: m.needed, Bytes: m.needed << 20, Needed: m.needed, Finished: m.needed == 0}
			m.needed = max(0, m.needed-1)
		}
		st.Nodes = append(st.Nodes, n)
	}
	st.Healthy = len(st.Reasons) == 0
	return st
}

func (o *office) check() api.CheckReport {
	rep := api.CheckReport{OK: true}
	for _, m := range o.members {
		res := api.CheckResult{Check: "ports", Node: m.name, Level: api.CheckOK, Found: "every member is reached"}
		if m.dead {
			res.Level, res.Found, res.Do = api.CheckError, "does not answer", "start it, or remove it with `symkeep cluster remove "+m.name+" --yes`"
			rep.OK = false
		}
		rep.Checks = append(rep.Checks, res)
	}
	versions := api.CheckResult{Check: "versions", Level: api.CheckOK, Found: "one version everywhere"}
	if o.levels().Highest < newLevel {
		versions.Level, versions.Found, versions.Do = api.CheckWarning, "two versions", "upgrade the others"
	}
	rep.Checks = append(rep.Checks, versions)
	return rep
}

func (o *office) levels() api.FeatureStatus {
	st := api.FeatureStatus{Level: o.feature, Highest: newLevel, Nodes: map[string]int{}}
	for _, m := range o.members {
		st.Nodes[m.name] = m.level
		if m.dead {
			st.Nodes[m.name] = 0
		}
		st.Highest = min(st.Highest, st.Nodes[m.name])
	}
	return st
}

func (o *office) raise(r api.FeatureRequest) (api.FeatureStatus, error) {
	st := o.levels()
	want := cmp.Or(r.Level, o.feature+1)
	if want > st.Highest {
		return st, fmt.Errorf("level %d: the members understand %d: upgrade them first: %w", want, st.Highest, catalog.ErrConflict)
	}
	o.feature = want
	return o.levels(), nil
}

func (c *Cluster) join(api.ClusterJoinRequest) (nothing, error) {
	return nothing{}, fmt.Errorf("the node belongs to cluster %s already: %w", c.ID, catalog.ErrConflict)
}

func (c *Cluster) leave() error {
	o := &c.office
	if len(o.members) == 1 {
		return fmt.Errorf("node n1 is the only member: stop it instead: %w", catalog.ErrConflict)
	}
	o.members = o.members[1:]
	o.layout++
	return nil
}

func (o *office) remove(r api.NodeRequest) (nothing, error) {
	m, err := o.member(r.Node)
	if err != nil {
		return nothing{}, err
	}
	if !m.dead && !r.Force && !(m.draining && m.needed == 0) {
		return nothing{}, fmt.Errorf("member %s is alive: drain it, or say --force: %w", m.name, catalog.ErrConflict)
	}
	o.members = slices.DeleteFunc(o.members, func(o *member) bool { return o == m })
	o.layout++
	return nothing{}, nil
}

func (o *office) drain(r api.NodeRequest) (nothing, error) {
	m, err := o.member(r.Node)
	if err == nil && m.draining == r.Undo {
		m.draining, m.needed = !r.Undo, 3
		o.layout++
	}
	return nothing{}, err
}

func (o *office) maintain(r api.NodeRequest) (nothing, error) {
	m, err := o.member(r.Node)
	if err == nil {
		m.maintenance = time.Duration(r.For) * time.Millisecond
	}
	return nothing{}, err
}

// transfer makes the member the first of the table, which is how one leads.
func (o *office) transfer(r api.NodeRequest) (nothing, error) {
	alive := o.alive()
	if len(alive) < 2 {
		return nothing{}, fmt.Errorf("nobody else can lead: %w", catalog.ErrConflict)
	}
	m, err := o.member(cmp.Or(r.Node, alive[1]))
	switch {
	case err != nil:
		return nothing{}, err
	case m.dead:
		return nothing{}, fmt.Errorf("member %s does not answer: %w", m.name, catalog.ErrUnavailable)
	}
	slices.SortStableFunc(o.members, func(a, b *member) int { return btoi(b == m) - btoi(a == m) })
	return nothing{}, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (o *office) replication() api.ReplResponse {
	resp := o.repl
	resp.Nodes = []api.ReplStatus{}
	for _, m := range o.members {
		st := api.ReplStatus{Node: catalog.NodeID(m.name), Name: m.name, Paused: o.repl.Paused, Rate: o.repl.RepairRate, Scrub: m.scrub}
		if m.dead {
			st = api.ReplStatus{Node: st.Node, Name: m.name, Err: "connection refused"}
		}
		resp.Nodes = append(resp.Nodes, st)
	}
	return resp
}

// verify ends the rounds of scrub under way: the next look finds them finished.
func (o *office) verify() {
	for _, m := range o.members {
		if !m.scrub.Running {
			continue
		}
		m.scrub = api.ScrubStatus{
			Running: m.scrub.Asked, Done: 4, Total: 4,
			Damaged: m.scrub.Damaged + m.rotten, FinishedMS: m.scrub.FinishedMS + 1000,
		}
		if m.rotten > 0 {
			o.alarms = append(o.alarms, catalog.Alarm{Node: catalog.NodeID(m.name), Code: catalog.AlarmBitRot, Text: fmt.Sprintf("%d copies were damaged and are fetched again", m.rotten)})
		}
		m.rotten = 0
	}
}

func (o *office) setRepl(r api.ReplRequest) (api.ReplResponse, error) {
	set(&o.repl.Paused, r.Paused)
	set(&o.repl.RepairRate, r.RepairRate)
	set(&o.repl.ScrubRate, r.ScrubRate)
	set(&o.repl.Delay, r.Delay)
	for _, name := range r.Nodes {
		if _, err := o.member(name); err != nil {
			return api.ReplResponse{}, err
		}
	}
	unasked, asked := map[string]string{}, 0
	for _, m := range o.members {
		switch {
		case !r.Scrub || len(r.Nodes) > 0 && !slices.Contains(r.Nodes, m.name):
		case m.dead:
			unasked[m.name] = "connection refused"
		default:
			asked++
			m.scrub.Asked, m.scrub.Running, m.scrub.Done, m.scrub.Total = m.scrub.Running, true, 1, 4
		}
	}
	if len(unasked) > 0 && asked == 0 {
		return api.ReplResponse{}, fmt.Errorf("no member scrubs: %v: %w", unasked, catalog.ErrUnavailable)
	}
	resp := o.replication()
	resp.Unasked = unasked
	return resp, nil
}

func (o *office) setPolicy(r api.PolicyRequest) (api.ClusterPolicy, error) {
	next := o.policy
	set(&next.Allow, r.Allow)
	set(&next.Deny, r.Deny)
	if err := o.takes(next); err != nil {
		return api.ClusterPolicy{}, err
	}
	o.policy = next
	return api.NewClusterPolicy(next), nil
}

// takes refuses a policy below its feature level, and one that no cluster can have.
func (o *office) takes(p catalog.Policy) error {
	if o.feature < policyLevel {
		return fmt.Errorf("needs feature level %d, the cluster uses %d: say `symkeep cluster feature raise`: %w", policyLevel, o.feature, catalog.ErrConflict)
	}
	return validate.CheckPolicy(p)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (o *office) clearAlarms(r api.AlarmRequest) (nothing, error) {
	o.alarms = slices.DeleteFunc(o.alarms, func(a catalog.Alarm) bool {
		return (r.Node == "" || r.Node == string(a.Node)) && (r.Code == "" || r.Code == a.Code)
	})
	return nothing{}, nil
}
