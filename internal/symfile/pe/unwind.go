package pe

import (
	"bufio"
	"fmt"
	"io"

	"symkeep/internal/symfile"
)

const machineX64 = 0x8664

// CheckUnwind reads the table by which Windows walks the stack of x64 code: functions
// in rising order, inside the image, each with unwind information in the file. Tables
// of other machines are not judged. Errors wrap ErrUnwind, or are those of the reader.
// Source: Microsoft, "x64 exception handling", "struct RUNTIME_FUNCTION".
func (f *File) CheckUnwind() error {
	const rowLen = 12
	d := f.Dirs[DirException]
	if f.Machine != machineX64 || d.RVA == 0 || d.Size == 0 || f.inEmptySection(d.RVA) {
		return nil
	}
	off, ok := f.offset(d.RVA, d.Size)
	if !ok || off+int64(d.Size) > f.size {
		return badUnwind(f.DirOff(DirException), "unwind table", fmt.Sprintf("%d bytes at RVA %#x", d.Size, d.RVA), "a place in the file")
	}
	r := bufio.NewReader(io.NewSectionReader(f.r, off, int64(d.Size)))
	var row [rowLen]byte
	last := uint32(0)
	for at := off; at+rowLen <= off+int64(d.Size); at += rowLen {
		if _, err := io.ReadFull(r, row[:]); err != nil {
			return fmt.Errorf("unwind table at %#x: %w", at, noEOF(err))
		}
		begin, end, info := le.Uint32(row[:]), le.Uint32(row[4:]), le.Uint32(row[8:])
		if begin == 0 && end == 0 && info == 0 {
			continue // room that a linker left
		}
		if begin < last || end <= begin || end > f.SizeOfImage {
			return badUnwind(at, "function of the unwind table", fmt.Sprintf("%#x to %#x", begin, end), fmt.Sprintf("a range between %#x and %#x", last, f.SizeOfImage))
		}
		last = begin
		if info&1 == 0 && info >= f.SizeOfImage { // an odd one refers to another function
			return badUnwind(at+8, "unwind information", fmt.Sprintf("RVA %#x", info), fmt.Sprintf("below %#x", f.SizeOfImage))
		}
	}
	return nil
}

func badUnwind(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrUnwind}
}
