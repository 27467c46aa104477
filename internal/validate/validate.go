package validate

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/catalog"
)

// A ReaderAtCloser is one open file.
type ReaderAtCloser interface {
	io.ReaderAt
	io.Closer
}

// A File is one file to validate. Open may be called several times, from several
// goroutines, and must give the same Size bytes each time.
type File struct {
	No       int    // position in the package
	Path     string // slash-separated, relative; the last element decides keys
	Source   string // of a source file: its path in debug information, of symid.CleanSource; empty for all others
	Size     int64
	SHA256   catalog.Digest // of the content; zero if the caller does not know it
	Explicit bool           // named by a person, not found by a scan; a node sets it for every file
	Archive  error          // why nothing came of an archive that was looked into; ErrNoSymbols if nothing is inside
	Open     func() (ReaderAtCloser, error)

	// Prove, where it is set, is called before the first check of the content: its
	// error says that Open does not give the bytes of SHA256. What is remembered of
	// SHA256 needs no proof.
	Prove func(ctx context.Context) error
}

// Options bound the work.
type Options struct {
	Workers int            // files checked at once; default 4, at most the number of CPUs
	Policy  catalog.Policy // weighs what is found; what the codes table says is fixed stays an error
	Memory  Memory         // nil: every file is read
}

// A Report is the outcome. Files are in the order of the files given. Findings
// are about the package as a whole.
type Report struct {
	Verdict  catalog.Verdict
	Findings []catalog.Finding
	Files    []catalog.FileReport
	Ignored  []int // numbers of files that a scan passes over; the agent does not upload them
}

// Package checks files, each by itself and then across all of them. Its error
// means that the check could not be made (I/O, a cancelled ctx, a bug) and says
// nothing about the package; it names the file.
func Package(ctx context.Context, files []File, opt Options) (Report, error) {
	if opt.Workers <= 0 {
		opt.Workers = 4
	}
	p := &pkg{ctx: ctx, subjects: make([]*subject, len(files))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(opt.Workers, runtime.GOMAXPROCS(0)))
	for i, f := range files {
		g.Go(func() (err error) {
			p.subjects[i], err = check(gctx, f, opt.Memory)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Report{}, err
	}
	for _, check := range packageChecks {
		if err := runPackageCheck(p, check); err != nil {
			return Report{}, err
		}
	}
	for _, s := range p.subjects {
		s.weigh(opt.Policy)
	}
	for i := range p.found {
		opt.Policy.Weigh(&p.found[i])
	}
	return p.report(), nil
}

// checkFile runs the checks of one file. A panic of a parser is a bug of ours and
// comes back as an error: it must not pass for a verdict.
func checkFile(ctx context.Context, f File) (s *subject, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("check %q: panic: %v\n%s", f.Path, r, debug.Stack())
		}
	}()
	if f.Prove != nil {
		if err := f.Prove(ctx); err != nil {
			return nil, fmt.Errorf("check %q: %w", f.Path, err)
		}
	}
	s = newSubject(f)
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("check %q: %w", f.Path, err)
	}
	defer r.Close()
	s.in = newInput(ctx, r, f.Size)
	defer s.in.release()
	if s.Identity, err = identify(s.in, s.name); err != nil {
		return nil, fmt.Errorf("check %q: %w", f.Path, err)
	}
	if s.ignored = Ignored(f, s.Identity); !s.ignored {
		s.checkName()
	}
	s.checkGeneral()
	if fm, ok := formats[s.Format]; ok && !s.ignored {
		fm.check(s)
	}
	if err := s.in.failure(); err != nil {
		return nil, fmt.Errorf("check %q: %w", f.Path, err)
	}
	s.in = nil
	return s, nil
}

func runPackageCheck(p *pkg, check func(*pkg) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("check across %d files: panic: %v\n%s", len(p.subjects), r, debug.Stack())
		}
	}()
	if err := p.ctx.Err(); err != nil {
		return err
	}
	return check(p)
}

// A pkg is the package while the checks across its files run.
type pkg struct {
	ctx      context.Context
	subjects []*subject // in the order given; ignored ones included
	found    []catalog.Finding
}

// add reports a hit of code about the package as a whole, as subject.add does.
func (p *pkg) add(code, format string, args ...any) {
	c := codeByID[code]
	p.found = append(p.found, catalog.Finding{Code: c.ID, Severity: c.Severity, Message: fmt.Sprintf(format, args...) + ". " + c.Advice + "."})
}

// factsOf calls f for every file whose check left facts of type T.
func factsOf[T any](p *pkg, f func(s *subject, facts T)) {
	for _, s := range p.subjects {
		if facts, ok := s.facts.(T); ok && !s.ignored {
			f(s, facts)
		}
	}
}

// open gives the bytes of s again; the caller closes.
func (p *pkg) open(s *subject) (*input, io.Closer, error) {
	r, err := s.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("check %q: %w", s.Path, err)
	}
	return newInput(p.ctx, r, s.size), r, nil
}

// digest returns the SHA-256 of s, and reads the file if the caller of Package did
// not know it.
func (p *pkg) digest(s *subject) (catalog.Digest, error) {
	if !s.SHA256.IsZero() {
		return s.SHA256, nil
	}
	in, c, err := p.open(s)
	if err != nil {
		return catalog.Digest{}, err
	}
	defer c.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(in, 0, s.size)); err != nil {
		return catalog.Digest{}, fmt.Errorf("check %q: %w", s.Path, err)
	}
	s.SHA256 = catalog.Digest(h.Sum(nil))
	return s.SHA256, nil
}

func (p *pkg) report() Report {
	rep := Report{Verdict: catalog.Good, Findings: p.found}
	if slices.ContainsFunc(p.found, func(f catalog.Finding) bool { return f.Severity == catalog.Error }) {
		rep.Verdict = catalog.Failed
	}
	for _, s := range p.subjects {
		fr := catalog.FileReport{No: s.No, Kind: s.Kind, Arch: s.Arch, IDs: s.IDs, Findings: s.findings()}
		if s.failed() {
			rep.Verdict = catalog.Failed
		}
		if s.ignored {
			rep.Ignored = append(rep.Ignored, s.No)
		} else {
			fr.Keys, fr.Quality = slices.Clone(s.Keys), s.qualities()
		}
		rep.Files = append(rep.Files, fr)
	}
	return rep
}
