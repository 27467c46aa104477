package cab_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"symkeep/internal/cab"
)

// gunzip decodes one gzip member and nothing after it.
func gunzip(t testing.TB, p []byte) []byte {
	t.Helper()
	src := bytes.NewReader(p)
	z, err := gzip.NewReader(src)
	if err != nil {
		t.Fatalf("gzip: %v", err)
	}
	z.Multistream(false)
	raw, err := io.ReadAll(z)
	if err != nil || src.Len() > 0 {
		t.Fatalf("gzip: %v, %d bytes left over", err, src.Len())
	}
	return raw
}

func TestGzip(t *testing.T) {
	for _, in := range inputs() {
		var answers [][]byte
		for _, c := range containers {
			f, info := packInput(t, c, in)
			r := mustOpen(t, f)
			s, n := r.Gzip()
			p := readAll(t, s, n)
			if n != info.GzipSize || !bytes.Equal(gunzip(t, p), in.data) {
				t.Errorf("%s %s: gzip answer of %d bytes does not decode", c.want, in.name, n)
			}
			s, _ = r.Gzip()
			var b bytes.Buffer
			if _, err := io.Copy(&b, s); err != nil || !bytes.Equal(b.Bytes(), p) {
				t.Errorf("%s %s: io.Copy gives other bytes: %v", c.want, in.name, err)
			}
			s.Close()
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s %s: Read after Close: %v", c.want, in.name, err)
			}
			answers = append(answers, p)
			off, n, ok := r.GzipSection()
			if ok != (c.want == cab.GZ) || ok && !bytes.Equal(f.b[off:off+n], p) {
				t.Errorf("%s %s: GzipSection = %d, %d, %v", c.want, in.name, off, n, ok)
			}
		}
		if !bytes.Equal(answers[0], answers[1]) {
			t.Errorf("%s: gzip answers of the two containers differ", in.name)
		}
	}
}

// A cabinet under another name is, byte for byte, what packing under that name
// gives, and a packed file of its own.
func TestCabinetRehead(t *testing.T) {
	data := mixed(cab.GroupSize+5, 1)
	names := []string{"a", "test.pdb", "other.pdb", "größe.pdb", strings.Repeat("x", 255)}
	packed := map[string]form{}
	for _, name := range names {
		f, info := pack(t, containers[0], cab.Options{Name: name}, data, len(data))
		packed[name] = form{f, info}
	}
	for _, from := range names {
		f, info := packed[from].f, packed[from].info
		r := mustOpen(t, f)
		for _, to := range names {
			want, wantInfo := packed[to].f, packed[to].info
			s, n, err := r.Cabinet(to)
			if err != nil {
				t.Fatalf("Cabinet(%q): %v", to, err)
			}
			got := readAll(t, s, n)
			if !bytes.Equal(got, want.b) || n != wantInfo.PackedSize {
				t.Errorf("%q as %q differs from one packed as such", from, to)
			}
			head, reheaded, err := r.Rehead(to)
			off, size := r.Body()
			if err != nil || reheaded != wantInfo || !bytes.Equal(append(head, f.b[off:off+size]...), want.b) {
				t.Errorf("%q as %q: Rehead = %+v, %v; want %+v", from, to, reheaded, err, wantInfo)
			}
			if _, err := cab.VerifyRaw(t.Context(), bytes.NewReader(got), n); err != nil {
				t.Errorf("%q as %q: %v", from, to, err)
			}
			if same := reheaded.PackedSHA256 == info.PackedSHA256; same != (from == to) {
				t.Errorf("%q as %q: packed SHA-256 equal is %v", from, to, same)
			}
		}
		if _, _, err := r.Cabinet("a/b"); !errors.Is(err, cab.ErrName) {
			t.Errorf("Cabinet(a/b) error = %v, want ErrName", err)
		}
	}
}

func TestNoCabinetAboveTheLimit(t *testing.T) {
	f, info := pack(t, containers[1], cab.Options{}, records(1000, 1), 1000)
	r := mustOpen(t, f)
	if _, _, err := r.Cabinet("test.pdb"); !errors.Is(err, cab.ErrNoCabinet) {
		t.Errorf("Cabinet of a gz container: %v, want ErrNoCabinet", err)
	}
	if off, n := r.Body(); off != 0 || n != info.GzipSize {
		t.Errorf("Body of a gz container = %d, %d; want 0, %d", off, n, info.GzipSize)
	}
}
