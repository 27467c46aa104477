package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// A tally counts what happened and keeps what must not have. Its methods may be
// called from several goroutines.
type tally struct {
	out   io.Writer
	begun time.Time

	mu     sync.Mutex
	counts map[string]map[string]int // by group
	bugs   []string
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, begun: time.Now(), counts: map[string]map[string]int{}}
}

// count adds one to a counter of a group.
func (t *tally) count(group, name string) { t.add(group, name, 1) }

func (t *tally) add(group, name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[group] == nil {
		t.counts[group] = map[string]int{}
	}
	t.counts[group][name] += n
}

// say prints a line with the time since the start.
func (t *tally) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%8.3f %s\n", time.Since(t.begun).Seconds(), fmt.Sprintf(format, args...))
}

// bug notes a violation.
func (t *tally) bug(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.mu.Lock()
	t.bugs = append(t.bugs, text)
	t.mu.Unlock()
	t.say("VIOLATION %s", text)
}

// check notes err as a violation, if there is one.
func (t *tally) check(err error) {
	if err != nil {
		t.bug("%v", err)
	}
}

// violations returns what bug was told.
func (t *tally) violations() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.bugs)
}

// group returns the counters of a group on one line.
func (t *tally) group(name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	total := 0
	for k, n := range t.counts[name] {
		parts = append(parts, fmt.Sprintf("%s %d", k, n))
		total += n
	}
	slices.Sort(parts)
	return fmt.Sprintf("%s %d: %s", name, total, strings.Join(parts, ", "))
}

// print writes every counter.
func (t *tally) print() {
	t.mu.Lock()
	var names []string
	for name := range t.counts {
		names = append(names, name)
	}
	t.mu.Unlock()
	slices.Sort(names)
	for _, name := range names {
		t.say("%s", t.group(name))
	}
}
