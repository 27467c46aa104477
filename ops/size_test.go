package ops_test

import (
	"math"
	"testing"

	"symkeep/agent"
	"symkeep/ops"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64 // -1: an error
	}{
		{"0", 0},
		{"17", 17},
		{"17B", 17},
		{"50MiB", 50 << 20},
		{"50 mib", 50 << 20},
		{"50M", 50 << 20},
		{"50MB", 50e6},
		{"1.5GiB", 3 << 29},
		{"10KiB/s", 10 << 10},
		{" 2TiB ", 2 << 40},
		{"7TB", 7e12},
		{"", -1},
		{"MiB", -1},
		{"5 apples", -1},
		{"-1", -1},
		{"-0", -1},
		{"1e3x", -1},
		{"0x10", -1},
		{"1_000", -1},
		{"NaN", -1},
		{"Inf", -1},
		{"1MiB/h", -1},
		{"9999999TiB", -1},
	} {
		got, err := ops.ParseSize(tt.in)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", tt.in, got, err, tt.want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"0", "50MiB/s", "1.5 G", "7TB", "-3", "1e309", "+inf", "/s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ops.ParseSize(s)
		if err != nil || n > 1<<62 { // what Size rounds up may be too large
			return
		}
		if n < 0 {
			t.Fatalf("ParseSize(%q) = %d, want 0 or more", s, n)
		}
		// What is printed is read as the same, but for its two digits.
		again, err := ops.ParseSize(agent.Size(n))
		if err != nil || math.Abs(float64(again-n)) > float64(n)/18+1 {
			t.Fatalf("ParseSize(Size(%d)) = %d, %v, want nearly the same", n, again, err)
		}
	})
}
