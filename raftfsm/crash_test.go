package raftfsm_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"symkeep/raftfsm"
)

const crashEnv = "RAFTFSM_TEST_CRASH"

// history is a fixed log that goes through most commands.
func history(t testing.TB) (*world, []*raft.Log) {
	w := filled(t)
	for n := 10; n < 60; n++ {
		w.good(n, n, 3, key("big.pdb", uint32(n)))
		if n%3 == 0 {
			w.ok(raftfsm.DeletePackage{Package: pkg(n), By: "eve", At: at})
		}
	}
	return w, w.log
}

// TestCrash kills a process that applies a log, opens what it left, and replays
// the log over it from the start, as raft would.
func TestCrash(t *testing.T) {
	if path := os.Getenv(crashEnv); path != "" {
		crashChild(t, path)
		return
	}
	w, log := history(t)
	want := fingerprint(w.fsm)
	for _, after := range []int{1, 7, 40, 90} {
		path := filepath.Join(t.TempDir(), "fsm.db")
		seen := killAfter(t, path, after)
		f, err := raftfsm.Open(path)
		if err != nil {
			t.Fatalf("Open after a crash = %v", err)
		}
		if got := f.AppliedIndex(); got < seen {
			t.Errorf("applied index after a crash = %d, the process said %d", got, seen)
		}
		for _, broken := range raftfsm.CheckInvariants(f) {
			t.Error(broken)
		}
		raftfsm.NoSync(f)
		f.ApplyBatch(log)
		if got := fingerprint(f); got != want {
			t.Errorf("replayed after a crash at %d = %s, want %s", seen, got, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// killAfter starts a child that applies the history, kills it once it reported
// that many batches, and returns the last index it reported.
func killAfter(t *testing.T, path string, batches int) uint64 {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run", "^TestCrash$")
	child.Env = append(os.Environ(), crashEnv+"="+path, "TMPDIR="+t.TempDir()) // a killed process leaves its own behind
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	seen := uint64(0)
	for lines := bufio.NewScanner(out); batches > 0 && lines.Scan(); {
		n, ok := strings.CutPrefix(lines.Text(), "applied ")
		if !ok {
			continue
		}
		if seen, err = strconv.ParseUint(n, 10, 64); err != nil {
			t.Fatal(err)
		}
		batches--
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended before it was killed")
	}
	return seen
}

// crashChild applies the history in small synced batches until it is killed.
func crashChild(t *testing.T, path string) {
	_, log := history(t)
	f, err := raftfsm.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(log) > 3 {
		f.ApplyBatch(log[:3])
		fmt.Println("applied", log[2].Index)
		log = log[3:]
	}
	select {} // until killed
}

// TestUndecodableStops panics on an entry of a newer build and keeps what was
// there before it.
func TestUndecodableStops(t *testing.T) {
	for name, data := range map[string][]byte{
		"unknown kind":  {200, 1, '{', '}'},
		"unknown field": []byte("\x08\x01{\"millis\":1,\"new\":1}"),
		"empty":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := filled(t)
			before, index := fingerprint(w.fsm), uint64(len(w.log))
			tick := w.entry(raftfsm.Tick{Millis: 5})
			func() {
				defer func() {
					if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), fmt.Sprint("log index ", index+2)) {
						t.Errorf("ApplyBatch panicked with %v, want the log index %d", r, index+2)
					}
				}()
				w.fsm.ApplyBatch([]*raft.Log{tick, {Index: index + 2, Term: 1, Type: raft.LogCommand, Data: data}})
			}()
			if got := fingerprint(w.fsm); got != before {
				t.Errorf("after the panic = %s, want %s", got, before)
			}
		})
	}
}

// TestAppliedTwice replays entries the catalog has: they are skipped.
func TestAppliedTwice(t *testing.T) {
	w := filled(t)
	want := fingerprint(w.fsm)
	for _, r := range w.fsm.ApplyBatch(w.log) {
		if r.(raftfsm.Result).AsError() == nil {
			t.Errorf("applied again: %+v, want a result that says so", r)
		}
	}
	if got := fingerprint(w.fsm); got != want {
		t.Errorf("after a replay = %s, want %s", got, want)
	}
}
