package symid_test

import (
	"testing"

	"symkeep/internal/symid"
)

// BenchmarkParseLookup parses a path of each kind.
func BenchmarkParseLookup(b *testing.B) {
	for _, bb := range []struct{ name, path string }{
		{"pdb", "/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/foo.pdb"},
		{"cabinet", "/symbols/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/foo.pd_"},
		{"pe", "/foo.exe/542D574213000/foo.exe"},
		{"breakpad", "/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/foo.sym"},
		{"elf", "/_.debug/elf-buildid-sym-591417c7acad88dbe79d6bc7df4730edba6daf72/_.debug"},
		{"debuginfod", "/buildid/591417c7acad88dbe79d6bc7df4730edba6daf72/debuginfo"},
		{"none", "/foo.pdb/497B72F6390A44FC878E5A2D63B6CC4B1/file.ptr"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = symid.ParseLookup(bb.path)
			}
		})
	}
}
