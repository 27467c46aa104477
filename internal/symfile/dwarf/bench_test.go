package dwarf_test

import (
	"bytes"
	"testing"

	"symkeep/internal/symfile/dwarf"
)

// BenchmarkWalk walks 16 MiB of entries such as compilers write for a variable: a
// name, a file and line, a type, and a location.
func BenchmarkWalk(b *testing.B) {
	abbrev := bytes.Join([][]byte{declare(1, 0x11, 1), declare(2, 0x34, 0, 0x03, 0x0e, 0x3a, 0x0b, 0x3b, 0x0b, 0x49, 0x13, 0x02, 0x18), {0}}, nil)
	entry := []byte{2, 2, 0, 0, 0, 1, 9, 11, 0, 0, 0, 2, 0x91, 0x6c}
	info := unit4(append(append([]byte{1}, bytes.Repeat(entry, 16<<20/len(entry))...), 0)...)
	f := file(info, abbrev)
	b.SetBytes(int64(len(info)))
	for b.Loop() {
		if got, err := dwarf.Walk(f, ""); err != nil || len(got.Faults) > 0 {
			b.Fatal(got.Faults, err)
		}
	}
}

func BenchmarkSkeleton(b *testing.B) {
	f := fixture(b, "tiny.so")
	for b.Loop() {
		if _, err := dwarf.Skeleton(f); err != nil {
			b.Fatal(err)
		}
	}
}
