package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A kind is one way to break something.
type kind string

// Kinds of fault. One phase holds at most one of those that may destroy what a node
// keeps, since two copies are all that is promised; of the others any number.
const (
	killOne    kind = "kill"
	killLeader kind = "kill leader"
	killMost   kind = "kill most"
	killAll    kind = "kill all"
	flap       kind = "kill again and again"
	killPoint  kind = "kill at"
	stopPoint  kind = "stop at"
	killEach   kind = "kill each at"
	pause      kind = "pause"
	pauseLead  kind = "pause leader"
	cutOne     kind = "cut"
	cutLeader  kind = "cut leader"
	cutPair    kind = "cut pair"
	cutOneWay  kind = "cut one way"
	halves     kind = "partition"
	bridge     kind = "bridge"
	dropUDP    kind = "no UDP"
	lose       kind = "loss"
	limitRate  kind = "limited rate"
	delay      kind = "delay"
	clockJump  kind = "clock"

	fullBlobs    kind = "disk full, blobs"
	fullRaft     kind = "disk full, raft"
	slowSync     kind = "slow fsync"
	failSync     kind = "failing fsync"
	hangSync     kind = "hung fsync"
	freeze       kind = "frozen disk"
	flipBlob     kind = "flip blob"
	flipRaft     kind = "flip raft log"
	flipFSM      kind = "flip catalog"
	flipSnapshot kind = "flip snapshot"
	wipe         kind = "wipe"

	readdress   kind = "new address"
	joinSpare   kind = "join"
	drainUndo   kind = "drain and undrain"
	drainRemove kind = "drain and remove"
	leaveAgain  kind = "leave"
	roll        kind = "rolling restart"
	transfer    kind = "transfer leadership"
)

// brief are the faults that destroy nothing; a phase has some of them.
var brief = []kind{killOne, killOne, killLeader, killMost, killAll, flap, killPoint, killPoint, killPoint, killPoint,
	stopPoint, pause, pauseLead, cutOne, cutLeader, cutPair, cutOneWay, halves, bridge, dropUDP, lose, limitRate, delay, clockJump}

// grave are those that a phase has one of.
var grave = []kind{fullBlobs, fullRaft, slowSync, failSync, hangSync, freeze, flipBlob, flipRaft, flipFSM, flipSnapshot, wipe,
	readdress, joinSpare, drainUndo, drainRemove, leaveAgain, roll, transfer}

// points are the named moments at which a node can die, see internal/fault.
var points = []string{"fsm-before-apply", "fsm-after-apply", "snapshot-persisted", "restore-received", "blob-synced",
	"blob-renamed", "blob-indexed", "pull-half", "copy-removed", "upload-before-replicate", "upload-after-replicate",
	"commit-before-propose", "commit-after-propose", "claim-taken", "verdict-before-propose", "verdict-after-propose",
	"mail-sent", "member-added", "vote-given"}

// joinPoints are those of them that nodes come to when a member joins.
var joinPoints = []string{"member-added", "vote-given", "restore-received"}

// A fault is one entry of the schedule. Node and other are counted among the
// members at that moment, or among those that the fault can be done to.
type fault struct {
	kind        kind
	at, lasts   time.Duration // after the start of its phase
	node, other int
	point       string
	amount      int // per kind: percent, milliseconds, seconds
}

// A phase is some faults at once. The next one begins when the cluster is healthy.
type phase struct {
	no     int
	faults []fault
}

// A planner draws phases, always the same ones from one seed.
type planner struct {
	random       *rand.Rand
	long         bool // some partitions outlive gossip's memory
	no           int
	brief, grave []kind
	points, join []string
}

func newPlanner(seed uint64, long bool) *planner {
	return &planner{random: rand.New(rand.NewPCG(seed, 1)), long: long}
}

// next draws a phase. Every kind comes once before any comes again. Some nodes that
// join have the others die of it.
func (p *planner) next() phase {
	p.no++
	ph := phase{no: p.no}
	ph.faults = append(ph.faults, p.fault(deal(p.random, &p.grave, grave)))
	if k := ph.faults[0].kind; k == joinSpare || k == wipe || k == drainRemove {
		f := p.fault(killEach)
		f.at, f.point = 0, deal(p.random, &p.join, joinPoints)
		if f.amount%3 > 0 {
			ph.faults = append(ph.faults, f)
		}
	}
	for range 3 {
		ph.faults = append(ph.faults, p.fault(deal(p.random, &p.brief, brief)))
	}
	slices.SortStableFunc(ph.faults, func(a, b fault) int { return int(a.at - b.at) })
	return ph
}

// deal takes a card of a deck, which is shuffled anew when it is used up.
func deal[T any](r *rand.Rand, deck *[]T, all []T) T {
	if len(*deck) == 0 {
		*deck = slices.Clone(all)
		r.Shuffle(len(*deck), func(i, j int) { (*deck)[i], (*deck)[j] = (*deck)[j], (*deck)[i] })
	}
	card := (*deck)[0]
	*deck = (*deck)[1:]
	return card
}

// fault draws one fault of a kind. It draws the same number of times for each.
func (p *planner) fault(k kind) fault {
	f := fault{
		kind: k, at: p.between(0, 5*time.Second), lasts: p.between(time.Second, 7*time.Second),
		node: p.random.IntN(60), other: p.random.IntN(60), amount: p.random.IntN(1000),
	}
	longer := p.random.IntN(6) == 0
	switch k {
	case killEach:
		f.lasts += 5 * time.Second
	case killPoint, stopPoint:
		f.point = deal(p.random, &p.points, points)
	case cutOne, cutLeader, halves:
		if p.long && longer {
			f.lasts += 65 * time.Second
		}
	case hangSync, freeze:
		if p.long && longer {
			f.lasts += 20 * time.Second // nodes take it for a broken disk
		}
	case killOne, killLeader, killMost, killAll:
		f.lasts /= 2
	}
	return f
}

func (p *planner) between(a, b time.Duration) time.Duration {
	return (a + time.Duration(p.random.Int64N(int64(b-a)))).Round(time.Millisecond)
}

func (p phase) String() string {
	var parts []string
	for _, f := range p.faults {
		parts = append(parts, f.String())
	}
	return fmt.Sprintf("phase %d: %s", p.no, strings.Join(parts, "; "))
}

func (f fault) String() string {
	name := string(f.kind)
	if f.point != "" {
		name += " " + f.point
	}
	return fmt.Sprintf("+%.1fs %s (%d,%d,%d) for %.1fs", f.at.Seconds(), name, f.node, f.other, f.amount, f.lasts.Seconds())
}
