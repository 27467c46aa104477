package dwarf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// A frameForm is what .eh_frame and .debug_frame have differently.
type frameForm struct {
	versions []byte
	// common reports whether an entry with this id describes what others share. Ids have
	// offSize bytes.
	common func(id uint64, offSize int) bool
	// parent returns where the common entry is that the entry with this id at off uses.
	parent func(id, off uint64) uint64
}

// RuntimeFrames reads .eh_frame, or Mach-O's __eh_frame, entry by entry, and returns
// how many functions it describes. Errors wrap ErrDamaged or are the reader's.
// LSB 5.0, section 10.6.
func RuntimeFrames(s Section, order binary.ByteOrder) (int, error) {
	return frames(s, order, frameForm{
		versions: []byte{1, 3, 4},
		common:   func(id uint64, _ int) bool { return id == 0 },
		parent:   func(id, off uint64) uint64 { return off - id },
	})
}

// DebugFrames reads .debug_frame in the same way. DWARF 5, section 6.4.1.
func DebugFrames(s Section, order binary.ByteOrder) (int, error) {
	return frames(s, order, frameForm{
		versions: []byte{1, 3, 4},
		common: func(id uint64, offSize int) bool {
			return offSize == 4 && id == math.MaxUint32 || id == math.MaxUint64
		},
		parent: func(id, _ uint64) uint64 { return id },
	})
}

// frames walks the chain of entries. A length of zero ends a part of it: linkers
// leave one where object files end.
func frames(s Section, order binary.ByteOrder, form frameForm) (int, error) {
	r, err := newReader(&s, order, bufferSize)
	if err != nil || s.Unrelocated {
		return 0, err
	}
	defer r.close()
	bad := func(off uint64, found, want string) error {
		return fault(ErrDamaged, &s, "call frame entry", off, found, want)
	}
	var commons []uint64
	functions := 0
	for r.size-r.at() >= 4 && r.err == nil {
		off := r.at()
		length, offSize := r.length()
		if length == 0 && offSize == 4 {
			continue
		}
		start := r.at()
		if !r.ok() || offSize == 0 || length > r.size-start || length < uint64(offSize) {
			return functions, bad(off, fmt.Sprintf("a length of %#x", length), fmt.Sprintf("%d to the %#x bytes left in the section", offSize, r.size-start))
		}
		id := r.fixed(offSize)
		if form.common(id, offSize) {
			if v := r.u8(); !slices.Contains(form.versions, v) {
				return functions, bad(off, fmt.Sprintf("version %d", v), "1, 3 or 4")
			}
			if len(commons) < maxOffsets {
				commons = append(commons, off)
			}
		} else {
			parent := form.parent(id, start)
			if _, ok := slices.BinarySearch(commons, parent); !ok && len(commons) < maxOffsets && parent < off {
				return functions, bad(off, fmt.Sprintf("a common entry at %#x", parent), "one of those before it")
			}
			functions++
		}
		r.move(start + length)
	}
	if r.err != nil {
		return functions, r.err
	}
	return functions, r.finish()
}
