package ops

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"symkeep/agent"
)

// sizeUnits are the factors of a size, by lower-case suffix. KiB and K count in
// 1024, KB in 1000.
var sizeUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
	"p": 1 << 50, "pib": 1 << 50, "pb": 1e15,
}

// ParseSize reads a number of bytes with a unit, such as 50MiB, 1.5G or 0, or of
// bytes per second, such as 50MiB/s. It is at least 0.
func ParseSize(s string) (int64, error) {
	text := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "/s")
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
	factor, known := sizeUnits[strings.TrimSpace(text[len(number):])]
	v, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || !known || math.Signbit(v) || math.IsNaN(v) || strings.ContainsAny(number, "xp_"):
		return 0, fmt.Errorf("size %q: wanted a number with a unit, such as 50MiB, 1.5GiB or 0", s)
	case v*factor >= math.MaxInt64:
		return 0, fmt.Errorf("size %q: too large", s)
	}
	return int64(v * factor), nil
}

// A sizeFlag is a flag with a size; it is nil until it is set.
type sizeFlag struct{ n *int64 }

// String, Set and Type implement pflag.Value.
func (f *sizeFlag) String() string {
	if f.n == nil {
		return ""
	}
	return agent.Size(*f.n)
}

// Set reads the value.
func (f *sizeFlag) Set(s string) error {
	n, err := ParseSize(s)
	if err != nil {
		return err
	}
	f.n = &n
	return nil
}

// Type names the value in the help.
func (f *sizeFlag) Type() string { return "size" }
