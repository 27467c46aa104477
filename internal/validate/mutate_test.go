package validate_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/validate"
)

// Bounds on the check of one damaged file.
const (
	slowCheck = 2 * time.Second // on an idle core; damage must not buy more time than this
	heapBound = 256 << 20       // heap in use beyond the files themselves, garbage included, all workers together
)

// TestMutants damages small files at random and wants a report on each: no panic,
// no endless loop, no memory on the word of a damaged header. `make mutate` does
// this with thousands of real files and asks other tools what they make of them.
func TestMutants(t *testing.T) {
	n := 3000
	if testing.Short() {
		n = 300
	}
	pool := builtSpecimens(t)
	for family, specimens := range pool {
		for _, s := range specimens {
			if rep := check(t, file(s.path, s.data)); rep.Verdict != catalog.Good {
				t.Errorf("%s of family %s: %v before any damage", s.origin, family, codes(rep, 0))
			}
		}
	}
	heap := watchHeap(t)
	flagged := 0
	for no := range n {
		m := newMutant(1, no, pool)
		rep, err := examine(t.Context(), m)
		if err != nil {
			t.Fatalf("mutant %d of %s (%s: %s): %v", no, m.of.origin, m.kind, m.what, err)
		}
		if rep.Verdict == catalog.Failed {
			flagged++
		}
	}
	if peak := heap.peak(); peak > heapBound {
		t.Errorf("heap grew to %d MiB, want at most %d", peak>>20, heapBound>>20)
	}
	// Half is far below what is flagged; a check that sees nothing must not pass.
	if flagged < n/2 {
		t.Errorf("%d of %d mutants flagged, want half at least", flagged, n)
	}
}

// builtSpecimens are the small files that the repository builds or holds.
func builtSpecimens(t testing.TB) map[string][]specimen {
	pool := map[string][]specimen{}
	add := func(family, path, origin string, data []byte) {
		pool[family] = append(pool[family], specimen{family, path, origin, data})
	}
	add("pdb", "app.pdb", "testdata/windows/app.pdb", testdata(t, "windows/app.pdb"))
	add("pdb", "built.pdb", "symfiletest.PDB", symfiletest.PDB{GUID: guid, Age: 1, InfoAge: 1, BlockSize: 512, Types: 1}.Bytes())
	add("ppdb", "built.pdb", "symfiletest.PortablePDB", symfiletest.PortablePDB{GUID: guid, Methods: 3}.Bytes())
	add("pe", "app.exe", "testdata/windows/app.exe", testdata(t, "windows/app.exe"))
	add("pe", "built.exe", "symfiletest.PE", symfiletest.PE{
		Timestamp: 1, Embedded: symfiletest.PortablePDB{GUID: guid}.Bytes(),
		Records: []symfiletest.CodeView{{GUID: guid, Age: 1, Path: "built.pdb"}},
	}.Bytes())
	for _, f := range []struct{ family, name string }{
		{"elf", "tiny.so"}, {"elf", "tiny.debug"}, {"elf", "tiny.zlib.debug"}, {"elf", "tiny.zstd.debug"}, {"elf", "tiny.mips"},
		{"macho", "demo"}, {"macho", "demo.dwarf"}, {"wasm", "demo.wasm"}, {"sym", "full.sym"},
	} {
		parser := f.family
		if parser == "sym" {
			parser = "breakpad"
		}
		add(f.family, f.name, parser+"/testdata/"+f.name, parserData(t, parser, f.name))
	}
	return pool
}

// examine checks one mutant and repeats a slow check: only one that is slow three
// times is too slow, for the machine may have been busy. A panic of a parser is an
// error of Package.
func examine(ctx context.Context, m mutant) (rep validate.Report, err error) {
	for range 3 {
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			rep, err = validate.Package(ctx, []validate.File{named(file(m.of.path, m.data))}, validate.Options{Workers: 1})
		}()
		select {
		case <-done:
		case <-time.After(15 * slowCheck):
			return validate.Report{}, fmt.Errorf("no end within %v:\n%s", 15*slowCheck, stacks())
		}
		if time.Since(start) < slowCheck {
			return rep, err
		}
	}
	return rep, fmt.Errorf("the check took more than %v, three times", slowCheck)
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// A heapWatch samples how far the heap has grown.
type heapWatch struct {
	base uint64
	max  atomic.Uint64
}

// watchHeap samples every millisecond until the test ends.
func watchHeap(t *testing.T) *heapWatch {
	runtime.GC()
	w := &heapWatch{base: heapInUse()}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
			w.max.Store(max(w.max.Load(), heapInUse()))
		}
	}()
	return w
}

func (w *heapWatch) peak() uint64 { return max(w.max.Load(), w.base) - w.base }

func heapInUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
