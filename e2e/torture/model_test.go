package main

import (
	"os"
	"strings"
	"testing"

	"symkeep/internal/catalog"
)

// An op is one operation of a made-up history, by its times.
type op struct {
	call, end int64
	step      step
	answer    answer
}

func told(state string) answer { return answer{state: state} }

var nothing = answer{unknown: true}

func TestModel(t *testing.T) {
	for _, tt := range []struct {
		name   string
		expect expectation
		ops    []op
		legal  bool
	}{
		{"a life", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 9, stepVerdict, told("good")},
			{10, 11, stepDelete, answer{}}, {12, 13, stepOpen, told("trashed")}, {14, 15, stepUndelete, answer{}},
			{16, 17, stepOpen, told("good")},
		}, true},
		{"the answer to the open is lost", good, []op{
			{1, forever, stepOpen, nothing}, {3, 4, stepOpen, told("open")},
		}, true},
		{"a commit that came through later", good, []op{
			{1, 2, stepOpen, told("open")}, {3, forever, stepCommit, nothing}, {5, 6, stepOpen, told("open")},
			{7, 8, stepOpen, told("good")},
		}, true},
		{"a delete that never came through", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepVerdict, told("good")},
			{7, forever, stepDelete, nothing}, {8, 9, stepOpen, told("good")},
		}, true},
		{"a stuck one is retried", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepOpen, told("stuck")},
			{7, 8, stepRetry, answer{}}, {9, 10, stepVerdict, told("good")},
		}, true},
		{"a commit that was repeated", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 10, stepCommit, told("good")}, {11, 12, stepOpen, told("good")},
		}, true},
		{"a commit that was answered with the wrong verdict", failed, []op{
			{1, 2, stepOpen, told("open")}, {3, 10, stepCommit, told("good")},
		}, false},
		{"two at once, in either order", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 10, stepCommit, told("committed")}, {4, 5, stepOpen, told("open")},
			{6, 7, stepOpen, told("committed")},
		}, true},

		{"lost package", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepVerdict, told("good")},
			{7, 8, stepRead, answer{refused: refusedMissing}},
		}, false},
		{"the key opens another one", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepOpen, told("open")},
		}, false},
		{"lost commit", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepCommit, answer{lacking: true}},
		}, false},
		{"stale read", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepVerdict, told("good")},
			{7, 8, stepDelete, answer{}}, {9, 10, stepOpen, told("good")},
		}, false},
		{"lost verdict", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepVerdict, told("good")},
			{7, 8, stepOpen, told("committed")},
		}, false},
		{"wrong verdict", failed, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepVerdict, told("good")},
		}, false},
		{"verdict without a commit", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepOpen, told("good")},
		}, false},
		{"lost delete", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepVerdict, told("good")},
			{7, 8, stepDelete, answer{refused: refusedConflict}},
		}, false},
		{"delete that undid itself", good, []op{
			{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepVerdict, told("good")},
			{7, 8, stepDelete, answer{}}, {9, 10, stepOpen, told("trashed")}, {11, 12, stepOpen, told("good")},
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, p := newHistory(), &pkg{seq: 1, expect: tt.expect}
			other := &pkg{seq: 2, expect: good} // histories of packages are judged one by one
			h.add(1, other, stepOpen, 0, told("open"))
			for i, o := range tt.ops {
				h.add(1, p, o.step, o.call, o.answer)
				for j := len(h.ops) - 1; j >= 0 && h.ops[j].Call == o.call; j-- {
					h.ops[j].Return = o.end
				}
				if i == 0 && h.ops[0].Return < h.ops[0].Call {
					t.Fatal("the clock of the history runs backwards")
				}
			}
			bad, err := h.check(0)
			if err != nil {
				t.Fatal(err)
			}
			if legal := len(bad) == 0; legal != tt.legal {
				t.Errorf("check = %d broken histories, want legal = %v", len(bad), tt.legal)
			}
			for _, b := range bad {
				if b.pkg != p {
					t.Errorf("check blames %s, want %s", b.pkg.label(), p.label())
				}
				path, err := b.draw(t.TempDir())
				if page, rerr := os.ReadFile(path); err != nil || rerr != nil || !strings.Contains(string(page), "<html") {
					t.Errorf("draw = %s, %v, want a page: %v", path, err, rerr)
				}
			}
		})
	}
}

// An unknown delete may be repeated by the node that forwards it, around an
// undelete that comes between.
func TestUnknownTwice(t *testing.T) {
	h, p := newHistory(), &pkg{seq: 1, expect: good}
	times := []op{
		{1, 2, stepOpen, told("open")}, {3, 4, stepCommit, told("committed")}, {5, 6, stepVerdict, told("good")},
		{7, forever, stepDelete, nothing}, {8, 9, stepOpen, told("trashed")}, {10, 11, stepUndelete, answer{}},
		{12, 13, stepOpen, told("good")}, {14, 15, stepOpen, told("trashed")},
	}
	for _, o := range times {
		h.add(1, p, o.step, o.call, o.answer)
		if o.end != forever {
			h.ops[len(h.ops)-1].Return = o.end
		}
	}
	if bad, err := h.check(0); len(bad) > 0 || err != nil {
		t.Errorf("check = %d broken, %v, want none", len(bad), err)
	}
}

func TestLedgerJudged(t *testing.T) {
	for _, tt := range []struct {
		name     string
		expect   expectation
		verdicts []catalog.Verdict
		ok       bool
	}{
		{"good", good, []catalog.Verdict{catalog.Good, catalog.Good}, true},
		{"failed", failed, []catalog.Verdict{catalog.Failed}, true},
		{"one of two rivals", either, []catalog.Verdict{catalog.Failed}, true},
		{"bad package called good", failed, []catalog.Verdict{catalog.Good}, false},
		{"good package called bad", good, []catalog.Verdict{catalog.Failed}, false},
		{"two verdicts", either, []catalog.Verdict{catalog.Good, catalog.Failed}, false},
	} {
		l, p := newLedger(), &pkg{expect: tt.expect}
		l.add(p)
		var err error
		for i, v := range tt.verdicts {
			err = l.judged(p, v, span{int64(i), int64(i)})
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s: judged = %v, want ok = %v", tt.name, err, tt.ok)
		}
	}
	l, p := newLedger(), &pkg{}
	l.add(p)
	if err := l.opened(p, "A"); err != nil {
		t.Errorf("opened = %v", err)
	}
	if err := l.opened(p, "B"); err == nil {
		t.Error("one key opened two packages, and nobody minds")
	}
}
