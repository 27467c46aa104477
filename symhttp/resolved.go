package symhttp

import (
	"strings"
	"sync"

	"github.com/valyala/fasthttp"

	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

const (
	resolvedMost = 8192 // paths; then all are forgotten
	resolvedPath = 512  // bytes of the longest
)

// A resolution is what a path came to in one state of the catalog.
type resolution struct {
	version   uint64
	route     string
	lookup    symid.Lookup
	candidate catalog.Candidate
	missing   bool
}

// resolved remembers what paths came to. That is true for as long as the catalog does
// not change, so it saves the parsing and the look, and needs no other care.
type resolved struct {
	mu    sync.RWMutex
	paths map[string]*resolution
}

func newResolved() *resolved { return &resolved{paths: map[string]*resolution{}} }

// get returns what a path came to in that state, or nil.
func (r *resolved) get(path []byte, version uint64) *resolution {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s := r.paths[string(path)]; s != nil && s.version == version {
		return s
	}
	return nil
}

// put remembers a resolution, which nobody changes any more.
func (r *resolved) put(path string, s *resolution) {
	if len(path) > resolvedPath {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.paths) >= resolvedMost {
		clear(r.paths)
	}
	r.paths[path] = s
}

// holds reports whether what a path came to in a state of the catalog is still so.
func (d *debuggers) holds(version uint64, missing bool) bool {
	if missing {
		return d.locator.StillMissing(version)
	}
	return version == d.locator.Version()
}

// known returns what the path of a request came to in the present state, or nil.
func (d *debuggers) known(rc *fasthttp.RequestCtx) *resolution {
	uri := rc.Request.Header.RequestURI()
	if len(uri) == 0 || uri[0] != '/' {
		return nil
	}
	s := d.resolved.get(uri, d.locator.Version())
	if s == nil || !d.holds(s.version, s.missing) {
		return nil
	}
	return s
}

// resolve is known for a path that has not been asked for in the present state.
func (d *debuggers) resolve(rc *fasthttp.RequestCtx) *resolution {
	path := rawPath(rc)
	if strings.HasPrefix(path, "/api/") {
		return nil // not for debuggers
	}
	l, err := symid.ParseLookup(path)
	if err != nil {
		return nil
	}
	return d.look(rc, routeOf(l, nil), l)
}

// look finds the file of a lookup, or the miss, without waiting for anybody. It is nil if
// somebody else may know better, or a section has to be cut out of the file.
func (d *debuggers) look(rc *fasthttp.RequestCtx, route string, l symid.Lookup) *resolution {
	if l.Section != "" {
		return nil
	}
	version := d.locator.Version() // before the look: a later state is none it was made in
	c, err := d.locator.LocateNow(l.Keys)
	if err != nil && err != catalog.ErrNotFound {
		return nil
	}
	s := &resolution{version, route, l, c, err != nil}
	d.resolved.put(string(rc.Request.Header.RequestURI()), s)
	return s
}

// fromMemory answers with a miss, or with what is on the shelf.
func (d *debuggers) fromMemory(rc *fasthttp.RequestCtx, s *resolution) (result string, ok bool) {
	if s.missing {
		miss(rc)
		swift(rc)
		return "miss", true
	}
	a := d.store.shelf.get(wanted(rc, s.lookup, s.candidate))
	if a == nil {
		return "", false
	}
	result, err := d.respond(d.base, rc, s.lookup, a.representation(s.candidate))
	if err != nil {
		d.store.shelf.drop(s.candidate.Digest)
		return "", false
	}
	if a.forLoop() {
		swift(rc)
	}
	return result, true
}

// swift notes on the connection that a loop would have answered as well.
func swift(rc *fasthttp.RequestCtx) {
	if c, ok := rc.Conn().(*patientConn); ok {
		c.swift = simple(&rc.Request.Header)
	}
}
