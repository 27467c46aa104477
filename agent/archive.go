package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"symkeep/internal/container"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// opens reports whether the scan looks into f.
func opens(f *File) bool {
	return validate.Opened(symid.BaseName(f.Path), f.Identity) && container.Opens(f.Identity.Format)
}

// passedOver reports whether f is an ignored member of an archive, of which nothing
// was kept.
func (f *File) passedOver() bool { return f.Ignored && f.Local == "" }

// expand returns the members of the archive f, whose bytes r reads. What is wrong
// with the archive itself is left in f.Archive.
func (s *scanner) expand(ctx context.Context, r io.ReaderAt, f *File) ([]File, error) {
	found, err := s.dir.Expand(ctx, r, f.Size, f.Path)
	switch {
	case errors.Is(err, validate.ErrNoSymbols), container.Faulty(err):
		f.Archive = err
	case errors.Is(err, syscall.ENOSPC):
		return nil, fmt.Errorf("no room to unpack it: %w: set TMPDIR (TEMP on Windows) to a folder with more", err)
	case err != nil:
		return nil, err
	}
	var files []File
	e := Event{Event: EventUnpacked, Path: f.Path}
	for _, m := range found {
		file := File{Path: m.Path, Local: m.Local, Size: m.Size, SHA256: m.SHA256, Ignored: m.Ignored, Identity: m.Identity, Archive: m.Archive, Findings: m.Findings}
		if m.Ignored {
			e.Ignored++
		} else {
			e.Files++
			e.Bytes += m.Size
		}
		if m.Local != "" {
			fi, err := os.Stat(m.Local)
			if err != nil {
				return nil, err
			}
			file.ModTime = fi.ModTime()
		}
		files = append(files, file)
	}
	if f.Archive == nil {
		s.report.Report(e)
	}
	return files, nil
}

// replaceArchives puts the members of archives in their place. An archive of which
// nothing came stays, before its ignored members.
func (s *scanner) replaceArchives() {
	var files []File
	for i, f := range s.files {
		if s.members[i] == nil || f.Archive != nil {
			files = append(files, f)
		}
		files = append(files, s.members[i]...)
	}
	s.files = slices.Clip(files)
}
