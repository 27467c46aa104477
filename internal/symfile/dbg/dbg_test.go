package dbg_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"symkeep/internal/symfile/dbg"
)

// build makes a .dbg file with sections, bytes of exported names and a debug
// directory whose one entry points to 4 bytes at the end.
func build(sections, names uint32) []byte {
	le := binary.LittleEndian
	b := []byte{'D', 'I', 0, 0, 0x4c, 0x01, 0x02, 0x01}
	for _, v := range []uint32{0x3d6dfe00, 0, 0x400000, 0x5000, sections, names, 28, 0x1000, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, make([]byte, 40*sections+names)...)
	entry := make([]byte, 28)
	le.PutUint32(entry[12:], dbg.TypeFPO)
	le.PutUint32(entry[16:], 4)
	le.PutUint32(entry[24:], uint32(len(b)+28))
	return append(append(b, entry...), "data"...)
}

func TestParse(t *testing.T) {
	b := build(2, 5)
	f, err := dbg.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil || f.ID.String() != "3D6DFE005000" || f.Arch() != "x86" || f.Entries != 1 || f.Types[0] != dbg.TypeFPO {
		t.Fatalf("Parse = %+v, %v, want 3D6DFE005000 for x86", f, err)
	}
	for n := range len(b) {
		if _, err := dbg.Parse(bytes.NewReader(b), int64(n)); !errors.Is(err, dbg.ErrHeader) {
			t.Errorf("Parse of %d of %d bytes: error = %v, want ErrHeader", n, len(b), err)
		}
	}
	for at, v := range map[int]uint32{0: 0x4d5a, 24: 0xffffffff, 28: 0xffffffff, 32: 29, len(b) - 8: 0xffffffff} {
		x := bytes.Clone(b)
		binary.LittleEndian.PutUint32(x[at:], v)
		if _, err := dbg.Parse(bytes.NewReader(x), int64(len(x))); !errors.Is(err, dbg.ErrHeader) {
			t.Errorf("Parse with %#x at %d: error = %v, want ErrHeader", v, at, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(build(0, 0))
	f.Add(build(3, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := dbg.Parse(bytes.NewReader(b), int64(len(b)))
		if err == nil && file.Entries*28 > len(b) {
			t.Fatalf("%d entries from %d bytes", file.Entries, len(b))
		}
	})
}
