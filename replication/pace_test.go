package replication

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: turns come at the rate, few to begin with and again after a while without
// any; what somebody waits for does not wait itself.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Pace{times: func() (cpuTimes, bool) { return cpuTimes{}, false }}
		move := func(turns int) time.Duration {
			begun := time.Now()
			for range 4 * turns {
				p.After(turn / 4)
			}
			return time.Since(begun)
		}
		time.Sleep(time.Hour)
		few := 9 * time.Second / fewestTurns
		if got := move(10); got < few-time.Millisecond || got > few+time.Millisecond {
			t.Errorf("the first ten turns take %v, want %v", got, few)
		}
		move(10_000) // all in time
		if got := move(1000); got > 50*time.Millisecond {
			t.Errorf("a thousand turns take %v when there is time to spare, want them fast", got)
		}
		time.Sleep(2 * startAgain)
		if got := move(10); got < few-time.Millisecond {
			t.Errorf("after a while without any ten turns take %v, want %v", got, few)
		}
		var awaited *Pace
		begun := time.Now()
		awaited.After(100 * turn)
		if got := time.Since(begun); got != 0 {
			t.Errorf("what is awaited rests for %v, want not at all", got)
		}
	})
}

// TestPaceOfBusyMachine: repair settles where the processors are as busy as they may
// be, and goes on at the least rate on a machine where others need all of them.
func TestPaceOfBusyMachine(t *testing.T) {
	for _, tt := range []struct {
		name    string
		others  float64 // share of the time
		perTurn float64 // seconds of a processor
		want    float64 // turns per second
	}{
		{"idle", 0, 0.0005, mostBusy / 0.0005},
		{"half busy", 0.5, 0.0005, (mostBusy - 0.5) / 0.0005},
		{"busy", 1, 0.0005, fewestTurns},
	} {
		synctest.Test(t, func(t *testing.T) {
			turns, begun := 0, time.Now()
			p := Pace{times: func() (cpuTimes, bool) {
				all := time.Since(begun).Seconds()
				busy := min(all, tt.others*all+tt.perTurn*float64(turns))
				return cpuTimes{busy: uint64(1e6 * busy), idle: uint64(1e6 * (all - busy))}, true
			}}
			time.Sleep(2 * startAgain)
			begun = time.Now()
			for time.Since(begun) < 10*time.Second {
				p.After(turn)
				turns++
			}
			if math.Abs(p.rate-tt.want) > tt.want/20 {
				t.Errorf("%s: %.0f turns per second after 10 s, want about %.0f", tt.name, p.rate, tt.want)
			}
		})
	}
}

// TestPaceByLateness: where the system does not tell how busy it is, late turns do.
func TestPaceByLateness(t *testing.T) {
	for _, tt := range []struct {
		late, all int
		want      float64
	}{
		{0, 100, mostGrowth},
		{100, 100, 1 / mostGrowth},
		{1, 16, 1},
		{0, 0, 1},
	} {
		p := Pace{times: func() (cpuTimes, bool) { return cpuTimes{}, false }}
		for i := range tt.all {
			if i < tt.late {
				p.came(lateBy + 1)
			} else {
				p.came(lateBy)
			}
		}
		if got := p.look(time.Now()); got != tt.want {
			t.Errorf("%d of %d turns late: %v times as many, want %v", tt.late, tt.all, got, tt.want)
		}
	}
}

// TestCPUTimes: time passes for the processors too.
func TestCPUTimes(t *testing.T) {
	before, ok := readCPUTimes()
	if !ok {
		t.Log("this system does not tell")
		return
	}
	for begun := time.Now(); time.Since(begun) < time.Minute; {
		if now, ok := readCPUTimes(); !ok || now.busy > before.busy {
			return
		}
	}
	t.Errorf("a minute of work and the processors are still at %+v", before)
}
