package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"symkeep/e2e/rig"
)

// TestFaultPoints kills nodes at every moment at which something is half done. The
// first node that comes to the point dies there; the push goes on with the others
// and is good, and the dead node comes back.
func TestFaultPoints(t *testing.T) {
	t.Parallel()
	sink := &mailSink{ids: map[string]int{}}
	f := newFleet(t, rig.Config{Hosts: 3, Flags: []string{"--mail-to", "dev@example.org", "--mail-from", "symkeep@example.org"}},
		func(r *rig.Rig) error { return sink.listen(t, r) })
	for _, point := range []string{
		"blob-synced", "blob-renamed", "blob-indexed", "pull-half", "upload-after-replicate",
		"commit-before-propose", "fsm-before-apply", "fsm-after-apply", "commit-after-propose",
		"claim-taken", "verdict-before-propose", "verdict-after-propose", "mail-sent",
	} {
		f.step("kill/"+point, func() { f.killAt(point) })
	}
	eventually(t, 30*time.Second, "every verdict is mailed", func() error {
		if got := sink.count(); got != f.made {
			return fmt.Errorf("%d mails of distinct Message-ID about %d packages", got, f.made)
		}
		return nil
	})
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
	for _, h := range f.Hosts() { // several may have come to it at once
		if !h.Running() {
			f.must(h.Start())
		}
	}
	r := p.wait(f.t, time.Minute)
	if r.code != 0 {
		f.t.Fatalf("push: exit status %d, want 0: the client is to get over the death of a node\n%s", r.code, tail([]byte(r.stderr), 2000))
	}
	f.keep(good(f.t, r))
	f.served(f.Hosts()...)
}
