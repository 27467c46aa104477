package validate

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/elf"
	"symkeep/internal/symfile/macho"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symfile/wasm"
	"symkeep/internal/symid"
)

// SourceIdentity is what a source file is, whatever its content.
var SourceIdentity = Identity{Class: ClassSource, Kind: catalog.KindSource}

// SourceFiles calls visit for every source file that the DWARF of a file names, as
// dwarf.SourceFiles does, but for names that compilers make up. r holds size bytes of
// that format; others have none. What is damaged names nothing. The error is visit's, or
// one of r's.
func SourceFiles(r io.ReaderAt, size int64, format symfile.Format, visit func(dwarf.SourceFile) error) error {
	in := newInput(context.Background(), r, size)
	err := sourceFiles(in, format, visit)
	return errors.Join(err, in.failure())
}

func sourceFiles(in *input, format symfile.Format, visit func(dwarf.SourceFile) error) error {
	var wrong error
	for _, f := range dwarfFiles(in, format) {
		err := dwarf.SourceFiles(f, func(s dwarf.SourceFile) error {
			if !madeUp(s.Path) {
				wrong = visit(s)
			}
			return wrong
		})
		if wrong != nil {
			return wrong
		}
		if err != nil && in.failure() != nil {
			return in.failure()
		}
	}
	return nil
}

// dwarfFiles opens what may hold DWARF.
func dwarfFiles(in *input, format symfile.Format) (all []dwarf.File) {
	switch format {
	case symfile.ELF:
		if f, err := elf.Parse(in, in.size); err == nil {
			all = append(all, f)
		}
	case symfile.PE:
		if f, err := pe.Open(in, in.size); err == nil {
			all = append(all, f)
		}
	case symfile.MachO, symfile.FatMachO:
		if f, err := macho.Parse(in, in.size); err == nil {
			for i := range f.Slices {
				all = append(all, &f.Slices[i])
			}
		}
	case symfile.Wasm:
		if m, err := wasm.Parse(in, in.size); err == nil {
			all = append(all, m)
		}
	}
	return all
}

// madeUp reports whether a name is no file's: "<built-in>" and the like, and the units
// of rustc, "src/lib.rs/@/crate.1234-cgu.0".
func madeUp(p string) bool {
	return strings.HasPrefix(symid.BaseName(p), "<") || strings.Contains(p, "/@/") || symid.CheckSource(symid.CleanSource(p)) != nil
}

// sourceSubject is a source file: nothing in it can be wrong. Its SHA-1 is the id of its
// key in the symbol servers of .NET, SSQP_Key_Conventions.md, "SHA1".
func sourceSubject(ctx context.Context, f File) (*subject, error) {
	if f.Prove != nil {
		if err := f.Prove(ctx); err != nil {
			return nil, fmt.Errorf("check %q: %w", f.Path, err)
		}
	}
	s := newSubject(f)
	s.Identity = SourceIdentity
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("check %q: %w", f.Path, err)
	}
	defer r.Close()
	h := sha1.New()
	if _, err := io.Copy(h, io.NewSectionReader(newInput(ctx, r, f.Size), 0, f.Size)); err != nil {
		return nil, fmt.Errorf("check %q: %w", f.Path, err)
	}
	s.key(symid.StoreKey(symid.BaseName(f.Source), "sha1-"+hex.EncodeToString(h.Sum(nil))), RankFull)
	return s, nil
}

// checkSources is GEN-SOURCE and GEN-NOSOURCE, and gives the source files of a package
// their keys: those that its debug information names, each path to one file. Without
// any source file in the package nobody misses one.
func checkSources(p *pkg) error {
	stored := map[string]*subject{}
	for _, s := range p.subjects {
		if s.Source == "" {
			continue
		}
		if first := stored[s.Source]; first != nil {
			s.add("GEN-SOURCE", 0, "its path %s is that of %s too, wanted one file", quote(s.Source), first.Path)
			continue
		}
		stored[s.Source] = s
	}
	if len(stored) == 0 {
		return nil
	}
	named, missing := map[string]bool{}, &Names{}
	for _, s := range p.subjects {
		if s.Source != "" || s.ignored {
			continue
		}
		if err := p.namedSources(s, func(path string) {
			if stored[path] == nil {
				missing.Add(path)
				return
			}
			named[path] = true
			s.gives(catalog.QualitySources)
		}); err != nil {
			return err
		}
	}
	for path, s := range stored {
		if !named[path] {
			s.add("GEN-SOURCE", 0, "no debug information of the package names its path %s", quote(path))
			continue
		}
		s.key(symid.SourceKey("", path), RankFull)
	}
	if n := missing.Len(); n > 0 {
		p.add("GEN-NOSOURCE", "%d of the %d source files that debug information names are not in the package, such as %s", n, n+len(named), missing)
	}
	return nil
}

// namedSources calls visit for each path of a source file that s names.
func (p *pkg) namedSources(s *subject, visit func(path string)) error {
	in, c, err := p.open(s)
	if err != nil {
		return err
	}
	defer c.Close()
	err = sourceFiles(in, s.Format, func(f dwarf.SourceFile) error {
		visit(symid.CleanSource(f.Path))
		return nil
	})
	if err = errors.Join(err, in.failure()); err != nil {
		return fmt.Errorf("check %q: %w", s.Path, err)
	}
	return nil
}

// noFileName escapes what no file name may hold.
var noFileName = strings.NewReplacer("%", "%25", `\`, "%5C", ":", "%3A")

// SourcePath is where a source file stands in its package: below a folder of its own,
// under its path of symid.CleanSource, in which what no file name may hold is escaped as
// in a URL.
func SourcePath(source string) string {
	parts := strings.Split(strings.TrimPrefix(source, "/"), "/")
	for i, e := range parts {
		if parts[i] = noFileName.Replace(e); strings.Trim(e, ".") == "" {
			parts[i] = strings.ReplaceAll(e, ".", "%2E")
		}
	}
	return path.Join(append([]string{".source"}, parts...)...)
}
