package portablepdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/portablepdb"
	"symkeep/internal/symfile/symfiletest"
	"symkeep/internal/symid"
)

var spec = symfiletest.PortablePDB{
	GUID:  symid.GUID{0x11, 0xc1, 0x19, 0xfb, 0x5d, 0xae, 0x4d, 0x8d, 0x8b, 0x4b, 0, 0xe9, 0x25, 0x27, 0xb8, 0x4f},
	Stamp: 0xfc9c5a76, Methods: 3, SourceLink: true,
}

func open(t *testing.T, b []byte) *portablepdb.File {
	t.Helper()
	f, err := portablepdb.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

func TestOpen(t *testing.T) {
	f := open(t, spec.Bytes())
	if f.ID.GUID() != spec.GUID || f.ID.Stamp() != spec.Stamp || f.Version != "PDB v1.0" || f.IDOff != symfiletest.PortableIDOff {
		t.Errorf("Open = %s-%x %q at %d, want %s-%x", f.ID.GUID(), f.ID.Stamp(), f.Version, f.IDOff, spec.GUID, spec.Stamp)
	}
	facts, err := f.Facts()
	if want := (portablepdb.Facts{Documents: 1, SequencePoints: true, SourceLink: true}); err != nil || facts != want {
		t.Errorf("Facts() = %+v, %v; want %+v", facts, err, want)
	}
	bare := spec
	bare.NoPositions, bare.SourceLink = true, false
	facts, err = open(t, bare.Bytes()).Facts()
	if want := (portablepdb.Facts{Documents: 1}); err != nil || facts != want {
		t.Errorf("Facts() of a bare one = %+v, %v; want %+v", facts, err, want)
	}
}

// The checksum does not see the id and sees every other byte.
func TestChecksum(t *testing.T) {
	sum := func(b []byte) []byte {
		got, err := open(t, b).Checksum(portablepdb.NewHash("SHA256"))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := spec.Checksum()
	if got := sum(spec.Bytes()); !bytes.Equal(got, want) {
		t.Errorf("Checksum() = %x, want %x", got, want)
	}
	b := spec.Bytes()
	b[symfiletest.PortableIDOff+19] ^= 1
	if got := sum(b); !bytes.Equal(got, want) {
		t.Errorf("Checksum() with another id = %x, want %x", got, want)
	}
	b[len(b)-1] ^= 1
	if got := sum(b); bytes.Equal(got, want) {
		t.Error("Checksum() with another last byte is the same")
	}
	if portablepdb.NewHash("MD5") != nil {
		t.Error(`NewHash("MD5") is a hash, want nil`)
	}
}

func TestOpenDamaged(t *testing.T) {
	good := spec.Bytes()
	names := bytes.Index(good, []byte("#Pdb"))
	put := func(off int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[off:], v)
		return b
	}
	swap := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	for _, tt := range []struct {
		name string
		b    []byte
		kind error
	}{
		{"cut in the root", good[:12], portablepdb.ErrTruncated},
		{"cut in the stream table", good[:70], portablepdb.ErrTruncated},
		{"cut at the end", good[:len(good)-1], portablepdb.ErrTruncated},
		{"stream far", put(names-8, 0xffffff00), portablepdb.ErrTruncated},
		{"magic", put(0, 0), portablepdb.ErrRoot},
		{"version length 0", put(12, 0), portablepdb.ErrRoot},
		{"version length odd", put(12, 13), portablepdb.ErrRoot},
		{"version length huge", put(12, 0xfffffffc), portablepdb.ErrRoot},
		{"many streams", put(28, 17<<16), portablepdb.ErrRoot},
		{"two of a name", swap("#US\x00", "#~\x00\x00"), portablepdb.ErrRoot},
		{"no #Pdb", swap("#Pdb", "#Pdx"), portablepdb.ErrStreams},
		{"no tables", swap("#~", "#x"), portablepdb.ErrStreams},
		{"short #Pdb", put(names-4, 23), portablepdb.ErrStreams},
		{"no streams", put(28, 0), portablepdb.ErrStreams},
	} {
		_, err := portablepdb.Open(bytes.NewReader(tt.b), int64(len(tt.b)))
		var fe *symfile.FormatError
		if !errors.Is(err, tt.kind) || !errors.As(err, &fe) {
			t.Errorf("Open(%s) error = %v, want a FormatError of kind %v", tt.name, err, tt.kind)
		}
	}
	long := append(bytes.Clone(good[:names]), bytes.Repeat([]byte("n"), 200)...)
	if _, err := portablepdb.Open(bytes.NewReader(long), int64(len(long))); !errors.Is(err, portablepdb.ErrRoot) {
		t.Errorf("Open(name without an end) error = %v, want ErrRoot", err)
	}
	tables := symfiletest.PortableIDOff + 32
	if _, err := open(t, put(tables+28, 1<<30)).Facts(); !errors.Is(err, portablepdb.ErrTables) {
		t.Errorf("Facts() with too many methods: error = %v, want ErrTables", err)
	}
}

// TestFactsDamaged changes one byte of the tables or of a heap.
func TestFactsDamaged(t *testing.T) {
	good := spec.Bytes()
	tables := symfiletest.PortableIDOff + 32
	rows := tables + 24 + 3*4
	methods, custom := rows+8, rows+8+3*4
	blobs := bytes.Index(good, []byte("\x04a.cs")) - 1
	for _, tt := range []struct {
		name string
		off  int
		v    byte
	}{
		{"document name", rows, 200},
		{"document name past the heap", rows, 0x1f},
		{"hash algorithm", rows + 2, 9},
		{"part of a name", blobs + 8, 200},
		{"document of a method", methods, 2},
		{"positions", methods + 2, 200},
		{"positions without an end", blobs + 9, 5},
		{"positions that are text", blobs + 10, 0xff},
		{"parent of the link", custom, 0x3f},
		{"kind of the link", custom + 2, 9},
		{"link", custom + 4, 200},
		{"blob without an end", blobs + 16, 0x7f},
		{"more tables of the assembly", symfiletest.PortableIDOff + 24, 1},
	} {
		b := bytes.Clone(good)
		b[tt.off] = tt.v
		_, err := open(t, b).Facts()
		var fe *symfile.FormatError
		if !errors.Is(err, portablepdb.ErrTables) || !errors.As(err, &fe) {
			t.Errorf("Facts(%s) error = %v, want a FormatError of kind ErrTables", tt.name, err)
		}
	}
}

// TestAssemblyRows lets the #Pdb stream end 4 bytes further, where the reserved bytes of
// the next one stand for the number of rows of table 0.
func TestAssemblyRows(t *testing.T) {
	const sizeOff, maskOff, rowsOff = 36, symfiletest.PortableIDOff + 24, symfiletest.PortableIDOff + 32
	for rows, bad := range map[uint32]bool{1: false, 1<<24 - 1: false, 1 << 24: true} {
		b := spec.Bytes()
		b[sizeOff], b[maskOff] = 36, 1
		binary.LittleEndian.PutUint32(b[rowsOff:], rows)
		_, err := open(t, b).Facts()
		if got := err != nil && strings.HasPrefix(err.Error(), "rows of table 0x0 of the assembly"); got != bad {
			t.Errorf("%d rows: Facts error = %v, want one about them: %t", rows, err, bad)
		}
	}
}

// TestPositions decodes lists with hidden places, several documents and ways back.
func TestPositions(t *testing.T) {
	good := spec.Bytes()
	at := bytes.Index(good, []byte("\x06\x00\x00\x00\x05\x0a\x03"))
	for _, tt := range []struct {
		blob string
		ok   bool
	}{
		{"\x06\x00\x00\x00\x05\x0a\x03", true},
		{"\x04\x00\x07\x00\x00\x00\x00", true},  // hidden
		{"\x06\x00\x00\x00\x00\x00\x01", true},  // hidden, then document 1
		{"\x06\x00\x00\x00\x00\x00\x02", false}, // hidden, then document 2
		{"\x06\x00\x07\x01\x7f\x0a\x00", false}, // a column before the first
		{"\x05\x00\x00\x00\x05\x0a\x03", false}, // no column
		{"\x01\x00\x00\x00\x05\x0a\x03", true},  // a signature and no positions
	} {
		b := bytes.Clone(good)
		copy(b[at:], tt.blob)
		if _, err := open(t, b).Facts(); (err == nil) != tt.ok {
			t.Errorf("positions %x: error %v, want none: %v", tt.blob, err, tt.ok)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(spec.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := portablepdb.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		p.Facts()
		if _, err := p.Checksum(portablepdb.NewHash("SHA256")); err != nil {
			t.Errorf("Checksum: %v", err)
		}
	})
}
