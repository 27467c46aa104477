package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
)

// Bounds of the uploads under way on one node.
const (
	maxSessions    = 64
	maxPacking     = 8 // uploads whose bytes are packed and written at once; the others wait
	maxArchives    = 4 // archives that are received or expanded at once; more are told to come back
	sessionIdle    = 10 * time.Minute
	sessionStill   = 30 * time.Second // when another upload may take its place
	uploadBuffer   = 1 << 20
	sessionWorkers = 2
)

// An uploadSession takes the bytes of one blob as they arrive. It outlives a broken
// connection, so that the agent goes on where the acknowledged bytes end.
type uploadSession struct {
	uploadKey
	form uploadForm

	busy chan struct{} // capacity 1: held by the request that writes

	// Guarded by busy.
	staging *blobstore.Staging
	intake  intake

	mu     sync.Mutex
	offset int64
	used   time.Time
}

// An uploadTable holds the sessions of a node.
type uploadTable struct {
	packing  chan struct{} // capacity maxPacking
	archives chan struct{} // capacity maxArchives

	mu       sync.Mutex
	sessions map[uploadKey]*uploadSession
}

// An uploadKey names a session. The length, that of the raw bytes, is part of it: of
// two packages that list a digest with different lengths one is wrong, and must not
// get in the other's way.
type uploadKey struct {
	digest catalog.Digest
	length int64
}

// An uploadForm says which bytes a session takes. One session at a time collects a
// blob, whatever its form, so that two agents do not have the work done twice.
type uploadForm struct {
	packed catalog.Digest // packed SHA-256 of the packed file; zero for the raw bytes
	length int64          // bytes in all
}

func newUploadTable() *uploadTable {
	return &uploadTable{packing: make(chan struct{}, maxPacking), archives: make(chan struct{}, maxArchives), sessions: map[uploadKey]*uploadSession{}}
}

// find returns a session, nil if there is none.
func (t *uploadTable) find(key uploadKey) *uploadSession {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessions[key]
}

// takeSession returns the session of a blob once this upload is the one that
// writes to it. One that collected other bytes of the blob, and that nobody writes to
// any more, gives way. The caller gives s.busy back.
func (n *Node) takeSession(ctx context.Context, key uploadKey, form uploadForm) (*uploadSession, error) {
	for {
		s, dropped, err := n.uploads.session(key, form)
		if err != nil {
			return nil, err
		}
		if dropped != nil {
			n.endSession(dropped)
			<-dropped.busy
		}
		select {
		case s.busy <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("blob %s: another upload of it is under way: %w", key.digest, catalog.ErrUnavailable)
		}
		if n.uploads.find(key) == s {
			if s.form == form {
				return s, nil
			}
			n.endSession(s)
		}
		<-s.busy // it ended, maybe while this upload waited; nobody would sweep what it staged
	}
}

// session returns the session of a blob, a new one of that form if there is none. To make room
// in a full table it takes out the one that has stood still for longest, beyond
// sessionStill; the caller ends that and gives its busy back.
func (t *uploadTable) session(key uploadKey, form uploadForm) (s, dropped *uploadSession, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sessions[key]; s != nil {
		return s, nil, nil
	}
	if len(t.sessions) >= maxSessions {
		if dropped = t.stillest(); dropped == nil {
			return nil, nil, fmt.Errorf("%d uploads are under way on this node: try another one or later: %w", maxSessions, catalog.ErrUnavailable)
		}
		delete(t.sessions, dropped.uploadKey)
	}
	s = &uploadSession{uploadKey: key, form: form, busy: make(chan struct{}, 1), used: time.Now()}
	t.sessions[key] = s
	return s, dropped, nil
}

// stillest returns the session, made busy, that nobody has written to for longest;
// nil if all have been written to within sessionStill. The caller holds t.mu.
func (t *uploadTable) stillest() *uploadSession {
	var oldest *uploadSession
	since := time.Now().Add(-sessionStill)
	for _, s := range t.sessions {
		if used := s.lastUsed(); used.Before(since) && len(s.busy) == 0 {
			oldest, since = s, used
		}
	}
	if oldest == nil {
		return nil
	}
	select {
	case oldest.busy <- struct{}{}:
		return oldest
	default:
		return nil
	}
}

// endSession forgets a session and what it staged. The caller holds s.busy.
func (n *Node) endSession(s *uploadSession) {
	n.uploads.mu.Lock()
	if n.uploads.sessions[s.uploadKey] == s {
		delete(n.uploads.sessions, s.uploadKey)
	}
	n.uploads.mu.Unlock()
	if s.intake != nil {
		s.intake.Abort()
	}
	if s.staging != nil {
		s.staging.Abort()
	}
	s.intake, s.staging = nil, nil
	s.mu.Lock()
	s.offset = 0 // whoever waits for its turn starts over
	s.mu.Unlock()
}

// runSessions ends sessions that stand still for too long, and all of them when
// ctx ends.
func (n *Node) runSessions(ctx context.Context) error {
	tick := time.NewTicker(sessionIdle / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			n.sweepSessions(0)
			return nil
		case <-tick.C:
			n.sweepSessions(sessionIdle)
		}
	}
}

func (n *Node) sweepSessions(idle time.Duration) {
	n.uploads.mu.Lock()
	var old []*uploadSession
	for _, s := range n.uploads.sessions {
		if time.Since(s.lastUsed()) >= idle {
			old = append(old, s)
		}
	}
	n.uploads.mu.Unlock()
	for _, s := range old {
		select {
		case s.busy <- struct{}{}:
			n.endSession(s)
			<-s.busy
		default: // in use after all
		}
	}
}

func (s *uploadSession) acked() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offset
}

func (s *uploadSession) lastUsed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

func (s *uploadSession) advance(m int64) {
	s.mu.Lock()
	s.offset += m
	s.used = time.Now()
	s.mu.Unlock()
}
