package pdb

import (
	"bufio"
	"fmt"
	"io"
	"iter"

	"symkeep/internal/symfile"
)

// NoStream stands where a module or table has no stream.
const NoStream = 0xFFFF

// Flags of the DBI stream.
const (
	flagIncremental = 1
	flagStripped    = 2
)

const dbiHeaderLen = 64

// Versions of the DBI stream. Later ones are read as dbiV70 is.
const (
	dbiV41 = 930803
	dbiV50 = 19960307
	dbiV60 = 19970606
	dbiV70 = 19990903
)

// Substreams of the DBI stream, in the order they are stored.
const (
	subModules = iota
	subContributions
	subSectionMap
	subFiles
	subTypeServers
	subEC
	subDebugHeader
	subCount
)

// where in the header the size of each substream stands
var subSizeAt = [subCount]int{24, 28, 32, 36, 40, 52, 48}

// A DBI is the head of the debug information stream.
type DBI struct {
	Version      uint32
	Age          uint32 // what images record
	GlobalStream uint16
	PublicStream uint16
	SymbolStream uint16
	Incremental  bool
	Stripped     bool
	Machine      uint16

	sizes [subCount]int64
}

// Arch names the machine, as symfile.COFFArch does.
func (d DBI) Arch() string {
	name, ok := symfile.COFFArch(d.Machine)
	if !ok {
		return fmt.Sprintf("%#x", d.Machine)
	}
	return name
}

// readDBI reads the head of stream 3.
// Source: LLVM, docs/PDB/DbiStream.rst, "Stream Header".
func readDBI(s *Stream) (DBI, error) {
	b, err := symfile.Read(s, s.Size(), 0, dbiHeaderLen, "DBI stream", ErrDBI)
	if err != nil {
		return DBI{}, err
	}
	if sig := le.Uint32(b); sig != 0xFFFFFFFF {
		return DBI{}, bad(ErrDBI, 0, "DBI stream signature", fmt.Sprintf("%#x", sig), "0xffffffff")
	}
	if v := le.Uint32(b[4:]); v < dbiV70 && v != dbiV60 && v != dbiV50 && v != dbiV41 {
		return DBI{}, bad(ErrDBI, 4, "DBI stream version", fmt.Sprint(v), fmt.Sprint(dbiV70))
	}
	flags := le.Uint16(b[56:])
	d := DBI{
		Version: le.Uint32(b[4:]), Age: le.Uint32(b[8:]),
		GlobalStream: le.Uint16(b[12:]), PublicStream: le.Uint16(b[16:]), SymbolStream: le.Uint16(b[20:]),
		Incremental: flags&flagIncremental != 0, Stripped: flags&flagStripped != 0, Machine: le.Uint16(b[58:]),
	}
	sum := int64(dbiHeaderLen)
	for i, at := range subSizeAt {
		n := int32(le.Uint32(b[at:]))
		if n < 0 || int64(n) > s.Size() {
			return DBI{}, bad(ErrDBI, int64(at), "DBI substream size", fmt.Sprint(n), fmt.Sprintf("0 to %d", s.Size()-dbiHeaderLen))
		}
		d.sizes[i] = int64(n)
		sum += int64(n)
	}
	if sum != s.Size() {
		return DBI{}, bad(ErrDBI, 24, "DBI substream sizes", fmt.Sprintf("a sum of %d", sum), fmt.Sprintf("the stream's %d", s.Size()))
	}
	return d, nil
}

// A Module is one compiland.
type Module struct {
	Index     int
	Off       int64 // of its row in the DBI stream
	Stream    uint16
	SymBytes  uint32 // symbol records at the start of Stream, 4 bytes of signature included
	C11Bytes  uint32 // line numbers in the old form, next
	C13Bytes  uint32 // line numbers and more in the new form, next
	Name      string
	ObjName   string
	FileCount uint16
}

const maxModuleName = 64 << 10

// Modules reads the module table row by row. An error ends it and wraps ErrDBI, or
// is one of the reader. A row whose stream does not exist, or is shorter than the
// row says, is such an error.
func (f *File) Modules() iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) {
		if !f.HasDBI {
			return
		}
		end := f.DBI.sizes[subModules]
		r := bufio.NewReaderSize(io.NewSectionReader(f.Stream(streamDBI), dbiHeaderLen, end), 32<<10)
		for at, i := int64(0), 0; at < end; i++ {
			m, n, err := readModule(r, at+dbiHeaderLen, end-at)
			m.Index = i
			if err == nil {
				err = f.checkModule(m)
			}
			if !yield(m, err) || err != nil {
				return
			}
			at += n
		}
	}
}

// readModule reads one row of at most left bytes and returns its length.
func readModule(r *bufio.Reader, off, left int64) (Module, int64, error) {
	m := Module{Off: off}
	var h [64]byte
	if left < int64(len(h)) {
		return m, 0, bad(ErrDBI, off, "module row", fmt.Sprintf("%d bytes", left), fmt.Sprintf("at least %d", len(h)))
	}
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return m, 0, fmt.Errorf("module row at %#x: %w", off, err)
	}
	m.Stream = le.Uint16(h[34:])
	m.SymBytes, m.C11Bytes, m.C13Bytes = le.Uint32(h[36:]), le.Uint32(h[40:]), le.Uint32(h[44:])
	m.FileCount = le.Uint16(h[48:])
	n := int64(len(h))
	for _, dst := range []*string{&m.Name, &m.ObjName} {
		s, err := readString(r, min(left-n, maxModuleName))
		if err != nil {
			return m, 0, bad(ErrDBI, off, "module name", err.Error(), "text with a NUL at its end")
		}
		*dst = s
		n += int64(len(s)) + 1
	}
	pad := min(-n&3, left-n)
	if _, err := r.Discard(int(pad)); err != nil {
		return m, 0, fmt.Errorf("module row at %#x: %w", off, err)
	}
	return m, n + pad, nil
}

// readString reads up to and without a NUL, within limit bytes.
func readString(r *bufio.Reader, limit int64) (string, error) {
	var s []byte
	for int64(len(s)) < limit {
		c, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if c == 0 {
			return string(s), nil
		}
		s = append(s, c)
	}
	return "", fmt.Errorf("no end within %d bytes", limit)
}

func (f *File) checkModule(m Module) error {
	if m.Stream == NoStream {
		return nil
	}
	if int(m.Stream) >= f.Streams() {
		return bad(ErrDBI, m.Off+34, fmt.Sprintf("stream of module %d", m.Index), fmt.Sprint(m.Stream), fmt.Sprintf("below %d", f.Streams()))
	}
	need := int64(m.SymBytes) + int64(m.C11Bytes) + int64(m.C13Bytes)
	if have := f.Stream(int(m.Stream)).Size(); need > have {
		return bad(ErrDBI, m.Off+36, fmt.Sprintf("sizes of module %d", m.Index), fmt.Sprintf("%d bytes", need), fmt.Sprintf("at most the %d of stream %d", have, m.Stream))
	}
	return nil
}
