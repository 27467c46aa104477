//go:build faults

package fault

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled reports whether this build can be broken.
const Enabled = true

var dir = os.Getenv("SYMKEEP_FAULTS")

// Point marks a moment at which a test may end the process.
func Point(name string) {
	if dir == "" {
		return
	}
	for prefix, sig := range map[string]syscall.Signal{"kill-": syscall.SIGKILL, "stop-": syscall.SIGSTOP} {
		if os.Remove(filepath.Join(dir, prefix+name)) == nil {
			_ = syscall.Kill(os.Getpid(), sig)
			time.Sleep(50 * time.Millisecond) // the signal is on its way
		}
	}
}

// Number returns the value of a number that a test may change: what the file NAME
// holds, or the usual one.
func Number(name string, usual uint64) uint64 {
	if dir == "" {
		return usual
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return usual
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return usual
	}
	return n
}

var clock struct {
	sync.Mutex
	read   time.Time
	offset time.Duration
}

// Now returns what the wall clock shows. While it is off, the time has no monotonic
// reading.
func Now() time.Time {
	now := time.Now()
	if dir == "" {
		return now
	}
	clock.Lock()
	defer clock.Unlock()
	if clock.read.IsZero() || now.Sub(clock.read) > 100*time.Millisecond {
		clock.read, clock.offset = now, 0
		if b, err := os.ReadFile(filepath.Join(dir, "clock")); err == nil {
			clock.offset, _ = time.ParseDuration(strings.TrimSpace(string(b)))
		}
	}
	if clock.offset == 0 {
		return now
	}
	return now.Round(0).Add(clock.offset)
}
