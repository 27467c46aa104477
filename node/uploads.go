package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/symhttp"
)

// UploadState says how much of a blob this node has acknowledged.
func (n *Node) UploadState(ctx context.Context, u symhttp.Upload) (symhttp.UploadState, error) {
	f, err := n.uploadedFile(ctx, u)
	if err != nil {
		return symhttp.UploadState{}, err
	}
	if r, ok := n.heldReceipt(u.Digest); ok {
		return symhttp.UploadState{Offset: r.RawSize, Length: r.RawSize, Receipt: &r}, nil
	}
	s := n.uploads.find(uploadKey{u.Digest, f.Size})
	if s == nil || s.form.packed != u.Packed || u.Length > 0 && u.Length != s.form.length {
		if u.Length > 0 { // bytes are about to come: a full disk is told first
			release, err := n.blobs.Reserve(u.Length)
			if err != nil {
				return symhttp.UploadState{}, err
			}
			release()
		}
		return symhttp.UploadState{Length: formOf(u, f).length}, nil
	}
	return symhttp.UploadState{Offset: s.acked(), Length: s.form.length}, nil
}

// formOf returns which bytes of f an upload sends. The length of a packed file is known
// only to who sends it.
func formOf(u symhttp.Upload, f catalog.File) uploadForm {
	if u.Packed == (catalog.Digest{}) {
		return uploadForm{length: f.Size}
	}
	return uploadForm{u.Packed, u.Length}
}

// openPackage returns a package that takes files.
func (n *Node) openPackage(ctx context.Context, id catalog.PackageID) (catalog.Package, error) {
	p, err := n.fsm.Package(id)
	if errors.Is(err, catalog.ErrNotFound) { // opened a moment ago through another node
		if err := n.confirmApplied(ctx); err != nil {
			return p, err
		}
		p, err = n.fsm.Package(id)
	}
	if err == nil && p.State != catalog.StateOpen {
		err = fmt.Errorf("package %s: %s, takes no more bytes: %w", p.ID, p.State, catalog.ErrConflict)
	}
	return p, err
}

// uploadedFile returns the file of an open package that lists the blob, and
// checks the announced length.
func (n *Node) uploadedFile(ctx context.Context, u symhttp.Upload) (catalog.File, error) {
	if _, err := n.openPackage(ctx, u.Package); err != nil {
		return catalog.File{}, err
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
	switch packed := u.Packed != (catalog.Digest{}); {
	case !packed && u.Length != 0 && u.Length != f.Size:
		return catalog.File{}, fmt.Errorf("blob %s: upload of %d bytes, package %s lists %d: the file changed; push again: %w",
			u.Digest, u.Length, u.Package, f.Size, catalog.ErrInvalid)
	case packed && u.Length > cab.MaxPacked(f.Size):
		return catalog.File{}, fmt.Errorf("blob %s: packed file of %d bytes, package %s lists %d raw ones, which take at most %d: send the raw bytes: %w",
			u.Digest, u.Length, u.Package, f.Size, cab.MaxPacked(f.Size), catalog.ErrInvalid)
	}
	return f, nil
}

// heldReceipt returns a receipt if W members hold the blob, by the catalog, and are
// not known to be dead: a commit cannot count on copies that nobody reaches, so the
// bytes are taken again.
func (n *Node) heldReceipt(d catalog.Digest) (catalog.Receipt, bool) {
	b, err := n.fsm.Blob(d)
	if err != nil || b.Retired {
		return catalog.Receipt{}, false
	}
	living := 0
	for _, id := range b.Holders {
		if id == n.id.Node || !n.foundDead(id) {
			living++
		}
	}
	if living < n.quorum() {
		return catalog.Receipt{}, false
	}
	return catalog.Receipt{Digest: d, RawSize: b.RawSize, Packed: b.Packed, Holders: b.Holders}, true
}

// outOfReach reports whether every member that holds the blob, by the catalog, is
// known to be dead.
func (n *Node) outOfReach(d catalog.Digest) bool {
	b, err := n.fsm.Blob(d)
	return err == nil && len(b.Holders) > 0 && !slices.ContainsFunc(b.Holders, func(id catalog.NodeID) bool {
		return id == n.id.Node || !n.foundDead(id)
	})
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
	return n.take(ctx, u, f, body)
}

// take is Upload for a blob that the cluster lacks.
func (n *Node) take(ctx context.Context, u symhttp.Upload, f catalog.File, body io.Reader) (catalog.Receipt, error) {
	s, err := n.takeSession(ctx, uploadKey{u.Digest, f.Size}, formOf(u, f))
	if err != nil {
		return catalog.Receipt{}, err
	}
	defer func() { <-s.busy }()
	if err := n.receive(ctx, s, u, f, body); err != nil {
		if errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EROFS) {
			n.log.Error("upload not stored", "package", u.Package, "blob", u.Digest, "err", err)
		}
		return catalog.Receipt{}, err
	}
	fault.Point("upload-before-replicate")
	r, err := n.repl.Replicate(ctx, u.Digest, n.quorum())
	if err != nil {
		return catalog.Receipt{}, err
	}
	fault.Point("upload-after-replicate")
	n.recordReceipt(r)
	return r, nil
}

// inTurn runs the part of an upload that takes processor and disk, for a bounded
// number of uploads at a time. Nobody waits for the network in it.
func (n *Node) inTurn(ctx context.Context, work func() error) error {
	select {
	case n.uploads.packing <- struct{}{}:
		defer func() { <-n.uploads.packing }()
		return work()
	case <-ctx.Done():
		return fmt.Errorf("%d uploads are being packed on this node: %w", maxPacking, catalog.ErrUnavailable)
	}
}

// receive returns once this node holds the whole blob. The caller holds s.busy.
func (n *Node) receive(ctx context.Context, s *uploadSession, u symhttp.Upload, f catalog.File, body io.Reader) error {
	if n.blobs.Has(u.Digest) { // an upload before this one completed it
		n.endSession(s)
		return nil
	}
	if acked := s.acked(); u.Offset != acked {
		return &symhttp.OffsetError{Digest: u.Digest, Found: u.Offset, Acked: acked}
	}
	if err := n.startIntake(s, f); err != nil {
		n.endSession(s)
		return err
	}
	buf := make([]byte, min(s.form.length, uploadBuffer))
	for {
		m, rerr := io.ReadFull(body, buf)
		if err := n.feed(ctx, s, buf[:m]); err != nil {
			return fmt.Errorf("blob %s: %w", u.Digest, err)
		}
		if rerr == io.EOF || rerr == io.ErrUnexpectedEOF {
			break
		}
		if rerr != nil {
			return fmt.Errorf("blob %s: body broke off at %d of %d bytes: %v: %w", u.Digest, s.acked(), s.form.length, rerr, catalog.ErrUnavailable)
		}
	}
	if got := s.acked(); got < s.form.length {
		return fmt.Errorf("blob %s: body ended at %d of %d bytes; send the rest: %w", u.Digest, got, s.form.length, catalog.ErrUnavailable)
	}
	defer n.endSession(s)
	return n.complete(ctx, s, u, f)
}

// complete makes a received blob durable, if it is what was announced. To sync it takes
// no turn: the more blobs wait for the journal of the disk at once, the more of them it
// writes in one go.
func (n *Node) complete(ctx context.Context, s *uploadSession, u symhttp.Upload, f catalog.File) error {
	var info cab.Info
	err := n.inTurn(ctx, func() (err error) {
		info, err = s.intake.Close()
		return err
	})
	if err != nil {
		return fmt.Errorf("blob %s: %w", u.Digest, diskError(err))
	}
	if catalog.Digest(info.RawSHA256) != u.Digest {
		return fmt.Errorf("file %q: bytes received hash to %x, announced was %s: it changed while it was pushed, or was damaged on the way; push again: %w",
			f.Path, info.RawSHA256, u.Digest, catalog.ErrInvalid)
	}
	if _, err := s.staging.Commit(info); err != nil {
		return fmt.Errorf("blob %s: %w", u.Digest, diskError(err))
	}
	s.staging = nil
	return nil
}

// diskError makes a full disk known as such, and has agents turn from one that fails
// to another node.
func diskError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%v: free space on this node, or push to another one: %w", err, catalog.ErrFull)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: the disk of this node fails, push to another one: %w", err, catalog.ErrUnavailable)
	}
	return err
}
