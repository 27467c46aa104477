package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

var errNoCabinet = errors.New("blob is no cabinet")

// put results.
type putResult int

const (
	putPresent putResult = iota // it was right
	putLinked
	putCopied
)

// put makes the file at pl hold blob d: a link to the blob if its member has the
// right name, else a copy with another head. A right file is left alone. Blobs
// too large for a cabinet give errNoCabinet.
func (s *Share) put(ctx context.Context, pl place, d catalog.Digest) (putResult, error) {
	blob, err := s.openBlob(d)
	if errors.Is(err, fs.ErrNotExist) {
		if s.holds(ctx, pl, d) { // no need for a blob that this node is not to keep
			return putPresent, nil
		}
		if err := s.deps.Blobs.Fetch(ctx, d); err != nil {
			return 0, fmt.Errorf("fetch: %w", err)
		}
		blob, err = s.openBlob(d)
	}
	if err != nil {
		return 0, err
	}
	defer blob.f.Close()
	if blob.r.Info().Container != cab.Cab {
		return 0, errNoCabinet
	}
	if symid.Fold(blob.r.Info().Name) == pl.name {
		done, err := s.putLink(blob, pl)
		if !errors.Is(err, tooManyLinks) { // else few bytes that very many keys share
			return done, err
		}
	}
	if s.holds(ctx, pl, d) {
		return putPresent, nil
	}
	return putCopied, s.putCopy(ctx, blob.r, pl)
}

// A blob is an open packed file of the node.
type blob struct {
	f    *os.File
	stat fs.FileInfo
	r    *cab.Reader
}

func (s *Share) openBlob(d catalog.Digest) (blob, error) {
	f, err := os.Open(s.deps.Blobs.Path(d))
	if err != nil {
		return blob{}, err
	}
	b := blob{f: f}
	if b.stat, err = f.Stat(); err == nil {
		b.r, err = cab.Open(f, b.stat.Size())
	}
	if err == nil && b.r.Info().RawSHA256 != d {
		err = fmt.Errorf("the file holds blob %s: %w", catalog.Digest(b.r.Info().RawSHA256), cab.ErrCorrupt)
	}
	if err != nil {
		_ = f.Close()
		return blob{}, err
	}
	return b, nil
}

// holds reports whether the file at pl is a whole and undamaged cabinet of blob d
// under the right member name. It reads all of it.
func (s *Share) holds(ctx context.Context, pl place, d catalog.Digest) bool {
	f, st, err := s.tree.open(pl.file())
	if err != nil {
		return false
	}
	defer f.Close()
	r, err := cab.Open(f, st.Size())
	if err != nil || r.Info().RawSHA256 != d || symid.Fold(r.Info().Name) != pl.name || r.Info().Container != cab.Cab {
		return false // without reading the groups
	}
	_, err = cab.Verify(ctx, f, st.Size())
	return err == nil
}

func (s *Share) putLink(b blob, pl place) (putResult, error) {
	if st, err := s.tree.root.Lstat(pl.file()); err == nil && os.SameFile(st, b.stat) {
		return putPresent, nil
	}
	tmp := tmpPath()
	err := s.tree.link(b.f.Name(), tmp)
	if err != nil {
		return 0, err
	}
	if st, err := s.tree.root.Lstat(tmp); err != nil || !os.SameFile(st, b.stat) {
		_ = s.tree.root.Remove(tmp)
		return 0, fmt.Errorf("blob file was replaced meanwhile: %w", catalog.ErrUnavailable)
	}
	return putLinked, s.tree.install(tmp, pl)
}

func (s *Share) putCopy(ctx context.Context, r *cab.Reader, pl place) error {
	src, _, err := r.Cabinet(pl.name)
	if errors.Is(err, cab.ErrNoCabinet) {
		return errNoCabinet
	}
	if err != nil {
		return err
	}
	defer src.Close()
	tmp := tmpPath()
	dst, err := s.tree.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return src.Read(p)
	}))
	if err := errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		_ = s.tree.root.Remove(tmp)
		return err
	}
	return s.tree.install(tmp, pl)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
