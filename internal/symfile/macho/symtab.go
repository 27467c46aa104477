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
	Damage   error // the first name outside the string table; wraps ErrHeader
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
	kind := b[4]
	got.DebugMap = got.DebugMap || kind == stabOSO
	got.Defined = got.Defined || kind&maskStab == 0 && kind&maskType == inSect
	if name := s.Order.Uint32(b); name >= s.strLen && name != 0 && got.Damage == nil {
		got.Damage = damaged(s.Offset+at, "name of a symbol", fmt.Sprintf("offset %#x", name), fmt.Sprintf("below the %#x bytes of the string table", s.strLen))
	}
}
