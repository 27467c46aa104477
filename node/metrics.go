package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"symkeep/internal/catalog"
)

// nodeMetrics are gauges whose values are read when somebody scrapes.
type nodeMetrics struct {
	n     *Node
	descs map[string]*prometheus.Desc
}

// registerMetrics adds what the node knows of itself and of the cluster.
func (n *Node) registerMetrics() {
	m := &nodeMetrics{n, map[string]*prometheus.Desc{}}
	for name, help := range map[string]string{
		"symkeep_raft_term":         "Raft term.",
		"symkeep_raft_leader":       "1 if this node leads.",
		"symkeep_raft_commit_index": "Commit index as this node knows it.",
		"symkeep_applied_index":     "Log index that local reads reflect.",
		"symkeep_members":           "Members of the cluster.",
		"symkeep_blobs":             "Blobs on this node.",
		"symkeep_blob_bytes":        "Packed bytes on this node.",
		"symkeep_blobs_missing":     "Blobs this node should hold and does not yet.",
		"symkeep_blobs_referenced":  "Blobs some package needs, in the cluster.",
		"symkeep_blobs_under":       "Of those, with fewer copies than wanted.",
		"symkeep_notices_pending":   "Mails waiting to be sent.",
		"symkeep_disk_used_ratio":   "Used and reserved share of the data file system.",
		"symkeep_replication_queue": "Blobs waiting to be brought in, compared or removed.",
		"symkeep_uploads_staged":    "Uploads that are staged on this node.",
		"symkeep_packages_by_state": "Packages of the cluster by state.",
		"symkeep_cache_bytes":       "Bytes in the disk cache of unpacked blobs.",
		"symkeep_disk_level":        "1 for the level the data file system is at, 0 for the others.",
		"symkeep_disk_avail_bytes":  "Bytes available on the data file system.",
		"symkeep_fsync_p99_seconds": "What 99 of 100 small synced writes of the last minutes stayed below.",
		"symkeep_alarms":            "Alarms that stand in the cluster, by code.",
		"symkeep_local_alarms":      "What is wrong with this node at the moment, by code.",
		"symkeep_quarantined":       "Damaged copies kept aside on this node.",
		"symkeep_quarantined_bytes": "Bytes of those.",
		"symkeep_applied_lag":       "Log entries that are committed, as this node knows, and not applied here.",
		"symkeep_ballast_bytes":     "Bytes kept in reserve for the log.",
	} {
		var labels []string
		switch name {
		case "symkeep_packages_by_state":
			labels = []string{"state"}
		case "symkeep_disk_level":
			labels = []string{"level"}
		case "symkeep_alarms", "symkeep_local_alarms":
			labels = []string{"code"}
		}
		m.descs[name] = prometheus.NewDesc(name, help, labels, nil)
	}
	n.metrics.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Describe implements prometheus.Collector.
func (m *nodeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *nodeMetrics) Collect(ch chan<- prometheus.Metric) {
	n := m.n
	set := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.descs[name], prometheus.GaugeValue, v, labels...)
	}
	set("symkeep_applied_index", float64(n.fsm.AppliedIndex()))
	set("symkeep_members", float64(len(n.members())))
	if c := n.consensus(); c != nil {
		set("symkeep_raft_term", float64(c.raft.CurrentTerm()))
		set("symkeep_raft_commit_index", float64(c.raft.CommitIndex()))
		set("symkeep_applied_lag", max(0, float64(c.raft.CommitIndex())-float64(c.raft.AppliedIndex())))
	}
	leads := 0.0
	if n.leads() {
		leads = 1
	}
	set("symkeep_raft_leader", leads)
	if blobs, bytes, err := n.blobs.Totals(); err == nil {
		set("symkeep_blobs", float64(blobs))
		set("symkeep_blob_bytes", float64(bytes))
	}
	if st, err := n.repl.Status(); err == nil {
		set("symkeep_blobs_missing", float64(st.Missing))
		set("symkeep_replication_queue", float64(st.Queue))
	}
	m.collectDisk(set)
	counts := n.fsm.Counts()
	set("symkeep_blobs_referenced", float64(counts.Blobs))
	set("symkeep_blobs_under", float64(n.fsm.UnderReplicated(min(n.settings().Replicas, max(1, len(n.members()))))))
	set("symkeep_notices_pending", float64(counts.PendingNotices))
	for state, k := range counts.Packages {
		set("symkeep_packages_by_state", float64(k), string(state))
	}
	n.uploads.mu.Lock()
	staged := len(n.uploads.sessions)
	n.uploads.mu.Unlock()
	set("symkeep_uploads_staged", float64(staged))
	set("symkeep_cache_bytes", float64(n.cache.Bytes()))
}

// collectDisk tells how the disk is, and what is wrong.
func (m *nodeMetrics) collectDisk(set func(name string, v float64, labels ...string)) {
	n := m.n
	disk := n.diskStatus()
	set("symkeep_disk_used_ratio", disk.Share)
	set("symkeep_disk_avail_bytes", float64(disk.Avail))
	for _, l := range levels {
		is := 0.0
		if string(l) == disk.Level {
			is = 1
		}
		set("symkeep_disk_level", is, string(l))
	}
	set("symkeep_fsync_p99_seconds", n.disk.p99().Seconds())
	set("symkeep_ballast_bytes", float64(n.ballast.bytes()))
	if k, bytes, err := n.blobs.Quarantined(); err == nil {
		set("symkeep_quarantined", float64(k))
		set("symkeep_quarantined_bytes", float64(bytes))
	}
	for name, alarms := range map[string][]catalog.Alarm{"symkeep_alarms": n.fsm.Alarms(), "symkeep_local_alarms": n.localAlarms()} {
		codes := map[catalog.AlarmCode]int{}
		for _, a := range alarms {
			codes[a.Code]++
		}
		for code, k := range codes {
			set(name, float64(k), string(code))
		}
	}
}
