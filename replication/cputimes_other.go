//go:build !linux

package replication

func readCPUTimes() (cpuTimes, bool) { return cpuTimes{}, false }
