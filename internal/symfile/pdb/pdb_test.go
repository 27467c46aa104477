package pdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/pdb"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
)

var guid = symid.GUID{0x72, 0xe1, 3, 0xa8, 0x5c, 0xb2, 0x49, 7, 0x8b, 0x76, 0xb2, 0xe7, 0xc0, 0x62, 0x57, 0xb1}

func private() symfiletest.PDB {
	return symfiletest.PDB{GUID: guid, Age: 3, Types: 10, Features: []uint32{pdb.FeatureVC140},
		Modules: []symfiletest.Module{{Name: `C:\obj\a.obj`, Symbols: 5000, Lines: true}, {Name: "* Linker *"}}}
}

func open(t *testing.T, b []byte) *pdb.File {
	t.Helper()
	f, err := pdb.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

func TestOpen(t *testing.T) {
	for _, blockSize := range []int{512, 1024, 4096, 8192, 32768} {
		p := private()
		p.BlockSize, p.InfoAge = blockSize, 7
		f := open(t, p.Bytes())
		if f.InfoErr != nil || f.DBIErr != nil || !f.HasDBI {
			t.Fatalf("block size %d: InfoErr %v, DBIErr %v", blockSize, f.InfoErr, f.DBIErr)
		}
		if got, want := f.DebugID(), (symid.DebugID{GUID: guid, Age: 3}); got != want {
			t.Errorf("block size %d: DebugID() = %s, want %s: the DBI age, not the info age", blockSize, got, want)
		}
		if f.DBI.Arch() != symfile.ArchX64 || f.Types() != 10 || !f.Info.Has(pdb.FeatureVC140) || f.Info.Streams["/names"] != 5 {
			t.Errorf("block size %d: %s, %d types, %+v", blockSize, f.DBI.Arch(), f.Types(), f.Info)
		}
		var names []string
		var lines []bool
		c, err := f.CheckModules()
		if err != nil {
			t.Fatalf("block size %d: CheckModules: %v", blockSize, err)
		}
		for m, err := range f.Modules() {
			if err != nil {
				t.Fatalf("block size %d: Modules: %v", blockSize, err)
			}
			c.Lines = false
			if err := c.Check(m); err != nil {
				t.Errorf("block size %d: Check(%s): %v", blockSize, m.Name, err)
			}
			names, lines = append(names, m.Name), append(lines, c.Lines)
		}
		if !slices.Equal(names, []string{`C:\obj\a.obj`, "* Linker *"}) || !slices.Equal(lines, []bool{true, false}) {
			t.Errorf("block size %d: modules %q, lines %v", blockSize, names, lines)
		}
		if holes, err := f.Holes(); err != nil || len(holes) > 0 {
			t.Errorf("block size %d: Holes() = %v, %v; want none", blockSize, holes, err)
		}
	}
}

// The age falls back to that of the info stream only where the DBI stream has none.
func TestDebugIDWithoutDBI(t *testing.T) {
	p := private()
	p.NoDBI, p.InfoAge = true, 9
	if got := open(t, p.Bytes()).DebugID().Age; got != 9 {
		t.Errorf("age without DBI = %d, want 9", got)
	}
	p = private()
	p.Age, p.InfoAge = 0, 9
	if got := open(t, p.Bytes()).DebugID().Age; got != 9 {
		t.Errorf("age with DBI age 0 = %d, want 9", got)
	}
}

// A directory so large that the list of its blocks takes several blocks itself.
func TestBlockMapOfSeveralBlocks(t *testing.T) {
	streams := private().Streams()
	big := bytes.Repeat([]byte{1, 2, 3, 4}, 10<<20/4)
	b := symfiletest.MSF{BlockSize: 512, Streams: append(streams, big)}.Bytes()
	f := open(t, b)
	if f.DirBytes <= 512*128 {
		t.Fatalf("directory of %d bytes fits one block of its map; the test needs more", f.DirBytes)
	}
	s := f.Stream(len(streams))
	got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("stream of %d bytes: read %d, %v", len(big), len(got), err)
	}
	if used := f.InUse(); used != int64(f.NumBlocks) {
		t.Errorf("InUse() = %d, want all %d blocks", used, f.NumBlocks)
	}
}

func TestOpenDamaged(t *testing.T) {
	good := private().Bytes()
	put := func(off int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[off:], v)
		return b
	}
	blocks := uint32(len(good) / 4096)
	dirBlock := int(binary.LittleEndian.Uint32(good[int(binary.LittleEndian.Uint32(good[52:]))*4096:]))
	dir := dirBlock * 4096
	for _, tt := range []struct {
		name string
		b    []byte
		kind error
	}{
		{"empty", nil, pdb.ErrTruncated},
		{"cut in the header", good[:55], pdb.ErrTruncated},
		{"one byte short", good[:len(good)-1], pdb.ErrTruncated},
		{"magic", put(0, 0), pdb.ErrSuperblock},
		{"block size not a power", put(32, 4097), pdb.ErrSuperblock},
		{"block size 0", put(32, 0), pdb.ErrSuperblock},
		{"block size too large", put(32, 1<<17), pdb.ErrSuperblock},
		{"free map", put(36, 3), pdb.ErrSuperblock},
		{"too few blocks", put(40, 3), pdb.ErrSuperblock},
		{"too many blocks", put(40, 0xffffffff), pdb.ErrTruncated},
		{"no directory", put(44, 0), pdb.ErrDirectory},
		{"huge directory", put(44, 0x7ffffff0), pdb.ErrDirectory},
		{"map at 0", put(52, 0), pdb.ErrDirectory},
		{"map outside", put(52, blocks), pdb.ErrDirectory},
		{"map entry outside", put(int(binary.LittleEndian.Uint32(good[52:]))*4096, blocks), pdb.ErrDirectory},
		{"stream count", put(dir, 0xffffff), pdb.ErrDirectory},
		{"stream size", put(dir+8, 0x7fffffff), pdb.ErrDirectory},
		{"stream block outside", put(dir+4+4*12, blocks), pdb.ErrDirectory},
		{"stream block 0", put(dir+4+4*12, 0), pdb.ErrDirectory},
		{"block used twice", put(dir+4+4*12, binary.LittleEndian.Uint32(good[dir+4+4*13:])), pdb.ErrDirectory},
	} {
		_, err := pdb.Open(bytes.NewReader(tt.b), int64(len(tt.b)))
		var fe *symfile.FormatError
		if !errors.Is(err, tt.kind) || !errors.As(err, &fe) {
			t.Errorf("Open(%s) error = %v, want a FormatError of kind %v", tt.name, err, tt.kind)
		}
	}
}

func TestDamagedStreams(t *testing.T) {
	edit := func(stream, off int, v uint32) *pdb.File {
		s := private().Streams()
		binary.LittleEndian.PutUint32(s[stream][off:], v)
		return open(t, symfiletest.MSF{Streams: s}.Bytes())
	}
	for version, want := range map[uint32]error{19990604: nil, 20140508: nil, 20200101: nil, 20000405: pdb.ErrInfo, 20000660: pdb.ErrInfo} {
		if f := edit(1, 0, version); !errors.Is(f.InfoErr, want) || (f.InfoErr == nil) != (want == nil) {
			t.Errorf("info version %d: InfoErr = %v, want %v", version, f.InfoErr, want)
		}
	}
	if f := edit(1, 0, 19950623); !errors.Is(f.InfoErr, pdb.ErrInfo) {
		t.Errorf("info version without GUID: InfoErr = %v, want ErrInfo", f.InfoErr)
	}
	if f := edit(1, 28, 0x7fffffff); f.InfoErr != nil || f.Info.GUID != guid || f.Info.Features != nil || !errors.Is(f.Info.NamesErr, pdb.ErrDirectory) {
		t.Errorf("damaged names: %+v, %v; want the GUID, no features, and NamesErr", f.Info, f.InfoErr)
	}
	for name, f := range map[string]*pdb.File{
		"signature":     edit(3, 0, 0),
		"negative size": edit(3, 24, 0xfffffffc),
		"huge size":     edit(3, 24, 0x7fffffff),
		"sum":           edit(3, 28, 8),
	} {
		if !errors.Is(f.DBIErr, pdb.ErrDBI) || f.HasDBI {
			t.Errorf("DBI %s: DBIErr = %v, want ErrDBI", name, f.DBIErr)
		}
	}
	for name, f := range map[string]*pdb.File{
		"stream outside": edit(3, 64+34, 500),
		"symbol bytes":   edit(3, 64+36, 1<<30),
		"line bytes":     edit(3, 64+44, 1<<30),
	} {
		var last error
		for _, err := range f.Modules() {
			last = err
		}
		if !errors.Is(last, pdb.ErrDBI) {
			t.Errorf("module %s: error = %v, want ErrDBI", name, last)
		}
	}
	s := private().Streams()
	for i := 64 + 64; i < len(s[3]); i++ {
		s[3][i] = 'x' // names without an end
	}
	f := open(t, symfiletest.MSF{Streams: s}.Bytes())
	for _, err := range f.Modules() {
		if !errors.Is(err, pdb.ErrDBI) {
			t.Errorf("names without an end: error = %v, want ErrDBI", err)
		}
	}
}

func TestHoles(t *testing.T) {
	s := private().Streams()
	module := symfiletest.PDBModules
	clear(s[module][512:2048])
	f := open(t, symfiletest.MSF{BlockSize: 512, Streams: s}.Bytes())
	holes, err := f.Holes()
	if err != nil || len(holes) != 1 || holes[0].Stream != module || holes[0].Blocks != 3 {
		t.Fatalf("Holes() = %+v, %v; want three blocks of stream %d", holes, err, module)
	}
	if want := f.Stream(module).Offset(512); holes[0].First != want {
		t.Errorf("first empty block at %#x, want %#x", holes[0].First, want)
	}
}

func TestOpenV2(t *testing.T) {
	b := symfiletest.PDB2(0x37a8f40e, 2)
	v, err := pdb.OpenV2(bytes.NewReader(b), int64(len(b)))
	if err != nil || v.Signature != 0x37a8f40e || v.Age != 2 {
		t.Errorf("OpenV2 = %+v, %v; want 37a8f40e-2", v, err)
	}
	for name, off := range map[string]int{"magic": 40, "page size": 44, "pages": 51, "directory size": 55, "directory page": 61, "streams": 2049, "stream page": 2048 + 21, "page past the end": 2048 + 20} {
		x := bytes.Clone(b)
		x[off] ^= 0x7f
		if _, err := pdb.OpenV2(bytes.NewReader(x), int64(len(x))); !errors.Is(err, pdb.ErrV2) {
			t.Errorf("OpenV2 with damaged %s: error = %v, want ErrV2", name, err)
		}
	}
}

// readAll reads what can be read and returns the error of each part.
func readAll(f *pdb.File) map[string]error {
	errs := map[string]error{}
	c, err := f.CheckModules()
	errs["CheckModules"] = err
	count := 0
	for m, err := range f.Modules() {
		if err != nil {
			errs["Modules"] = err
			break
		}
		count++
		if err := c.Check(m); err != nil {
			errs["Check "+m.Name] = err
		}
	}
	errs["CheckTypes"] = f.CheckTypes()
	errs["CheckTables"] = f.CheckTables(count)
	_, errs["CheckGlobals"] = f.CheckGlobals()
	_, errs["Holes"] = f.Holes()
	_, _, errs["MarkedFree"] = f.MarkedFree()
	return errs
}

func FuzzOpen(f *testing.F) {
	p := private()
	p.BlockSize = 512
	f.Add(p.Bytes())
	p.NoDBI = true
	f.Add(p.Bytes())
	f.Add(symfiletest.PDB2(1, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		pdb.OpenV2(bytes.NewReader(b), int64(len(b)))
		p, err := pdb.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		p.DebugID()
		p.Types()
		if p.InUse() > int64(p.NumBlocks) {
			t.Errorf("InUse() = %d of %d blocks", p.InUse(), p.NumBlocks)
		}
		for name, err := range readAll(p) {
			var fe *symfile.FormatError
			if err != nil && !errors.As(err, &fe) {
				t.Errorf("%s: %v, want a FormatError", name, err)
			}
		}
	})
}
