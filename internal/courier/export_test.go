package courier

import "time"

// PID returns that of the process, 0 without one.
func (c *Courier) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		return 0
	}
	return c.proc.cmd.Process.Pid
}

// SleepLate makes this process one that waits long for its turns.
func SleepLate() { sleep = func(d time.Duration) { time.Sleep(d + mostLate) } }
