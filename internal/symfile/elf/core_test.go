package elf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"symkeep/internal/symfile/elf"
)

// A piece is one mapping of a process under construction.
type piece struct {
	path string
	addr uint64
	off  uint64 // in the file
	data []byte // what was dumped of it
	size uint64 // of the mapping; that of data if 0
	code bool
}

// coreFile builds a core dump: a thread's registers, NT_FILE, then the mappings.
func coreFile(class byte, o byteOrder, page uint64, pieces ...piece) []byte {
	is32 := class == 1
	eh, ph := 64, 56
	if is32 {
		eh, ph = 52, 32
	}
	word := func(b []byte, v uint64) []byte {
		if is32 {
			return o.AppendUint32(b, uint32(v))
		}
		return o.AppendUint64(b, v)
	}
	desc := word(word(nil, uint64(len(pieces))), page)
	names := []byte{}
	for i, p := range pieces {
		if p.size == 0 {
			pieces[i].size = uint64(len(p.data))
		}
		desc = word(word(word(desc, p.addr), p.addr+pieces[i].size), p.off/page)
		names = append(append(names, p.path...), 0)
	}
	notes := append(note(o, "CORE\x00", 1, make([]byte, 336), 4), note(o, "CORE\x00", 0x46494c45, append(desc, names...), 4)...)
	b := append([]byte{0x7f, 'E', 'L', 'F', class, 1, 1}, make([]byte, 9)...)
	if o == binary.BigEndian {
		b[5] = 2
	}
	b = o.AppendUint32(o.AppendUint16(o.AppendUint16(b, 4), 62), 1)
	b = word(word(word(b, 0), uint64(eh)), 0)
	b = o.AppendUint32(b, 0)
	for _, v := range []int{eh, ph, 1 + len(pieces), 0, 0, 0} {
		b = o.AppendUint16(b, uint16(v))
	}
	at := uint64(eh + ph*(1+len(pieces)))
	segment := func(kind, flags uint32, addr, filesz, memsz uint64) {
		b = o.AppendUint32(b, kind)
		if !is32 {
			b = o.AppendUint32(b, flags)
		}
		for _, v := range []uint64{at, addr, 0, filesz, memsz} {
			b = word(b, v)
		}
		if is32 {
			b = o.AppendUint32(b, flags)
		}
		b = word(b, 1)
		at += filesz
	}
	segment(4, 4, 0, uint64(len(notes)), 0)
	for _, p := range pieces {
		flags := uint32(4)
		if p.code {
			flags = 5
		}
		segment(1, flags, p.addr, uint64(len(p.data)), p.size)
	}
	b = append(b, notes...)
	for _, p := range pieces {
		b = append(b, p.data...)
	}
	return b
}

// noted builds an image whose build id is in a PT_NOTE segment.
func noted(class byte, o byteOrder, id string) []byte {
	return image{class: class, order: o, notes: ".note", notesAlign: 4,
		sects: []sect{{name: ".note", kind: 7, data: note(o, "GNU\x00", 3, []byte(id), 4)}}}.bytes()
}

// list prints what Core found.
func list(ms []elf.Mapped) string {
	var lines []string
	for _, m := range ms {
		line := fmt.Sprintf("%s %#x", m.Path, m.Start)
		for _, id := range m.BuildIDs {
			line += " " + id.String()
		}
		if m.Absent {
			line += " absent"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// TestCore reads dumps of both classes and byte orders, written with pages and with
// bytes as units.
func TestCore(t *testing.T) {
	for _, class := range []byte{1, 2} {
		for _, o := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
			for _, page := range []uint64{1, 4096} {
				app, lib := noted(class, o, "appappap"), noted(class, o, "liblibli")
				lib = append(lib, make([]byte, 4096-len(lib))...)
				b := coreFile(class, o, page,
					piece{path: "/bin/app", addr: 0x10000, data: app, size: 8192, code: true},
					piece{path: "/lib/lib.so (deleted)", addr: 0x40000, data: lib},
					piece{path: "/lib/lib.so (deleted)", addr: 0x41000, off: 4096, data: []byte("code"), size: 4096, code: true},
					piece{path: "/usr/lib/locale", addr: 0x50000, data: bytes.Repeat([]byte("locale  "), 512)},
					piece{path: "/lib/cut.so", addr: 0x60000, size: 4096, code: true},
					piece{path: "/var/data", addr: 0x70000, size: 4096},
					piece{path: "/lib/lib.so (deleted)", addr: 0x80000, data: lib}, // again, for another name space
				)
				ms, err := parse(t, b).Core()
				want := "/bin/app 0x10000 6170706170706170\n/lib/lib.so 0x40000 6c69626c69626c69\n/lib/cut.so 0x60000 absent"
				if got := list(ms); err != nil || got != want {
					t.Errorf("class %d, %v, units of %d: Core = %q, %v, want %q", class, o, page, got, err, want)
				}
			}
		}
	}
}

// TestCorePieces reads an image whose notes lie in a later mapping, and one whose
// notes were not dumped.
func TestCorePieces(t *testing.T) {
	o := binary.LittleEndian
	im := noted(2, o, "01234567")
	cut := bytes.LastIndex(im, []byte("GNU\x00")) - 12
	b := coreFile(2, o, 1,
		piece{path: "/split", addr: 0x1000, data: im[:cut]},
		piece{path: "/split", addr: 0x9000, off: uint64(cut), data: im[cut : cut+20], size: 20},
		piece{path: "/split", addr: 0xa000, off: uint64(cut) + 20, data: im[cut+20:]},
		piece{path: "/noteless", addr: 0x20000, data: im[:cut], size: 0x1000},
	)
	ms, err := parse(t, b).Core()
	if got, want := list(ms), "/split 0x1000 3031323334353637\n/noteless 0x20000 absent"; err != nil || got != want {
		t.Errorf("Core = %q, %v, want %q", got, err, want)
	}
}

func TestCoreDamage(t *testing.T) {
	o := binary.LittleEndian
	whole := coreFile(2, o, 1, piece{path: "/bin/app", addr: 0x1000, data: noted(2, o, "appappap"), code: true})
	at := bytes.Index(whole, []byte("ELIF"))
	edit := func(fn func(b []byte)) []byte {
		b := bytes.Clone(whole)
		fn(b)
		return b
	}
	for name, tt := range map[string]struct {
		in   []byte
		want error
	}{
		"no core":         {noted(2, o, "appappap"), elf.ErrCore},
		"no list":         {edit(func(b []byte) { b[at]++ }), elf.ErrCore},
		"too many files":  {edit(func(b []byte) { o.PutUint64(b[at+12:], 1<<60) }), elf.ErrCore},
		"names cut":       {edit(func(b []byte) { copy(b[bytes.Index(b, []byte("/bin/app")):], "/bin/app/bin") }), elf.ErrCore},
		"note cut":        {edit(func(b []byte) { o.PutUint32(b[at-4:], 1<<30) }), elf.ErrNote},
		"file cut":        {whole[:at+8], elf.ErrTruncated},
		"short list":      {edit(func(b []byte) { o.PutUint32(b[at-4:], 12) }), elf.ErrCore},
		"memory cut away": {whole[:bytes.LastIndex(whole, []byte("\x7fELF"))+10], nil},
	} {
		ms, err := parse(t, tt.in).Core()
		if !errors.Is(err, tt.want) || (tt.want == nil && list(ms) != "/bin/app 0x1000 absent") {
			t.Errorf("%s: Core = %q, %v, want %v", name, list(ms), err, tt.want)
		}
	}
}

func FuzzCore(f *testing.F) {
	o := binary.LittleEndian
	f.Add(coreFile(2, o, 4096, piece{path: "/bin/app", addr: 0x10000, data: noted(2, o, "appappap"), size: 8192, code: true}))
	f.Add(coreFile(1, binary.BigEndian, 1, piece{path: "/a", addr: 0x10000, data: noted(1, binary.BigEndian, "appappap")}, piece{path: "/b", addr: 0x20000, size: 10}))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := elf.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		ms, err := file.Core()
		if err == nil && len(ms) > len(b) {
			t.Fatalf("%d files from %d bytes", len(ms), len(b))
		}
	})
}
