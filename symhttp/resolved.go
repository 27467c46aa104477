package symhttp

import (
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

// again answers a path that was resolved in the present state: a miss that is one still,
// or a hit whose answer is on the shelf.
func (d *debuggers) again(rc *fasthttp.RequestCtx) (s *resolution, result string, ok bool) {
	uri := rc.Request.Header.RequestURI()
	if len(uri) == 0 || uri[0] != '/' {
		return nil, "", false
	}
	if s = d.resolved.get(uri, d.locator.Version()); s == nil {
		return nil, "", false
	}
	if !s.missing {
		result, ok = d.ready(rc, s.lookup, s.candidate)
		return s, result, ok
	}
	if !d.locator.StillMissing(s.version) {
		return nil, "", false
	}
	miss(rc)
	return s, "miss", true
}
