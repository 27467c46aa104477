// Package dwarf walks the debug information of a file far enough to know that a
// debugger can read it: every unit, every entry with every attribute, the line
// tables, call frames and, of split DWARF, the index of a package. It reads
// versions 2 to 5, the 32-bit and 64-bit format, both byte orders, and the
// extensions of GNU (Fission, dwz), LLVM and Apple.
//
// It judges nothing: faults come as errors, and what they mean for a file is for
// the caller. Sections stream once, forward, whatever their size; memory is taken
// for one abbreviation table at a time, and for offsets that were seen. A walk
// belongs to one goroutine; walks of different files do not meet.
//
// Sources: DWARF 5 sections 6.1 (lookup tables), 6.2 (line numbers), 6.4 (call
// frames), 7.3.5 (package files) and 7.5 (units, abbreviations, forms); DWARF 2 to
// 4 for what they had otherwise; the GNU Fission pages; LSB 5.0, 10.6 (.eh_frame).
package dwarf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"symkeep/internal/symfile"
)

// What a fault is, wrapped by the errors of this package. Every one of them is a
// *symfile.FormatError whose Off counts from the start of the unpacked section.
var (
	// ErrDamaged means that a debugger loses its way.
	ErrDamaged = errors.New("unreadable DWARF")
	// ErrUnjudged means that the data is odd or not known here. Debuggers may well
	// read it, and nothing behind it in the same unit or table was looked at.
	ErrUnjudged = errors.New("DWARF that cannot be judged")
)

// Bounds on what one walk remembers.
const (
	maxFaults  = 20       // of one section; the others are counted
	maxOffsets = 1 << 22  // ids of units, or line tables, kept
	maxMemory  = 64 << 20 // bytes of a compressed section that is needed out of order
	maxPadding = 64       // zero bytes in a row between units; linkers align to 16
)

// A Section is one section as a debugger sees it: unpacked.
type Section struct {
	Name string      // as the file has it, for messages
	Size uint64      // bytes, unpacked
	At   io.ReaderAt // the content, where it is stored as it is; nil where it is compressed
	// Open returns the content from the start. Damage of the compression shows as an
	// error of the reader, and so does an end that is not at Size.
	Open func() (io.ReadCloser, error)
	// Unrelocated says that offsets into other sections are not in place: the file is
	// relocatable, and its relocations were not applied.
	Unrelocated bool
}

// all returns the whole content; the caller has looked at Size.
func (s *Section) all() ([]byte, error) {
	body, err := s.Open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// outOfOrder makes the content readable out of order, and returns its size; nil if it is
// compressed and over maxMemory.
func (s *Section) outOfOrder() (io.ReaderAt, uint64, error) {
	if s.At != nil || s.Size > maxMemory {
		return s.At, s.Size, nil
	}
	b, err := s.all()
	if err != nil {
		return nil, 0, err
	}
	return bytes.NewReader(b), uint64(len(b)), nil
}

// A File gives access to the sections of one file.
type File interface {
	ByteOrder() binary.ByteOrder
	// DebugSections returns the sections with content that ELF calls ".debug_" and
	// name, Mach-O "__debug_" and name, in file order. The units of split DWARF are in
	// "info.dwo". More than one has only what no linker merged.
	DebugSections(name string) []Section
}

// Facts are what a walk saw.
type Facts struct {
	Units     int
	Entries   uint64
	Skeletons int      // units whose debug information is in another file
	DWOIDs    []uint64 // ids of skeleton or split units, in order
	Functions bool     // an entry describes a function
	Types     bool     // an entry describes a type
	Lines     bool     // a line table has rows
	Sources   bool     // a line table embeds source text
	Faults    []error  // in the order found; each wraps ErrDamaged or ErrUnjudged
	More      int      // faults that are not listed
}

// Damaged reports whether any listed fault is damage.
func (f *Facts) Damaged() bool {
	for _, err := range f.Faults {
		if errors.Is(err, ErrDamaged) {
			return true
		}
	}
	return false
}

// fault adds one.
func (f *Facts) fault(err error) {
	if len(f.Faults) < maxFaults {
		f.Faults = append(f.Faults, err)
		return
	}
	f.More++
}

// Walk reads the units of a file, those of ".debug_info" and ".debug_types", or of
// split DWARF where suffix is ".dwo", the line tables they name, their lists of ranges
// and locations, and of version 5 the tables of strings and addresses. Its error is one
// of the sections' readers; facts then hold what came before.
func Walk(f File, suffix string) (Facts, error) {
	w := &walker{file: f, order: f.ByteOrder(), suffix: suffix, oldest: 5}
	for _, name := range []string{"info", "types"} {
		for _, s := range f.DebugSections(name + suffix) {
			if err := w.units(name, s); err != nil {
				return w.facts, err
			}
		}
	}
	if err := w.lineTables(); err != nil {
		return w.facts, err
	}
	if err := w.walkOldLists(); err != nil {
		return w.facts, err
	}
	if err := w.tables(); err != nil {
		return w.facts, err
	}
	return w.facts, w.lookups()
}

// find returns the first section of that name.
func (w *walker) find(name string) (Section, bool) {
	for _, s := range w.file.DebugSections(name) {
		return s, true
	}
	return Section{}, false
}

// fault makes an error about what is at off of s.
func fault(kind error, s *Section, what string, off uint64, found, want string) error {
	return &symfile.FormatError{Off: int64(off), What: what + " in " + s.Name, Found: found, Want: want, Kind: kind}
}

func bytesText(n uint64) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}
