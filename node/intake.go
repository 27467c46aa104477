package node

import (
	"context"
	"errors"
	"fmt"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

// An intake makes a packed file in a staging of the bytes that an upload sends.
type intake interface {
	// Write takes the next bytes.
	Write(p []byte) (int, error)
	// settle does a bounded part of the work that the bytes taken so far leave to be
	// done, and reports whether there is more of it.
	settle() (more bool, err error)
	// Close describes the file, once all bytes were taken and settled.
	Close() (cab.Info, error)
	// Abort waits for what is under way. It does nothing after Close.
	Abort()
}

// startIntake prepares a new session for its first bytes.
func (n *Node) startIntake(s *uploadSession, f catalog.File) error {
	if s.intake != nil {
		return nil
	}
	var err error
	if s.form.packed != (catalog.Digest{}) {
		if s.staging, err = n.blobs.Create(s.form.length); err == nil {
			s.intake = newPackedIntake(s.staging, s.form, f)
		}
		return err
	}
	if s.staging, err = n.blobs.Create(f.Size); err != nil {
		return err
	}
	w, err := cab.NewWriter(s.staging, cab.Options{RawSize: f.Size, Name: symid.BaseName(f.Path), Workers: sessionWorkers})
	if err == nil {
		s.intake = rawIntake{w}
	}
	return err
}

// feed gives a session its next bytes and does the work they make, turn by turn. A
// session that cannot go on is ended.
func (n *Node) feed(ctx context.Context, s *uploadSession, p []byte) error {
	for more := true; more; {
		var failed error
		err := n.inTurn(ctx, func() error {
			if _, failed = s.intake.Write(p); failed == nil {
				s.advance(int64(len(p)))
				p = nil
				more, failed = s.intake.settle()
			}
			return failed
		})
		if failed != nil {
			n.endSession(s)
		}
		if err != nil {
			return diskError(err)
		}
	}
	return nil
}

// A rawIntake packs.
type rawIntake struct{ *cab.Writer }

func (rawIntake) settle() (bool, error) { return false, nil }

// settleGroups is how many MiB of raw bytes one turn checks.
const settleGroups = 16

// A packedIntake stores a packed file as it is, and checks it on the way: nothing that
// the node says of a file it packed itself is taken on trust.
type packedIntake struct {
	staging   *blobstore.Staging
	inspector *cab.Inspector
	file      catalog.File
	end       int64
}

func newPackedIntake(st *blobstore.Staging, form uploadForm, f catalog.File) *packedIntake {
	want := cab.Info{
		RawSize: f.Size, RawSHA256: f.SHA256, PackedSize: form.length, PackedSHA256: form.packed,
		Name: symid.BaseName(f.Path),
	}
	return &packedIntake{staging: st, inspector: cab.NewInspector(st, want), file: f}
}

// Write implements intake.
func (p *packedIntake) Write(b []byte) (int, error) {
	m, err := p.staging.Write(b)
	p.end += int64(m)
	return m, err
}

func (p *packedIntake) settle() (bool, error) {
	more, err := p.inspector.Inspect(p.end, settleGroups)
	return more, p.refusal(err)
}

// Close implements intake.
func (p *packedIntake) Close() (cab.Info, error) {
	info, err := p.inspector.Close()
	return info, p.refusal(err)
}

// Abort implements intake.
func (p *packedIntake) Abort() {}

// refusal makes an error of the packed bytes one of who sent them.
func (p *packedIntake) refusal(err error) error {
	if errors.Is(err, cab.ErrCorrupt) || errors.Is(err, cab.ErrFormat) {
		return fmt.Errorf("file %q: the packed file is not one this node would make of it: %v: send the raw bytes: %w", p.file.Path, err, catalog.ErrInvalid)
	}
	return err
}
