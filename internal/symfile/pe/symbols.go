package pe

import (
	"bufio"
	"fmt"
	"io"

	"symkeep/internal/symfile"
)

// LongNames reports whether a section has a name of more than eight bytes, which
// stands in the string table: GNU tools and Go write those, for DWARF.
func (f *File) LongNames() bool { return f.longNames }

// CheckSymbols reads the COFF symbol table, if there is one: every row and the string
// table after it lie in the file, long names of symbols and sections lie in that,
// sections exist. Errors wrap
// ErrSymbols, or are those of the reader.
// Source: PE format, "COFF Symbol Table" and "COFF String Table".
func (f *File) CheckSymbols() error {
	at := f.strings()
	if at == 0 {
		return nil
	}
	b, err := symfile.Read(f.r, f.size, at, 4, "size of the string table", ErrSymbols)
	if err != nil {
		return err
	}
	size := int64(le.Uint32(b))
	if size != 0 && size < 4 || at+size > f.size {
		return badSymbols(at, "size of the string table", fmt.Sprint(size), fmt.Sprintf("4 to %d", f.size-at))
	}
	if f.lostName != "" {
		return badSymbols(at, "name of a section", fmt.Sprintf("%q", f.lostName), fmt.Sprintf("a name in the %d bytes of the string table", size))
	}
	r := bufio.NewReader(io.NewSectionReader(f.r, f.SymbolsOff, symbolLen*f.SymbolCount))
	var row [symbolLen]byte
	for i, aux := int64(0), 0; i < f.SymbolCount; i++ {
		if _, err := io.ReadFull(r, row[:]); err != nil {
			return fmt.Errorf("symbol table at %#x: %w", f.SymbolsOff+symbolLen*i, noEOF(err))
		}
		if aux > 0 {
			aux--
			continue
		}
		aux = int(row[17])
		if err := f.checkSymbol(f.SymbolsOff+symbolLen*i, row[:], size); err != nil {
			return err
		}
	}
	return nil
}

// checkSymbol checks one row, which stands at off; strings is the size of the table of
// names.
func (f *File) checkSymbol(off int64, row []byte, strings int64) error {
	const debug = -2 // the lowest of the numbers that mean no section
	if name := int64(le.Uint32(row[4:])); le.Uint32(row) == 0 && (name < 4 && name != 0 || name >= strings && name != 0) {
		return badSymbols(off+4, "name of a symbol", fmt.Sprintf("offset %d", name), fmt.Sprintf("4 to %d", strings-1))
	}
	if no := int(int16(le.Uint16(row[12:]))); no < debug || no > len(f.Sections) {
		return badSymbols(off+12, "section of a symbol", fmt.Sprint(no), fmt.Sprintf("at most %d", len(f.Sections)))
	}
	return nil
}

func badSymbols(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrSymbols}
}
