package symhttp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"symkeep/internal/catalog"
)

// rawCache keeps raw files in a directory and tells of each that comes in.
type rawCache struct {
	dir    string
	filled chan catalog.Digest

	mu   sync.Mutex
	hits int
}

func (c *rawCache) Get(d catalog.Digest) (*os.File, bool) {
	f, err := os.Open(filepath.Join(c.dir, d.String()))
	if err != nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits++
	return f, true
}

func (c *rawCache) Fill(d catalog.Digest, size int64, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	if int64(b.Len()) != size {
		return fmt.Errorf("%d bytes, wanted %d", b.Len(), size)
	}
	path := filepath.Join(c.dir, d.String())
	err := errors.Join(os.WriteFile(path+".tmp", b.Bytes(), 0o600), os.Rename(path+".tmp", path))
	c.filled <- d
	return err
}

// TestCache: the second request for raw bytes fills the cache, later ones are
// answered from it, byte for byte and header for header as before.
func TestCache(t *testing.T) {
	w := newWorld(t)
	content := noise(3<<20, 1)
	elf := elfFile(sect{".debug_info", content})
	pdb := w.add(t, "foo.pdb", content, pdbKey)
	w.add(t, "small.pdb", noise(1000, 2), exeKey)
	w.add(t, "app.debug", elf, dbgKey)
	cache := &rawCache{dir: t.TempDir(), filled: make(chan catalog.Digest, 8)}
	p := w.public(t)
	p.Cache = cache
	addr := start(t, testConfig(), p)

	first := ask(t, addr, "GET", pdbPath)
	first.want(t, 200, content, nil)
	ask(t, addr, "GET", pdbPath, "Range: bytes=0-9").want(t, 206, content[:10], nil)
	if d := <-cache.filled; d != pdb.Digest {
		t.Fatalf("filled %s, want %s", d, pdb.Digest)
	}
	for range 3 {
		ask(t, addr, "GET", exePath).want(t, 200, noise(1000, 2), nil)
		a := ask(t, addr, "GET", pdbPath)
		a.want(t, 200, content, map[string]string{"ETag": first.Header.Get("ETag"), "Content-Length": first.Header.Get("Content-Length")})
		ask(t, addr, "GET", pdbPath, "Range: bytes=1048570-2097160").want(t, 206, content[1048570:2097161], nil)
		ask(t, addr, "GET", pdbPath, "Range: bytes=-1").want(t, 206, content[len(content)-1:], nil)
		ask(t, addr, "HEAD", pdbPath).want(t, 200, nil, map[string]string{"Content-Length": first.Header.Get("Content-Length")})
	}
	ask(t, addr, "GET", dbgPath).want(t, 200, elf, nil)
	ask(t, addr, "GET", dbgPath).want(t, 200, elf, nil)
	<-cache.filled
	ask(t, addr, "GET", "/buildid/"+buildID+"/section/.debug_info").want(t, 200, content, nil)
	cache.mu.Lock()
	defer cache.mu.Unlock()
	if cache.hits != 2 { // what is on the shelf is not asked for again
		t.Errorf("%d files taken from the cache, want that of the PDB and that of the section", cache.hits)
	}
}
