package agent

import "fmt"

// Size prints a number of bytes for people, in units of 1024.
func Size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n)/(1<<10), "KMGTP"
	for v >= 999.5 && len(units) > 1 {
		v, units = v/(1<<10), units[1:]
	}
	if v < 10 {
		return fmt.Sprintf("%.1f %ciB", v, units[0])
	}
	return fmt.Sprintf("%.0f %ciB", v, units[0])
}
