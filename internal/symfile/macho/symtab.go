package macho

import "fmt"

// Types of symbols: mach-o/stab.h and mach-o/nlist.h.
const (
	stabOSO  = 0x66 // names the object file with the DWARF of what follows
	maskStab = 0xe0
	maskType = 0x0e
	inSect   = 0x0e
)

func (s *Slice) nlistSize() uint64 {
	if s.Is64 {
		return 16
	}
	return 12
}

// Symbols are what the symbol table says.
type Symbols struct {
	DebugMap bool  // object files hold the debug information
	Defined  bool  // a symbol names something of the slice
	Damage   error // the first symbol whose name or section is not there; wraps ErrHeader
}

// Symbols reads the symbol table to its end; a truncated table counts up to its end.
// The error is that of the reader.
func (s *Slice) Symbols() (Symbols, error) {
	var got Symbols
	entry := int64(s.nlistSize())
	off, left := int64(s.symOff), int64(s.symNum)*entry
	if off > s.Size {
		return got, nil
	}
	left = min(left, s.Size-off) / entry * entry
	buf := make([]byte, min(left, (1<<20)/entry*entry))
	for left > 0 {
		b := buf[:min(left, int64(len(buf)))]
		if err := readFull(s.r, b, off); err != nil {
			return got, err
		}
		for at := off; len(b) > 0; b, at = b[entry:], at+entry {
			s.symbol(b, at, &got)
		}
		off, left = off+int64(len(buf)), left-min(left, int64(len(buf)))
	}
	return got, nil
}

func (s *Slice) symbol(b []byte, at int64, got *Symbols) {
	kind, section := b[4], int(b[5])
	placed := kind&maskStab == 0 && kind&maskType == inSect
	got.DebugMap = got.DebugMap || kind == stabOSO
	got.Defined = got.Defined || placed
	name := s.Order.Uint32(b)
	switch {
	case got.Damage != nil:
	case name >= s.strLen && name != 0:
		got.Damage = damaged(s.Offset+at, "name of a symbol", fmt.Sprintf("offset %#x", name), fmt.Sprintf("below the %#x bytes of the string table", s.strLen))
	case placed && section == 0, kind&maskStab == 0 && section > len(s.Sections): // N_OSO has the kind of processor there
		got.Damage = damaged(s.Offset+at, "section of a symbol", fmt.Sprint(section), fmt.Sprintf("1 to %d", len(s.Sections)))
	}
}
