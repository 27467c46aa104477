package node

import (
	"testing"
	"time"

	"symkeep/internal/catalog"
)

// TestRests: the first end of an alarm is told at once. One that keeps coming back is
// told and mailed less and less, and forgiven after a long calm.
func TestRests(t *testing.T) {
	const code = catalog.AlarmDiskSlow
	rests, now := restTable{}, time.Now()
	if !rests.over(code, now) {
		t.Error("the alarm of an earlier process does not end")
	}
	// flap has the disk be slow for a second in every minute, and counts the ends.
	flap := func(d time.Duration) (ends int) {
		stood := false
		for end := now.Add(d); now.Before(end); now = now.Add(time.Second) {
			if now.Unix()%60 == 0 {
				rests.stands(code, now)
				stood = true
			} else if stood && rests.over(code, now) {
				stood, ends = false, ends+1
			}
		}
		return ends
	}
	if got := flap(time.Minute); got != 1 {
		t.Errorf("ends told in the first minute = %d, want one, at once", got)
	}
	if got := flap(24 * time.Hour); got < 1 || got > 4 {
		t.Errorf("ends told in a day of flapping = %d, want few", got)
	}
	calm := func(d time.Duration) (took time.Duration) {
		rests.stands(code, now)
		begun := now
		for ; now.Sub(begun) < d; now = now.Add(time.Second) {
			if took == 0 && rests.over(code, now) {
				took = max(now.Sub(begun), 1)
			}
		}
		return took
	}
	if got := calm(24 * time.Hour); got == 0 || got > longRest+time.Second {
		t.Errorf("an alarm that came back often ended after %s of calm, want some, %s at most", got, longRest)
	}
	if got := calm(time.Hour); got > time.Second {
		t.Errorf("an alarm after a day of calm ended after %s, want at once", got)
	}
}
