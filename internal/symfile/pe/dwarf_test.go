package pe_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"symkeep/internal/symfile/dwarf"
	"symkeep/internal/symfile/pe"
)

const mingwEntries = 17

// TestDWARF compares with what llvm-dwarfdump prints of the fixture.
func TestDWARF(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "mingw.dll"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := pe.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := dwarf.Walk(f, "")
	if err != nil || len(got.Faults) > 0 || got.Units != 1 || got.Entries != mingwEntries || !got.Lines || !got.Types || !got.Functions {
		t.Errorf("Walk = %+v, %v, want one unit of %d entries and no fault", got, err, mingwEntries)
	}
	info := f.DebugSections("info")
	if len(info) != 1 || info[0].Size%512 == 0 {
		t.Errorf("DebugSections(info) = %+v, want one without padding", info)
	}
	cut, err := pe.Open(bytes.NewReader(b[:f.Section(".debug_info").RawOffset+1]), int64(f.Section(".debug_info").RawOffset+1))
	if err == nil && len(cut.DebugSections("info")) > 0 {
		t.Error("a section past the end of the file was returned")
	}
}
