package breakpad

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Facts are what all records of a file say together.
type Facts struct {
	Module    Module
	ModuleErr error // wraps ErrModule
	CodeID    string
	CodeFile  string
	Funcs     int64
	Publics   int64
	Inlines   int64
	Stacks    int64 // STACK CFI INIT and STACK WIN
	Lines     int64 // source line records
	NoLineEnd bool  // the last line is complete but has no end
}

// A RecordError says which line is malformed. It wraps ErrRecord.
type RecordError struct {
	Line  int64  // from 1
	Off   int64  // of the line, bytes
	Found string // the line, cut
	Want  string

	// Dangling says that the line is well-formed, but nothing defines a number that
	// it refers to: readers go on without the name of a file or an inlined function.
	Dangling bool
}

// Error returns the line number, what was found and what was wanted.
func (e *RecordError) Error() string {
	return fmt.Sprintf("line %d: found %q, wanted %s: %v", e.Line, e.Found, e.Want, ErrRecord)
}

// Unwrap returns ErrRecord.
func (e *RecordError) Unwrap() error { return ErrRecord }

// bufferBytes is more than nearly every line has; longer ones are put together.
const bufferBytes = 64 << 10

// Scan reads a whole symbol file. It calls report for every malformed record, in
// order, until that returns false. The error is that of r; damage is reported, not
// returned. The last calls are about numbers that no record defines, and carry the
// line that first used one.
func Scan(r io.Reader, report func(*RecordError) bool) (Facts, error) {
	s := scanner{report: report, in: bufio.NewReaderSize(r, bufferBytes)}
	for !s.stop {
		line, err := s.readLine()
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.facts, err
		}
		s.line++
		s.record(line)
		s.off += s.size
	}
	if s.line == 0 {
		_, s.facts.ModuleErr = parseModule(nil)
	}
	s.undefined(&s.files, "a FILE record with this number")
	s.undefined(&s.origins, "an INLINE_ORIGIN record with this number")
	return s.facts, nil
}

// A scanner is about to judge one line.
type scanner struct {
	in      *bufio.Reader
	report  func(*RecordError) bool
	facts   Facts
	line    int64
	off     int64
	size    int64 // of the line, its end included
	long    []byte
	inFunc  bool
	cfi     bool
	cfiFrom uint64
	cfiSize uint64
	files   numbers
	origins numbers

	reported int64
	stop     bool
	open     bool // the line has no end
	over     bool // the line was longer than MaxLine and is cut
}

// readLine returns the next line without its end. A longer line than MaxLine is
// read to its end but only its start is kept.
func (s *scanner) readLine() ([]byte, error) {
	s.long, s.open, s.over, s.size = s.long[:0], false, false, 0
	for {
		part, err := s.in.ReadSlice('\n')
		s.size += int64(len(part))
		if err == nil && len(s.long) == 0 && len(part) <= MaxLine {
			return trimEnd(part), nil
		}
		room := MaxLine + 2 - len(s.long)
		if len(part) > room {
			part, s.over = part[:room], true
		}
		s.long = append(s.long, part...)
		switch {
		case err == nil:
			return trimEnd(s.long), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && s.size > 0:
			s.open = true
			return s.long, nil
		default:
			return nil, err
		}
	}
}

func trimEnd(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\r'})
}

// bad reports the current line.
func (s *scanner) bad(line []byte, want string) {
	s.emit(&RecordError{Line: s.line, Off: s.off, Found: strings.ToValidUTF8(clip(string(line)), "?"), Want: want})
}

func (s *scanner) emit(e *RecordError) {
	s.reported++
	if !s.stop && !s.report(e) {
		s.stop = true
	}
}

// undefined reports the numbers that were used and never defined.
func (s *scanner) undefined(n *numbers, want string) {
	for _, u := range n.missing() {
		s.emit(&RecordError{Line: u.line, Off: u.off, Found: fmt.Sprintf("number %d", u.number), Want: want, Dangling: true})
	}
}
