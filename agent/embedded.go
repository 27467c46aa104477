package agent

import (
	"context"
	"fmt"
	"os"

	"symkeep/internal/spool"
)

// addEmbedded puts the portable PDBs that managed images carry behind those, as files
// of their own, unless a file of the scan answers the same key.
func (s *scanner) addEmbedded(ctx context.Context) error {
	known := spool.Answered{}
	for _, f := range s.files {
		known.Note(f.Identity)
	}
	var files []File
	for _, f := range s.files {
		files = append(files, f)
		if f.Ignored || !f.Identity.Embedded {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		pdb, err := s.embedded(&f)
		if err != nil {
			return fmt.Errorf("%s: %w; nothing was uploaded", f.Local, err)
		}
		if pdb != nil && !known.Note(pdb.Identity) {
			files = append(files, *pdb)
		}
	}
	s.files = files
	return nil
}

// embedded unpacks the portable PDB inside f, and returns nil if there is none.
func (s *scanner) embedded(f *File) (*File, error) {
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	m, err := s.dir.Embedded(r, f.Size, f.Path)
	if err != nil || m == nil {
		return nil, err
	}
	fi, err := os.Stat(m.Local)
	if err != nil {
		return nil, err
	}
	return &File{Path: m.Path, Local: m.Local, Size: m.Size, ModTime: fi.ModTime(), SHA256: m.SHA256, Identity: m.Identity}, nil
}
