package main

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"symkeep/internal/catalog"
)

// An expectation is the verdict that a package deserves.
type expectation int

// Either is that of a package whose files compete with another one's: the first of
// the two is good, the second fails.
const (
	either expectation = iota
	good
	failed
)

// forever is the end of an operation whose outcome nobody knows: it may take effect
// at any time.
const forever = int64(math.MaxInt64)

// A span is one operation's invocation and return, by the clock of the harness.
type span struct{ from, to int64 }

// A pkg is one submission.
type pkg struct {
	seq    int
	key    string // idempotency key; empty where the agent drew one
	files  []*file
	expect expectation

	// Under ledger.mu.
	id      catalog.PackageID
	verdict catalog.Verdict // told to a client
	acks    []span          // from each the package was visible: a good verdict, an undelete
	deletes []span          // that were or may have been done
	bound   bool            // a commit was invoked
	busy    bool            // a keeper works on it
}

func (p *pkg) label() string { return fmt.Sprintf("package %d", p.seq) }

// version is how a package is found again by its row.
func (p *pkg) version() string { return fmt.Sprintf("t%d", p.seq) }

// A ledger is what the clients know of the cluster's promises.
type ledger struct {
	mu    sync.Mutex
	pkgs  []*pkg
	byKey map[string][]entry
}

// An entry is a file of a package that a key may be answered with.
type entry struct {
	p *pkg
	f *file
}

func newLedger() *ledger { return &ledger{byKey: map[string][]entry{}} }

// add enters a package before anything of it is sent.
func (l *ledger) add(p *pkg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.seq = len(l.pkgs) + 1
	l.pkgs = append(l.pkgs, p)
	for _, f := range p.files {
		l.byKey[f.key()] = append(l.byKey[f.key()], entry{p, f})
	}
}

// opened notes under which id the cluster knows a package. It is an error when that
// changes.
func (l *ledger) opened(p *pkg, id catalog.PackageID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.id != "" && p.id != id {
		return fmt.Errorf("%s: opened as %s, and again as %s by the same key", p.label(), p.id, id)
	}
	p.id = id
	return nil
}

// identity returns the id of a package, empty while nobody knows it.
func (l *ledger) identity(p *pkg) catalog.PackageID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.id
}

// committing notes that the package may be judged from now on.
func (l *ledger) committing(p *pkg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.bound = true
}

// judged notes a verdict that a client was told of, and when. It is an error when
// it is not the one deserved, or another one than before.
func (l *ledger) judged(p *pkg, v catalog.Verdict, at span) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.bound = true
	switch {
	case p.verdict != "" && p.verdict != v:
		return fmt.Errorf("%s %s: judged %s, before %s", p.label(), p.id, v, p.verdict)
	case v == catalog.Good && p.expect == failed, v == catalog.Failed && p.expect == good:
		return fmt.Errorf("%s %s: judged %s, deserves the contrary", p.label(), p.id, v)
	}
	p.verdict = v
	if v == catalog.Good {
		p.acks = append(p.acks, at)
	}
	return nil
}

// deleting notes the invocation of a delete, and returns what to call with its
// end: done tells whether it may have been carried out, known whether it was.
func (l *ledger) deleting(p *pkg, at int64) (end func(to int64, done, known bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := len(p.deletes)
	p.deletes = append(p.deletes, span{at, forever})
	return func(to int64, done, known bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case !done:
			p.deletes[i] = span{math.MinInt64, math.MinInt64} // before everything: it never was
		case known:
			p.deletes[i].to = to
		}
	}
}

// undeleted notes that a package is visible again.
func (l *ledger) undeleted(p *pkg, at span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.acks = append(p.acks, at)
}

// owed returns a package that every node had to serve under a key during the whole
// of a read: it was acknowledged before, and no delete can have come between.
func (l *ledger) owed(key string, read span) (*pkg, *file) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.byKey[key] {
		if e.p.visible(read) {
			return e.p, e.f
		}
	}
	return nil, nil
}

func (p *pkg) visible(read span) bool {
	return slices.ContainsFunc(p.acks, func(ack span) bool {
		return ack.to < read.from && !slices.ContainsFunc(p.deletes, func(d span) bool {
			return d.from <= read.to && d.to >= ack.from
		})
	})
}

// allowed returns the contents that a key may be answered with by now.
func (l *ledger) allowed(key string) []*file {
	l.mu.Lock()
	defer l.mu.Unlock()
	var fs []*file
	for _, e := range l.byKey[key] {
		if e.p.bound && e.p.expect != failed && e.p.verdict != catalog.Failed {
			fs = append(fs, e.f)
		}
	}
	return fs
}

// snapshot returns the packages entered so far.
func (l *ledger) snapshot() []*pkg {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pkgs)
}

// borrow returns the package for one keeper, unless another one has it or it is
// not known to be good.
func (l *ledger) borrow(p *pkg) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.busy || p.verdict != catalog.Good {
		return false
	}
	p.busy = true
	return true
}

func (l *ledger) giveBack(p *pkg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.busy = false
}

// view returns a copy of what is known of a package.
func (l *ledger) view(p *pkg) (id catalog.PackageID, v catalog.Verdict, acks, deletes []span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.id, p.verdict, slices.Clone(p.acks), slices.Clone(p.deletes)
}

func (s span) String() string {
	ms := func(ns int64) string { return fmt.Sprintf("%.3fs", float64(ns)/1e9) }
	if s.to == forever {
		return ms(s.from) + " on"
	}
	return ms(s.from) + " to " + ms(s.to)
}
