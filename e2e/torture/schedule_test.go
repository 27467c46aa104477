package main

import (
	"testing"
)

// TestScheduleFollowsFromSeed: the same seed draws the same phases, another seed
// others.
func TestScheduleFollowsFromSeed(t *testing.T) {
	plan := func(seed uint64) (text string) {
		p := newPlanner(seed, false)
		for range 50 {
			text += p.next().String() + "\n"
		}
		return text
	}
	if plan(7) != plan(7) {
		t.Error("one seed, two schedules")
	}
	if plan(7) == plan(8) {
		t.Error("two seeds, one schedule")
	}
}

// TestScheduleHasEverything: every kind and point comes, and never two that may
// destroy data in one phase.
func TestScheduleHasEverything(t *testing.T) {
	p := newPlanner(1, true)
	kinds, seen := map[kind]int{}, map[string]bool{}
	isGrave := map[kind]bool{}
	for _, k := range grave {
		isGrave[k] = true
	}
	for range len(grave) + len(brief)*len(points) {
		n := 0
		for _, f := range p.next().faults {
			kinds[f.kind]++
			seen[f.point] = true
			if isGrave[f.kind] {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("a phase with %d grave faults, want 1", n)
		}
	}
	for _, k := range append(append([]kind(nil), brief...), grave...) {
		if kinds[k] == 0 {
			t.Errorf("%q never comes", k)
		}
	}
	for _, pt := range points {
		if !seen[pt] {
			t.Errorf("nobody dies at %s", pt)
		}
	}
	first := newPlanner(1, false)
	early := map[kind]bool{}
	for range len(grave) {
		for _, f := range first.next().faults {
			early[f.kind] = true
		}
	}
	for _, k := range grave {
		if !early[k] {
			t.Errorf("%q does not come within %d phases", k, len(grave))
		}
	}
}
