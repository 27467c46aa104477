package pe

import (
	"bufio"
	"fmt"
	"io"

	"symkeep/internal/symfile"
)

// Bounds on tables of the loader. Ordinals have 16 bits.
const (
	maxExports = 1 << 16
	maxImports = 1 << 16 // DLLs
)

// CheckTables reads what the loader reads of the tables of exports and imports and of
// the load configuration, as far as it leads elsewhere: every address has to lie in the
// image, every name in a section. Bytes that came into the file or went from it move
// such tables away from their addresses. Tables in sections without bytes, as packers
// and .debug files have them, are not judged. Errors wrap ErrTables, or are those of
// the reader.
// Source: PE format, "The .edata Section", "The .idata Section", "The Load
// Configuration Structure".
func (f *File) CheckTables() error {
	for _, check := range []func() error{f.checkExports, f.checkImports, f.checkLoadConfig} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// table returns up to n bytes at rva, which field at off holds: nothing if a section
// without bytes has them.
func (f *File) table(rva uint32, n, off int64, what string) ([]byte, error) {
	if f.inEmptySection(rva) {
		return nil, nil
	}
	at, ok := f.place(rva, n)
	if !ok {
		return nil, badTable(off, what, fmt.Sprintf("%d bytes at RVA %#x, in no section", n, rva), "a place in the file")
	}
	b := make([]byte, n)
	if k, err := f.r.ReadAt(b, at); k < len(b) {
		return nil, fmt.Errorf("%s at %#x: %w", what, at, noEOF(err))
	}
	return b, nil
}

// place is offset for sizes that files declare, and false past the end of the file.
func (f *File) place(rva uint32, n int64) (int64, bool) {
	if n < 0 || n > f.size {
		return 0, false
	}
	at, ok := f.offset(rva, uint32(n))
	return at, ok && at+n <= f.size
}

// reaches reports whether rva leads to at least one byte of the file, or to a section
// that has none.
func (f *File) reaches(rva uint32) bool {
	_, ok := f.place(rva, 1)
	return ok || f.inEmptySection(rva)
}

func (f *File) checkExports() error {
	d := f.Dirs[DirExport]
	if d.RVA == 0 || d.Size == 0 {
		return nil
	}
	const headLen = 40
	head, err := f.table(d.RVA, headLen, f.DirOff(DirExport), "export directory")
	if head == nil {
		return err
	}
	at, _ := f.place(d.RVA, headLen)
	functions, names := le.Uint32(head[20:]), le.Uint32(head[24:])
	if functions > maxExports || names > maxExports {
		return badTable(at+20, "export directory", fmt.Sprintf("%d functions and %d names", functions, names), fmt.Sprintf("at most %d of each", maxExports))
	}
	if !f.reaches(le.Uint32(head[12:])) {
		return badTable(at+12, "name of the exporting image", fmt.Sprintf("RVA %#x, in no section", le.Uint32(head[12:])), "a place in the file")
	}
	if err := f.checkAddresses(le.Uint32(head[28:]), functions, at+28, "exported function", func(rva uint32) bool { return rva < f.SizeOfImage }); err != nil {
		return err
	}
	if err := f.checkAddresses(le.Uint32(head[32:]), names, at+32, "exported name", func(rva uint32) bool { return rva != 0 && f.reaches(rva) }); err != nil || names == 0 {
		return err
	}
	ordinals, err := f.table(le.Uint32(head[36:]), 2*int64(names), at+36, "ordinals of exports")
	for i := 0; i+1 < len(ordinals); i += 2 {
		if o := le.Uint16(ordinals[i:]); uint32(o) >= functions {
			return badTable(at+36, fmt.Sprintf("ordinal of the export named %d", i/2), fmt.Sprint(o), fmt.Sprintf("below the %d functions", functions))
		}
	}
	return err
}

// checkAddresses looks at n RVAs in a table at rva, which field at off holds.
func (f *File) checkAddresses(rva, n uint32, off int64, what string, ok func(uint32) bool) error {
	if n == 0 || f.inEmptySection(rva) {
		return nil
	}
	at, found := f.place(rva, 4*int64(n))
	if !found {
		return badTable(off, what+"s", fmt.Sprintf("%d at RVA %#x, in no section", n, rva), "a place in the file")
	}
	r := bufio.NewReader(io.NewSectionReader(f.r, at, 4*int64(n)))
	var row [4]byte
	for ; n > 0; n, at = n-1, at+4 {
		if _, err := io.ReadFull(r, row[:]); err != nil {
			return fmt.Errorf("%s at %#x: %w", what, at, noEOF(err))
		}
		if v := le.Uint32(row[:]); !ok(v) {
			return badTable(at, what, fmt.Sprintf("RVA %#x", v), "a place in the image")
		}
	}
	return nil
}

// checkImports takes descriptors up to the one without a name or addresses, where the
// loader stops.
func (f *File) checkImports() error {
	d := f.Dirs[DirImport]
	if d.RVA == 0 || d.Size == 0 || f.inEmptySection(d.RVA) {
		return nil
	}
	const rowLen = 20
	for n := range uint32(maxImports) {
		rva := d.RVA + rowLen*n
		row, err := f.table(rva, rowLen, f.DirOff(DirImport), fmt.Sprintf("import descriptor %d", n))
		if row == nil {
			return err
		}
		lookup, name, addresses := le.Uint32(row), le.Uint32(row[12:]), le.Uint32(row[16:])
		if name == 0 || addresses == 0 {
			return nil
		}
		at, _ := f.place(rva, rowLen)
		if !f.reaches(name) {
			return badTable(at+12, fmt.Sprintf("name of import %d", n), fmt.Sprintf("RVA %#x, in no section", name), "a place in the file")
		}
		if lookup >= f.SizeOfImage || addresses >= f.SizeOfImage {
			return badTable(at, fmt.Sprintf("addresses of import %d", n), fmt.Sprintf("RVA %#x and %#x", lookup, addresses), fmt.Sprintf("below SizeOfImage %#x", f.SizeOfImage))
		}
	}
	return badTable(f.DirOff(DirImport), "import directory", fmt.Sprintf("%d DLLs and no end", maxImports), "fewer")
}

// pointers are offsets of virtual addresses in the load configuration: of the security
// cookie, of the checked functions of control flow guard, and of the metadata of
// hybrid images.
var (
	pointers32 = []int64{60, 80, 124}
	pointers64 = []int64{88, 128, 200}
)

func (f *File) checkLoadConfig() error {
	d := f.Dirs[DirLoadConfig]
	if d.RVA == 0 || d.Size == 0 {
		return nil
	}
	head, err := f.table(d.RVA, 4, f.DirOff(DirLoadConfig), "load configuration")
	if head == nil {
		return err
	}
	width, pointers := int64(4), pointers32
	if f.PE32Plus {
		width, pointers = 8, pointers64
	}
	size := int64(le.Uint32(head))
	for _, off := range pointers {
		at, ok := f.place(d.RVA, off+width)
		if !ok || size < off+width {
			return nil
		}
		var b [8]byte
		if n, err := f.r.ReadAt(b[:width], at+off); int64(n) < width {
			return fmt.Errorf("load configuration at %#x: %w", at, noEOF(err))
		}
		if va := le.Uint64(b[:]); va != 0 && (va < f.ImageBase || va-f.ImageBase >= uint64(f.SizeOfImage)) {
			return badTable(at+off, "address in the load configuration", fmt.Sprintf("%#x", va), fmt.Sprintf("%#x to %#x, the image", f.ImageBase, f.ImageBase+uint64(f.SizeOfImage)))
		}
	}
	return nil
}

func badTable(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrTables}
}
