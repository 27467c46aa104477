package elf_test

import (
	"bytes"
	"io"
	"testing"

	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/elf"
)

const koEntries = 33 // as llvm-dwarfdump prints

// TestRelocated walks a module whose second unit has its abbreviations, strings and
// lines behind those of the first: where they are is in relocations alone.
func TestRelocated(t *testing.T) {
	f := parse(t, fixture(t, "tiny.ko"))
	got, err := dwarf.Walk(f, "")
	if err != nil || len(got.Faults) > 0 || got.Units != 2 || got.Entries != koEntries || !got.Lines || !got.Types {
		t.Fatalf("Walk = %+v, %v, want 2 units of %d entries", got, err, koEntries)
	}
	info := f.DebugSections("info")[0]
	raw, _ := io.ReadAll(f.Raw(f.Section(".debug_info")))
	whole, err := open(info)
	if err != nil || info.At != nil || info.Unrelocated || len(whole) != len(raw) || bytes.Equal(whole, raw) {
		t.Fatalf("%d bytes relocated, %v, want %d others than in the file", len(whole), err, len(raw))
	}
	r, err := info.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var slow []byte
	for b := make([]byte, 3); ; {
		n, err := r.Read(b)
		slow = append(slow, b[:n]...)
		if err != nil {
			break
		}
	}
	if !bytes.Equal(slow, whole) {
		t.Error("small reads give other bytes than one large one")
	}
}

// TestUnrelocated wants a type of relocation that is not known to leave offsets alone.
func TestUnrelocated(t *testing.T) {
	b := bytes.Clone(fixture(t, "tiny.ko"))
	f := parse(t, b)
	var relas *elf.Section
	for i := range f.Sections {
		if f.Sections[i].Name == ".rela.debug_info" {
			relas = &f.Sections[i]
		}
	}
	b[relas.Offset+8] = 77
	info := parse(t, b).DebugSections("info")[0]
	if !info.Unrelocated || info.At == nil {
		t.Errorf("section %+v, want it unrelocated, as it is stored", info)
	}
}

func open(s dwarf.Section) ([]byte, error) {
	r, err := s.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
