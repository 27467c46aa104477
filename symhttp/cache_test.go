package symhttp_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"sync"
	"testing"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// newCache opens a cache of so many bytes.
func newCache(t *testing.T, bytes int64) *blobstore.Cache {
	t.Helper()
	s, err := blobstore.Open(blobstore.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := blobstore.OpenCache(s, bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c
}

// eventually fails unless ok comes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after 10 s", what)
		}
	}
}

// TestCache: raw bytes go through the cache, later answers come from it, byte for byte
// and header for header as before. Parts fill it as well, once they come to the whole.
func TestCache(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	elf := elfFile(sect{".debug_info", content})
	w.add(t, "foo.pdb", content, pdbKey)
	w.add(t, "small.pdb", noise(1000, 2), exeKey)
	w.add(t, "app.debug", elf, dbgKey)
	p := w.public(t)
	p.Cache = newCache(t, 64<<20)
	addr := start(t, testConfig(), p)

	ask(t, addr, "GET", pdbPath, "Range: bytes=0-9").want(t, 206, content[:10], nil)
	if n := p.Cache.Bytes(); n != 0 {
		t.Errorf("%d bytes in the cache after a part was asked for once, want 0", n)
	}
	first := ask(t, addr, "GET", pdbPath)
	first.want(t, 200, content, map[string]string{"Accept-Ranges": "bytes"})
	eventually(t, "the raw bytes are in the cache", func() bool { return p.Cache.Bytes() == int64(len(content)) })
	for range 3 {
		ask(t, addr, "GET", exePath).want(t, 200, noise(1000, 2), nil)
		a := ask(t, addr, "GET", pdbPath)
		a.want(t, 200, content, map[string]string{"ETag": first.Header.Get("ETag"), "Content-Length": first.Header.Get("Content-Length")})
		ask(t, addr, "GET", pdbPath, "Range: bytes=1048570-2097160").want(t, 206, content[1048570:2097161], nil)
		ask(t, addr, "GET", pdbPath, "Range: bytes=-1").want(t, 206, content[len(content)-1:], nil)
		ask(t, addr, "HEAD", pdbPath).want(t, 200, nil, map[string]string{"Content-Length": first.Header.Get("Content-Length")})
	}
	if n := w.opened(); n != 3 { // for the part, for the whole, for the small one
		t.Errorf("blobs opened %d times, want 3", n)
	}
	both := int64(len(content) + len(elf))
	for range 3 {
		ask(t, addr, "GET", dbgPath, "Range: bytes=5-9").want(t, 206, elf[5:10], nil)
	}
	ask(t, addr, "GET", dbgPath, "Range: bytes=2097152-2097160").want(t, 206, elf[2097152:2097161], nil)
	if n := p.Cache.Bytes() + int64(p.Cache.Pouring()); n != int64(len(content)) {
		t.Errorf("%d bytes in the cache, or on their way, after small parts, want the %d from before", n, len(content))
	}
	ask(t, addr, "GET", dbgPath, "Range: bytes=9-").want(t, 206, elf[9:], nil)
	eventually(t, "a blob whose parts came to all of it is in the cache", func() bool { return p.Cache.Bytes() == both })
	ask(t, addr, "GET", "/buildid/"+buildID+"/section/.debug_info").want(t, 200, content, nil)
}

// TestCacheGzip: the gzip form of what this node holds is kept once it was asked for
// again, and is the same then.
func TestCacheGzip(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	p := w.public(t)
	p.Cache = newCache(t, 64<<20)
	addr := start(t, testConfig(), p)
	var first []byte
	for i := range 4 {
		a := ask(t, addr, "GET", pdbPath, "Accept-Encoding: gzip")
		if first == nil {
			first = a.body
		}
		a.want(t, 200, first, map[string]string{"Content-Encoding": "gzip"})
		want := int64(0)
		if i > 0 {
			want = int64(len(first))
		}
		eventually(t, "the gzip form is in the cache from the second time on", func() bool { return p.Cache.Bytes() == want })
	}
	if got := must(io.ReadAll(must(gzip.NewReader(bytes.NewReader(first))))); !bytes.Equal(got, content) {
		t.Error("the gzip form holds other bytes")
	}
}

// TestCacheForeign: what other nodes hold is fetched once in each form, and checked
// before it is kept.
func TestCacheForeign(t *testing.T) {
	w := newWorld(t)
	w.remote = true
	content := noise(3<<20, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	p := w.public(t)
	p.Cache = newCache(t, 64<<20)
	addr := start(t, testConfig(), p)
	packed := ask(t, addr, "GET", pdbCab).body
	zipped := ask(t, addr, "GET", pdbPath, "Accept-Encoding: gzip").body
	ask(t, addr, "GET", pdbPath).want(t, 200, content, nil)
	all := int64(len(packed) + len(zipped) + len(content))
	eventually(t, "all forms are in the cache", func() bool { return p.Cache.Bytes() == all })
	if got, err := cab.VerifyRaw(t.Context(), bytes.NewReader(packed), int64(len(packed))); err != nil || got.RawSize != 3<<20 {
		t.Errorf("cabinet: %+v, %v", got, err)
	}
	for range 3 {
		ask(t, addr, "GET", pdbCab).want(t, 200, packed, nil)
		ask(t, addr, "GET", pdbPath, "Accept-Encoding: gzip").want(t, 200, zipped, nil)
		ask(t, addr, "GET", pdbPath).want(t, 200, content, nil)
	}
	if n := w.opened(); n > 5 { // once to make each form, and twice to find that it is there
		t.Errorf("blob opened %d times, want at most 5", n)
	}
}

// TestCacheTogether: requests for the same cold blob have it unpacked once and all get
// it, and a blob that turns out damaged is answered whole or not at all.
func TestCacheTogether(t *testing.T) {
	w := newWorld(t)
	content := noise(5<<20, 1)
	c := w.add(t, "foo.pdb", content, pdbKey)
	var mu sync.Mutex
	read := 0
	w.reading = func(int64) {
		mu.Lock()
		defer mu.Unlock()
		read++
	}
	p := w.public(t)
	p.Cache = newCache(t, 64<<20)
	addr := start(t, testConfig(), p)
	var asking sync.WaitGroup
	for range 12 {
		asking.Go(func() { ask(t, addr, "GET", pdbPath).want(t, 200, content, nil) })
	}
	asking.Wait()
	mu.Lock()
	defer mu.Unlock()
	info := w.info(t, c)
	groups := int((info.RawSize + cab.GroupSize - 1) / cab.GroupSize)
	if heads := 4 * w.opened(); read > groups+heads {
		t.Errorf("%d reads for %d groups and %d heads at most: the blob was unpacked more than once", read, groups, heads)
	}
}

// TestCacheLeft: when all clients of a cold blob have gone, the work for them stops, and
// nothing of it is kept.
func TestCacheLeft(t *testing.T) {
	w := newWorld(t)
	content := noise(24<<20, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	var once sync.Once
	stuck, goOn := make(chan struct{}), make(chan struct{})
	w.reading = func(off int64) {
		if off > 1<<20 {
			once.Do(func() { close(stuck) })
			<-goOn
		}
	}
	p := w.public(t)
	p.Cache = newCache(t, 64<<20)
	addr := start(t, testConfig(), p)
	client := dial(t, addr)
	client.send(t, request("GET", pdbPath))
	<-stuck
	if _, err := client.r.ReadByte(); err != nil {
		t.Fatal(err)
	}
	if err := client.Conn.Close(); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	eventually(t, "the pour has ended", func() bool { return p.Cache.Pouring() == 0 })
	if n := p.Cache.Bytes(); n != 0 {
		t.Errorf("%d bytes are kept of a blob that nobody waited for", n)
	}
	ask(t, addr, "GET", pdbPath).want(t, 200, content, nil)
}

// TestCacheTooSmall: what does not fit is answered without it.
func TestCacheTooSmall(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	w.add(t, "foo.pdb", content, pdbKey)
	p := w.public(t)
	p.Cache = newCache(t, 1<<20)
	addr := start(t, testConfig(), p)
	for range 3 {
		ask(t, addr, "GET", pdbPath).want(t, 200, content, nil)
	}
	if n := p.Cache.Bytes(); n != 0 {
		t.Errorf("%d bytes in a cache that the blob does not fit into", n)
	}
}

// TestCacheDamaged: a damaged copy is met while it is poured: no other bytes go out, it
// is reported, and the next copy is the answer.
func TestCacheDamaged(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	c := w.add(t, "foo.pdb", content, pdbKey)
	other := t.TempDir() + "/good"
	pack(t, other, "foo.pdb", content)
	w.set(func() { w.other[c.Digest] = other })
	damage(t, w.path(c.Digest), -20_000)
	p := w.public(t)
	p.Cache = newCache(t, 64<<20)
	addr := start(t, testConfig(), p)
	for range 3 {
		if a, err := attempt(t, addr, "GET", pdbPath); err == nil && !bytes.Equal(a.body, content) {
			t.Fatal("damaged bytes were sent")
		}
	}
	if got := w.suspected(); len(got) == 0 || got[0] != catalog.Digest(c.Digest) {
		t.Errorf("suspects = %v, want the damaged copy", got)
	}
	ask(t, addr, "GET", pdbPath).want(t, 200, content, nil)
}
