package pdb

import (
	"fmt"
	"io"
	"math"

	"symkeep/internal/symfile"
)

// A ModuleCheck reads the streams of modules and sums up what they tell. It keeps its
// buffers between modules and is not for concurrent use.
type ModuleCheck struct {
	Procs  int  // functions with a body
	Vars   int  // variables, each with a type
	Lines  bool // some code has line numbers
	Frames bool // some code has frame data

	f     *File
	names stringTable
	named bool // names is there
	q     *recordReader
	buf   []byte
	files []uint64 // bitmap: where in the checksums of the present module a row begins
}

// CheckModules prepares to check modules. Its error says that the table of source file
// names is damaged; it wraps ErrLines or is one of the reader.
func (f *File) CheckModules() (*ModuleCheck, error) {
	c := &ModuleCheck{f: f, q: newRecordReader("symbol record", ErrSymbols), buf: make([]byte, 64<<10)}
	var err error
	if c.names, c.named, err = f.readNames(); err != nil {
		c.names, c.named = stringTable{size: math.MaxInt64}, true // one error is enough
	}
	return c, err
}

// Module signatures: of the records before 2003, and of the present ones.
const (
	sigC7  = 1
	sigC11 = 2
	sigC13 = 4
)

// Check reads the stream of m, which came from Modules: the chain of symbol records
// ends where it should, records hold their fixed fields, scopes are nested and say
// truly where they end, line numbers refer to source files that exist. Errors wrap
// ErrSymbols or ErrLines, with offsets in the stream of m, or are those of the reader.
// Source: LLVM, docs/PDB/ModiStream.rst and CodeViewSymbols.rst.
func (c *ModuleCheck) Check(m Module) error {
	if m.Stream == NoStream || c.f.Nil(int(m.Stream)) {
		return nil
	}
	s := c.f.Stream(int(m.Stream))
	if m.SymBytes > 0 {
		if err := c.checkSymbols(s, int64(m.SymBytes)); err != nil {
			return err
		}
	}
	if m.C11Bytes > 0 {
		c.Lines = true
		if m.C13Bytes > 0 {
			return bad(ErrLines, int64(m.SymBytes), "line numbers", "both forms", "the old or the new one")
		}
	}
	return c.checkLines(s, int64(m.SymBytes)+int64(m.C11Bytes), int64(m.C13Bytes))
}

// A scope is an open record: where it is, and where it says that it ends.
type scope struct {
	off int64
	end uint32
}

func (c *ModuleCheck) checkSymbols(s *Stream, n int64) error {
	b, err := symfile.Read(s, n, 0, 4, "module signature", ErrSymbols)
	if err != nil {
		return err
	}
	sig := le.Uint32(b)
	if sig != sigC13 && sig != sigC11 && sig != sigC7 {
		return bad(ErrSymbols, 0, "module signature", fmt.Sprint(sig), fmt.Sprint(sigC13))
	}
	judged := sig == sigC13
	var open []scope
	c.q.start(s, 4, n)
	for {
		r, err := c.q.next()
		if err == io.EOF {
			break
		}
		if err == nil && sig == sigC13 {
			err = checkSymbol(r)
		}
		if err != nil {
			return err
		}
		switch {
		case isProc(r.kind):
			c.Procs++
		case isVar(r.kind):
			c.Vars++
		}
		if judged = judged && !scopesUnknown(r.kind); !judged {
			continue
		}
		if open, err = nest(open, r); err != nil {
			return err
		}
	}
	if judged && len(open) > 0 {
		return bad(ErrSymbols, open[len(open)-1].off, "scope", "no end", "its end before that of the module")
	}
	return nil
}

// nest follows the scopes over r. The parent and the end that a scope records may be
// zero: not every linker fills them in.
func nest(open []scope, r record) ([]scope, error) {
	switch {
	case opensScope(r.kind):
		if len(r.body) < 8 {
			return open, bad(ErrSymbols, r.off, "scope", fmt.Sprintf("%d bytes", len(r.body)), "at least 8")
		}
		parent, end := int64(le.Uint32(r.body)), le.Uint32(r.body[4:])
		within := int64(0)
		if len(open) > 0 {
			within = open[len(open)-1].off
		}
		if parent != 0 && parent != within {
			return open, bad(ErrSymbols, r.off, "parent of a scope", fmt.Sprintf("%#x", parent), fmt.Sprintf("%#x", within))
		}
		return append(open, scope{r.off, end}), nil
	case endsScope(r.kind) && len(open) == 0:
		return open, bad(ErrSymbols, r.off, "end of a scope", "no open one", "as many ends as beginnings")
	case endsScope(r.kind):
		last := open[len(open)-1]
		if last.end != 0 && int64(last.end) != r.off {
			return open, bad(ErrSymbols, last.off, "end of a scope", fmt.Sprintf("%#x", last.end), fmt.Sprintf("%#x, where its end record is", r.off))
		}
		return open[:len(open)-1], nil
	}
	return open, nil
}
