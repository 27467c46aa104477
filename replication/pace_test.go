package replication

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: rests come after every turn and become shorter on a machine where they
// end in time; what somebody waits for does not rest.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		move := func(turns int) time.Duration {
			begun := time.Now()
			for range 4 * turns {
				p.after(turn / 4)
			}
			return time.Since(begun)
		}
		if got := move(1); got != firstRest {
			t.Errorf("first turn rests for %v, want %v", got, firstRest)
		}
		move(1000)
		if got := move(10); got != 10*shortRest {
			t.Errorf("ten turns rest for %v when there is time to spare, want %v", got, 10*shortRest)
		}
		var awaited *pace
		begun := time.Now()
		awaited.after(100 * turn)
		if got := time.Since(begun); got != 0 {
			t.Errorf("what is awaited rests for %v, want not at all", got)
		}
	})
}

// TestNextRest: rests that end late become longer much faster than they shorten, and
// neither is without bounds.
func TestNextRest(t *testing.T) {
	for _, tt := range []struct{ rest, late, want time.Duration }{
		{time.Millisecond, lateRest + 1, 1250 * time.Microsecond},
		{time.Millisecond, lateRest, time.Millisecond - time.Millisecond/128},
		{longRest, time.Second, longRest},
		{shortRest, 0, shortRest},
	} {
		if got := nextRest(tt.rest, tt.late); got != tt.want {
			t.Errorf("nextRest(%v, %v) = %v, want %v", tt.rest, tt.late, got, tt.want)
		}
	}
	rest := shortRest
	for i := range 1000 { // one in twenty is late
		late := time.Duration(0)
		if i%20 == 0 {
			late = time.Second
		}
		rest = nextRest(rest, late)
	}
	if rest < 10*firstRest/8 {
		t.Errorf("with one rest in twenty too late it is %v, want it to be long", rest)
	}
}
