package macho

// stabOSO is the n_type of a symbol that names the object file with the DWARF of
// what follows (mach-o/stab.h, N_OSO).
const stabOSO = 0x66

func (s *Slice) nlistSize() uint64 {
	if s.Is64 {
		return 16
	}
	return 12
}

// HasDebugMap reports whether the symbol table points to object files that hold
// the debug information. It reads the table up to the first such entry; a
// truncated table counts up to its end. The error is that of the reader.
func (s *Slice) HasDebugMap() (bool, error) {
	entry := int64(s.nlistSize())
	off, left := int64(s.symOff), int64(s.symNum)*entry
	if off > s.Size {
		return false, nil
	}
	left = min(left, s.Size-off) / entry * entry
	buf := make([]byte, min(left, (1<<20)/entry*entry))
	for left > 0 {
		b := buf[:min(left, int64(len(buf)))]
		if err := readFull(s.r, b, off); err != nil {
			return false, err
		}
		off, left = off+int64(len(b)), left-int64(len(b))
		for ; len(b) > 0; b = b[entry:] {
			if b[4] == stabOSO {
				return true, nil
			}
		}
	}
	return false, nil
}
