package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/catalog"
	"symkeep/internal/spool"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// ErrChanged says that a file is not the one that was scanned: a build step still
// writes to it.
var ErrChanged = errors.New("the file changed after it was scanned")

// hashChunk is how much of a file is read at once, per worker.
const hashChunk = 1 << 20

// A file is waited for longer than it is worked on, and disks give more to many readers
// than to few.
const (
	readersPerCPU = 4
	mostReaders   = 16
)

// hashBuffers keeps the memory of workers: most files of a build tree are smaller than
// what it would cost to clear a buffer for each.
var hashBuffers = sync.Pool{New: func() any { return new([hashChunk]byte) }}

// A File is one scanned file.
type File struct {
	Path     string // inside the package
	Source   string // of a source file: as in validate.File
	Local    string // on this machine; empty for a member of an archive that is ignored
	Size     int64
	ModTime  time.Time
	SHA256   catalog.Digest
	Explicit bool // named on the command line, or all that is left of a bundle
	Ignored  bool // of no use to a debugger: counted, not uploaded
	Identity validate.Identity
	Archive  error             // of an archive: why nothing came of it, as in validate.File
	Findings []catalog.Finding // of an ignored member of an archive
}

// open opens the file for reading and refuses one whose size or time is not that
// of the scan.
func (f *File) open() (*os.File, error) {
	file, err := os.Open(f.Local)
	if err != nil {
		return nil, err
	}
	fi, err := file.Stat()
	if err == nil && (fi.Size() != f.Size || !fi.ModTime().Equal(f.ModTime)) {
		err = fmt.Errorf("%s: %d bytes of %s, was %d of %s: %w", f.Local, fi.Size(), stamp(fi.ModTime()), f.Size, stamp(f.ModTime), ErrChanged)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// subject is the file as the validator takes it; no is its number there.
func (f *File) subject(no int) validate.File {
	return validate.File{
		No: no, Path: f.Path, Source: f.Source, Size: f.Size, SHA256: f.SHA256, Explicit: f.Explicit, Archive: f.Archive,
		Open: func() (validate.ReaderAtCloser, error) { return f.open() },
	}
}

// Scan finds, identifies and hashes every file below paths: files or folders. The
// order is that of the arguments, then of the names. Any file that cannot be read
// is an error: a push without it would look complete and not be. Arguments that
// are empty, missing or hold nothing to push are an ErrUsage. workers bounds the
// files read at once; 0 means four for each CPU, at most 16.
//
// An archive is replaced by its members, and a managed image is followed by the
// portable PDB inside it; dir keeps both: the files must not be used once it is closed.
func Scan(ctx context.Context, paths []string, dir *spool.Dir, workers int, report Reporter) ([]File, error) {
	all, err := walk(paths, report)
	if err != nil {
		return nil, err
	}
	if err := name(all); err != nil {
		return nil, err
	}
	s := &scanner{report: report, dir: dir, files: make([]File, len(all)), members: make([][]File, len(all))}
	if err := s.stat(all); err != nil {
		return nil, err
	}
	if workers <= 0 {
		workers = min(readersPerCPU*runtime.GOMAXPROCS(0), mostReaders)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i := range s.files {
		g.Go(func() error { return s.read(gctx, i) })
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	s.replaceArchives()
	s.claimBundles()
	if err := s.addEmbedded(ctx); err != nil {
		return nil, err
	}
	return s.files, s.summary(paths)
}

// A scanner reads files.
type scanner struct {
	report  Reporter
	dir     *spool.Dir
	files   []File
	members [][]File // of each of files that is an archive
	total   int64
	done    atomic.Int64
}

func (s *scanner) stat(all []found) error {
	for i, f := range all {
		fi, err := os.Stat(f.local)
		if err != nil {
			return fmt.Errorf("%w; nothing was uploaded", err)
		}
		s.files[i] = File{Path: f.rel, Local: f.local, Size: fi.Size(), ModTime: fi.ModTime(), Explicit: f.explicit}
		s.total += fi.Size()
	}
	return nil
}

// read reads file no.
func (s *scanner) read(ctx context.Context, no int) error {
	f := &s.files[no]
	file, err := f.open()
	if err != nil {
		return fmt.Errorf("%w; nothing was uploaded", err)
	}
	defer file.Close()
	if f.Identity, err = validate.Identify(file, f.Size, symid.BaseName(f.Path)); err != nil {
		return fmt.Errorf("%s: %w; nothing was uploaded", f.Local, err)
	}
	if opens(f) {
		if s.members[no], err = s.expand(ctx, file, f); err != nil {
			return fmt.Errorf("%s: %w; nothing was uploaded", f.Local, err)
		}
	}
	f.Ignored = validate.Ignored(f.subject(0), f.Identity)
	if s.members[no] != nil && f.Archive == nil { // its members stand for it
		s.done.Add(f.Size)
	} else if err := s.hash(ctx, file, f); err != nil {
		return fmt.Errorf("%s: %w; nothing was uploaded", f.Local, err)
	}
	if fi, err := file.Stat(); err == nil && !fi.ModTime().Equal(f.ModTime) {
		return fmt.Errorf("%s: written at %s, while it was read: %w; nothing was uploaded: scan after the build", f.Local, stamp(fi.ModTime()), ErrChanged)
	}
	return nil
}

func (s *scanner) hash(ctx context.Context, r io.Reader, f *File) error {
	buf := hashBuffers.Get().(*[hashChunk]byte)
	defer hashBuffers.Put(buf)
	h := sha256.New()
	var size int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf[:])
		h.Write(buf[:n])
		size += int64(n)
		if n > 0 {
			s.report.Report(Event{Event: EventScanning, Path: f.Path, FileDone: size, FileSize: f.Size, Done: s.done.Add(int64(n)), Total: s.total})
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if size != f.Size {
		return fmt.Errorf("read %d bytes, wanted %d: %w", size, f.Size, ErrChanged)
	}
	f.SHA256 = catalog.Digest(h.Sum(nil))
	return nil
}

// summary tells what was found and refuses a scan without a symbol.
func (s *scanner) summary(paths []string) error {
	e := Event{Event: EventScanned}
	for _, f := range s.files {
		if f.Ignored {
			e.Ignored++
			continue
		}
		e.Files++
		e.Bytes += f.Size
	}
	s.report.Report(e)
	switch {
	case len(s.files) == 0:
		return fmt.Errorf("%s: no files there: %w", strings.Join(paths, ", "), ErrUsage)
	case e.Files == 0:
		return fmt.Errorf("%s: %d files, none of them a symbol file or executable: %w", strings.Join(paths, ", "), e.Ignored, ErrUsage)
	case e.Files > catalog.MaxFiles:
		return fmt.Errorf("%d files, a package holds at most %d: push parts of it: %w", e.Files, catalog.MaxFiles, ErrUsage)
	}
	return nil
}
