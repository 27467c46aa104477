package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A table collects what was measured.
type table struct {
	begun time.Time
	lines []line
}

// A line is one kind of work.
type line struct {
	work   string
	values []value
	checks []check
}

// A value is the median of some rounds, for one server.
type value struct {
	who  string
	n    float64
	unit string
}

// A check compares a number of a line with its target.
type check struct {
	what   string // "x nginx", or a unit
	got    float64
	bound  float64
	atMost bool
}

func (c check) met() bool {
	if c.atMost {
		return c.got <= c.bound
	}
	return c.got >= c.bound
}

func (c check) String() string {
	op, state := ">=", "met"
	if c.atMost {
		op = "<="
	}
	if !c.met() {
		state = "MISSED"
	}
	return fmt.Sprintf("%s %s (wanted %s %s) %s", number(c.got), c.what, op, number(c.bound), state)
}

func newTable() *table { return &table{begun: time.Now()} }

func (t *table) add(l line) { t.lines = append(t.lines, l) }

// String is the table as text, one line for each work and one for each check.
func (t *table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "symkeep beside nginx and elfutils debuginfod, medians of interleaved rounds\n%s, %d processors, %s, %.0f s\n\n",
		t.begun.UTC().Format(time.RFC3339), runtime.NumCPU(), runtime.Version(), time.Since(t.begun).Seconds())
	met, all := 0, 0
	for _, l := range t.lines {
		fmt.Fprintf(&b, "%s\n", l.work)
		for _, v := range l.values {
			fmt.Fprintf(&b, "    %-12s %10s %s\n", v.who, number(v.n), v.unit)
		}
		for _, c := range l.checks {
			fmt.Fprintf(&b, "    -> %s\n", c)
			if all++; c.met() {
				met++
			}
		}
	}
	fmt.Fprintf(&b, "\n%d of %d targets met\n", met, all)
	return b.String()
}

// number prints three significant digits or all before the point.
func number(n float64) string {
	switch {
	case n >= 100:
		return fmt.Sprintf("%.0f", n)
	case n >= 10:
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.2f", n)
}

// median sorts s.
func median(s []float64) float64 {
	slices.Sort(s)
	return quantile(s, 0.5)
}

// quantile of a sorted slice; 0 without any.
func quantile(s []float64, q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	return s[min(int(q*float64(len(s))), len(s)-1)]
}
