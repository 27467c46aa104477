package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"symkeep/e2e/rig"
	"symkeep/internal/catalog"
)

// faultLinks cuts nodes off, this way and that. In every scenario a push through
// those that have a quorum is good within a bound.
func faultLinks(t *testing.T) {
	f := newFleet(t, rig.Config{Hosts: 3})
	f.push(f.Host(1))
	f.step("no UDP", f.noUDP) // first: who comes out of a partition may be suspected for a while
	f.step("leader stopped", f.leaderStopped)
	f.step("leader cut off", f.leaderCut)
	f.step("follower deaf", f.followerDeaf)
	f.step("leader mute", f.leaderMute)
	f.step("bridge", f.bridge)
}

// faultWeather makes links bad and clocks wrong, and nodes come back as others than
// they were.
func faultWeather(t *testing.T) {
	f := newFleet(t, rig.Config{Hosts: 3})
	f.push(f.Host(1))
	f.step("loss", f.loss)
	f.step("slow link", f.slowLink)
	f.step("delay", f.delay)
	f.step("clock", f.clock)
	f.step("wiped", f.wiped)
	f.step("moved", f.moved)
}

// within30 pushes and fails the test if that takes longer than 30 s.
func (f *fleet) within30(servers ...*rig.Host) {
	f.t.Helper()
	took := f.push(servers...)
	f.t.Logf("a push under the fault was good after %v", took)
	if took > 30*time.Second {
		f.t.Errorf("a push under the fault took %v, want at most 30 s", took)
	}
}

// leaderStopped is SIGSTOP: the sockets stay open and nobody answers.
func (f *fleet) leaderStopped() {
	leader := f.leads()
	rest := f.Others(leader)
	f.must(leader.Pause())
	f.within30(rest...)
	f.sees(rest[0], 20*time.Second, "node "+leader.Name+" is ")
	f.must(leader.Resume())
	f.settle(30 * time.Second)
	f.served(leader)
}

func (f *fleet) leaderCut() {
	leader := f.leads()
	rest := f.Others(leader)
	f.must(f.Net.Cut(leader))
	f.within30(rest...)
	f.sees(rest[0], 20*time.Second, "node "+leader.Name+" is dead")
	f.sees(leader, 20*time.Second, "there is no leader: packages cannot be pushed")
	if err := wantReset(f.onHost(leader)); err != nil {
		f.t.Errorf("%s, cut off, about a key it cannot know of: %v", leader.Name, err)
	}
}

// followerDeaf hears nobody, and everybody hears it: its calls for votes must not
// unseat the leader again and again.
func (f *fleet) followerDeaf() {
	leader := f.leads()
	deaf := f.Others(leader)[0]
	before, err := f.status(leader)
	f.must(err)
	for _, h := range f.Others(deaf) {
		f.must(f.Net.CutOneWay(h, deaf))
	}
	f.within30(f.Others(deaf)...)
	f.sees(leader, 30*time.Second, "node "+deaf.Name+" is ")
	after, err := f.status(leader)
	f.must(err)
	if after.Term > before.Term+1 {
		f.t.Errorf("term %d became %d while a follower heard nobody", before.Term, after.Term)
	}
}

// leaderMute hears everybody, and nobody hears it.
func (f *fleet) leaderMute() {
	leader := f.leads()
	for _, h := range f.Others(leader) {
		f.must(f.Net.CutOneWay(leader, h))
	}
	f.within30(f.Others(leader)...)
	if now := f.mustLeader(f.Others(leader)[0]); now == leader.Name {
		f.t.Errorf("%s still leads although nobody hears it", now)
	}
}

// mustLeader returns the name of the leader as a host sees it.
func (f *fleet) mustLeader(h *rig.Host) string {
	f.t.Helper()
	st, err := f.status(h)
	f.must(err)
	for _, n := range st.Nodes {
		if n.ID == st.Leader {
			return n.Name
		}
	}
	return ""
}

// bridge cuts the leader from one follower; the other one sees both. The one that is
// cut off cannot take packages, and says so soon to an agent that begins there.
func (f *fleet) bridge() {
	leader := f.leads()
	rest := f.Others(leader)
	f.must(f.Net.Partition([]*rig.Host{leader}, []*rig.Host{rest[0]}))
	f.within30(rest[1])
	begun := time.Now()
	before, err := f.status(rest[1])
	f.must(err)
	f.within30(rest[1], rest[0])
	after, err := f.status(rest[1])
	f.must(err)
	f.t.Logf("terms %d to %d in %v of a bridge", before.Term, after.Term, since(begun))
	if after.Term > before.Term+5 {
		f.t.Errorf("leaders change all the time: term %d became %d in %v", before.Term, after.Term, since(begun))
	}
}

// noUDP leaves TCP alone: members stay alive, and the operator is told.
func (f *fleet) noUDP() {
	leader := f.leads()
	victim := f.Others(leader)[0]
	other := f.Others(leader, victim)[0]
	from := mark(other)
	before, err := f.status(leader)
	f.must(err)
	f.must(f.Net.DropUDP(victim))
	f.within30(victim, other)
	f.logs(other, from, 40*time.Second, "UDP")
	eventually(f.t, 20*time.Second, "everybody is seen alive, and led as before", func() error {
		for _, h := range f.Hosts() {
			st, err := f.status(h)
			if err != nil {
				return err
			}
			if st.Term != before.Term {
				return fatalError{fmt.Errorf("%s: term %d became %d without UDP to a follower", h.Name, before.Term, st.Term)}
			}
			for _, n := range st.Nodes {
				if n.State == "dead" {
					return fatalError{fmt.Errorf("%s sees %s as dead, want alive: TCP works", h.Name, n.Name)}
				}
				if n.State != "alive" {
					return fmt.Errorf("%s sees %s as %s", h.Name, n.Name, n.State)
				}
			}
		}
		return nil
	})
	client, err := leader.Client()
	f.must(err)
	defer client.Close()
	report, err := client.Check(f.t.Context())
	f.must(err)
	for _, c := range report.Checks {
		if c.Check == "ports" && c.Level != "ok" {
			f.t.Logf("cluster check: %s: %s: %s", c.Node, c.Found, c.Do)
			return
		}
	}
	f.t.Errorf("cluster check does not tell that UDP is blocked: %+v", report.Checks)
}

func (f *fleet) loss() {
	f.must(f.Net.Lose(0.15, f.Hosts()...))
	for range 2 {
		f.within30(f.Hosts()...)
	}
}

func (f *fleet) slowLink() {
	leader := f.leads()
	f.must(f.Net.Limit(256<<10, leader))
	f.within30(f.Others(leader)...)
	f.within30(leader)
}

func (f *fleet) delay() {
	f.must(f.Net.Delay(75*time.Millisecond, f.Hosts()...)) // 150 ms each way between two
	f.within30(f.Hosts()...)
	if _, err := f.status(f.leads()); err != nil {
		f.t.Error(err)
	}
}

// clock puts the leader's wall clock off by an hour. Nothing is ordered or expired
// by it; the operator is told.
func (f *fleet) clock() {
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		leader := f.leads()
		f.must(leader.SetClock(off))
		f.within30(leader)
		other := f.Others(leader)[0]
		eventually(f.t, 20*time.Second, "status tells of the clock", func() error {
			st, err := f.status(other)
			if err != nil {
				return err
			}
			if got := time.Duration(line(st, leader).Clock) * time.Millisecond; (got - off).Abs() > 5*time.Second {
				return fmt.Errorf("clock_skew_ms of %s is %v, want about %v", leader.Name, got, off)
			}
			return nil
		})
		if off > 0 {
			f.alarm(other, other, 100*time.Second, catalog.AlarmClock)
		}
		f.must(leader.SetClock(0))
	}
}

// wiped empties a data directory and starts the node again at once.
func (f *fleet) wiped() {
	makeELF(f.t, f.dir, "wiped-large", 24<<20)
	f.keep(mustPush(f.t, rig.URLs(f.Hosts()...), "large", f.dir+"/wiped-large"))
	victim := f.follower()
	other := f.Others(victim)[0]
	f.must(victim.Kill())
	f.must(victim.Wipe())
	begun := time.Now()
	f.must(victim.Start())
	progress, last := "", ""
	eventually(f.t, 60*time.Second, victim.Name+" is whole again", func() error {
		st, err := f.status(other)
		if err != nil {
			return err
		}
		if l := line(st, victim); l.Missing > 0 && l.MissBytes > 0 && progress == "" {
			progress = fmt.Sprintf("%d blobs, %d bytes missing", l.Missing, l.MissBytes)
		}
		if len(st.Nodes) != 3 || !st.Healthy {
			if now := fmt.Sprint(st.Reasons); now != last {
				last = now
				f.t.Logf("%v after the wipe: %d members: %s", since(begun), len(st.Nodes), now)
			}
			return fmt.Errorf("%d members, %v", len(st.Nodes), st.Reasons)
		}
		return nil
	})
	f.t.Logf("wiped node whole after %v; on the way: %q", since(begun), progress)
	rest := f.Others(victim)
	for _, h := range rest {
		f.must(h.Kill())
	}
	f.served(victim)
	for _, h := range rest {
		f.must(h.Start())
	}
}

// moved starts a node at another address.
func (f *fleet) moved() {
	victim := f.follower()
	was := victim.Addr()
	f.must(victim.Kill())
	f.must(victim.Readdress())
	f.must(victim.Start())
	f.settle(60 * time.Second)
	for _, h := range f.Hosts() { // each tells what it has applied
		eventually(f.t, 30*time.Second, "all know the new address", func() error {
			st, err := f.status(h)
			if err != nil {
				return err
			}
			if got := line(st, victim).PeerAddr; got != victim.Peer() {
				return fmt.Errorf("%s knows %s at %s, want %s, formerly %s", h.Name, victim.Name, got, victim.Peer(), was)
			}
			return nil
		})
	}
	f.within30(victim)
	if _, err := os.Stat(within(victim, "node-id")); err != nil {
		f.t.Error(err)
	}
}
