package dwarf

import (
	"fmt"
	"slices"
)

// What is looked for: DW_LNCT_LLVM_source, the text of a file, and
// DW_LNE_end_sequence.
const (
	contentSource = 0x2001
	endSequence   = 1
)

// A lineHeader is what the program of a line table needs of the header before it.
type lineHeader struct {
	shape
	off, end   uint64
	program    uint64 // where the header says that it starts
	lineRange  byte
	opcodeBase byte
	operands   [256]byte // of the standard opcodes
}

// lineTables reads the line tables that units named, each once, to its end.
// DWARF 5, section 6.2.4; DWARF 2 to 4, the same.
func (w *walker) lineTables() error {
	s, ok := w.find("line" + w.suffix)
	if w.suffix != "" && w.index == nil && len(w.lines) == 0 {
		w.lines = []uint64{0} // nobody names the only table of a .dwo
	}
	if !ok || w.facts.Units == 0 || len(w.lines) == 0 || s.Unrelocated {
		return nil
	}
	slices.Sort(w.lines)
	return w.through(s, w.namedLines)
}

// namedLines reads the tables in the order of the section.
func (w *walker) namedLines() error {
	r := w.in
	var before uint64 // where the table before starts
	for _, off := range slices.Compact(w.lines) {
		switch {
		case off >= w.section.Size:
			continue // reported where it was found
		case off < r.at():
			w.facts.fault(w.badLine(off, "a table inside the one at "+fmt.Sprintf("%#x", before), "tables apart from each other"))
			continue
		}
		before = off
		r.move(off)
		if err := w.lineTable(off); isFault(err) {
			w.facts.fault(err)
		}
		if r.err != nil {
			return r.err
		}
	}
	return r.finish()
}

// lineTable reads one table and moves to its end.
func (w *walker) lineTable(off uint64) error {
	h := &lineHeader{off: off}
	if err := w.lineHead(h); err != nil {
		return err
	}
	var err error
	if h.version == 5 {
		err = w.lineNames5(h)
	} else {
		w.lineNames(h)
	}
	r := w.in
	switch {
	case err != nil:
	case !r.ok() || r.at() > h.program:
		err = w.badLine(off, fmt.Sprintf("names of files that end at %#x", r.at()), fmt.Sprintf("an end before the program at %#x", h.program))
	default:
		gap := h.program - r.at()
		r.move(h.program)
		if err = w.lineProgram(h); err == nil && gap > 0 {
			err = fault(ErrUnjudged, &w.section, "line table", off, bytesText(gap)+" between the names of files and the program", "nothing there")
		}
	}
	if r.err == nil && !r.move(h.end) {
		return w.badLine(off, "a program that runs far past the table", fmt.Sprintf("an end at %#x", h.end))
	}
	return err
}

// lineHead reads the header up to the names of files.
func (w *walker) lineHead(h *lineHeader) error {
	r := w.in
	length, offSize := r.length()
	h.end, h.offSize = r.at()+length, byte(offSize)
	if !r.ok() || offSize == 0 || length > r.size-r.at() {
		h.end = r.size
		return w.badLine(h.off, fmt.Sprintf("a table of %#x bytes", length), fmt.Sprintf("at most the %#x left in the section", r.size-min(r.at(), r.size)))
	}
	h.version = r.u16()
	if h.version < 2 || h.version > 5 {
		r.move(h.end)
		return w.badLine(h.off, fmt.Sprintf("version %d", h.version), "2 to 5")
	}
	if h.version == 5 {
		h.addrSize = r.u8()
		r.u8()
	}
	size := r.fixed(offSize)
	h.program = r.at() + size
	if size > h.end-min(r.at(), h.end) {
		r.move(h.end)
		return w.badLine(h.off, fmt.Sprintf("a header of %#x bytes", size), fmt.Sprintf("an end within the table, at %#x", h.end))
	}
	r.u8() // minimum_instruction_length
	if h.version >= 4 {
		r.u8() // maximum_operations_per_instruction
	}
	r.u8() // default_is_stmt
	r.u8() // line_base
	h.lineRange, h.opcodeBase = r.u8(), r.u8()
	for i := 1; i < int(h.opcodeBase); i++ {
		h.operands[i] = r.u8()
	}
	return nil
}

// lineNames passes over the directories and files of versions 2 to 4.
func (w *walker) lineNames(h *lineHeader) {
	r := w.in
	for r.ok() && r.at() < h.program && !r.emptyText() {
	}
	for r.ok() && r.at() < h.program && !r.emptyText() {
		r.uleb()
		r.uleb()
		r.uleb()
	}
}

// emptyText passes over a text and reports whether it was empty.
func (r *reader) emptyText() bool {
	start := r.at()
	r.text()
	return r.at() == start+1
}

// lineNames5 passes over the directories and files of version 5, which a table of
// content types and forms describes.
func (w *walker) lineNames5(h *lineHeader) error {
	r := w.in
	for range 2 {
		var format []op
		source := false
		for range r.u8() {
			content, form := r.uleb(), r.uleb()
			source = source || content == contentSource
			format = append(format, h.compile(0, form))
		}
		count := r.uleb()
		if len(format) > 0 && count > h.end-h.off {
			return w.badLine(h.off, fmt.Sprintf("%d directories or files", count), fmt.Sprintf("as many as fit its %#x bytes", h.end-h.off))
		}
		for i := uint64(0); i < count && len(format) > 0 && r.ok() && r.at() <= h.program; i++ {
			if err := w.lineName(h, format); err != nil {
				return err
			}
		}
		w.facts.Sources = w.facts.Sources || source && count > 0
	}
	return nil
}

func (w *walker) lineName(h *lineHeader, format []op) error {
	u := &unit{shape: h.shape, off: h.off, end: h.end}
	for _, o := range format {
		switch o.code {
		case opUnknown, opIndirect, opRef, opDWOID:
			return fault(ErrUnjudged, &w.section, "line table", h.off, fmt.Sprintf("names of form %#x", o.form), "a form that is known here")
		}
		if err := w.value(u, o, w.in.at()); err != nil {
			return err
		}
	}
	return nil
}

// lineProgram runs over the opcodes to the end of the table. DWARF 5, section 6.2.5.
func (w *walker) lineProgram(h *lineHeader) error {
	r := w.in
	open := false // rows wait for the end of their sequence
	for r.at() < h.end {
		r.fill(ahead)
		off := r.at()
		code := r.u8()
		switch {
		case code >= h.opcodeBase && code != 0:
			if h.lineRange == 0 {
				return w.badLine(h.off, "a line range of 0 and special opcodes", "at least 1")
			}
			open = true
		case code == 0:
			n := r.uleb()
			if n == 0 || n > h.end-min(r.at(), h.end) {
				return w.badLine(off, fmt.Sprintf("an opcode of %#x bytes", n), fmt.Sprintf("at least 1, and an end within the table, at %#x", h.end))
			}
			if r.u8() == endSequence {
				open = false
			}
			r.skip(n - 1)
		case code == 9: // fixed_advance_pc, the only operand that is no LEB128 number
			r.u16()
		default:
			open = open || code == 1
			for range h.operands[code] {
				r.uleb()
			}
		}
		w.facts.Lines = w.facts.Lines || open
		if !r.ok() || r.at() > h.end {
			return w.badLine(off, fmt.Sprintf("opcode %d with operands to %#x", code, r.at()), fmt.Sprintf("an end within the table, at %#x", h.end))
		}
	}
	if open {
		return fault(ErrUnjudged, &w.section, "line table", h.off, "rows at its end without an end of their sequence", "an opcode that ends it")
	}
	return nil
}

// badLine is damage of the line table at off, or of an opcode there.
func (w *walker) badLine(off uint64, found, want string) error {
	return fault(ErrDamaged, &w.section, "line table", off, found, want)
}
