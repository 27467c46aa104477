package raftfsm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

// newLevel2 returns a catalog with three members at feature level 2.
func newLevel2(t testing.TB) *world {
	w := newCluster(t)
	w.ok(raftfsm.RaiseFeature{Level: 2})
	return w
}

// sync records that members hold all of the present layout.
func (w *world) sync(nodes ...catalog.NodeID) {
	w.t.Helper()
	for _, n := range nodes {
		w.ok(raftfsm.MarkLayoutSynced{Node: n, Version: w.fsm.Layout().Version})
	}
}

func (w *world) kept() (versions []uint64) {
	for _, l := range w.fsm.KeptLayouts() {
		versions = append(versions, l.Version)
	}
	return versions
}

func (w *world) wantLayout(version uint64, kept ...uint64) {
	w.t.Helper()
	if got := w.fsm.Layout().Version; got != version || !slices.Equal(w.kept(), kept) {
		w.t.Fatalf("layout %d, kept %v, want %d, kept %v", got, w.kept(), version, kept)
	}
}

// TestLayoutFollowsMembers: whatever changes placement makes a version, everything
// else does not.
func TestLayoutFollowsMembers(t *testing.T) {
	w := newLevel2(t)
	w.wantLayout(1)
	w.ok(raftfsm.RaiseFeature{Level: 2})
	m := memberRow(node1, "n1")
	m.HTTPAddr = "elsewhere:1"
	for _, c := range []raftfsm.Command{
		raftfsm.PutMember{Member: m},
		raftfsm.MarkSynced{Node: node1},
		raftfsm.SetMaintenance{Node: node1, Millis: 1000},
		raftfsm.PutSettings{Settings: catalog.DefaultSettings()},
		raftfsm.ChangeSettings{RepairRate: ptr(int64(5))},
		raftfsm.RemoveMember{ID: node4},
	} {
		w.ok(c)
		w.wantLayout(1)
	}
	w.sync(node1, node2, node3)
	m.Zone = "b"
	w.ok(raftfsm.PutMember{Member: m})
	w.wantLayout(2, 1)
	w.ok(raftfsm.SetDraining{Node: node2, Draining: true})
	w.wantLayout(3, 2, 1)
	if l := w.fsm.Layout(); len(l.Nodes) != 2 || l.Nodes[0].Zone != "b" {
		t.Errorf("layout = %+v, want members 1 in zone b and 3", l)
	}
	w.sync(node1)
	w.wantLayout(3, 2, 1)
	w.sync(node3) // member 2 is not in the layout: nobody waits for it
	w.wantLayout(3)
	w.ok(raftfsm.RemoveMember{ID: node2}) // it was drained: nothing moves
	w.wantLayout(3)
	w.ok(raftfsm.PutMember{Member: memberRow(node4, "n4")})
	w.wantLayout(4, 3)
	w.ok(raftfsm.ChangeSettings{Replicas: ptr(2)})
	w.wantLayout(5, 4, 3)
	w.ok(raftfsm.PutSettings{Settings: catalog.Settings{Replicas: 1}})
	w.wantLayout(6, 5, 4, 3)
	for n := range 20 {
		w.ok(raftfsm.ChangeSettings{Replicas: ptr(2 + n%2)})
	}
	w.wantLayout(26, 25, 24, 23, 22, 21, 20, 19, 18)
	w.sync(node1, node3, node4)
	w.wantLayout(26)
	w.check()
}

// TestLayoutReached forgets a former layout as soon as everybody is past it, also
// while the present one is not reached yet.
func TestLayoutReached(t *testing.T) {
	w := newLevel2(t)
	for _, replicas := range []int{2, 1, 4} {
		w.ok(raftfsm.ChangeSettings{Replicas: &replicas})
	}
	w.wantLayout(4, 3, 2, 1)
	for _, n := range []catalog.NodeID{node1, node2, node3} {
		w.ok(raftfsm.MarkLayoutSynced{Node: n, Version: 3})
	}
	w.wantLayout(4, 3)
	w.ok(raftfsm.MarkLayoutSynced{Node: node1, Version: 2}) // long past: success
	if m, err := w.fsm.Member(node1); err != nil || m.LayoutSynced != 3 {
		t.Errorf("member 1 = %+v, %v, want layout 3 reached", m, err)
	}
	w.refuse(raftfsm.MarkLayoutSynced{Node: node1, Version: 5}, catalog.ErrConflict)
	w.refuse(raftfsm.MarkLayoutSynced{Node: node4, Version: 1}, catalog.ErrNotFound)
	w.sync(node1, node2)
	w.ok(raftfsm.SetDraining{Node: node3, Draining: true}) // the one that was behind
	w.wantLayout(5, 4)                                     // members 1 and 2 are at 4
	w.check()
}

// TestSlotsInLayout hands slot and weight of a member on, and gives one that comes
// back after it was replaced a slot of its own.
func TestSlotsInLayout(t *testing.T) {
	w := newLevel2(t)
	w.ok(raftfsm.ApplyLayout{Base: 1, Weights: map[catalog.NodeID]int{node2: 300}})
	w.ok(raftfsm.PutMember{Member: memberRow(node4, "n2"), Replaces: node2})
	w.wantLayout(3, 2, 1)
	i := slices.IndexFunc(w.fsm.Layout().Nodes, func(n catalog.LayoutNode) bool { return n.ID == node4 })
	if n := w.fsm.Layout().Nodes[i]; n.Slot != node2 || n.Weight != 300 {
		t.Errorf("replacement in the layout = %+v, want slot and weight of member 2", n)
	}
	if n := w.fsm.KeptLayouts()[0].Nodes[1]; n.ID != node2 || n.Slot != node2 {
		t.Errorf("kept layout has %+v, want member 2 as it was", n)
	}
	w.ok(raftfsm.PutMember{Member: memberRow(node2, "n5")})
	if m, err := w.fsm.Member(node2); err != nil || m.PlacementID() == node2 || m.Weight != 0 {
		t.Errorf("returned member = %+v, %v, want another slot than that it left behind", m, err)
	}
	heavy := memberRow("new", "n6")
	heavy.Weight, heavy.LayoutSynced, heavy.Maintenance = 50, 9, 9
	w.ok(raftfsm.PutMember{Member: heavy, Replaces: node4})
	if m, err := w.fsm.Member("new"); err != nil || m.PlacementID() != node2 || m.Weight != 50 || m.LayoutSynced != 0 || m.Maintenance != 0 {
		t.Errorf("second replacement = %+v, %v, want slot of member 2, weight 50", m, err)
	}
	heavy.Weight = 70
	w.ok(raftfsm.PutMember{Member: heavy}) // an update is not the way to change a weight
	if m, _ := w.fsm.Member("new"); m.Weight != 50 {
		t.Errorf("weight after an update = %d, want 50", m.Weight)
	}
	w.check()
}

func TestApplyLayout(t *testing.T) {
	w := newLevel2(t)
	var got catalog.Layout
	w.into(raftfsm.ApplyLayout{Base: 1, Weights: map[catalog.NodeID]int{node1: 50}, Replicas: 2}, &got)
	if got.Version != 2 || got.Replicas != 2 || got.Nodes[0].Weight != 50 || !got.Equal(w.fsm.Layout()) {
		t.Errorf("ApplyLayout = %+v", got)
	}
	if s := w.fsm.Settings(); s.Replicas != 2 || s.MailFrom == "" {
		t.Errorf("settings = %+v, want 2 replicas and the rest as it was", s)
	}
	w.into(raftfsm.ApplyLayout{Base: 2, Replicas: 2}, &got)
	if got.Version != 2 {
		t.Errorf("a change of nothing made version %d", got.Version)
	}
	for name, c := range map[string]raftfsm.ApplyLayout{
		"too many replicas": {Base: 2, Replicas: 17},
		"negative replicas": {Base: 2, Replicas: -1},
		"no weight":         {Base: 2, Weights: map[catalog.NodeID]int{node1: 0}},
		"too heavy":         {Base: 2, Weights: map[catalog.NodeID]int{node1: catalog.MaxWeight + 1, node2: 5}},
	} {
		t.Run(name, func(t *testing.T) { w.refuse(c, catalog.ErrInvalid) })
	}
	w.refuse(raftfsm.ApplyLayout{Base: 1, Replicas: 3}, catalog.ErrConflict)
	w.refuse(raftfsm.ApplyLayout{Base: 2, Weights: map[catalog.NodeID]int{node2: 7, node4: 1}}, catalog.ErrNotFound)
	heavy := memberRow(node4, "n4")
	heavy.Weight = catalog.MaxWeight + 1
	w.refuse(raftfsm.PutMember{Member: heavy}, catalog.ErrInvalid)
	w.check()
}

func TestChangeSettings(t *testing.T) {
	w := newLevel2(t)
	var got catalog.Settings
	w.into(raftfsm.ChangeSettings{RepairDelay: ptr(int64(60_000)), RepairPaused: ptr(true), ScrubRate: ptr(int64(7))}, &got)
	want := catalog.Settings{Replicas: 3, MailFrom: "symkeep@example.com", MailTo: []string{"build@example.com"},
		RepairDelay: 60_000, RepairPaused: true, ScrubRate: 7}
	if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(w.fsm.Settings()) != fmt.Sprint(want) {
		t.Errorf("settings = %+v, %+v, want %+v", got, w.fsm.Settings(), want)
	}
	w.ok(raftfsm.ChangeSettings{MailTo: &[]string{}, MailFrom: ptr(""), RepairPaused: ptr(false)})
	if s := w.fsm.Settings(); len(s.MailTo) != 0 || s.MailFrom != "" || s.RepairPaused || s.ScrubRate != 7 {
		t.Errorf("settings = %+v", s)
	}
	for _, c := range []raftfsm.ChangeSettings{
		{Replicas: ptr(0)}, {RepairDelay: ptr(int64(-1))}, {RepairDelay: ptr(catalog.MaxRepairDelay.Milliseconds() + 1)},
		{RepairRate: ptr(int64(-1))}, {MailTo: &[]string{"a@b"}},
	} {
		w.refuse(c, catalog.ErrInvalid)
	}
	w.check()
}

func TestMaintenance(t *testing.T) {
	w := newLevel2(t)
	w.pass(5000)
	w.ok(raftfsm.SetMaintenance{Node: node2, Millis: 1000})
	if m, err := w.fsm.Member(node2); err != nil || m.Maintenance != w.fsm.ClusterTime()+1000 {
		t.Errorf("member 2 = %+v, %v, want maintenance until %d", m, err, w.fsm.ClusterTime()+1000)
	}
	w.ok(raftfsm.PutMember{Member: memberRow(node2, "n2")}) // a restart in between does not end it
	if m, _ := w.fsm.Member(node2); m.Maintenance == 0 {
		t.Error("an update of the member ended its maintenance")
	}
	w.ok(raftfsm.SetMaintenance{Node: node2})
	if m, _ := w.fsm.Member(node2); m.Maintenance != 0 {
		t.Errorf("maintenance ends at %d, want none", m.Maintenance)
	}
	w.refuse(raftfsm.SetMaintenance{Node: node2, Millis: raftfsm.MaxMaintenance + 1}, catalog.ErrInvalid)
	w.refuse(raftfsm.SetMaintenance{Node: node2, Millis: -1}, catalog.ErrInvalid)
	w.refuse(raftfsm.SetMaintenance{Node: node4, Millis: 1}, catalog.ErrNotFound)
}

// TestFreeze keeps idle blobs for as long as a freeze lasts; what is retired
// already stays so.
func TestFreeze(t *testing.T) {
	w := newLevel2(t)
	for n := 1; n <= 2; n++ {
		w.good(n, n, 1, key("a.pdb", uint32(n)))
		w.ok(raftfsm.DeletePackage{Package: pkg(n)})
	}
	w.pass(15 * day)
	w.sweep(100)
	first, second := raftfsm.Retiree{Digest: dig(1), Gen: 1}, raftfsm.Retiree{Digest: dig(2), Gen: 1}
	retire := func(want ...raftfsm.Retiree) raftfsm.RetireValue {
		t.Helper()
		var v raftfsm.RetireValue
		w.into(raftfsm.RetireBlobs{Blobs: []raftfsm.Retiree{first, second}}, &v)
		if !slices.Equal(v.Retired, want) || v.FrozenMillis != w.fsm.FrozenFor() {
			t.Errorf("RetireBlobs = %+v, want %v and %d ms frozen", v, want, w.fsm.FrozenFor())
		}
		return v
	}
	w.ok(raftfsm.RetireBlobs{Blobs: []raftfsm.Retiree{first}})
	w.ok(raftfsm.FreezeRetiring{Millis: 2000})
	retire(first)
	w.pass(1999)
	if v := retire(first); v.FrozenMillis != 1 {
		t.Errorf("frozen for %d ms, want 1", v.FrozenMillis)
	}
	w.ok(raftfsm.FreezeRetiring{Millis: raftfsm.MaxFreeze})
	retire(first)
	w.ok(raftfsm.FreezeRetiring{})
	retire(first, second)
	w.refuse(raftfsm.FreezeRetiring{Millis: -1}, catalog.ErrInvalid)
	w.refuse(raftfsm.FreezeRetiring{Millis: raftfsm.MaxFreeze + 1}, catalog.ErrInvalid)
	w.check()
}

func (w *world) raise(node catalog.NodeID, code catalog.AlarmCode, text string) uint64 {
	w.t.Helper()
	return w.ok(raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node, Code: code, Text: text, Index: 99, At: at}})
}

func (w *world) alarms() (list []string) {
	for _, a := range w.fsm.Alarms() {
		list = append(list, fmt.Sprintf("%s %s %s", a.Node[:1], a.Code, a.Text))
	}
	return list
}

// TestAlarms raises, mails once, changes and clears.
func TestAlarms(t *testing.T) {
	w := newLevel2(t)
	first := w.raise(node1, catalog.AlarmDiskFull, "95 %")
	w.raise(node1, catalog.AlarmDiskFull, "96 %") // stands already: told again, not mailed
	w.raise(node2, catalog.AlarmDiskFull, "90 %")
	w.raise(node1, catalog.AlarmBitRot, "1 copy")
	if got, want := w.alarms(), []string{"1 disk-full 96 %", "2 disk-full 90 %", "1 bit-rot 1 copy"}; !slices.Equal(got, want) {
		t.Errorf("alarms = %q, want %q", got, want)
	}
	notices, err := w.fsm.DueNotices(10)
	if err != nil || len(notices) != 3 || w.fsm.Counts().PendingNotices != 3 {
		t.Fatalf("DueNotices = %+v, %v, want three", notices, err)
	}
	if n := notices[0]; n.Kind != catalog.NoticeAlarm || n.Seq != first || n.Package != "" || n.Alarm.Text != "95 %" || n.Alarm.Index != first || !n.At.Equal(at) {
		t.Errorf("first notice = %+v with %+v", n, n.Alarm)
	}
	w.ok(raftfsm.MarkNotice{Seq: first, State: catalog.NoticeSent})
	w.ok(raftfsm.ClearAlarm{Node: node1, Code: catalog.AlarmDiskFull})
	w.ok(raftfsm.ClearAlarm{Node: node1, Code: catalog.AlarmDiskFull})
	w.raise(node1, catalog.AlarmDiskFull, "97 %") // another time: mailed again
	if n := w.fsm.Counts().PendingNotices; n != 3 {
		t.Errorf("%d notices pending, want 3", n)
	}
	w.ok(raftfsm.ClearAlarm{Code: catalog.AlarmDiskFull})
	w.ok(raftfsm.ChangeSettings{MailTo: &[]string{}})
	w.raise(node2, catalog.AlarmClock, "")
	if got, want := w.alarms(), []string{"1 bit-rot 1 copy", "2 clock-skew "}; !slices.Equal(got, want) || w.fsm.Counts().PendingNotices != 3 {
		t.Errorf("alarms = %q, want %q, and %d notices, want 3", got, want, w.fsm.Counts().PendingNotices)
	}
	w.ok(raftfsm.ClearAlarm{Node: node1})
	w.ok(raftfsm.ClearAlarm{})
	if got := w.alarms(); len(got) != 0 {
		t.Errorf("alarms = %q, want none", got)
	}
	long := make([]byte, 3000)
	for i := range long {
		long[i] = 'x'
	}
	w.refuse(raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node1, Code: "c", Text: string(long)}}, catalog.ErrInvalid)
	w.refuse(raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node1}}, catalog.ErrInvalid)
	w.refuse(raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node4, Code: catalog.AlarmClock}}, catalog.ErrNotFound)
	w.refuse(raftfsm.ClearAlarm{Code: catalog.AlarmCode(long)}, catalog.ErrInvalid)
	w.check()
}

// TestAlarmsBounded keeps the newest alarms, and the one that a person has to clear.
func TestAlarmsBounded(t *testing.T) {
	w := newLevel2(t)
	w.raise(node1, catalog.AlarmDiverged, "")
	for n := range raftfsm.MaxAlarms + 5 {
		w.raise(node1, catalog.AlarmCode(fmt.Sprintf("code-%d", n)), "")
	}
	alarms := w.fsm.Alarms()
	if len(alarms) != raftfsm.MaxAlarms || alarms[0].Code != catalog.AlarmDiverged || alarms[1].Code != "code-6" {
		t.Errorf("%d alarms, the first %+v, want %d, %s and code-6", len(alarms), alarms[:2], raftfsm.MaxAlarms, catalog.AlarmDiverged)
	}
	w.ok(raftfsm.ClearAlarm{})
	for n := range raftfsm.MaxAlarms + 1 { // of many members, in time
		id := catalog.NodeID(fmt.Sprintf("10000000-0000-4000-8000-%012d", n))
		w.ok(raftfsm.PutMember{Member: memberRow(id, fmt.Sprint("m", n))})
		w.raise(id, catalog.AlarmDiverged, "")
	}
	w.raise(node1, "code", "")
	alarms = w.fsm.Alarms()
	if last := alarms[len(alarms)-1]; len(alarms) != raftfsm.MaxAlarms || last.Code != "code" {
		t.Errorf("%d alarms, the last %+v, want %d and the one raised last", len(alarms), last, raftfsm.MaxAlarms)
	}
	w.check()
}

// TestAlarmsOfLeavers end with the member, but for a catalog that came out
// different.
func TestAlarmsOfLeavers(t *testing.T) {
	w := newLevel2(t)
	for _, n := range []catalog.NodeID{node1, node2, node3} {
		w.raise(n, catalog.AlarmDiskHung, "")
		w.raise(n, catalog.AlarmDiverged, "")
	}
	w.ok(raftfsm.RemoveMember{ID: node2})
	w.ok(raftfsm.PutMember{Member: memberRow(node4, "n3"), Replaces: node3})
	want := []string{"1 disk-hung ", "1 catalog-diverged ", "2 catalog-diverged ", "3 catalog-diverged "}
	if got := w.alarms(); !slices.Equal(got, want) {
		t.Errorf("alarms = %q, want %q", got, want)
	}
	w.ok(raftfsm.ClearAlarm{Node: node2, Code: catalog.AlarmDiverged}) // a member no longer
	if got := w.alarms(); len(got) != 3 {
		t.Errorf("alarms = %q, want three", got)
	}
	w.check()
}

func TestOperateEvents(t *testing.T) {
	w := newLevel2(t)
	s := w.fsm.Subscribe()
	defer s.Close()
	for _, tt := range []struct {
		cmd  raftfsm.Command
		want []raftfsm.EventType
	}{
		{raftfsm.ChangeSettings{Replicas: ptr(2)}, []raftfsm.EventType{raftfsm.SettingsChanged, raftfsm.LayoutChanged}},
		{raftfsm.MarkLayoutSynced{Node: node1, Version: 2}, []raftfsm.EventType{raftfsm.LayoutChanged}},
		{raftfsm.MarkLayoutSynced{Node: node1, Version: 2}, nil},
		{raftfsm.SetMaintenance{Node: node1, Millis: 1}, []raftfsm.EventType{raftfsm.MembersChanged}},
		{raftfsm.SetDraining{Node: node1, Draining: true}, []raftfsm.EventType{raftfsm.MembersChanged, raftfsm.LayoutChanged}},
		{raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node1, Code: "c"}}, []raftfsm.EventType{raftfsm.AlarmsChanged, raftfsm.NoticeChanged}},
		{raftfsm.RaiseAlarm{Alarm: catalog.Alarm{Node: node1, Code: "c"}}, nil},
		{raftfsm.ClearAlarm{Code: "d"}, nil},
		{raftfsm.ClearAlarm{Code: "c"}, []raftfsm.EventType{raftfsm.AlarmsChanged}},
		{raftfsm.FreezeRetiring{Millis: 1}, []raftfsm.EventType{raftfsm.SettingsChanged}},
	} {
		w.ok(tt.cmd)
		if got := types(t, s); !slices.Equal(got, tt.want) {
			t.Errorf("%T%+v made events %v, want %v", tt.cmd, tt.cmd, got, tt.want)
		}
	}
}

func TestPartitionSizes(t *testing.T) {
	w := newLevel2(t)
	w.commit(1, 1, 2, 3)
	w.commit(2, 1)
	w.ok(open(3))
	w.ok(raftfsm.AddFiles{Package: pkg(3), Files: []raftfsm.FileEntry{listing("x.pdb", 9)}}) // listed, not packed
	sizes, err := w.fsm.PartitionSizes(context.Background())
	if err != nil || len(sizes) != catalog.Partitions {
		t.Fatalf("PartitionSizes = %d, %v", len(sizes), err)
	}
	total := catalog.PartitionSize{}
	for _, s := range sizes {
		total.Blobs += s.Blobs
		total.Bytes += s.Bytes
	}
	if total != (catalog.PartitionSize{Blobs: 3, Bytes: 1500}) || sizes[dig(2).Partition()].Blobs == 0 {
		t.Errorf("PartitionSizes add up to %+v, want 3 blobs of 1500 bytes", total)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.fsm.PartitionSizes(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("PartitionSizes = %v, want it canceled", err)
	}
}
