package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/symhttp"
)

// Bounds of the uploads under way on one node.
const (
	maxSessions    = 64
	maxPacking     = 8 // uploads that are read and packed at once; the others wait
	sessionIdle    = 10 * time.Minute
	uploadBuffer   = 1 << 20
	sessionWorkers = 2
)

// An uploadSession packs the raw bytes of one blob as they arrive. It outlives a
// broken connection, so that the agent goes on where the acknowledged bytes end.
type uploadSession struct {
	digest catalog.Digest
	length int64

	busy chan struct{} // capacity 1: held by the request that writes

	// Guarded by busy.
	staging *blobstore.Staging
	pack    *cab.Writer
	buf     []byte

	mu     sync.Mutex
	offset int64
	used   time.Time
}

// An uploadTable holds the sessions of a node by digest.
type uploadTable struct {
	packing chan struct{} // capacity maxPacking

	mu       sync.Mutex
	sessions map[catalog.Digest]*uploadSession
}

func newUploadTable() *uploadTable {
	return &uploadTable{packing: make(chan struct{}, maxPacking), sessions: map[catalog.Digest]*uploadSession{}}
}

// UploadState says how much of a blob this node has acknowledged.
func (n *Node) UploadState(ctx context.Context, u symhttp.Upload) (symhttp.UploadState, error) {
	f, err := n.uploadedFile(ctx, u)
	if err != nil {
		return symhttp.UploadState{}, err
	}
	if r, ok := n.heldReceipt(u.Digest); ok {
		return symhttp.UploadState{Offset: r.RawSize, Length: r.RawSize, Receipt: &r}, nil
	}
	n.uploads.mu.Lock()
	s := n.uploads.sessions[u.Digest]
	n.uploads.mu.Unlock()
	if s == nil {
		if u.Length > 0 { // bytes are about to come: a full disk is told first
			release, err := n.blobs.Reserve(f.Size)
			if err != nil {
				return symhttp.UploadState{}, err
			}
			release()
		}
		return symhttp.UploadState{Length: f.Size}, nil
	}
	return symhttp.UploadState{Offset: s.acked(), Length: f.Size}, nil
}

// uploadedFile returns the file of an open package that lists the blob, and
// checks the announced length.
func (n *Node) uploadedFile(ctx context.Context, u symhttp.Upload) (catalog.File, error) {
	p, err := n.fsm.Package(u.Package)
	if errors.Is(err, catalog.ErrNotFound) { // opened a moment ago through another node
		if err := n.confirmApplied(ctx); err != nil {
			return catalog.File{}, err
		}
		p, err = n.fsm.Package(u.Package)
	}
	if err != nil {
		return catalog.File{}, err
	}
	if p.State != catalog.StateOpen {
		return catalog.File{}, fmt.Errorf("package %s: %s, takes no more bytes: %w", p.ID, p.State, catalog.ErrConflict)
	}
	f, err := n.fsm.FileWith(u.Package, u.Digest)
	if errors.Is(err, catalog.ErrNotFound) { // listed a moment ago through another node
		if err := n.confirmApplied(ctx); err != nil {
			return catalog.File{}, err
		}
		f, err = n.fsm.FileWith(u.Package, u.Digest)
	}
	if err != nil {
		return catalog.File{}, err
	}
	if u.Length != 0 && u.Length != f.Size {
		return catalog.File{}, fmt.Errorf("blob %s: upload of %d bytes, package %s lists %d: the file changed; push again: %w",
			u.Digest, u.Length, u.Package, f.Size, catalog.ErrInvalid)
	}
	return f, nil
}

// heldReceipt returns a receipt if W members hold the blob, by the catalog.
func (n *Node) heldReceipt(d catalog.Digest) (catalog.Receipt, bool) {
	b, err := n.fsm.Blob(d)
	if err != nil || b.Retired || len(b.Holders) < n.quorum() {
		return catalog.Receipt{}, false
	}
	return catalog.Receipt{Digest: d, RawSize: b.RawSize, Packed: b.Packed, Holders: b.Holders}, true
}

// Upload appends body to the blob and, when that completes it, makes the copy
// durable, checks its digest and replicates it.
func (n *Node) Upload(ctx context.Context, u symhttp.Upload, body io.Reader) (catalog.Receipt, error) {
	f, err := n.uploadedFile(ctx, u)
	if err != nil {
		return catalog.Receipt{}, err
	}
	if f.Size == 0 {
		return catalog.Receipt{}, fmt.Errorf("file %q is empty: no debugger can use it: %w", f.Path, catalog.ErrInvalid)
	}
	if r, ok := n.heldReceipt(u.Digest); ok {
		return r, nil
	}
	s, err := n.session(u.Digest, f.Size)
	if err != nil {
		return catalog.Receipt{}, err
	}
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return catalog.Receipt{}, fmt.Errorf("blob %s: another upload of it is under way: %w", u.Digest, catalog.ErrUnavailable)
	}
	defer func() { <-s.busy }()
	packed, err := n.receiveInTurn(ctx, s, u, f, body)
	if err != nil {
		return catalog.Receipt{}, err
	}
	r, err := n.repl.Replicate(ctx, u.Digest, f.Size, packed, n.quorum())
	if err != nil {
		return catalog.Receipt{}, err
	}
	n.recordReceipt(r)
	return r, nil
}

// receiveInTurn is receive, for a bounded number of uploads at a time.
func (n *Node) receiveInTurn(ctx context.Context, s *uploadSession, u symhttp.Upload, f catalog.File, body io.Reader) (catalog.Packed, error) {
	select {
	case n.uploads.packing <- struct{}{}:
		defer func() { <-n.uploads.packing }()
		return n.receive(ctx, s, u, f, body)
	case <-ctx.Done():
		return catalog.Packed{}, fmt.Errorf("blob %s: %d uploads are under way on this node: %w", u.Digest, maxPacking, catalog.ErrUnavailable)
	}
}

// receive returns once this node holds the whole blob. The caller holds s.busy.
func (n *Node) receive(ctx context.Context, s *uploadSession, u symhttp.Upload, f catalog.File, body io.Reader) (catalog.Packed, error) {
	if e, err := n.blobs.Stat(u.Digest); err == nil {
		n.endSession(s)
		return e.Packed, nil // an upload before this one completed it
	}
	if acked := s.acked(); u.Offset != acked {
		return catalog.Packed{}, &symhttp.OffsetError{Digest: u.Digest, Found: u.Offset, Acked: acked}
	}
	if err := n.startPacking(s, f); err != nil {
		n.endSession(s)
		return catalog.Packed{}, err
	}
	for {
		m, rerr := io.ReadFull(body, s.buf)
		if _, err := s.pack.Write(s.buf[:m]); err != nil {
			n.endSession(s)
			return catalog.Packed{}, fmt.Errorf("blob %s: %w", u.Digest, diskError(err))
		}
		s.advance(int64(m))
		if rerr == io.EOF || rerr == io.ErrUnexpectedEOF {
			break
		}
		if rerr != nil {
			return catalog.Packed{}, fmt.Errorf("blob %s: body broke off at %d of %d bytes: %v: %w", u.Digest, s.acked(), s.length, rerr, catalog.ErrUnavailable)
		}
	}
	if got := s.acked(); got < s.length {
		return catalog.Packed{}, fmt.Errorf("blob %s: body ended at %d of %d bytes; send the rest: %w", u.Digest, got, s.length, catalog.ErrUnavailable)
	}
	defer n.endSession(s)
	info, err := s.pack.Close()
	if err != nil {
		return catalog.Packed{}, fmt.Errorf("blob %s: %w", u.Digest, diskError(err))
	}
	if catalog.Digest(info.RawSHA256) != u.Digest {
		return catalog.Packed{}, fmt.Errorf("file %q: bytes received hash to %x, announced was %s: it changed while it was pushed, or was damaged on the way; push again: %w",
			f.Path, info.RawSHA256, u.Digest, catalog.ErrInvalid)
	}
	entry, err := s.staging.Commit(info)
	if err != nil {
		return catalog.Packed{}, fmt.Errorf("blob %s: %w", u.Digest, diskError(err))
	}
	s.staging = nil
	return entry.Packed, nil
}

func (n *Node) startPacking(s *uploadSession, f catalog.File) error {
	if s.pack != nil {
		return nil
	}
	var err error
	if s.staging, err = n.blobs.Create(f.Size); err != nil {
		return err
	}
	s.buf = make([]byte, min(f.Size, uploadBuffer))
	s.pack, err = cab.NewWriter(s.staging, cab.Options{RawSize: f.Size, Name: symid.BaseName(f.Path), Workers: sessionWorkers})
	return err
}

// session returns the session of a digest. A full table drops the one idle for
// longest.
func (n *Node) session(d catalog.Digest, length int64) (*uploadSession, error) {
	n.uploads.mu.Lock()
	defer n.uploads.mu.Unlock()
	if s := n.uploads.sessions[d]; s != nil {
		return s, nil
	}
	if len(n.uploads.sessions) >= maxSessions {
		return nil, fmt.Errorf("%d uploads are under way on this node: try another one or later: %w", maxSessions, catalog.ErrUnavailable)
	}
	s := &uploadSession{digest: d, length: length, busy: make(chan struct{}, 1), used: time.Now()}
	n.uploads.sessions[d] = s
	return s, nil
}

// endSession forgets a session and what it staged. The caller holds s.busy.
func (n *Node) endSession(s *uploadSession) {
	n.uploads.mu.Lock()
	if n.uploads.sessions[s.digest] == s {
		delete(n.uploads.sessions, s.digest)
	}
	n.uploads.mu.Unlock()
	if s.pack != nil {
		s.pack.Abort()
	}
	if s.staging != nil {
		s.staging.Abort()
	}
	s.pack, s.staging, s.buf = nil, nil, nil
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
		s.mu.Lock()
		if time.Since(s.used) >= idle {
			old = append(old, s)
		}
		s.mu.Unlock()
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

func (s *uploadSession) advance(m int64) {
	s.mu.Lock()
	s.offset += m
	s.used = time.Now()
	s.mu.Unlock()
}

// diskError makes a full disk known as such.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%v: free space on this node, or push to another one: %w", err, catalog.ErrFull)
	}
	return err
}
