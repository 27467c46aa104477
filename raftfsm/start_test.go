package raftfsm_test

import (
	"context"
	"errors"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/raftfsm"
)

func TestStartDecision(t *testing.T) {
	for _, tt := range []struct {
		name    string
		f, s, l uint64
		want    raftfsm.Start
		err     error
	}{
		{"fresh", 0, 0, 0, raftfsm.StartReplay, nil},
		{"log only", 0, 0, 9, raftfsm.StartReplay, nil},
		{"behind its log", 5, 0, 9, raftfsm.StartReplay, nil},
		{"at its snapshot", 5, 5, 9, raftfsm.StartReplay, nil},
		{"past its snapshot", 7, 5, 9, raftfsm.StartReplay, nil},
		{"log ends in the snapshot", 5, 5, 0, raftfsm.StartReplay, nil},
		{"snapshot received, never restored", 5, 8, 9, raftfsm.StartRestore, nil},
		{"snapshot past the log", 5, 8, 6, raftfsm.StartRestore, nil},
		{"catalog lost", 0, 8, 9, raftfsm.StartRestore, nil},
		{"log lost", 9, 0, 0, "", catalog.ErrConflict},
		{"log replaced", 9, 3, 8, "", catalog.ErrConflict},
		{"snapshot replaced", 9, 8, 0, "", catalog.ErrConflict},
	} {
		if got, err := raftfsm.StartDecision(tt.f, tt.s, tt.l); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: StartDecision(%d, %d, %d) = %q, %v, want %q, %v", tt.name, tt.f, tt.s, tt.l, got, err, tt.want, tt.err)
		}
	}
}

func TestWaitApplied(t *testing.T) {
	w := newCluster(t)
	now := w.fsm.AppliedIndex()
	if err := w.fsm.WaitApplied(context.Background(), now); err != nil {
		t.Errorf("WaitApplied for the present = %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.fsm.WaitApplied(ctx, now+1); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitApplied for the future = %v, want context.Canceled", err)
	}
	done := make(chan error, 1)
	go func() { done <- w.fsm.WaitApplied(context.Background(), now+2) }()
	w.ok(raftfsm.Tick{Millis: 1})
	w.ok(raftfsm.Tick{Millis: 1})
	if err := <-done; err != nil {
		t.Errorf("WaitApplied = %v", err)
	}
}

// TestHashAtInBatches: the recorded hash is that of the entries below the step,
// however many entries share a transaction with the step.
func TestHashAtInBatches(t *testing.T) {
	single, batched := newCluster(t), newCluster(t)
	for range 2500 {
		single.ok(raftfsm.Tick{Millis: 1})
	}
	for rest := single.log[len(batched.log):]; len(rest) > 0; {
		n := min(len(rest), 256)
		batched.fsm.ApplyBatch(rest[:n])
		rest = rest[n:]
	}
	for _, index := range []uint64{1000, 2000} {
		one, err := single.fsm.HashAt(index)
		two, err2 := batched.fsm.HashAt(index)
		if err = errors.Join(err, err2); err != nil || one != two {
			t.Errorf("HashAt(%d) = %s entry by entry, %s in batches, %v, want the same", index, one, two, err)
		}
	}
}

func TestHashAt(t *testing.T) {
	w, other := newCluster(t), newCluster(t)
	for range 2500 {
		w.ok(raftfsm.Tick{Millis: 1})
		other.ok(raftfsm.Tick{Millis: 1})
	}
	one, err := w.fsm.HashAt(2000)
	two, err2 := other.fsm.HashAt(2000)
	if err = errors.Join(err, err2); err != nil || one != two || one.IsZero() {
		t.Errorf("HashAt(2000) = %s and %s, %v, want the same", one, two, err)
	}
	for _, index := range []uint64{0, 500, 3000} {
		if _, err := w.fsm.HashAt(index); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("HashAt(%d) = %v, want ErrNotFound", index, err)
		}
	}
	at, before := w.fsm.Hash()
	w.ok(raftfsm.Tick{Millis: 1})
	other.ok(raftfsm.Tick{Millis: 2})
	at2, after := w.fsm.Hash()
	if _, differs := other.fsm.Hash(); at2 != at+1 || after == before || after == differs {
		t.Errorf("hashes %s at %d, %s at %d, other log %s", before, at, after, at2, differs)
	}
}
