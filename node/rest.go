package node

import (
	"time"

	"symkeep/internal/catalog"
)

// Bounds of a rest.
const (
	firstRest  = 15 * time.Second
	longRest   = time.Hour
	forgetRest = 2 * time.Hour // of calm
)

// A restTable says when what was wrong with this node has been well for long enough
// for the cluster to be told. An alarm that is raised is mailed: each time that one
// comes back soon, its next end is told later, so that a disk which is slow every now
// and then does not fill a mailbox.
type restTable map[catalog.AlarmCode]*rest

type rest struct {
	well time.Time     // since then; zero: it is not
	wait time.Duration // before the end is told
	told time.Time     // when the cluster was told of the last end; zero: not since it came back
}

// stands notes that an alarm stands now.
func (t restTable) stands(code catalog.AlarmCode, now time.Time) {
	r := t[code]
	if r == nil {
		r = &rest{}
		t[code] = r
	}
	switch since := now.Sub(r.told); {
	case r.told.IsZero():
	case since > forgetRest:
		r.wait = 0
	default:
		r.wait = min(max(2*r.wait, firstRest), longRest)
	}
	r.well, r.told = time.Time{}, time.Time{}
}

// over notes that all is well now, and reports whether the cluster may be told.
func (t restTable) over(code catalog.AlarmCode, now time.Time) bool {
	r := t[code]
	if r == nil {
		return true // of an earlier process
	}
	if r.well.IsZero() {
		r.well = now
	}
	if now.Sub(r.well) < r.wait {
		return false
	}
	r.told = now
	return true
}
