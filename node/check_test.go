package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// wellInspection is what a check sees of three nodes that are well.
func wellInspection() *inspection {
	in := &inspection{
		self: "a", settings: catalog.DefaultSettings(), now: time.Unix(1_000_000, 0), fewest: 3, anyBlob: true,
		status: api.ClusterStatus{Leader: "a", Feature: 2, Blobs: 5},
		layout: catalog.Layout{Version: 4, Replicas: 3}, checks: map[catalog.NodeID]memberCheck{},
	}
	for _, id := range []catalog.NodeID{"a", "b", "c"} {
		m := catalog.Member{ID: id, Name: "n-" + string(id), LayoutSynced: 4}
		in.views = append(in.views, memberView{member: m, state: "alive", answered: true, maybe: time.Millisecond, said: api.PeerStatus{
			ID: id, Name: m.Name, Version: "1.0", Feature: 2, Disk: api.DiskStatus{Level: "ok", Share: 0.2},
		}})
		in.status.Nodes = append(in.status.Nodes, api.NodeStatus{ID: id, Name: m.Name, Role: "voter", State: "alive"})
		in.layout.Nodes = append(in.layout.Nodes, catalog.LayoutNode{ID: id, Weight: 100})
		reaches := map[string]string{}
		for _, to := range []catalog.NodeID{"a", "b", "c"} {
			if to != id {
				reaches[reachKey(wayPeer, to)], reaches[reachKey(wayGossipTCP, to)], reaches[reachKey(wayGossipUDP, to)] = "", "", ""
			}
		}
		in.checks[id] = memberCheck{PeerCheck: api.PeerCheck{SyncMS: 3, Reaches: reaches}}
	}
	return in
}

// TestCheck: each thing that is wrong is found by its check, at its level, and by no
// other.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*inspection)
		want  string // check, level, node and part of the text; empty: all is well
	}{
		{"well", func(*inspection) {}, ""},
		{"clock", func(in *inspection) { in.views[1].skew = -2 * time.Second }, "clock warning n-b: differs by -2s"},
		{"clock far off", func(in *inspection) { in.views[2].skew = time.Hour }, "clock error n-c: differs by 1h0m0s"},
		{"clock not known well", func(in *inspection) { in.views[2].skew, in.views[2].maybe = 2*time.Second, 1500*time.Millisecond }, ""},
		{"slow disk", func(in *inspection) { c := in.checks["b"]; c.SyncMS = 150; in.checks["b"] = c }, "fsync warning n-b: 150ms"},
		{"very slow disk", func(in *inspection) { c := in.checks["b"]; c.SyncMS = 1500; in.checks["b"] = c }, "fsync error n-b: 1.5s"},
		{"peer port", func(in *inspection) { in.checks["a"].Reaches[reachKey(wayPeer, "c")] = "refused" }, "ports error n-a: does not reach the peer port, TCP of n-c: refused"},
		{"gossip port", func(in *inspection) { in.checks["a"].Reaches[reachKey(wayGossipTCP, "c")] = "refused" }, "ports error n-a: gossip port, TCP of n-c"},
		{"UDP", func(in *inspection) { in.checks["c"].Reaches[reachKey(wayGossipUDP, "b")] = "no answer" }, "ports warning n-c: gossip port, UDP of n-b: no answer"},
		{"a member that cannot look", func(in *inspection) { in.checks["c"] = memberCheck{err: errors.New("cut")} }, "ports error n-c: cut"},
		{"versions", func(in *inspection) { in.views[1].said.Version = "1.1" }, "versions warning : 1.0 on n-a, n-c; 1.1 on n-b"},
		{"levels", func(in *inspection) { in.views[1].said.Feature = 0; in.status.Feature = 1 }, "versions warning : n-b understand feature level 1 only, others 2"},
		{"raise", func(in *inspection) { in.status.Feature = 1 }, "versions warning : all members understand feature level 2, the cluster uses 1"},
		{"disk", func(in *inspection) { in.views[0].said.Disk = api.DiskStatus{Level: "warn", Share: 0.83} }, "disk warning n-a: 83% full"},
		{"full disk", func(in *inspection) { in.views[0].said.Disk = api.DiskStatus{Level: "read-only", Share: 0.98} }, "disk error n-a: takes no pushes"},
		{"replicas", func(in *inspection) { in.settings.Replicas = 5 }, "layout warning : 5 copies are wanted of each blob, 3 members keep any"},
		{"weights", func(in *inspection) { in.layout.Nodes[1].Weight = 5 }, "layout warning : weights go from 5 to 100"},
		{"zones", func(in *inspection) {
			in.layout.Nodes[0].Zone, in.layout.Nodes[1].Zone, in.layout.Nodes[2].Zone = "x", "x", "y"
		}, "layout warning : 2 zones"},
		{"moving", func(in *inspection) { in.status.Moving = 2; in.views[1].member.LayoutSynced = 3 }, "layout warning : 2 former layouts are kept until n-b hold all of layout 4"},
		{"dead", func(in *inspection) { in.views[1].answered = false; in.views[1].state = "dead" }, "members error n-b: dead, and does not answer"},
		{"behind", func(in *inspection) { in.status.Nodes[1].Lag = 20_000 }, "members warning n-b: 20000 log entries behind"},
		{"a voter away", func(in *inspection) { in.status.Nodes[1].State = "dead" }, "quorum warning : 2 of 3 voters are alive, 2 are needed"},
		{"two voters away", func(in *inspection) { in.status.Nodes[1].State, in.status.Nodes[2].State = "dead", "dead" }, "quorum error : 1 of 3 voters are alive"},
		{"no leader", func(in *inspection) { in.status.Leader = "" }, "quorum error : nothing can be pushed"},
		{"voters in a zone", func(in *inspection) {
			in.status.Nodes[0].Zone, in.status.Nodes[1].Zone, in.status.Nodes[2].Zone = "x", "x", "y"
		}, `quorum warning : 2 of 3 voters are in zone "x"`},
		{"paused", func(in *inspection) { in.status.Paused = true }, "copies warning : repair is paused"},
		{"frozen", func(in *inspection) { in.status.Frozen = 60_000 }, "copies warning : another 1m0s"},
		{"lost", func(in *inspection) { in.fewest = 0; in.status.Under = 1 }, "copies error : without any copy"},
		{"single", func(in *inspection) { in.fewest = 1; in.status.Under = 2 }, "copies error : with a single copy"},
		{"under", func(in *inspection) { in.fewest = 2; in.status.Under = 2 }, "copies warning : 2 of 5 blobs have fewer than 3 copies"},
		{"missing", func(in *inspection) { in.status.Nodes[2].Missing = 7 }, "copies warning n-c: lacks 7 blobs"},
		{"draining", func(in *inspection) { in.status.Nodes[2].Drain = &api.DrainProgress{Needed: 7} }, "copies warning n-c: is draining: 7 blobs"},
		{"drained", func(in *inspection) { in.status.Nodes[2].Drain = &api.DrainProgress{Finished: true} }, ""},
		{"catalogs", func(in *inspection) {
			for i := range in.views {
				in.views[i].said.Hashes = []api.CatalogHash{{Index: 9, Hash: fmt.Sprint(i / 2)}}
			}
		}, "catalog error : differ at log index 9"},
		{"new mail", func(in *inspection) { in.mail = []catalog.Notice{{At: in.now}} }, ""},
		{"mail refused", func(in *inspection) {
			in.status.MailQueue, in.mail = 4, []catalog.Notice{{At: in.now.Add(-time.Minute), Attempts: 2, Error: "451"}}
		}, "mail warning : 4 mails wait, the oldest for 1m0s after 2 attempts: 451"},
		{"mail never tried", func(in *inspection) { in.mail = []catalog.Notice{{At: in.now.Add(-time.Hour)}} }, "mail warning : for 1h0m0s after 0 attempts"},
		{"alarm", func(in *inspection) {
			in.status.Alarms = []catalog.Alarm{{Node: "b", Code: catalog.AlarmBitRot, Text: "x"}}
		}, "alarms warning n-b: bit-rot: x"},
		{"grave alarm", func(in *inspection) {
			in.status.Alarms = []catalog.Alarm{{Node: "gone", Code: catalog.AlarmSuspectDisk, Text: "x"}}
		}, "alarms error gone: suspect-disk: x"},
	} {
		in := wellInspection()
		tt.spoil(in)
		r := in.report()
		bad := slices.DeleteFunc(slices.Clone(r.Checks), func(c api.CheckResult) bool { return c.Level == api.CheckOK })
		if r.OK != (tt.want == "") || len(bad) > 1 || len(bad) == 1 && tt.want == "" {
			t.Errorf("%s: check = ok %t, %+v, want %q alone", tt.name, r.OK, bad, tt.want)
			continue
		}
		if tt.want == "" {
			continue
		}
		head, text, _ := strings.Cut(tt.want, ": ")
		if len(bad) == 0 || bad[0].Check+" "+bad[0].Level+" "+bad[0].Node != head || !strings.Contains(bad[0].Found, text) || bad[0].Do == "" && bad[0].Check != "catalog" {
			t.Errorf("%s: check = %+v, want %q and what to do", tt.name, bad, tt.want)
		}
	}
}
