package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A made file is one that a test wrote: a valid symbol file nobody else has.
type made struct {
	path   string
	sha256 string
}

// seeded returns random bytes that depend on seed alone.
func seeded(seed string) *rand.ChaCha8 { return rand.NewChaCha8(sha256.Sum256([]byte(seed))) }

// makeSym writes a Breakpad file of at least size bytes whose id and contents
// follow from seed.
func makeSym(t testing.TB, dir, seed string, size int64) made {
	t.Helper()
	r := rand.New(seeded(seed))
	return makeFile(t, filepath.Join(dir, seed+".sym"), func(w io.Writer) error {
		n, err := fmt.Fprintf(w, "MODULE Linux x86_64 %016X%016X0 %s\nFILE 0 %s.c\n", r.Uint64(), r.Uint64(), seed, seed)
		written := int64(n)
		for addr := uint64(0x1000); err == nil && (written < size || addr == 0x1000); addr += 0x100 {
			n, err = fmt.Fprintf(w, "FUNC %x 80 0 f%x_%s\n%x 40 %d 0\n%x 40 %d 0\n",
				addr, r.Uint64(), seed, addr, r.IntN(9999)+1, addr+0x40, r.IntN(9999)+1)
			written += int64(n)
		}
		return err
	})
}

// makeELF writes an x86-64 program with random code of textSize bytes, a build id
// and DWARF units, all following from seed.
func makeELF(t testing.TB, dir, seed string, textSize int) made {
	t.Helper()
	path := filepath.Join(dir, seed)
	text := make([]byte, textSize)
	seeded(seed).Read(text)
	img := elfImage{exe: true, text: int64(textSize), units: 3, unitSize: 4 << 10, seed: seed}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := img.write(f); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(text, img.textOffset()); err != nil {
		t.Fatal(err)
	}
	return made{path, hashFile(t, path)}
}

// makeHugeELF writes a debug file of at least size bytes. Its .debug_info is a
// chain of units whose one entry holds a block of bytes; every MiB of it begins with
// bytes of its own, the rest is a hole in the file.
func makeHugeELF(t testing.TB, path string, size int64) made {
	t.Helper()
	const unit = 64 << 20
	img := elfImage{units: int((size + unit - 1) / unit), unitSize: unit, seed: filepath.Base(path)}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := img.write(f); err != nil {
		t.Fatal(err)
	}
	r, chunk := seeded(img.seed), make([]byte, 4<<10)
	for off := int64(0); off < int64(img.units)*unit; off += 1 << 20 {
		r.Read(chunk)
		if _, err := f.WriteAt(chunk, img.infoOffset()+off+64); err != nil { // within the block of a unit
			t.Fatal(err)
		}
	}
	return made{path, hashFile(t, path)}
}

// An elfImage is the layout of a made ELF file: header, build-id note, .text,
// .debug_abbrev, .debug_info, section names, section headers, in that order.
type elfImage struct {
	exe      bool // with code; else a debug file, whose .text is NOBITS
	text     int64
	units    int
	unitSize int64
	seed     string
}

// abbrev declares one root entry: DW_TAG_compile_unit without children, DW_AT_language
// as data2, DW_AT_lo_user as block4.
var abbrev = []byte{1, 0x11, 0, 0x13, 0x05, 0x80, 0x40, 0x04, 0, 0, 0}

const (
	elfHeaderSize = 64
	noteSize      = 36 // 12 + "GNU\0" + 20
)

func (e elfImage) textOffset() int64   { return 0x1000 }
func (e elfImage) abbrevOffset() int64 { return e.textOffset() + (e.text+15)&^15 }
func (e elfImage) infoOffset() int64   { return e.abbrevOffset() + 16 }
func (e elfImage) namesOffset() int64  { return e.infoOffset() + int64(e.units)*e.unitSize }

func (e elfImage) buildID() []byte {
	id := sha256.Sum256([]byte("build id of " + e.seed))
	return id[:20]
}

// write writes everything but the bytes of .text and of the units' entries.
func (e elfImage) write(w io.WriterAt) error {
	const names = "\x00.note.gnu.build-id\x00.text\x00.debug_abbrev\x00.debug_info\x00.shstrtab\x00"
	textType, fileType := uint32(1), uint16(3)
	if !e.exe {
		textType = 8 // SHT_NOBITS
	}
	name := func(s string) uint32 { return uint32(bytes.Index([]byte(names), []byte("\x00"+s+"\x00")) + 1) }
	type section struct {
		name, kind             uint32
		flags, addr, off, size uint64
		link, info             uint32
		align, entry           uint64
	}
	info := uint64(int64(e.units) * e.unitSize)
	sections := []section{
		{},
		{name: name(".note.gnu.build-id"), kind: 7, flags: 2, addr: elfHeaderSize, off: elfHeaderSize, size: noteSize, align: 4},
		{name: name(".text"), kind: textType, flags: 6, addr: 0x1000, off: uint64(e.textOffset()), size: uint64(max(e.text, 16)), align: 16},
		{name: name(".debug_abbrev"), kind: 1, off: uint64(e.abbrevOffset()), size: uint64(len(abbrev)), align: 1},
		{name: name(".debug_info"), kind: 1, off: uint64(e.infoOffset()), size: info, align: 1},
		{name: name(".shstrtab"), kind: 3, off: uint64(e.namesOffset()), size: uint64(len(names)), align: 1},
	}
	le := binary.LittleEndian
	head := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0}, make([]byte, 8)...)
	head = le.AppendUint16(head, fileType)
	head = le.AppendUint16(head, 62)
	head = le.AppendUint32(head, 1)
	head = le.AppendUint64(head, 0x1000)                              // e_entry
	head = le.AppendUint64(head, 0)                                   // e_phoff
	head = le.AppendUint64(head, uint64(e.namesOffset()+0x100)&^0xff) // e_shoff
	head = le.AppendUint32(head, 0)
	for _, v := range []uint16{elfHeaderSize, 56, 0, 64, uint16(len(sections)), uint16(len(sections) - 1)} {
		head = le.AppendUint16(head, v)
	}
	head = le.AppendUint32(head, 4) // the note: name size, id size, NT_GNU_BUILD_ID
	head = le.AppendUint32(head, 20)
	head = le.AppendUint32(head, 3)
	head = append(append(head, "GNU\x00"...), e.buildID()...)

	var table bytes.Buffer
	for _, s := range sections {
		if err := binary.Write(&table, le, s); err != nil {
			return err
		}
	}
	unit := le.AppendUint32(nil, uint32(e.unitSize-4))
	unit = le.AppendUint16(unit, 4) // DWARF 4
	unit = le.AppendUint32(unit, 0)
	unit = append(unit, 8, 1, 0x0c, 0x00) // address size, root entry, DW_LANG_C99
	unit = le.AppendUint32(unit, uint32(e.unitSize-int64(len(unit))-4))
	type piece struct {
		off int64
		b   []byte
	}
	pieces := []piece{
		{0, head}, {e.abbrevOffset(), abbrev}, {e.namesOffset(), []byte(names)},
		{(e.namesOffset() + 0x100) &^ 0xff, table.Bytes()},
	}
	for i := range e.units {
		pieces = append(pieces, piece{e.infoOffset() + int64(i)*e.unitSize, unit})
	}
	for _, p := range pieces {
		if _, err := w.WriteAt(p.b, p.off); err != nil {
			return err
		}
	}
	return nil
}

// makeFile writes a file through a buffer.
func makeFile(t testing.TB, path string, write func(io.Writer) error) made {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	b := bufio.NewWriterSize(io.MultiWriter(f, h), 1<<20)
	if err := write(b); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	return made{path, hex.EncodeToString(h.Sum(nil))}
}

func hashFile(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return hashOf(t, f)
}

func hashOf(t testing.TB, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// makePackage writes a folder with one program and one Breakpad file.
func makePackage(t testing.TB, base, seed string) string {
	t.Helper()
	dir := filepath.Join(base, seed)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	makeELF(t, dir, seed+"-prog", 64<<10)
	makeSym(t, dir, seed+"-sym", 64<<10)
	return dir
}
