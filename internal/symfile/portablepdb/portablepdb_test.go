package portablepdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
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
	if _, err := open(t, put(tables+28, 1<<30)).Facts(); !errors.Is(err, portablepdb.ErrStreams) {
		t.Errorf("Facts() with too many methods: error = %v, want ErrStreams", err)
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
