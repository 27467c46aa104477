package symhttp_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"symkeep/internal/catalog"
	"symkeep/symhttp"
)

// A filed is a server with an answer of 300 KiB, the cabinet of a file, that a loop sends
// from the disk, and a small file.
type filed struct {
	w       *world
	s       *symhttp.Server
	addr    string
	stop    func() error
	c       catalog.Candidate
	content []byte
	cabinet answer
}

func newFiled(t *testing.T, cfg symhttp.Config, ln net.Listener) *filed {
	t.Helper()
	f := &filed{w: newWorld(t), content: noise(300<<10, 1)}
	f.c = f.w.add(t, "foo.pdb", f.content, pdbKey)
	f.w.add(t, "app.debug", elfFile(sect{".debug_info", noise(1000, 2)}), dbgKey)
	p := f.w.public(t)
	p.Cache = newCache(t, 64<<20)
	var err error
	if f.s, err = symhttp.NewPublic(cfg, p); err != nil {
		t.Fatal(err)
	}
	f.addr, f.stop = run(t, f.s, ln)
	for range 3 { // it is checked, then sent from its file
		f.cabinet = ask(t, f.addr, "GET", pdbCab)
	}
	f.s.Spare(4)
	return f
}

// handles returns how many descriptors of the packed file are open.
func (f *filed) handles(t *testing.T) (n int) {
	t.Helper()
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(list) == 0 {
		t.Fatalf("descriptors: %v, %v", list, err)
	}
	for _, fd := range list {
		if path, err := os.Readlink(fd); err == nil && path == f.w.path(f.c.Digest) {
			n++
		}
	}
	return n
}

// allBack wants as many descriptors of the packed file as there were.
func (f *filed) allBack(t *testing.T, before int) {
	t.Helper()
	eventually(t, "the handles of the file are back", func() bool { return f.handles(t) <= before })
}

// enter has a connection asked for something small until it is in a loop.
func (f *filed) enter(t *testing.T, c *conn, number int) *conn {
	t.Helper()
	for range symhttp.LoopAfter + 1 {
		f.get(t, c, dbgPath, nil)
	}
	eventually(t, "the connection is in a loop", func() bool { return f.s.Looped() == number })
	return c
}

// get asks and wants that body, if it is not nil.
func (f *filed) get(t *testing.T, c *conn, path string, body []byte) answer {
	t.Helper()
	c.send(t, request("GET", path))
	a, err := c.receive("GET")
	if err != nil || a.StatusCode != 200 || body != nil && !bytes.Equal(a.body, body) {
		t.Fatalf("%s: %v, %d bytes, %v; want %d bytes", path, a.Response, len(a.body), err, len(body))
	}
	return a
}

// slow returns a connection in a loop that has asked for the cabinet, has no room for it and
// reads nothing.
func slow(t *testing.T, cfg symhttp.Config) (*filed, *conn) {
	t.Helper()
	ln, dial := narrow(t)
	f := newFiled(t, cfg, ln)
	c := f.enter(t, dial(f.addr), 1)
	c.send(t, request("GET", pdbCab))
	eventually(t, "the answer is not for a loop any more", func() bool { return f.s.Looped() == 0 })
	return f, c
}

// TestLoopFile: a connection goes to a loop by files alone, is answered there to the byte as
// by fasthttp, and stays.
func TestLoopFile(t *testing.T) {
	f := newFiled(t, testConfig(), listen(t))
	c := dial(t, f.addr)
	eventually(t, "the connection is in a loop", func() bool {
		f.get(t, c, pdbCab, f.cabinet.body)
		return f.s.Looped() == 1
	})
	for _, tt := range []struct{ name, text string }{
		{"cabinet", request("GET", pdbCab)},
		{"raw, from the cache", request("GET", pdbPath)},
		{"gzip", request("GET", pdbPath, "Accept-Encoding: gzip")},
	} {
		size := 0
		eventually(t, tt.name+" is ready", func() bool {
			other := dial(t, f.addr)
			other.send(t, tt.text)
			a, err := other.receive("GET")
			if err != nil || a.StatusCode != 200 {
				t.Fatalf("%s: %v, %v", tt.name, a.Response, err)
			}
			size = len(a.body)
			f.s.Spare(1) // that of the last answer may be on its way back still
			_, used := f.s.LoopAnswer([]byte(tt.text))
			return used > 0
		})
		want := dial(t, f.addr).raw(t, tt.text, size)
		for i := range 3 {
			if got := c.raw(t, tt.text, size); got != want {
				t.Errorf("%s, time %d: %q, want %q", tt.name, i, clip([]byte(got)), clip([]byte(want)))
			}
			if f.s.Looped() != 1 {
				t.Fatalf("%s, time %d: the connection has left its loop", tt.name, i)
			}
		}
	}
}

// TestLoopFilesWait: who asks for less does not wait for those who asked for files before;
// they get theirs one at a time, and then what they asked for behind it.
func TestLoopFilesWait(t *testing.T) {
	f := newFiled(t, testConfig(), listen(t))
	const files = 6
	var conns []*conn
	for i := range files + 1 {
		conns = append(conns, f.enter(t, dial(t, f.addr), i+1))
	}
	last := conns[files]
	f.s.HoldLoops(func(loops symhttp.Held) {
		for _, c := range conns[:files] {
			c.send(t, request("GET", pdbCab)+request("GET", dbgPath))
		}
		last.send(t, request("GET", exePath))
		eventually(t, "all files are queued", func() bool { return loops.Visit() == files })
		if a, err := last.receive("GET"); err != nil || a.StatusCode != 404 {
			t.Errorf("while files are queued: %v, %v; want 404", a.Response, err)
		}
		conns[0].Close() // it goes while it waits
		if left := loops.Turn(); left < files-len(loops) || left >= files {
			t.Errorf("%d of %d files are queued after a turn of %d loops, want one less each", left, files, len(loops))
		}
	})
	for _, c := range conns[1:files] {
		for _, body := range [][]byte{f.cabinet.body, nil} {
			a, err := c.receive("GET")
			if err != nil || a.StatusCode != 200 || body != nil && !bytes.Equal(a.body, body) {
				t.Errorf("%v, %d bytes, %v; want 200 and %d", a.Response, len(a.body), err, len(body))
			}
		}
	}
	eventually(t, "the closed one is forgotten", func() bool { return f.s.Looped() <= files })
}

// TestLoopFilesInStop: a stop answers those whose turn has not come, whatever else they send
// while they wait.
func TestLoopFilesInStop(t *testing.T) {
	f := newFiled(t, testConfig(), listen(t))
	var conns []*conn
	for i := range 3 {
		conns = append(conns, f.enter(t, dial(t, f.addr), i+1))
	}
	f.s.HoldLoops(func(loops symhttp.Held) {
		for _, c := range conns {
			c.send(t, request("GET", pdbCab))
		}
		eventually(t, "all files are queued", func() bool { return loops.Visit() == len(conns) })
		conns[0].Close()
		conns[1].send(t, request("GET", exePath))
		time.Sleep(50 * time.Millisecond) // until the kernel has both
		loops.Close()
	})
	for _, c := range conns[1:] {
		if a, err := c.receive("GET"); err != nil || !bytes.Equal(a.body, f.cabinet.body) {
			t.Errorf("%d bytes, %v; want %d", len(a.body), err, len(f.cabinet.body))
		}
	}
	if err := f.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestLoopFileSlowReader: a connection without room for a file gets it all the same, is in a
// loop again and gets the next one without that.
func TestLoopFileSlowReader(t *testing.T) {
	f, c := slow(t, testConfig())
	time.Sleep(100 * time.Millisecond)
	if a, err := c.receive("GET"); err != nil || !bytes.Equal(a.body, f.cabinet.body) {
		t.Fatalf("%d bytes, %v", len(a.body), err)
	}
	eventually(t, "it is in a loop", func() bool { return f.s.Looped() == 1 })
	f.get(t, c, dbgPath, nil)
	if f.s.Looped() != 1 {
		t.Error("it has left its loop for something small")
	}
	for range 2 * symhttp.LoopAfter {
		f.get(t, c, pdbCab, f.cabinet.body)
		if f.s.Looped() != 0 {
			t.Fatal("it is in a loop that has no room for what it asks for")
		}
	}
}

// TestLoopFileEndOfDrain: a stop that waits no longer for a file that is being read.
func TestLoopFileEndOfDrain(t *testing.T) {
	cfg := testConfig()
	cfg.DrainTimeout = 100 * time.Millisecond
	f, c := slow(t, cfg)
	if err := f.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	wantCut(t, c, f.cabinet.body)
}

// TestLoopFileGoneReader: a client that reads nothing for too long is cut off.
func TestLoopFileGoneReader(t *testing.T) {
	cfg := testConfig()
	cfg.WriteTimeout = 500 * time.Millisecond
	cfg.MinRate = 1 << 20
	f, c := slow(t, cfg)
	time.Sleep(4 * cfg.WriteTimeout)
	wantCut(t, c, f.cabinet.body)
	f.allBack(t, 5)
}

// TestLoopFileCut: a file that ends while it is sent.
func TestLoopFileCut(t *testing.T) {
	f, c := slow(t, testConfig())
	if err := os.Truncate(f.w.path(f.c.Digest), 1000); err != nil {
		t.Fatal(err)
	}
	wantCut(t, c, f.cabinet.body)
}

// TestLoopFileChanged: a loop sends nothing of a file that is not the one that was checked.
func TestLoopFileChanged(t *testing.T) {
	f := newFiled(t, testConfig(), listen(t))
	c := f.enter(t, dial(t, f.addr), 1)
	f.get(t, c, pdbCab, f.cabinet.body)
	if f.s.Looped() != 1 {
		t.Fatal("the connection has left its loop")
	}
	other := t.TempDir() + "/good"
	pack(t, other, "foo.pdb", f.content)
	f.w.set(func() { f.w.other[f.c.Digest] = other })
	damage(t, f.w.path(f.c.Digest), -20_000)
	for range 2 {
		f.get(t, c, pdbCab, f.cabinet.body)
	}
	if got := f.w.suspected(); len(got) == 0 || got[0] != f.c.Digest {
		t.Errorf("suspects = %v, want the damaged copy", got)
	}
}

// TestLoopFileNoDescriptor: where too many files are open a client that was sent a part is
// reset.
func TestLoopFileNoDescriptor(t *testing.T) {
	ln, dial := narrow(t)
	f := newFiled(t, testConfig(), ln)
	before := f.handles(t)
	c := f.enter(t, dial(f.addr), 1)
	restore := noDescriptors(t)
	c.send(t, request("GET", pdbCab))
	wantCut(t, c, f.cabinet.body)
	restore()
	if after := f.handles(t); before == 0 || after != before {
		t.Errorf("%d handles of the file are open, were %d", after, before)
	}
}
