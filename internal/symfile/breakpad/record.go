package breakpad

import (
	"bytes"
	"math/bits"
)

// What each record looks like, for messages.
const (
	wantFile   = "FILE <number> <name>"
	wantOrigin = "INLINE_ORIGIN <number> <name>"
	wantFunc   = "FUNC [m] <address> <size> <parameter size> <name>"
	wantPublic = "PUBLIC [m] <address> <parameter size> <name>"
	wantInline = "INLINE <depth> <call line> [<call file>] <origin> <address> <size>..."
	wantLine   = "<address> <size> <line> <file number> after a FUNC"
	wantInit   = "STACK CFI INIT <address> <size> <register>: <expression>..."
	wantCFI    = "STACK CFI <address> <register>: <expression>... inside the range of the STACK CFI INIT before it"
	wantRecord = "INFO, FILE, FUNC, PUBLIC, INLINE, INLINE_ORIGIN or STACK, which are all that readers know"
	wantWin    = "STACK WIN <type> and 8 hex fields, <0 or 1>, <program or flag>"
)

// record judges one line.
func (s *scanner) record(line []byte) {
	if s.line == 1 {
		s.facts.Module, s.facts.ModuleErr = parseModule(line)
		if s.facts.ModuleErr == nil && s.open {
			s.bad(line, "a line end and records")
		}
		if bytes.HasPrefix(line, []byte("MODULE ")) || s.facts.ModuleErr != nil && !recordName(line) {
			return
		}
	}
	switch {
	case s.over || len(line) > MaxLine:
		s.bad(line, "a line of at most 1 MiB")
		return
	case bytes.IndexByte(line, 0) >= 0:
		s.bad(line, "text without NUL bytes")
		return
	case bytes.IndexByte(bytes.TrimRight(line, "\r"), '\r') >= 0: // where Breakpad begins another line
		s.bad(line, "a carriage return before a line end only")
		return
	case s.open && !numeric(line):
		s.bad(line, "a line end: the file was cut")
		return
	case len(bytes.TrimSpace(line)) == 0:
		return
	}
	before := s.reported
	s.dispatch(line)
	s.facts.NoLineEnd = s.open && s.reported == before
}

// numeric reports whether the line is of a record that ends with a number, so
// that its completeness can be judged without a line end.
func numeric(line []byte) bool {
	return bytes.HasPrefix(line, []byte("INLINE ")) || !upperWord(line)
}

// recordName reports whether the line starts like a record other than MODULE.
func recordName(line []byte) bool {
	word, _, _ := bytes.Cut(line, []byte{' '})
	switch string(word) {
	case "INFO", "FILE", "FUNC", "PUBLIC", "STACK", "INLINE", "INLINE_ORIGIN":
		return true
	}
	return false
}

func (s *scanner) dispatch(line []byte) {
	word, rest, _ := bytes.Cut(line, []byte{' '})
	switch string(word) {
	case "FILE":
		s.numbered(line, rest, &s.files, wantFile)
	case "INLINE_ORIGIN":
		s.numbered(line, rest, &s.origins, wantOrigin)
	case "FUNC":
		s.function(line, rest)
	case "PUBLIC":
		s.public(line, rest)
	case "INLINE":
		s.inline(line, rest)
	case "STACK":
		s.stack(line, rest)
	case "INFO":
		s.info(rest)
	case "MODULE":
		s.bad(line, "one MODULE record, on line 1")
	default:
		s.other(line)
	}
}

// numbered takes FILE and INLINE_ORIGIN.
func (s *scanner) numbered(line, rest []byte, n *numbers, want string) {
	f := fields{rest}
	number, ok := f.dec()
	if !ok || len(bytes.TrimSpace(f.rest)) == 0 {
		s.bad(line, want)
		return
	}
	n.define(number)
}

func (s *scanner) function(line, rest []byte) {
	s.inFunc = true // even a bad one: its lines are not at fault
	f := fields{rest}
	f.skip("m")
	_, ok1 := f.hex()
	_, ok2 := f.hex()
	_, ok3 := f.hex()
	if !ok1 || !ok2 || !ok3 || len(bytes.TrimSpace(f.rest)) == 0 {
		s.bad(line, wantFunc)
		return
	}
	s.facts.Funcs++
}

func (s *scanner) public(line, rest []byte) {
	s.inFunc = false
	f := fields{rest}
	f.skip("m")
	_, ok1 := f.hex()
	_, ok2 := f.hex()
	if !ok1 || !ok2 || len(bytes.TrimSpace(f.rest)) == 0 {
		s.bad(line, wantPublic)
		return
	}
	s.facts.Publics++
}

// inline takes both forms: the first dump_syms that wrote INLINE left out the file of
// the call, and readers tell by the number of fields, since the ranges come in pairs.
func (s *scanner) inline(line, rest []byte) {
	f := fields{rest}
	old := bytes.Count(rest, []byte{' '})%2 == 0
	_, ok1 := f.dec()
	_, ok2 := f.dec()
	file, ok3 := uint64(0), true
	if !old {
		file, ok3 = f.dec()
	}
	origin, ok4 := f.dec()
	pairs := 0
	ok := ok1 && ok2 && ok3 && ok4
	for ok && len(f.rest) > 0 {
		_, a := f.hex()
		_, b := f.hex()
		ok = a && b
		pairs++
	}
	switch {
	case !ok || pairs == 0:
		s.bad(line, wantInline)
	case !s.inFunc:
		s.bad(line, "INLINE after a FUNC")
	default:
		s.facts.Inlines++
		if !old {
			s.files.refer(file, s.line, s.off)
		}
		s.origins.refer(origin, s.line, s.off)
	}
}

// info keeps the code id; every other key is free text.
func (s *scanner) info(rest []byte) {
	f := fields{rest}
	if string(f.word()) == "CODE_ID" && s.facts.CodeID == "" {
		s.facts.CodeID = string(f.word())
		s.facts.CodeFile = string(f.rest)
	}
}

// other is a source line, or a record of a type that is not known. Those are damage:
// rust-minidump refuses a file for one, and Breakpad takes it for a line that it cannot
// read, so that nothing may write one before both know it.
func (s *scanner) other(line []byte) {
	f := fields{line}
	_, ok := f.hex()
	if !ok && upperWord(line) {
		s.bad(line, wantRecord)
		return
	}
	_, ok2 := f.hex()
	_, ok3 := f.dec()
	file, ok4 := f.dec()
	if !ok || !ok2 || !ok3 || !ok4 || len(f.rest) > 0 || !s.inFunc {
		s.bad(line, wantLine)
		return
	}
	s.facts.Lines++
	s.files.refer(file, s.line, s.off)
}

// upperWord reports whether the line starts with a word like those that name
// records.
func upperWord(line []byte) bool {
	word, _, _ := bytes.Cut(line, []byte{' '})
	for _, c := range word {
		if (c < 'A' || c > 'Z') && c != '_' {
			return false
		}
	}
	return len(word) > 1
}

func (s *scanner) stack(line, rest []byte) {
	s.inFunc = false
	f := fields{rest}
	switch kind := string(f.word()); kind {
	case "CFI":
		if bytes.HasPrefix(f.rest, []byte("INIT ")) {
			f.word()
			s.cfiInit(line, f)
			return
		}
		s.cfiDelta(line, f)
	case "WIN":
		s.win(line, f)
	default:
		s.bad(line, "STACK CFI or STACK WIN")
	}
}

// cfiInit takes any set of rules: dump_syms writes signal trampolines as .ra alone,
// and a stackwalker that lacks .cfa or .ra stops at that frame only.
func (s *scanner) cfiInit(line []byte, f fields) {
	from, ok1 := f.hex()
	size, ok2 := f.hex()
	if !ok1 || !ok2 || !rules(f.rest) {
		s.cfi = false
		s.bad(line, wantInit)
		return
	}
	s.cfi, s.cfiFrom, s.cfiSize = true, from, size
	s.facts.Stacks++
}

func (s *scanner) cfiDelta(line []byte, f fields) {
	at, ok := f.hex()
	if !ok || !rules(f.rest) || !s.cfi || at < s.cfiFrom || at-s.cfiFrom > s.cfiSize {
		s.bad(line, wantCFI)
	}
}

// rules reports whether b starts with a register name and an expression.
func rules(b []byte) bool {
	name, expr, ok := bytes.Cut(b, []byte(": "))
	return ok && len(name) > 0 && bytes.IndexByte(name, ' ') < 0 && len(bytes.TrimSpace(expr)) > 0
}

// win takes type, rva, code size, prolog, epilog, parameters, saved registers,
// locals, largest stack, and a flag that says whether a program string follows.
func (s *scanner) win(line []byte, f fields) {
	ok := true
	for range 9 {
		_, is := f.hex()
		ok = ok && is
	}
	program := string(f.word())
	if !ok || (program != "0" && program != "1") || len(bytes.TrimSpace(f.rest)) == 0 {
		s.bad(line, wantWin)
		return
	}
	s.facts.Stacks++
}

// fields takes a line apart at single spaces, from the left.
type fields struct{ rest []byte }

func (f *fields) word() []byte {
	w, rest, _ := bytes.Cut(f.rest, []byte{' '})
	f.rest = rest
	return w
}

// skip passes over one optional word.
func (f *fields) skip(word string) {
	if rest, ok := bytes.CutPrefix(f.rest, []byte(word+" ")); ok {
		f.rest = rest
	}
}

func (f *fields) hex() (uint64, bool) { return number(f.word(), 16) }
func (f *fields) dec() (uint64, bool) { return number(f.word(), 10) }

// number parses an unsigned 64-bit number without sign, prefix or separators.
func number(b []byte, base uint64) (uint64, bool) {
	var v uint64
	for _, c := range b {
		d := uint64(255)
		switch {
		case '0' <= c && c <= '9':
			d = uint64(c - '0')
		case 'a' <= c && c <= 'f':
			d = uint64(c-'a') + 10
		case 'A' <= c && c <= 'F':
			d = uint64(c-'A') + 10
		}
		hi, lo := bits.Mul64(v, base)
		sum, carry := bits.Add64(lo, d, 0)
		if d >= base || hi != 0 || carry != 0 {
			return 0, false
		}
		v = sum
	}
	return v, len(b) > 0
}
