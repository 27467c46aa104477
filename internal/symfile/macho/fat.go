package macho

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"symkeep/internal/symfile"
)

// arch is one entry of a fat header.
type arch struct {
	cpu, sub  uint32
	off, size uint64
}

// parseFat reads a fat or fat64 header, big-endian always, and every slice.
func parseFat(r io.ReaderAt, size int64) (*File, error) {
	archs, err := readArchs(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{Fat: true}
	for i, a := range archs {
		s, err := parseSlice(r, int64(a.off), int64(a.size))
		switch {
		case errors.Is(err, ErrHeader) || errors.Is(err, ErrTruncated):
			return nil, fmt.Errorf("slice %d (%s): %w", i, archName(a.cpu, a.sub&^0xff000000), err)
		case err != nil:
			return nil, err
		case s.CPU != a.cpu:
			return nil, fatError(int64(a.off), fmt.Sprintf("cpu type of slice %d", i), fmt.Sprintf("%#x", s.CPU), fmt.Sprintf("%#x as in the fat header", a.cpu))
		}
		f.Slices = append(f.Slices, s)
	}
	return f, nil
}

// readArchs reads the table of slices and checks that they lie in the file, behind
// the table and apart from each other.
func readArchs(r io.ReaderAt, size int64) ([]arch, error) {
	if size < 8 {
		return nil, fatError(0, "fat header", fmt.Sprintf("%d bytes", size), "at least 8")
	}
	head := make([]byte, 8)
	if err := readFull(r, head, 0); err != nil {
		return nil, err
	}
	o := binary.BigEndian
	entry := 20
	if o.Uint32(head) == 0xcafebabf {
		entry = 32
	}
	count := o.Uint32(head[4:])
	if count == 0 || count > maxSlices {
		return nil, fatError(4, "number of slices", fmt.Sprint(count), fmt.Sprintf("1 to %d", maxSlices))
	}
	end := 8 + int64(count)*int64(entry)
	if end > size {
		return nil, fatError(8, "table of slices", fmt.Sprintf("an end at %#x", end), fmt.Sprintf("it inside the %#x bytes of the file", size))
	}
	b := make([]byte, end-8)
	if err := readFull(r, b, 8); err != nil {
		return nil, err
	}
	var archs []arch
	for i := range int(count) {
		a := decodeArch(b[i*entry:], entry)
		if a.off < uint64(end) || a.off > uint64(size) || a.size > uint64(size)-a.off {
			return nil, fatError(int64(8+i*entry), fmt.Sprintf("slice %d (%s)", i, archName(a.cpu, a.sub&^0xff000000)),
				fmt.Sprintf("%d bytes at %#x", a.size, a.off), fmt.Sprintf("it between the table and the end of the file at %#x", size))
		}
		archs = append(archs, a)
	}
	return archs, apart(archs)
}

func decodeArch(b []byte, entry int) arch {
	o := binary.BigEndian
	a := arch{cpu: o.Uint32(b), sub: o.Uint32(b[4:])}
	if entry == 20 {
		a.off, a.size = uint64(o.Uint32(b[8:])), uint64(o.Uint32(b[12:]))
	} else {
		a.off, a.size = o.Uint64(b[8:]), o.Uint64(b[16:])
	}
	return a
}

// apart checks that no two slices share bytes.
func apart(archs []arch) error {
	s := slices.Clone(archs)
	slices.SortFunc(s, func(a, b arch) int { return cmp.Compare(a.off, b.off) })
	for i := 1; i < len(s); i++ {
		if s[i-1].off+s[i-1].size > s[i].off { // both inside the file: no overflow
			return fatError(int64(s[i].off), "slice at this offset", "bytes of the slice before it", "its own")
		}
	}
	return nil
}

func fatError(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrFat}
}
