package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"symkeep/e2e/rig"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// faultFullDisk fills the disks of nodes, and freezes them. Each node has one
// for its blobs and one for its raft log.
func faultFullDisk(t *testing.T) {
	f := newFleet(t, rig.Config{Hosts: 3, Disk: rig.Disk{Kind: rig.DiskLoop, Size: 96 << 20, Raft: 48 << 20}})
	f.push(f.Host(1))
	f.step("blobs", f.blobsFull)
	f.step("raft", f.raftFull)
	f.step("frozen leader", func() { f.frozen(f.leads(), rig.Raft) })
	f.step("frozen blobs", func() { f.frozen(f.follower(), rig.Data) })
}

// blobsFull is a node whose disk is full: it refuses pushes with the reason, other
// nodes take them, and it goes on once there is space.
func (f *fleet) blobsFull() {
	victim := f.follower()
	rest := f.Others(victim)
	f.must(victim.Fill(rig.Data, 2<<20))
	f.sees(rest[0], 20*time.Second, "node "+victim.Name, "takes no pushes", "full")
	f.alarm(rest[0], victim, 20*time.Second, catalog.AlarmDiskFull)
	product, dir := f.files()
	r := symkeep(f.t, "push", "--json", "--timeout", "5s", "--server", victim.URL(), "--product", product, "--version", "1", dir)
	if r.code == 0 || !strings.Contains(r.stderr, "disk space") {
		f.t.Errorf("push to a full node: exit status %d, want another and the words \"disk space\": %s", r.code, r.stderr)
	}
	f.t.Logf("push to the full node says: %s", tail([]byte(strings.TrimSpace(r.stderr)), 400))
	f.within30(append([]*rig.Host{victim}, rest...)...) // the client goes on to the next
	for _, h := range rest {
		f.served(h)
	}
	f.must(victim.Free(rig.Data))
	f.calm(rest[0], victim, 20*time.Second, catalog.AlarmDiskFull)
	f.settle(60 * time.Second)
	f.within30(victim)
}

// raftFull leaves the leader's log no space: another node leads, and the cluster
// takes packages.
func (f *fleet) raftFull() {
	leader := f.leads()
	rest := f.Others(leader)
	f.must(leader.Fill(rig.Raft, 0))
	f.within30(rest...)
	f.within30(rest...)
	if leader.Running() {
		f.t.Logf("%s lives on with a full log disk", leader.Name)
	}
	f.must(leader.Free(rig.Raft))
	if !leader.Running() {
		f.must(leader.Start())
	}
	f.settle(60 * time.Second)
	f.within30(leader)
}

// frozen is a disk that hangs: the node is not trusted any more, another one leads,
// and the node ends itself or goes on once the disk answers.
func (f *fleet) frozen(victim *rig.Host, v rig.Volume) {
	rest := f.Others(victim)
	from := mark(victim)
	begun := time.Now()
	f.must(victim.Freeze(v))
	f.within30(rest...)
	eventually(f.t, 40*time.Second, victim.Name+" is no longer counted on", func() error {
		st, err := f.status(rest[0])
		if err != nil {
			return err
		}
		slow := slices.ContainsFunc(st.Alarms, func(a catalog.Alarm) bool {
			return a.Code == catalog.AlarmDiskSlow || a.Code == catalog.AlarmDiskHung
		})
		if l := line(st, victim); l.ID == st.Leader || (l.State == "alive" && !slow) {
			return fmt.Errorf("%s is %s, leader %v, alarms %v", victim.Name, l.State, l.ID == st.Leader, st.Alarms)
		}
		f.t.Logf("after %v: %v %v", since(begun), st.Alarms, st.Reasons)
		return nil
	})
	f.logs(victim, from, 40*time.Second, "disk hangs", "start the node again")
	f.must(victim.Thaw(v))
	f.gone(victim, 30*time.Second)
	f.must(victim.Start())
	f.settle(60 * time.Second)
}

// faultSickDisk makes fsync slow, fail and hang, and reads fail, beneath the
// database files too: the disk is a FUSE pass-through.
func faultSickDisk(t *testing.T) {
	f := newFleet(t, rig.Config{Hosts: 3, Disk: rig.Disk{Kind: rig.DiskFUSE}})
	f.push(f.Host(1))
	f.step("slow", f.slowSync)
	f.step("fails/raft", func() { f.failingSync("raft") })
	f.step("fails/fsm.db", func() { f.failingSync("fsm.db") })
	f.step("fails/blobs", f.failingBlobs)
	f.step("hangs", f.hungSync)
	f.step("reads", f.failingReads)
}

// slowSync is a disk that answers, late. It may lead or not; it is told of, and
// packages get through.
func (f *fleet) slowSync() {
	victim := f.leads()
	rest := f.Others(victim)
	f.must(victim.Sicken(rig.Sickness{SlowSync: 2500 * time.Millisecond}))
	f.alarm(rest[0], victim, 30*time.Second, catalog.AlarmDiskSlow)
	f.within30(rest...)
	eventually(f.t, 30*time.Second, "another node leads", func() error {
		if now := f.mustLeader(rest[0]); now == victim.Name || now == "" {
			return fmt.Errorf("leader is %q", now)
		}
		return nil
	})
	f.must(victim.Sicken(rig.Sickness{}))
	f.calm(rest[0], victim, 40*time.Second, catalog.AlarmDiskSlow)
}

// failingSync fails the fsyncs of one database of the leader: what it was for is
// lost, so the node must not go on as if it were not.
func (f *fleet) failingSync(only string) {
	victim := f.leads()
	rest := f.Others(victim)
	from := mark(victim)
	f.must(victim.Sicken(rig.Sickness{FailSync: true, Only: only}))
	f.within30(rest...)
	f.logs(victim, from, 30*time.Second, "input/output error")
	f.served(rest...)
	f.must(victim.Sicken(rig.Sickness{}))
	f.must(victim.Restart())
	f.settle(60 * time.Second)
	f.served(victim)
}

// failingBlobs fails the fsyncs of blobs: nothing is acknowledged on their account.
func (f *fleet) failingBlobs() {
	victim := f.follower()
	rest := f.Others(victim)
	f.must(victim.Sicken(rig.Sickness{FailSync: true, Only: "tmp"}))
	product, dir := f.files()
	r := symkeep(f.t, "push", "--json", "--timeout", "4s", "--server", victim.URL(), "--product", product, "--version", "1", dir)
	f.t.Logf("push to a node that cannot sync blobs: exit status %d: %s", r.code, tail([]byte(strings.TrimSpace(r.stderr)), 400))
	if r.code == 0 {
		f.keep(good(f.t, r)) // then others must have it
		f.served(rest...)
	}
	f.within30(rest...)
}

func (f *fleet) hungSync() {
	victim := f.leads()
	rest := f.Others(victim)
	from := mark(victim)
	f.must(victim.Sicken(rig.Sickness{HangSync: true}))
	f.within30(rest...)
	f.logs(victim, from, 40*time.Second, "disk hangs", "start the node again")
	f.gone(victim, 30*time.Second) // while it hangs
	f.must(victim.Sicken(rig.Sickness{}))
	f.must(victim.Start())
	f.settle(60 * time.Second)
	f.served(victim)
}

// failingReads makes a node's blobs unreadable: it serves the bytes of others. It has
// just started, for what was asked for before is served without a look at its blobs.
func (f *fleet) failingReads() {
	victim := f.follower()
	f.must(victim.Restart())
	f.settle(60 * time.Second)
	f.must(victim.Sicken(rig.Sickness{FailRead: "blobs"}))
	begun := time.Now()
	f.served(victim)
	f.t.Logf("%d keys served without a readable copy in %v", len(f.keys), since(begun))
	f.must(victim.Sicken(rig.Sickness{}))
	other := f.Others(victim)[0]
	f.alarm(other, victim, 20*time.Second, catalog.AlarmSuspectDisk) // stands until a person clears it
	client, err := other.Client()
	f.must(err)
	defer client.Close()
	f.must(client.ClearAlarms(f.t.Context(), api.AlarmRequest{Node: victim.Name}))
}
