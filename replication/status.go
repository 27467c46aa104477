package replication

import (
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
)

// Status is what status pages and metrics show.
type Status struct {
	Queue     int    // blobs waiting to be brought in, compared or removed
	Running   int    // of them, being worked on
	Missing   int    // blobs this node should hold and does not, as far as it has looked
	MissBytes int64  // their packed bytes
	Orphans   int    // copies here that the catalog knows nothing of
	Synced    bool   // a full pass has found nothing missing since the start
	Layout    uint64 // newest version of which this node was found to hold all
	PassAt    time.Time
	Errors    map[catalog.Digest]string // latest failures, at most 100
	Space     blobstore.Space

	Paused      bool  // nothing is brought here but what somebody waits for
	Rate        int64 // bytes per second allowed to mend placement; 0: no limit
	PulledBytes int64 // since the start, to mend placement
	Scrub       ScrubStatus
}

// A ScrubStatus is how far the verification of this node's copies is.
type ScrubStatus struct {
	Asked       bool // a round was asked for and has not begun
	Running     bool
	Done, Total int64     // copies looked at in this round, and those there were at its start
	Rate        int64     // bytes per second allowed; 0: what leaves the disk free most of the time
	Finished    time.Time // when the last round ended: no copy was overdue then
	Damaged     int64     // copies set aside since the start
	Quarantined int       // kept aside now
	Quarantine  int64     // bytes of them
}

// Status returns the present state.
func (r *Replicator) Status() (Status, error) {
	q := r.queue.size()
	sp, err := r.store.Space()
	if err != nil {
		return Status{}, err
	}
	aside, asideBytes, err := r.store.Quarantined()
	if err != nil {
		return Status{}, err
	}
	set := r.cfg.Catalog.Settings()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		Queue: q.items + len(r.fresh), Running: r.running, Orphans: r.pass.orphans,
		Missing: q.missing, MissBytes: q.bytes, Synced: r.synced, Layout: r.syncedAt, PassAt: r.pass.at, Space: sp,
		Paused: set.RepairPaused, Rate: set.RepairRate, PulledBytes: r.pulled.Load(),
		Scrub:  r.round.status(set.ScrubRate),
		Errors: make(map[catalog.Digest]string, len(r.failing)),
	}
	s.Scrub.Damaged, s.Scrub.Quarantined, s.Scrub.Quarantine = r.damaged.Load(), aside, asideBytes
	for d, text := range r.failing {
		s.Errors[d] = text
	}
	return s, nil
}
