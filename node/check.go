package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

// Bounds of what a check calls well.
const (
	syncWarn   = 100 * time.Millisecond
	syncError  = time.Second
	weightsFar = 8 // times the lightest member's weight
	lagWarn    = 10_000
	mailLate   = 15 * time.Minute
)

// CheckCluster looks for what would go wrong next. Every member looks around.
func (n *Node) CheckCluster(ctx context.Context) (api.CheckReport, error) {
	c := n.consensus()
	if c == nil {
		return api.CheckReport{}, errNoCluster
	}
	st, err := n.ClusterStatus(ctx)
	if err != nil {
		return api.CheckReport{}, err
	}
	views := n.askMembers(ctx)
	in := inspection{
		status: st, views: views, checks: n.askChecks(ctx, views), self: n.id.Node,
		settings: n.settings(), layout: n.fsm.Layout(), now: fault.Now(),
	}
	in.fewest, in.anyBlob = n.fsm.MinHolders()
	if in.mail, err = n.fsm.Notices(catalog.NoticePending, 1); err != nil {
		return api.CheckReport{}, err
	}
	return in.report(), nil
}

// An inspection is everything that the checks look at. They compute only.
type inspection struct {
	status   api.ClusterStatus
	views    []memberView
	checks   map[catalog.NodeID]memberCheck
	self     catalog.NodeID
	settings catalog.Settings
	layout   catalog.Layout
	fewest   int // copies of any blob
	anyBlob  bool
	mail     []catalog.Notice // the oldest one pending
	now      time.Time
}

// A checklist collects the results of one check.
type checklist struct {
	check   string
	results []api.CheckResult
}

func (l *checklist) add(level, node, do, found string, args ...any) {
	l.results = append(l.results, api.CheckResult{Check: l.check, Node: node, Level: level, Found: fmt.Sprintf(found, args...), Do: do})
}

// report runs every check. One that finds nothing wrong says what it saw.
func (in *inspection) report() api.CheckReport {
	out := api.CheckReport{OK: true, Checks: []api.CheckResult{}}
	for _, c := range []struct {
		name string
		run  func(*checklist) (fine string)
	}{
		{"members", in.members}, {"quorum", in.quorum}, {"clock", in.clocks}, {"fsync", in.syncs}, {"ports", in.ports},
		{"versions", in.versions}, {"disk", in.disks}, {"layout", in.layouts}, {"copies", in.copies},
		{"catalog", in.catalogs}, {"mail", in.mails}, {"alarms", in.alarms},
	} {
		l := checklist{check: c.name}
		if fine := c.run(&l); len(l.results) == 0 {
			l.add(api.CheckOK, "", "", "%s", fine)
		}
		out.Checks = append(out.Checks, l.results...)
	}
	for _, r := range out.Checks {
		out.OK = out.OK && r.Level == api.CheckOK
	}
	return out
}

func (in *inspection) members(l *checklist) string {
	for i, v := range in.views {
		s := in.status.Nodes[min(i, len(in.status.Nodes)-1)]
		if v.answered {
			if s.Lag > lagWarn {
				l.add(api.CheckWarning, v.member.Name, "look at the disk and the network of the node", "%d log entries behind the leader", s.Lag)
			}
			continue
		}
		if planned := time.Duration(s.Maintenance) * time.Millisecond; planned > 0 {
			l.add(api.CheckWarning, v.member.Name, "start it again before that is over", "%s, as planned for another %s", v.state, planned.Round(time.Second))
			continue
		}
		l.add(api.CheckError, v.member.Name, "start it; or, if it will not come back, `symkeep cluster remove "+v.member.Name+"`", "%s, and does not answer", v.state)
	}
	return fmt.Sprintf("%d of %d members answer", len(in.views), len(in.views))
}

func (in *inspection) quorum(l *checklist) string {
	voters, alive := 0, 0
	zones, all := map[string]int{}, map[string]bool{}
	for _, s := range in.status.Nodes {
		all[s.Zone] = true
		if s.Role != "voter" {
			continue
		}
		voters++
		zones[s.Zone]++
		if isAlive(s) {
			alive++
		}
	}
	need := voters/2 + 1
	spare := alive - need
	switch {
	case spare < 0 || in.status.Leader == "":
		l.add(api.CheckError, "", "start the voters that are down; if a majority is lost for good, see `symkeep cluster recover`", "%d of %d voters are alive, %d are needed: nothing can be pushed", alive, voters, need)
	case voters == 1 && len(in.status.Nodes) < 3:
		l.add(api.CheckWarning, "", "let more nodes join, to three at least", "1 voter: if it fails, nothing can be pushed")
	case spare == 0:
		l.add(api.CheckWarning, "", "start the voters that are down, or let more nodes join, before you stop any node", "%d of %d voters are alive, %d are needed: if one more fails, nothing can be pushed", alive, voters, need)
	}
	if voters > 1 && voters%2 == 0 {
		l.add(api.CheckWarning, "", "let one more node join", "%d voters tolerate no more failures than %d", voters, voters-1)
	}
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		if len(all) > 1 && voters > 1 && voters-zones[zone] < need {
			l.add(api.CheckWarning, "", "let nodes of other zones join, and drain and remove some of this one", "%d of %d voters are in zone %q: if it fails, nothing can be pushed", zones[zone], voters, zone)
		}
	}
	after := voters - 1
	return fmt.Sprintf("%d voters, %d of them may fail; with one of them removed, %d of %d may", voters, spare, max(0, after-(after/2+1)), after)
}

func (in *inspection) clocks(l *checklist) string {
	worst := time.Duration(0)
	for _, v := range in.views {
		if !v.answered || v.member.ID == in.self {
			continue
		}
		off := v.skew.Abs() - v.maybe
		worst = max(worst, off)
		do := "check the time service of this node and of the one that was asked"
		switch {
		case off > skewAlarm:
			l.add(api.CheckError, v.member.Name, do, "its wall clock differs by %s", v.skew.Round(time.Millisecond))
		case off > skewWarn:
			l.add(api.CheckWarning, v.member.Name, do, "its wall clock differs by %s", v.skew.Round(time.Millisecond))
		}
	}
	return fmt.Sprintf("wall clocks differ by less than %s", max(worst, 0).Truncate(skewWarn)+skewWarn)
}

func (in *inspection) syncs(l *checklist) string {
	worst := time.Duration(0)
	for _, v := range in.views {
		c, ok := in.checks[v.member.ID]
		if !ok || c.err != nil {
			continue
		}
		p99 := time.Duration(c.SyncMS) * time.Millisecond
		worst = max(worst, p99)
		do := "look for other load on the disk and for errors in the kernel's log; give the data directory a disk of its own"
		switch {
		case p99 > syncError:
			l.add(api.CheckError, v.member.Name, do, "1 of 100 writes takes longer than %s to reach the disk", p99)
		case p99 > syncWarn:
			l.add(api.CheckWarning, v.member.Name, do, "1 of 100 writes takes longer than %s to reach the disk", p99)
		}
	}
	return fmt.Sprintf("99 of 100 writes reach the disk within %s", max(worst, time.Millisecond))
}

func (in *inspection) ports(l *checklist) string {
	ways := 0
	for _, from := range in.views {
		c, ok := in.checks[from.member.ID]
		if !ok {
			continue
		}
		if c.err != nil {
			l.add(api.CheckError, from.member.Name, "look into its log", "could not look around: %v", c.err)
			continue
		}
		for _, to := range in.views {
			if !to.answered { // that is said already
				continue
			}
			for _, w := range []struct{ way, level, what string }{
				{wayPeer, api.CheckError, "peer port, TCP"}, {wayGossipTCP, api.CheckError, "gossip port, TCP"},
				{wayGossipUDP, api.CheckWarning, "gossip port, UDP"},
			} {
				text, tried := c.Reaches[reachKey(w.way, to.member.ID)]
				if !tried {
					continue
				}
				ways++
				if text != "" {
					l.add(w.level, from.member.Name, fmt.Sprintf("let %s through from %s to %s", w.what, from.member.Name, to.member.Name),
						"does not reach the %s of %s: %s", w.what, to.member.Name, text)
				}
			}
		}
	}
	return fmt.Sprintf("every member reaches every other one, %d ways tried", ways)
}

func (in *inspection) versions(l *checklist) string {
	versions, levels := map[string][]string{}, map[int][]string{}
	for _, v := range in.views {
		if v.answered {
			versions[v.said.Version] = append(versions[v.said.Version], v.member.Name)
			levels[featureOf(v.said.Feature)] = append(levels[featureOf(v.said.Feature)], v.member.Name)
		}
	}
	if len(versions) > 1 {
		var parts []string
		for _, version := range slices.Sorted(maps.Keys(versions)) {
			parts = append(parts, fmt.Sprintf("%s on %s", version, strings.Join(versions[version], ", ")))
		}
		l.add(api.CheckWarning, "", "finish the upgrade: restart the older ones with the new version, one at a time", "versions are mixed: %s", strings.Join(parts, "; "))
	}
	known := slices.Sorted(maps.Keys(levels))
	switch {
	case len(known) > 1:
		l.add(api.CheckWarning, "", "finish the upgrade, then say `symkeep cluster feature raise`", "%s understand feature level %d only, others %d",
			strings.Join(levels[known[0]], ", "), known[0], known[len(known)-1])
	case len(known) == 1 && known[0] > in.status.Feature:
		l.add(api.CheckWarning, "", "say `symkeep cluster feature raise`, once you are sure not to go back", "all members understand feature level %d, the cluster uses %d", known[0], in.status.Feature)
	}
	return fmt.Sprintf("all run version %s at feature level %d", strings.Join(slices.Sorted(maps.Keys(versions)), ", "), in.status.Feature)
}

func (in *inspection) disks(l *checklist) string {
	fullest := 0.0
	for _, v := range in.views {
		if !v.answered {
			continue
		}
		d := v.said.Disk
		fullest = max(fullest, d.Share)
		do := "give it more room, delete packages, or give it a smaller weight with `symkeep cluster layout plan`"
		switch d.Level {
		case "", "ok":
		case "no-ingest", "read-only":
			l.add(api.CheckError, v.member.Name, do, "its disk is %.0f%% full, %d bytes are left: it takes no pushes", 100*d.Share, d.Avail)
		default:
			l.add(api.CheckWarning, v.member.Name, do, "its disk is %.0f%% full, %d bytes are left", 100*d.Share, d.Avail)
		}
	}
	return fmt.Sprintf("the fullest disk is %.0f%% full", 100*fullest)
}

func (in *inspection) layouts(l *checklist) string {
	nodes := in.layout.Nodes
	if replicas := in.settings.Replicas; replicas > len(nodes) {
		l.add(api.CheckWarning, "", "let more nodes join, or lower the number of replicas with `symkeep cluster layout plan`", "%d copies are wanted of each blob, %d members keep any", replicas, len(nodes))
	}
	zones, named := map[string]bool{}, false
	lightest, heaviest := catalog.MaxWeight, 0
	for _, m := range nodes {
		zones[m.Zone], named = true, named || m.Zone != ""
		lightest, heaviest = min(lightest, m.Weight), max(heaviest, m.Weight)
	}
	if want := min(in.settings.Replicas, len(nodes)); named && len(zones) < want {
		l.add(api.CheckWarning, "", "let nodes of more zones join", "members are in %d zones, of %d copies some share one", len(zones), want)
	}
	if len(nodes) > 1 && heaviest > weightsFar*lightest {
		l.add(api.CheckWarning, "", "look at `symkeep cluster layout show`: the heavy ones fill up first", "weights go from %d to %d", lightest, heaviest)
	}
	if in.status.Moving > 0 {
		var behind []string
		for _, v := range in.views {
			if !v.member.Draining && v.member.LayoutSynced < in.layout.Version {
				behind = append(behind, v.member.Name)
			}
		}
		l.add(api.CheckWarning, "", "wait; `symkeep cluster repl status` shows how far they are", "%d former layouts are kept until %s hold all of layout %d", in.status.Moving, strings.Join(behind, ", "), in.layout.Version)
	}
	return fmt.Sprintf("%d copies on %d members in %d zones, layout %d", in.settings.Replicas, len(nodes), len(zones), in.layout.Version)
}

func (in *inspection) copies(l *checklist) string {
	st := in.status
	if st.Paused {
		l.add(api.CheckWarning, "", "say `symkeep cluster repl resume`", "repair is paused: lost copies are not made anew")
	}
	if st.Frozen > 0 {
		l.add(api.CheckWarning, "", "compare the catalog with what should be there before that is over", "nothing is removed from disks for another %s, because the catalog was restored", (time.Duration(st.Frozen) * time.Millisecond).Round(time.Second))
	}
	wait := "wait; `symkeep cluster repl status` shows how far it is"
	switch wanted := min(in.settings.Replicas, len(in.layout.Nodes)); {
	case in.anyBlob && in.fewest == 0:
		l.add(api.CheckError, "", "start the members that hold them, or push their packages again", "there are blobs without any copy")
	case in.anyBlob && in.fewest < 2 && wanted > 1:
		l.add(api.CheckError, "", "stop no node until they are copied; "+wait, "there are blobs with a single copy, %d have fewer than %d", st.Under, wanted)
	case st.Under > 0:
		l.add(api.CheckWarning, "", wait, "%d of %d blobs have fewer than %d copies", st.Under, st.Blobs, wanted)
	}
	for _, s := range st.Nodes {
		if s.Missing > 0 {
			l.add(api.CheckWarning, s.Name, wait, "lacks %d blobs that it should hold, %d bytes", s.Missing, s.MissBytes)
		}
		if s.Drain != nil && !s.Drain.Finished {
			l.add(api.CheckWarning, s.Name, "wait before you remove it", "is draining: %d blobs would have too few copies without it", s.Drain.Needed)
		}
		if s.Quarantined > 0 {
			l.add(api.CheckWarning, s.Name, "look at the disk's SMART data and at the kernel's log", "%d damaged copies are set aside", s.Quarantined)
		}
	}
	return fmt.Sprintf("%d blobs, each as often as it should be", st.Blobs)
}

func (in *inspection) catalogs(l *checklist) string {
	var said []api.PeerStatus
	for _, v := range in.views {
		if v.answered {
			said = append(said, v.said)
		}
	}
	if text := differ(said); text != "" {
		l.add(api.CheckError, "", "", "%s", text)
	}
	return fmt.Sprintf("the catalogs of %d members agree as far as they can be compared", len(said))
}

func (in *inspection) mails(l *checklist) string {
	for _, m := range in.mail {
		late := in.now.Sub(m.At)
		if m.Attempts == 0 && late < mailLate {
			continue
		}
		found := fmt.Sprintf("%d mails wait, the oldest for %s after %d attempts", in.status.MailQueue, late.Round(time.Second), m.Attempts)
		if m.Error != "" {
			found += ": " + m.Error
		}
		l.add(api.CheckWarning, "", "look at --smtp-url of the leader and at the mail relay", "%s", found)
	}
	return fmt.Sprintf("%d mails wait", in.status.MailQueue)
}

func (in *inspection) alarms(l *checklist) string {
	names := map[catalog.NodeID]string{}
	for _, v := range in.views {
		names[v.member.ID] = v.member.Name
	}
	for _, a := range in.status.Alarms {
		level, name := api.CheckWarning, names[a.Node]
		if grave(a.Code) {
			level = api.CheckError
		}
		if name == "" {
			name = string(a.Node)
		}
		l.add(level, name, "act on it, then say `symkeep cluster alarms clear`", "%s: %s", a.Code, a.Text)
	}
	return "no alarm stands"
}
