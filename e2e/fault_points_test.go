package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/e2e/rig"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// faultPoints kills nodes at every moment at which something is half done. The
// first node that comes to the point dies there; the push goes on with the others
// and is good, and the dead node comes back. In some of these moments a node stops
// instead, and goes on later.
func faultPoints(t *testing.T) {
	sink := &mailSink{ids: map[string]int{}}
	f := newFleet(t, rig.Config{Hosts: 3, Flags: []string{"--mail-to", "dev@example.org", "--mail-from", "symkeep@example.org"}},
		func(r *rig.Rig) error { return sink.listen(t, r) })
	for _, point := range []string{
		"upload-before-replicate", "blob-synced", "blob-renamed", "blob-indexed", "pull-half", "upload-after-replicate",
		"commit-before-propose", "fsm-before-apply", "fsm-after-apply", "commit-after-propose",
		"claim-taken", "verdict-before-propose", "verdict-after-propose", "mail-sent",
	} {
		f.step("kill/"+point, func() { f.killAt(point) })
	}
	for _, point := range []string{"upload-before-replicate", "commit-before-propose", "commit-after-propose"} {
		f.step("stop/"+point, func() { f.stopAt(point) })
	}
	f.step("kill/vote-given", func() { f.killJoining("vote-given") })
	f.step("kill/member-added", func() { f.killJoining("member-added") })
	f.step("kill/snapshot-persisted", f.killSnapshot)
	f.step("kill/restore-received", f.killRestore)
	eventually(t, 30*time.Second, "every verdict is mailed", func() error {
		if got := sink.count(); got != f.made {
			return fmt.Errorf("%d mails of distinct Message-ID about %d packages", got, f.made)
		}
		return nil
	})
}

// killJoining makes the leader die in the middle of taking a member in.
func (f *fleet) killJoining(point string) {
	joiner := f.follower()
	f.must(joiner.Kill())
	id, err := joiner.ID(f.t.Context())
	f.must(err)
	client, err := f.leads().Client()
	f.must(err)
	defer client.Close()
	f.must(client.ClusterRemove(f.t.Context(), api.NodeRequest{Node: string(id), Force: true}))
	f.must(joiner.Wipe())
	for _, h := range f.Others(joiner) {
		f.must(h.ArmKill(point))
	}
	f.must(joiner.Launch())
	f.dies(point)
}

// dies waits until some node has died at a point, and starts it again.
func (f *fleet) dies(point string) {
	f.t.Helper()
	var dead *rig.Host
	eventually(f.t, 30*time.Second, "a node dies at "+point, func() error {
		for _, h := range f.Hosts() {
			if !h.Running() {
				dead = h
				return nil
			}
		}
		return fmt.Errorf("all live")
	})
	for _, h := range f.Hosts() {
		f.must(h.Disarm())
	}
	f.must(dead.Start())
}

// short makes a node keep a short log, with a snapshot in front of it, from its
// next start on.
func short(h *rig.Host) error {
	for name, v := range map[string]uint64{"snapshot-threshold": 20, "snapshot-interval-ms": 1000, "trailing-logs": 5} {
		if err := h.SetNumber(name, v); err != nil {
			return err
		}
	}
	return nil
}

// killSnapshot makes a node die between a snapshot and the cut of its log.
func (f *fleet) killSnapshot() {
	victim := f.follower()
	f.must(short(victim))
	f.must(victim.Restart())
	f.must(victim.ArmKill("snapshot-persisted"))
	f.push(f.Hosts()...)
	f.dies("snapshot-persisted")
}

// killRestore makes a node die between a snapshot it was sent and its catalog.
func (f *fleet) killRestore() {
	victim := f.follower()
	for _, h := range f.Others(victim) {
		f.must(short(h))
		f.must(h.Restart())
		f.settle(60 * time.Second)
	}
	f.must(victim.Kill())
	f.must(victim.Wipe())
	for range 3 {
		f.push(f.Others(victim)...)
	}
	eventually(f.t, 20*time.Second, "the others have snapshots", func() error {
		for _, h := range f.Others(victim) {
			if found, err := os.ReadDir(within(h, "raft", "snapshots")); err != nil || len(found) == 0 {
				return fmt.Errorf("%s: no snapshot: %v", h.Name, err)
			}
		}
		return nil
	})
	f.must(victim.ArmKill("restore-received"))
	f.must(victim.Launch())
	f.dies("restore-received")
}

// A mailSink takes every mail (RFC 5321) and counts each Message-ID.
type mailSink struct {
	mu  sync.Mutex
	ids map[string]int
}

// listen takes mail where the hosts reach it, and tells their nodes where.
func (m *mailSink) listen(t *testing.T, r *rig.Rig) error {
	ln, err := net.Listen("tcp", r.Outside()+":0")
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(t.Context(), func() { c.Close() })
			wg.Go(func() {
				defer stop()
				m.serve(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	for _, h := range r.Hosts() {
		h.SetFlags("--smtp-url", "smtp://"+ln.Addr().String())
	}
	return nil
}

func (m *mailSink) serve(c net.Conn) {
	defer c.Close()
	text := textproto.NewConn(c)
	_ = text.PrintfLine("220 sink")
	for {
		l, err := text.ReadLine()
		if err != nil {
			return
		}
		switch strings.ToUpper(l[:min(4, len(l))]) {
		case "DATA":
			_ = text.PrintfLine("354 go on")
			msg, err := mail.ReadMessage(text.DotReader())
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, msg.Body)
			m.mu.Lock()
			m.ids[msg.Header.Get("Message-ID")]++
			m.mu.Unlock()
			_ = text.PrintfLine("250 taken")
		case "QUIT":
			_ = text.PrintfLine("221 bye")
			return
		default:
			_ = text.PrintfLine("250 ok")
		}
	}
}

func (m *mailSink) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.ids)
}

// killAt makes the first node that comes to a point during a push die there.
func (f *fleet) killAt(point string) {
	for _, h := range f.Hosts() {
		f.must(h.ArmKill(point))
	}
	product, dir := f.files()
	p := startPush(f.t, rig.URLs(f.Hosts()...), product, dir)
	var dead []*rig.Host
	eventually(f.t, 20*time.Second, "a node dies at "+point, func() error {
		for _, h := range f.Hosts() {
			if !h.Running() {
				dead = append(dead, h)
			}
		}
		if len(dead) == 0 {
			return fmt.Errorf("all live")
		}
		return nil
	})
	for _, h := range f.Hosts() {
		f.must(h.Disarm())
	}
	// Several may have come to it at once, one of them after this look.
	for ended := false; !ended; {
		select {
		case <-p.ended:
			ended = true
		case <-time.After(50 * time.Millisecond):
		}
		for _, h := range f.Hosts() {
			if !h.Running() {
				f.must(h.Start())
			}
		}
	}
	r := p.wait(f.t, time.Minute)
	if r.code != 0 {
		f.t.Fatalf("push: exit status %d, want 0: the client is to get over the death of a node\n%s", r.code, tail([]byte(r.stderr), 2000))
	}
	f.keep(good(f.t, r))
	f.served(f.Hosts()...)
}

// stopAt makes the server of a push stand still at a point. Its connections stay
// open; the push goes on at the other server all the same. Then the node goes on
// with what it had begun, and nothing comes of that a second time.
func (f *fleet) stopAt(point string) {
	leader := f.leads()
	servers := []*rig.Host{leader, f.Others(leader)[0]}
	for _, h := range servers {
		f.must(h.ArmStop(point))
	}
	product, dir := f.files()
	begun := time.Now()
	p := startPush(f.t, rig.URLs(servers...), product, dir)
	var stopped *rig.Host
	eventually(f.t, 20*time.Second, "a node stops at "+point, func() error {
		for _, h := range servers {
			if !h.Armed(point) {
				stopped = h
				return nil
			}
		}
		return fmt.Errorf("none came to it")
	})
	for _, h := range servers {
		f.must(h.Disarm())
	}
	r := p.wait(f.t, time.Minute)
	took := since(begun)
	f.t.Logf("%s stopped, which led: %v; the push ended after %v", stopped.Name, stopped == leader, took)
	if r.code != 0 {
		f.t.Fatalf("push: exit status %d, want 0: there is another server\n%s", r.code, tail([]byte(r.stderr), 2000))
	}
	if took > 30*time.Second {
		f.t.Errorf("a push whose server stopped at %s took %v, want at most 30 s\n%s", point, took, tail([]byte(r.stdout), 3000))
	}
	f.keep(good(f.t, r))
	f.must(stopped.Resume())
	f.settle(30 * time.Second)
	for _, h := range f.Hosts() {
		f.single(h, product)
	}
}

// single fails the test unless a host knows of exactly one package of a product, and
// sees soon that this is good.
func (f *fleet) single(h *rig.Host, product string) {
	f.t.Helper()
	client, err := h.Client()
	f.must(err)
	defer client.Close()
	eventually(f.t, 20*time.Second, fmt.Sprintf("%s has one good package of %s", h.Name, product), func() error {
		page, err := client.Packages(f.t.Context(), api.PackagesQuery{Product: product})
		if err == nil && len(page.Packages) > 1 {
			err = fatalError{fmt.Errorf("%d packages: %+v", len(page.Packages), page.Packages)}
		}
		if err == nil && (len(page.Packages) == 0 || page.Packages[0].State != catalog.StateGood) {
			err = fmt.Errorf("packages %+v", page.Packages)
		}
		return err
	})
}
