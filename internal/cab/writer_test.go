package cab_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"symkeep/internal/cab"
)

func TestRoundTrip(t *testing.T) {
	for _, c := range containers {
		for _, in := range inputs() {
			f, info := pack(t, c, cab.Options{Name: "foo.pdb"}, in.data, 1<<16)
			if info.RawSize != int64(len(in.data)) || info.RawSHA256 != sha256.Sum256(in.data) ||
				info.RawCRC32 != crc32.ChecksumIEEE(in.data) || info.PackedSize != int64(len(f.b)) || info.Name != "foo.pdb" {
				t.Errorf("%s %s: Close = %+v", c.want, in.name, info)
			}
			r := mustOpen(t, f)
			if r.Info() != info {
				t.Errorf("%s %s: Info = %+v, want %+v", c.want, in.name, r.Info(), info)
			}
			if got := readAll(t, r.Range(0, info.RawSize), info.RawSize); !bytes.Equal(got, in.data) {
				t.Errorf("%s %s: raw bytes differ", c.want, in.name)
			}
			for _, verify := range verifiers {
				if got, err := verify.f(t.Context(), f, info.PackedSize); err != nil || got != info {
					t.Errorf("%s %s: %s = %+v, %v; want %+v", c.want, in.name, verify.name, got, err, info)
				}
			}
		}
	}
}

// The bytes depend on the input and the name, not on how they came in.
func TestBytesAreDeterministic(t *testing.T) {
	data := mixed(3*cab.GroupSize+4321, 1)
	for _, c := range containers {
		want, _ := pack(t, c, cab.Options{Workers: 1}, data, len(data))
		for _, tt := range []struct{ workers, chunk int }{
			{1, 4093}, {2, cab.GroupSize - 1}, {3, cab.GroupSize}, {0, 2 * cab.GroupSize}, {8, len(data)},
		} {
			if got, _ := pack(t, c, cab.Options{Workers: tt.workers}, data, tt.chunk); !bytes.Equal(got.b, want.b) {
				t.Errorf("%s: %d workers, writes of %d: other bytes", c.want, tt.workers, tt.chunk)
			}
		}
		small := data[:3000]
		want, _ = pack(t, c, cab.Options{}, small, len(small))
		if got, _ := pack(t, c, cab.Options{}, small, 1); !bytes.Equal(got.b, want.b) {
			t.Errorf("%s: writes of one byte: other bytes", c.want)
		}
	}
}

// A cabinet that turns out too large becomes the same gz container as one that
// was chosen at the start.
func TestCabinetOverflowBecomesGzip(t *testing.T) {
	for _, in := range inputs() {
		want, wantInfo := packInput(t, containers[1], in)
		got, info := pack(t, container{cab.GZ, cab.MaxCabRaw, 200}, cab.Options{}, in.data, len(in.data))
		if info != wantInfo || !bytes.Equal(got.b, want.b) {
			t.Errorf("%s: a converted cabinet differs from a gz container", in.name)
		}
	}
	data := random(100000, 1)
	_, info := pack(t, containers[0], cab.Options{}, data, len(data))
	for _, tt := range []struct {
		limit int64
		want  cab.Container
	}{
		{info.PackedSize - 1, cab.GZ},
		{info.PackedSize, cab.Cab},
	} {
		pack(t, container{tt.want, cab.MaxCabRaw, tt.limit}, cab.Options{}, data, len(data))
	}
}

func TestCabinetFields(t *testing.T) {
	data := records(cab.BlockSize+1, 1)
	f, info := pack(t, containers[0], cab.Options{Name: "foo.pdb"}, data, len(data))
	for _, tt := range []struct {
		name string
		off  int
		want string
	}{
		{"signature", 0, "MSCF\x00\x00\x00\x00"},
		{"version, folders, files, flags, set", 24, "\x03\x01\x01\x00\x01\x00\x04\x00\x00\x00\x00\x00"},
		{"reserve sizes", 36, "\xa4\x00\x00\x00"},
		{"record", 40, "SYMKPACK\x01\x00\x01\x00"},
		{"blocks, compression", 40 + 164 + 4, "\x02\x00\x01\x00"},
		{"file", 40 + 164 + 8, "\x01\x80\x00\x00\x00\x00\x00\x00\x00\x00\x21\x00\x00\x00\x20\x00foo.pdb\x00"},
	} {
		if got := string(f.b[tt.off : tt.off+len(tt.want)]); got != tt.want {
			t.Errorf("%s = %q, want %q", tt.name, got, tt.want)
		}
	}
	if info.PackedSize > int64(len(data)) {
		t.Errorf("packed to %d of %d bytes", info.PackedSize, len(data))
	}
}

func TestWriterRefuses(t *testing.T) {
	for _, tt := range []struct {
		o    cab.Options
		want error
	}{
		{cab.Options{RawSize: 0, Name: "a"}, cab.ErrEmpty},
		{cab.Options{RawSize: -1, Name: "a"}, cab.ErrSize},
		{cab.Options{RawSize: cab.MaxRaw + 1, Name: "a"}, cab.ErrTooLarge},
		{cab.Options{RawSize: 1, Name: ""}, cab.ErrName},
		{cab.Options{RawSize: 1, Name: "a/b"}, cab.ErrName},
	} {
		if _, err := cab.NewWriter(new(memFile), tt.o); !errors.Is(err, tt.want) {
			t.Errorf("NewWriter(%+v) error = %v, want %v", tt.o, err, tt.want)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, tt := range []struct {
		name string
		ok   bool
	}{
		{"a", true}, {"foo.pdb", true}, {"größe.pdb", true}, {"...", true}, {"a b", true},
		{strings.Repeat("x", 255), true},
		{strings.Repeat("x", 256), false}, {strings.Repeat("ö", 128), false},
		{"", false}, {".", false}, {"..", false}, {"a/b", false}, {`a\b`, false}, {"/", false},
		{"a\x00", false}, {"a\xff", false},
	} {
		err := cab.CheckName(tt.name)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, cab.ErrName) {
			t.Errorf("CheckName(%q) = %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}

func TestWriterCountsBytes(t *testing.T) {
	for _, tt := range []struct{ announced, written int }{
		{10, 9}, {10, 0}, {10, 11}, {cab.GroupSize + 1, cab.GroupSize}, {cab.GroupSize, cab.GroupSize + 1},
	} {
		f := new(memFile)
		w, err := cab.NewWriter(f, cab.Options{RawSize: int64(tt.announced), Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, tt.written)); (tt.written > tt.announced) != errors.Is(err, cab.ErrSize) {
			t.Errorf("Write of %d of %d bytes: %v", tt.written, tt.announced, err)
		}
		if _, err := w.Close(); !errors.Is(err, cab.ErrSize) {
			t.Errorf("Close after %d of %d bytes: %v, want ErrSize", tt.written, tt.announced, err)
		}
		if _, err := cab.Open(f, int64(len(f.b))); err == nil {
			t.Errorf("Open after %d of %d bytes: no error", tt.written, tt.announced)
		}
		if _, err := w.Write([]byte{0}); !errors.Is(err, cab.ErrClosed) {
			t.Errorf("Write after Close: %v, want ErrClosed", err)
		}
	}
}

// brokenFile fails writes after some calls, for good.
type brokenFile struct {
	memFile
	writes int
}

var errDisk = errors.New("disk is full")

func (f *brokenFile) WriteAt(p []byte, off int64) (int, error) {
	if f.writes--; f.writes < 0 {
		return 0, errDisk
	}
	return f.memFile.WriteAt(p, off)
}

func TestWriterReportsDiskErrors(t *testing.T) {
	data := mixed(4*cab.GroupSize, 1)
	for n := range 5 { // four groups and the head
		f := &brokenFile{writes: n}
		w, err := cab.NewWriter(f, cab.Options{RawSize: int64(len(data)), Name: "a", Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		_, errWrite := w.Write(data)
		_, errClose := w.Close()
		if !errors.Is(errClose, errDisk) || errWrite != nil && !errors.Is(errWrite, errDisk) {
			t.Errorf("disk full after %d writes: Write %v, Close %v", n, errWrite, errClose)
		}
		if _, err := cab.Open(f, int64(len(f.b))); err == nil {
			t.Errorf("disk full after %d writes: Open has no error", n)
		}
	}
}

func TestAbort(t *testing.T) {
	f := new(memFile)
	w, err := cab.NewWriter(f, cab.Options{RawSize: 8 * cab.GroupSize, Name: "a", Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(mixed(5*cab.GroupSize+1, 1)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	if _, err := w.Close(); !errors.Is(err, cab.ErrClosed) {
		t.Errorf("Close after Abort: %v, want ErrClosed", err)
	}
	if _, err := cab.Open(f, int64(len(f.b))); err == nil {
		t.Error("Open after Abort: no error")
	}
}

// A longer file left over in the same place does not show through.
func TestWriterReplacesContent(t *testing.T) {
	data := records(10000, 1)
	for _, c := range containers {
		want, _ := pack(t, c, cab.Options{}, data, len(data))
		f := &memFile{random(1<<20, 1)}
		w, err := cab.NewWriterLimits(f, cab.Options{RawSize: int64(len(data)), Name: "test.pdb"}, c.cabRaw, c.cabFile)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil || !bytes.Equal(f.b, want.b) {
			t.Errorf("%s: over old content: %v, %d bytes, want %d", c.want, err, len(f.b), len(want.b))
		}
	}
}

func TestManySmallSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 60 {
		data := mixed(1+r.IntN(100000), r.Uint64N(100))
		for _, c := range containers {
			f, info := pack(t, c, cab.Options{}, data, 1+r.IntN(len(data)))
			if _, err := cab.VerifyRaw(t.Context(), f, info.PackedSize); err != nil {
				t.Fatalf("%s: %d bytes: %v", c.want, len(data), err)
			}
		}
	}
}
