package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/container"
	"symkeep/internal/spool"
	"symkeep/internal/validate"
	"symkeep/symhttp"
)

const (
	archiveStores = 4               // members of one archive that are packed and replicated at once
	archiveLease  = 5 * time.Minute // how often the lease of a package is renewed while an archive is taken
	archiveRounds = 5               // how often somebody else may add files to the package meanwhile
	maxRefused    = 10              // refused members that an error names
)

// ArchiveState says whether AddArchive would take an archive now.
func (n *Node) ArchiveState(ctx context.Context, a symhttp.Archive) error {
	if _, err := n.openPackage(ctx, a.Package); err != nil {
		return err
	}
	if err := n.roomToGrow(); err != nil {
		return err
	}
	release, err := n.blobs.Reserve(a.Size)
	if err != nil {
		return err
	}
	release()
	return nil
}

// AddArchive unpacks an archive into a directory beside the blobs, stores what is
// of use as blobs, and last lists those as files of the package: an archive that is
// refused or breaks off leaves no file behind.
func (n *Node) AddArchive(ctx context.Context, a symhttp.Archive, body io.Reader) (api.ArchiveResponse, error) {
	select {
	case n.uploads.archives <- struct{}{}:
		defer func() { <-n.uploads.archives }()
	default:
		return api.ArchiveResponse{}, fmt.Errorf("archive %q: %d archives are being taken on this node: try another one or later: %w", a.Name, maxArchives, catalog.ErrUnavailable)
	}
	if err := n.ArchiveState(ctx, a); err != nil {
		return api.ArchiveResponse{}, err
	}
	dir := spool.New(filepath.Join(n.blobs.Dir(), "tmp"), n.blobs.Reserve)
	var out api.ArchiveResponse
	g, gctx := errgroup.WithContext(ctx)
	work, done := context.WithCancel(gctx)
	g.Go(func() error {
		for pause(work, archiveLease) {
			if err := n.RenewLease(work, a.Package); err != nil {
				n.log.Warn("lease not renewed", "package", string(a.Package), "err", err)
			}
		}
		return nil
	})
	g.Go(func() (err error) {
		defer done()
		out, err = n.takeArchive(work, dir, a, body)
		return err
	})
	err := g.Wait()
	if cerr := dir.Close(); cerr != nil {
		n.log.Error("unpacked files not removed", "package", string(a.Package), "err", cerr)
	}
	if err == nil {
		n.log.Info("archive taken", "package", string(a.Package), "archive", a.Name, "files", out.Added, "ignored", out.Ignored, "bytes", a.Size)
	}
	return out, err
}

func (n *Node) takeArchive(ctx context.Context, dir *spool.Dir, a symhttp.Archive, body io.Reader) (api.ArchiveResponse, error) {
	members, err := n.unpack(ctx, dir, a, body)
	if err != nil {
		return api.ArchiveResponse{}, err
	}
	held, err := n.storeMembers(ctx, a.Package, members)
	if err != nil {
		return api.ArchiveResponse{}, fmt.Errorf("archive %q: none of its files was added; send it again: %w", a.Name, err)
	}
	total, err := n.listMembers(ctx, a.Package, members)
	if err != nil {
		return api.ArchiveResponse{}, fmt.Errorf("archive %q: send it again: %w", a.Name, err)
	}
	return archiveResponse(a.Package, total, members, held), nil
}

// unpack receives an archive and returns its members, and the PDBs inside those. All of
// its errors that are the archive's fault wrap catalog.ErrInvalid.
func (n *Node) unpack(ctx context.Context, dir *spool.Dir, a symhttp.Archive, body io.Reader) ([]spool.File, error) {
	path, size, err := dir.Keep(arriving{body})
	if err != nil {
		return nil, fmt.Errorf("archive %q: %w", a.Name, diskError(err))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	members, err := dir.Expand(ctx, file, size, a.Name)
	if err == nil {
		members, err = dir.AddEmbedded(ctx, members, size)
	}
	switch {
	case errors.Is(err, validate.ErrNoSymbols):
		return nil, fmt.Errorf("archive %q: %d members, %v: %w", a.Name, len(members), err, catalog.ErrInvalid)
	case container.Faulty(err):
		return nil, fmt.Errorf("archive %q: %v: %w", a.Name, err, catalog.ErrInvalid)
	case err != nil:
		return nil, fmt.Errorf("archive %q: %w", a.Name, diskError(err))
	}
	return members, refused(a, members)
}

// arriving is a body whose errors are those of the connection.
type arriving struct{ io.Reader }

// Read implements io.Reader.
func (b arriving) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("body broke off: %v: %w", err, catalog.ErrUnavailable)
	}
	return n, err
}

// refused is the error for an archive with members that no package can hold.
// Leaving them out would make a package that looks complete and is not.
func refused(a symhttp.Archive, members []spool.File) error {
	var reasons []string
	for _, m := range members {
		err := m.Archive
		switch {
		case m.Ignored:
			continue
		case err != nil:
			err = fmt.Errorf("%q: %w", m.Path, err)
		case m.Size == 0:
			err = fmt.Errorf("%q is empty", m.Path)
		default:
			err = catalog.CheckPath(m.Path)
		}
		if err != nil {
			reasons = append(reasons, err.Error())
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	text := strings.Join(reasons[:min(len(reasons), maxRefused)], "; ")
	return fmt.Errorf("archive %q: %d members cannot be files of a package, none was added: %s: %w", a.Name, len(reasons), text, catalog.ErrInvalid)
}

// storeMembers stores the blob of every member of use, as uploads are stored. It
// returns which the cluster held before.
func (n *Node) storeMembers(ctx context.Context, id catalog.PackageID, members []spool.File) (held map[catalog.Digest]bool, err error) {
	held = map[catalog.Digest]bool{}
	seen := map[catalog.Digest]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(archiveStores)
	for _, m := range members {
		if m.Ignored || seen[m.SHA256] {
			continue
		}
		seen[m.SHA256] = true
		if _, held[m.SHA256] = n.heldReceipt(m.SHA256); !held[m.SHA256] {
			g.Go(func() error { return n.storeMember(gctx, id, m) })
		}
	}
	return held, g.Wait()
}

// storeMember stores one blob. An agent may be sending the same one; what it has
// sent already is not sent again.
func (n *Node) storeMember(ctx context.Context, id catalog.PackageID, m spool.File) error {
	file, err := os.Open(m.Local)
	if err != nil {
		return err
	}
	defer file.Close()
	var offset int64
	for {
		u := symhttp.Upload{Package: id, Digest: m.SHA256, Offset: offset, Size: m.Size - offset, Length: m.Size}
		_, err := n.take(ctx, u, catalog.File{Path: m.Path, Size: m.Size}, io.NewSectionReader(file, offset, m.Size-offset))
		var moved *symhttp.OffsetError
		if !errors.As(err, &moved) || ctx.Err() != nil {
			return err
		}
		offset = moved.Acked
	}
}

// listMembers makes members of use files of the package, those that are not yet,
// and returns how many files it has.
func (n *Node) listMembers(ctx context.Context, id catalog.PackageID, members []spool.File) (int, error) {
	byDigest := map[catalog.Digest]spool.File{}
	for _, m := range members {
		if !m.Ignored {
			byDigest[m.SHA256] = m
		}
	}
	for round := 1; ; round++ {
		first, fresh, err := n.unlisted(ctx, id, members)
		if err != nil {
			return 0, err
		}
		total := first + len(fresh)
		err = n.list(ctx, id, first, fresh, byDigest)
		if !errors.Is(err, catalog.ErrConflict) || round == archiveRounds {
			return total, err
		}
	}
}

// unlisted returns the members that are no files of the package yet, and how many
// files it has.
func (n *Node) unlisted(ctx context.Context, id catalog.PackageID, members []spool.File) (first int, fresh []api.FileEntry, err error) {
	if err := n.confirmApplied(ctx); err != nil {
		return 0, nil, err
	}
	listed := map[string]catalog.Digest{}
	for after := -1; ; {
		page, err := n.fsm.Files(id, after, receiptChunk)
		if err != nil {
			return 0, nil, err
		}
		if len(page) == 0 {
			break
		}
		for _, f := range page {
			after = f.No
			listed[f.Path] = f.SHA256
			first = f.No + 1
		}
	}
	for _, m := range members {
		if m.Ignored {
			continue
		}
		switch have, ok := listed[m.Path]; {
		case !ok:
			fresh = append(fresh, api.FileEntry{Path: m.Path, Size: m.Size, SHA256: m.SHA256})
		case have != m.SHA256:
			return 0, nil, fmt.Errorf("package %s has another file %q already, sha256 %s: send the archive under another name: %w", id, m.Path, have, catalog.ErrInvalid)
		}
	}
	return first, fresh, nil
}

// list adds files from number first on. A blob that was held a moment ago and has
// been retired since is stored again.
func (n *Node) list(ctx context.Context, id catalog.PackageID, first int, fresh []api.FileEntry, byDigest map[catalog.Digest]spool.File) error {
	for len(fresh) > 0 {
		k := min(len(fresh), api.MaxFilesPerRequest)
		r, err := n.AddFiles(ctx, id, api.AddFilesRequest{First: first, Files: fresh[:k]})
		if err != nil {
			return err
		}
		for _, d := range r.Lacking {
			if !n.blobs.Has(d) {
				if err := n.storeMember(ctx, id, byDigest[d]); err != nil {
					return err
				}
			}
		}
		first, fresh = first+k, fresh[k:]
	}
	return nil
}

func archiveResponse(id catalog.PackageID, total int, members []spool.File, held map[catalog.Digest]bool) api.ArchiveResponse {
	out := api.ArchiveResponse{Package: id, Files: total, Members: []api.ArchiveMember{}}
	for _, m := range members {
		status := api.FileUploaded
		switch {
		case m.Ignored:
			status = api.FileIgnored
			out.Ignored++
		case held[m.SHA256]:
			status = api.FileDeduplicated
		}
		if len(out.Members) < api.MaxArchiveMembers {
			out.Members = append(out.Members, api.ArchiveMember{Path: m.Path, Size: m.Size, SHA256: m.SHA256, Kind: kindOf(m), Status: status})
		}
	}
	out.Added = len(members) - out.Ignored
	return out
}

func kindOf(m spool.File) catalog.FileKind {
	if m.Identity.Kind == "" {
		return catalog.KindUnknown
	}
	return m.Identity.Kind
}
