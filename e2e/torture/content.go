package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
)

// A file is one Breakpad file that follows from its seed alone. Its bytes are made
// again whenever they are needed, so that an hour of pushes fits into memory.
type file struct {
	name  string // of the module, unique unless two files are meant to conflict
	id    string // debug id, as in the key
	seed  uint64
	lines int
	bad   bool // no validator may accept it

	size int64
	sum  [32]byte
}

// newFile draws a file. Most have a few KiB, a few of them some MiB.
func newFile(r *rand.Rand) *file {
	f := &file{
		name:  fmt.Sprintf("lib%012x", r.Uint64()>>16),
		id:    fmt.Sprintf("%016X%016X%X", r.Uint64(), r.Uint64(), 1+r.IntN(15)),
		seed:  r.Uint64(),
		lines: 40 << r.IntN(9),
	}
	if r.IntN(25) == 0 {
		f.lines = 40_000 + r.IntN(60_000)
	}
	return f.weigh()
}

// twist returns a file with the key of f and other bytes of equal worth.
func (f *file) twist(r *rand.Rand) *file {
	g := *f
	g.seed, g.lines = r.Uint64(), 50+r.IntN(100)
	return g.weigh()
}

// spoil returns a file with a key of its own that has to fail.
func spoil(r *rand.Rand) *file {
	f := newFile(r)
	f.bad, f.lines = true, 40+r.IntN(100)
	return f.weigh()
}

func (f *file) weigh() *file {
	b := f.bytes()
	f.size, f.sum = int64(len(b)), sha256.Sum256(b)
	return f
}

// bytes returns the content, the same at each call.
func (f *file) bytes() []byte {
	r := rand.New(rand.NewPCG(f.seed, 1))
	var b bytes.Buffer
	fmt.Fprintf(&b, "MODULE Linux x86_64 %s %s\nFILE 0 %s.c\nFUNC 1000 10 0 main\n1000 10 1 0\n", f.id, f.name, f.name)
	for i := range f.lines {
		fmt.Fprintf(&b, "PUBLIC %x 0 f%08x_%x\n", 0x2000+16*i, r.Uint32(), i)
	}
	if f.bad {
		b.WriteString("FUNC zzz not hex\nthis is no record\n")
	}
	return b.Bytes()
}

// base is the name of the file in its package.
func (f *file) base() string { return f.name + ".sym" }

// path is what a debugger asks for.
func (f *file) path() string { return "/" + f.name + "/" + f.id + "/" + f.base() }

// packedPath is what a debugger asks for that wants the cabinet.
func (f *file) packedPath() string { return "/" + f.name + "/" + f.id + "/" + f.name + ".sy_" }

// key is equal for files that compete for one answer.
func (f *file) key() string { return f.name + "/" + f.id }
