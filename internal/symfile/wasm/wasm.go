// Package wasm reads what a symbol server must know of a WebAssembly module: its
// build id and which custom sections with debug information it has.
//
// Parse walks the section headers and reads no more than names and the build id; Check
// decodes the module, and package dwarf what the debug sections hold. It judges nothing.
// Functions are safe for concurrent use.
//
// Sources: WebAssembly Core Specification 3.0, chapter 5 (binary format) and appendix
// 7.4 (custom sections); the threads proposal; Tool Conventions, "Build ID", "External
// DWARF", "Producers Section" and "Target Features Section".
package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symid"
)

// ErrHeader is wrapped by every error about the module's bytes.
var ErrHeader = errors.New("damaged WebAssembly module")

// Bounds.
const (
	maxSections    = 1 << 20
	maxDebug       = 64  // custom sections of DWARF
	maxConventions = 16  // custom sections that Check looks into
	maxName        = 256 // bytes of a custom section's name that are looked at
	maxID          = 256 // bytes of a build id
)

// A Module is what the section headers of a module tell.
type Module struct {
	BuildIDs    []symid.BuildID // spellings of the one id: the bytes, then with the length byte that some tools print
	DebugInfo   bool            // a .debug_info section
	Names       bool            // a name section
	External    bool            // external_debug_info: DWARF is in another file
	SourceMap   bool            // sourceMappingURL
	BuildIDNote error           // why a build_id section was not understood; wraps ErrHeader

	r           io.ReaderAt
	debug       []customSection // of DWARF
	conventions []customSection // of the names that Check looks into
	known       []knownSection  // in the order of the file
}

// A customSection is one whose content, behind its name, is [off, end).
type customSection struct {
	name     string
	off, end int64
}

var _ dwarf.File = (*Module)(nil)

// ByteOrder returns the byte order of WebAssembly.
func (m *Module) ByteOrder() binary.ByteOrder { return binary.LittleEndian }

// DebugSections implements dwarf.File.
func (m *Module) DebugSections(name string) []dwarf.Section {
	var all []dwarf.Section
	for _, s := range m.debug {
		if s.name != ".debug_"+name {
			continue
		}
		all = append(all, dwarf.Section{Name: s.name, Size: uint64(s.end - s.off), At: io.NewSectionReader(m.r, s.off, s.end-s.off),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(m.r, s.off, s.end-s.off)), nil }})
	}
	return all
}

// Parse walks the sections of r, which holds size bytes. Errors wrap ErrHeader.
func Parse(r io.ReaderAt, size int64) (*Module, error) {
	head, err := symfile.Read(r, size, 0, 8, "module header", ErrHeader)
	if err != nil {
		return nil, err
	}
	if string(head[:4]) != "\x00asm" {
		return nil, damaged(0, "magic", fmt.Sprintf("% x", head[:4]), "00 61 73 6d")
	}
	if v := binary.LittleEndian.Uint32(head[4:]); v != 1 {
		return nil, damaged(4, "version", fmt.Sprint(v), "1")
	}
	m := &Module{r: r}
	for off, n := int64(8), 0; off < size; n++ {
		if n == maxSections {
			return nil, damaged(off, "number of sections", "more", fmt.Sprintf("at most %d", maxSections))
		}
		next, err := m.section(r, off, size)
		if err != nil {
			return nil, err
		}
		off = next
	}
	return m, nil
}

// section reads the section at off and returns where the next one starts.
func (m *Module) section(r io.ReaderAt, off, size int64) (int64, error) {
	b, err := symfile.Read(r, size, off, min(size-off, 6+5+maxName), "section header", ErrHeader)
	if err != nil {
		return 0, err
	}
	id := b[0]
	length, n, ok := uleb32(b[1:])
	body := off + 1 + int64(n)
	switch {
	case id > 13:
		return 0, damaged(off, "section id", fmt.Sprint(id), "0 to 13")
	case !ok:
		return 0, damaged(off+1, "section size", "no LEB128 number of 32 bits", "one")
	case int64(length) > size-body:
		return 0, damaged(off, "section", fmt.Sprintf("an end at %#x", body+int64(length)), fmt.Sprintf("it inside the %#x bytes of the file", size))
	}
	next := body + int64(length)
	if id != 0 {
		if len(m.known) < maxKnown {
			m.known = append(m.known, knownSection{id, body, next})
		}
		return next, nil
	}
	b = b[1+n:]
	b = b[:min(int64(len(b)), int64(length))]
	nameLen, n, ok := uleb32(b)
	if !ok || uint64(nameLen) > uint64(length)-uint64(n) {
		return 0, damaged(body, "name of a custom section", fmt.Sprintf("length %d", nameLen), fmt.Sprintf("one that fits the section's %d bytes", length))
	}
	if int(nameLen) > len(b)-n {
		return next, nil // longer than any name of interest
	}
	m.custom(r, string(b[n:n+int(nameLen)]), body+int64(n)+int64(nameLen), next)
	return next, nil
}

// custom takes note of one custom section, whose content is [off, end).
func (m *Module) custom(r io.ReaderAt, name string, off, end int64) {
	if strings.HasPrefix(name, ".debug_") && end > off && len(m.debug) < maxDebug {
		m.debug = append(m.debug, customSection{name, off, end})
	}
	switch name {
	case ".debug_info":
		m.DebugInfo = m.DebugInfo || end > off
	case nameSection:
		m.Names = m.Names || end > off
		m.convention(name, off, end)
	case producersSection, featuresSection:
		m.convention(name, off, end)
	case "external_debug_info":
		m.External = true
	case "sourceMappingURL":
		m.SourceMap = true
	case "build_id":
		if len(m.BuildIDs) == 0 {
			m.buildID(r, off, end)
		}
	}
}

// convention keeps a section for Check.
func (m *Module) convention(name string, off, end int64) {
	if len(m.conventions) < maxConventions {
		m.conventions = append(m.conventions, customSection{name, off, end})
	}
}

// buildID reads the id. LLVM writes a length first, some post-link tools write
// only the bytes: a first byte that equals the number of the others is a length.
func (m *Module) buildID(r io.ReaderAt, off, end int64) {
	n := end - off
	if n < 1 || n > maxID+2 {
		m.BuildIDNote = damaged(off, "build_id section", fmt.Sprintf("%d bytes", n), fmt.Sprintf("1 to %d", maxID+2))
		return
	}
	b, err := symfile.Read(r, end, off, n, "build_id section", ErrHeader)
	if err != nil {
		m.BuildIDNote = err
		return
	}
	if length, used, ok := uleb32(b); ok && int(length) == len(b)-used {
		if length == 0 {
			m.BuildIDNote = damaged(off, "build_id section", "an id of 0 bytes", "at least 1")
			return
		}
		m.BuildIDs = []symid.BuildID{symid.BuildID(b[used:]), symid.BuildID(b)}
		return
	}
	m.BuildIDs = []symid.BuildID{symid.BuildID(b), symid.BuildID(append([]byte{byte(n)}, b...))}
}

// uleb32 reads an unsigned LEB128 number of at most 32 bits in at most 5 bytes,
// and returns how many it took.
func uleb32(b []byte) (uint32, int, bool) {
	var v uint64
	for i := 0; i < 5 && i < len(b); i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return uint32(v), i + 1, v>>32 == 0
		}
	}
	return 0, 0, false
}

func damaged(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrHeader}
}
