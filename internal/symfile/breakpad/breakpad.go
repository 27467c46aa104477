// Package breakpad reads Breakpad symbol files: the MODULE line, which is the
// file's identity, and all records, one line at a time. It is stricter than the
// programs that consume such files, since each of them goes wrong silently on
// something another one accepts.
//
// It holds one line of bounded length and the numbers that FILE and INLINE_ORIGIN
// records define, never the text. Functions are safe for concurrent use.
//
// Source: docs/symbol_files.md of Breakpad; src/processor/basic_source_line_resolver.cc
// for the limits of its reader; breakpad-symbols of rust-minidump for INFO URL.
package breakpad

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"symkeep/internal/symid"
)

// Kinds of damage, wrapped by errors of this package.
var (
	ErrModule = errors.New("malformed MODULE line")
	ErrID     = errors.New("malformed module id")
	ErrRecord = errors.New("malformed record")
)

// MaxLine is the longest line, in bytes without its end, that is accepted. The
// names of C++ templates reach tens of kilobytes.
const MaxLine = 1 << 20

// maxModuleLine is the longest first line; a longer one is no MODULE line.
const maxModuleLine = 4 << 10

// A Module is the first line of a symbol file.
type Module struct {
	OS   string
	Arch string
	ID   string // as written
	Name string // the debug file, rest of the line
}

// DebugID parses the id. An id of 32 digits has no age: it counts as age 0 and
// NoAge tells. Errors wrap ErrID.
func (m Module) DebugID() (symid.DebugID, error) {
	text := m.ID
	if m.NoAge() {
		text += "0"
	}
	id, err := symid.ParseDebugID(text)
	switch {
	case err != nil:
		return id, fmt.Errorf("line 1: found id %q of %d characters, wanted 33 to 40 hex digits: %w", clip(m.ID), len(m.ID), ErrID)
	case id.GUID.IsZero():
		return id, fmt.Errorf("line 1: found id %q, wanted one that is not all zero: %w", m.ID, ErrID)
	}
	return id, nil
}

// NoAge reports whether the id stops where the age should start.
func (m Module) NoAge() bool { return len(m.ID) == 32 }

// A Head is what the first lines of a file tell.
type Head struct {
	Module   Module
	CodeID   string // of the INFO CODE_ID record, as written; empty without one
	CodeFile string
}

// ReadHead reads the first lines of r, which holds size bytes: the MODULE line and
// the INFO lines after it, in at most 4 KiB. Errors wrap ErrModule and quote the
// line.
func ReadHead(r io.ReaderAt, size int64) (Head, error) {
	b := make([]byte, min(size, maxModuleLine))
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return Head{}, err
	}
	line, rest, _ := bytes.Cut(b, []byte{'\n'})
	m, err := parseModule(bytes.TrimSuffix(line, []byte{'\r'}))
	h := Head{Module: m}
	for err == nil && bytes.HasPrefix(rest, []byte("INFO ")) {
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		if f := (fields{trimEnd(line[5:])}); string(f.word()) == "CODE_ID" {
			h.CodeID, h.CodeFile = string(f.word()), string(f.rest)
			break
		}
	}
	return h, err
}

func parseModule(line []byte) (Module, error) {
	bad := func(why string) (Module, error) {
		return Module{}, fmt.Errorf("line 1: found %q (%s), wanted MODULE <os> <arch> <id> <name>: %w", clip(string(line)), why, ErrModule)
	}
	switch {
	case bytes.HasPrefix(line, []byte("\xef\xbb\xbf")):
		return bad("a byte order mark")
	case bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")):
		return bad("UTF-16")
	case !bytes.HasPrefix(line, []byte("MODULE ")):
		return bad("another record or no text")
	case len(line) == maxModuleLine:
		return bad("no end within 4096 bytes")
	case !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0:
		return bad("not UTF-8 text")
	}
	f := strings.SplitN(string(line), " ", 5)
	if len(f) < 5 || strings.TrimSpace(f[4]) == "" {
		return bad(fmt.Sprintf("%d fields", len(strings.Fields(string(line)))))
	}
	m := Module{OS: f[1], Arch: f[2], ID: f[3], Name: f[4]}
	if m.OS == "" || m.Arch == "" || m.ID == "" {
		return bad("an empty field")
	}
	return m, nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
