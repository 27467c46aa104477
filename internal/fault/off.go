//go:build !faults

package fault

import "time"

// Enabled reports whether this build can be broken.
const Enabled = false

// Point marks a moment at which a test may end the process.
func Point(string) {}

// Now returns what the wall clock shows; for durations use time.Now.
func Now() time.Time { return time.Now() }

// Number returns the usual value of a number that a test may change.
func Number(_ string, usual uint64) uint64 { return usual }
