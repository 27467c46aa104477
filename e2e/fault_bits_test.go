package e2e

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"symkeep/e2e/rig"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// faultBits flips bits of what nodes keep. A node finds that out or is not
// harmed; nobody is served a wrong byte, and the others go on.
func faultBits(t *testing.T) {
	f := newFleet(t, rig.Config{Hosts: 3}, func(r *rig.Rig) error {
		for _, h := range r.Hosts() {
			if err := short(h); err != nil {
				return err
			}
		}
		return nil
	})
	for range 4 {
		f.push(f.Hosts()...)
	}
	f.step("blob", f.flippedBlob)
	f.step("snapshot", f.flippedSnapshot)
	for _, what := range []struct {
		name  string
		flip  func(*rig.Host) (rig.Damage, error)
		judge func(*rig.Host)
	}{
		{"raft log", (*rig.Host).FlipRaft, func(h *rig.Host) { f.neverWrong(h) }},
		{"catalog", (*rig.Host).FlipFSM, f.rightOrOut},
	} {
		for i := range 2 {
			f.step(fmt.Sprintf("%s/%d", what.name, i), func() { f.flippedStore(what.flip, what.judge) })
		}
	}
}

// flippedBlob is found when the blob is read, and mended from another copy.
func (f *fleet) flippedBlob() {
	victim := f.follower()
	d, err := victim.FlipBlob()
	f.must(err)
	f.t.Log(d)
	f.served(victim) // from others, and it is noticed
	f.alarm(f.leads(), victim, 30*time.Second, catalog.AlarmBitRot)
	eventually(f.t, 30*time.Second, "the copy is made anew", func() error {
		if _, err := os.Stat(d.Path); err != nil {
			return err
		}
		return nil
	})
	f.served(victim)
}

// flippedSnapshot is read by nobody while the catalog is whole.
func (f *fleet) flippedSnapshot() {
	victim := f.follower()
	eventually(f.t, 20*time.Second, "a snapshot", func() error {
		f.push(f.Hosts()...)
		found, err := os.ReadDir(within(victim, "raft", "snapshots"))
		if err == nil && len(found) == 0 {
			err = os.ErrNotExist
		}
		return err
	})
	f.must(victim.Kill())
	d, err := victim.FlipSnapshot()
	f.must(err)
	f.t.Log(d)
	f.comesBack(victim, func(h *rig.Host) { f.neverWrong(h) })
}

// flippedStore is a database of a node that is not what it was.
func (f *fleet) flippedStore(flip func(*rig.Host) (rig.Damage, error), judge func(*rig.Host)) {
	victim := f.follower()
	f.must(victim.Kill())
	d, err := flip(victim)
	f.must(err)
	f.t.Log(d)
	f.comesBack(victim, judge)
}

// comesBack starts a damaged node. It serves what is right, or says what is wrong
// and ends; then it is emptied and joins again, as its operator is told to.
func (f *fleet) comesBack(victim *rig.Host, judge func(*rig.Host)) {
	from := mark(victim)
	f.push(f.Others(victim)...)
	if err := victim.Start(); err != nil {
		text, _ := victim.Log(from)
		f.t.Logf("%s refuses to start: %s", victim.Name, tail([]byte(text), 500))
		if len(text) == 0 {
			f.t.Errorf("%s ended without a word", victim.Name)
		}
		f.anew(victim)
		return
	}
	f.push(f.Others(victim)...)
	judge(victim)
	if !victim.Running() {
		text, _ := victim.Log(from)
		f.t.Logf("%s ended: %s", victim.Name, tail([]byte(text), 500))
	}
	f.anew(victim)
}

// neverWrong fails the test if a host answers a key with bytes that are not those
// that were pushed. No answer is none; it returns how many there were.
func (f *fleet) neverWrong(h *rig.Host) (missing int) {
	f.t.Helper()
	for path, want := range f.keys {
		resp, err := once(f.onHost(h), path)
		if err != nil {
			missing++
			continue
		}
		switch got := hashOf(f.t, resp.Body); {
		case resp.StatusCode != http.StatusOK:
			missing++
		case got != want:
			f.t.Errorf("%s: GET %s: bytes hash to %s, want %s", h.Name, path, got, want)
		}
		resp.Body.Close()
	}
	if missing > 0 {
		f.t.Logf("%s, damaged, does not serve %d of %d keys", h.Name, missing, len(f.keys))
	}
	return missing
}

// rightOrOut fails the test if a host whose catalog is damaged goes on without a key
// for longer than it takes the members to compare their catalogs.
func (f *fleet) rightOrOut(h *rig.Host) {
	f.t.Helper()
	begun := time.Now()
	missing := 0
	eventually(f.t, 30*time.Second, h.Name+" serves every key, or ends", func() error {
		if missing = f.neverWrong(h); missing == 0 || !h.Running() {
			return nil
		}
		return fmt.Errorf("%d keys not served", missing)
	})
	f.t.Logf("%s with a damaged catalog: runs %t, %d keys missing, after %v", h.Name, h.Running(), missing, since(begun))
}

// anew empties a damaged node, lets it join again, and clears what stands about it.
func (f *fleet) anew(victim *rig.Host) {
	f.must(victim.Kill())
	f.must(victim.Wipe())
	f.must(victim.Start())
	client, err := f.leads().Client()
	f.must(err)
	defer client.Close()
	f.must(client.ClearAlarms(f.t.Context(), api.AlarmRequest{}))
	f.settle(60 * time.Second)
}
