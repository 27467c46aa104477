package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
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
	} {
		var labels []string
		if name == "symkeep_packages_by_state" {
			labels = []string{"state"}
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
		set("symkeep_disk_used_ratio", st.Space.Share())
	}
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
