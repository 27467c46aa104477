package elf

import (
	"fmt"
	"io"
	"slices"

	"symkeep/internal/symfile"
	"symkeep/internal/symid"
)

// Bounds of notes.
const (
	maxNotes   = 1 << 16 // per container
	maxBuildID = 256     // bytes; longer ones are damage
)

// An Identity is what the notes of a file say about who it is.
type Identity struct {
	BuildIDs []symid.BuildID // distinct GNU build ids, in the order found; more than one is a fault
	GoID     bool            // the Go linker's own note is there; it is not a build id
	Damage   error           // the first note that could not be read; wraps ErrNote
}

// noteArea is a segment or section that holds notes.
type noteArea struct {
	what             string
	off, size, align uint64
}

// Identity finds the GNU build id by content: first in PT_NOTE segments, then in
// SHT_NOTE sections, whatever their names. In a split debug file, whose program
// headers describe the image, only sections count. The error is that of the reader.
func (f *File) Identity() (Identity, error) {
	var id Identity
	for _, a := range f.noteAreas() {
		if err := f.scanArea(a, &id); err != nil {
			return id, err
		}
	}
	return id, nil
}

func (f *File) noteAreas() []noteArea {
	var areas []noteArea
	var sections []noteArea
	for i := range f.Sections {
		s := &f.Sections[i]
		if s.Type == SectionNote && s.Size > 0 {
			sections = append(sections, noteArea{"note section " + s.Name, s.Offset, s.Size, s.Align})
		}
	}
	if !f.splitDebug() || len(sections) == 0 {
		for i, p := range f.Segments {
			if p.Type == segNote && p.FileSize > 0 {
				areas = append(areas, noteArea{fmt.Sprintf("note segment %d", i), p.Offset, p.FileSize, p.Align})
			}
		}
	}
	return append(areas, sections...)
}

// scanArea adds what one area says. Areas aligned to 8 are read that way first;
// some linkers put 4-aligned notes there, so they are read again if it fails.
func (f *File) scanArea(a noteArea, id *Identity) error {
	aligns := []uint64{4}
	if a.align == 8 {
		aligns = []uint64{8, 4}
	}
	var damage error
	for _, align := range aligns {
		var got Identity
		if err := f.walkNotes(a, align, &got); err != nil {
			return err
		}
		if got.Damage != nil && len(got.BuildIDs) == 0 {
			damage = got.Damage
			continue
		}
		for _, b := range got.BuildIDs {
			if !slices.Contains(id.BuildIDs, b) {
				id.BuildIDs = append(id.BuildIDs, b)
			}
		}
		id.GoID = id.GoID || got.GoID
		damage = got.Damage
		break
	}
	if id.Damage == nil {
		id.Damage = damage
	}
	return nil
}

// walkNotes reads the notes of an area: sizes of name and content, type, name and
// content; content and end are aligned from the start of the note.
func (f *File) walkNotes(a noteArea, align uint64, id *Identity) error {
	if !f.fits(a.off, a.size) {
		id.Damage = truncated(a.what, a.off, a.size, f.size)
		return nil
	}
	w := newWindow(f.r, int64(a.off), int64(a.off+a.size), 4<<10)
	pos, end := a.off, a.off+a.size
	for n := 0; end-pos >= 12; n++ {
		b, err := w.at(int64(pos), 12)
		if err != nil {
			return err
		}
		nameSize, descSize := uint64(f.Order.Uint32(b)), uint64(f.Order.Uint32(b[4:]))
		kind := f.Order.Uint32(b[8:])
		descOff := pos + alignUp(12+nameSize, align)
		next := descOff + alignUp(descSize, align) // sizes are 32 bits: no overflow
		if descOff+descSize > end || n == maxNotes {
			id.Damage = noteError(a, pos, fmt.Sprintf("a note of %d+%d bytes", nameSize, descSize), fmt.Sprintf("it before %#x", end))
			return nil
		}
		if nameSize == 4 && (kind == 3 || kind == 4) {
			if err := f.identityNote(w, a, pos+12, descOff, descSize, kind, id); err != nil {
				return err
			}
		}
		pos = min(next, end)
	}
	return nil
}

// identityNote takes a note of type 3 with owner GNU and one of type 4 with owner
// Go. An area may list ids twice; each is kept once.
func (f *File) identityNote(w *window, a noteArea, nameOff, descOff, descSize uint64, kind uint32, id *Identity) error {
	owner, err := w.at(int64(nameOff), 4)
	if err != nil {
		return err
	}
	switch {
	case kind == 4 && string(owner) == "Go\x00\x00":
		id.GoID = true
	case kind != 3 || string(owner) != "GNU\x00":
	case descSize == 0 || descSize > maxBuildID:
		id.Damage = noteError(a, nameOff-12, fmt.Sprintf("a build id of %d bytes", descSize), fmt.Sprintf("1 to %d", maxBuildID))
	default:
		desc, err := w.at(int64(descOff), int(descSize))
		if err != nil {
			return err
		}
		if b := symid.BuildID(desc); !slices.Contains(id.BuildIDs, b) {
			id.BuildIDs = append(id.BuildIDs, b)
		}
	}
	return nil
}

func noteError(a noteArea, off uint64, found, want string) error {
	return &symfile.FormatError{Off: int64(off), What: a.what, Found: found, Want: want, Kind: ErrNote}
}

func alignUp(v, align uint64) uint64 { return (v + align - 1) &^ (align - 1) }

// A window gives small pieces of a region that is mostly read forward, through
// one buffer that never grows past chunk or the largest piece asked for.
type window struct {
	r     io.ReaderAt
	end   int64
	chunk int
	buf   []byte
	start int64
}

func newWindow(r io.ReaderAt, start, end int64, chunk int) *window {
	return &window{r: r, start: start, end: end, chunk: chunk}
}

// at returns n bytes at off, valid until the next call; off+n must lie in the
// region.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.start || off+int64(n) > w.start+int64(len(w.buf)) {
		want := int(min(int64(max(n, w.chunk)), w.end-off))
		if cap(w.buf) < want {
			w.buf = make([]byte, want)
		}
		w.buf, w.start = w.buf[:want], off
		if _, err := readFull(w.r, w.buf, off); err != nil {
			w.buf = w.buf[:0]
			return nil, err
		}
	}
	i := off - w.start
	return w.buf[i : i+int64(n)], nil
}
