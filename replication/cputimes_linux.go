package replication

import (
	"bytes"
	"os"
	"strconv"
)

// readCPUTimes sums up the processors' times of proc(5).
func readCPUTimes() (t cpuTimes, ok bool) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return t, false
	}
	defer f.Close()
	var buf [512]byte // "cpu", user, nice, system, idle, iowait, irq, softirq, steal and more
	n, _ := f.Read(buf[:])
	line, _, _ := bytes.Cut(buf[:n], []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return t, false
	}
	for i, f := range fields[1:9] {
		v, err := strconv.ParseUint(string(f), 10, 64)
		if err != nil {
			return t, false
		}
		if i == 3 || i == 4 {
			t.idle += v
		} else {
			t.busy += v
		}
	}
	return t, true
}
